"""Who counts as a peer: learnt from the keyserver, kept while knowledge fails, and never somebody who cannot be one."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from fastpath import address_text, parse_address
from fastpath.peer_book import MOST_PEER_ADDRESSES, PEER_BOOK_BYTES, PeerBook
from proxy import peers
from proxy.config import Config
from proxy.hkp.peer_list import MOST_HOSTS
from proxy.http.fetch import FetchFailed
from proxy.peer_store import FILE
from proxy.peers import KEPT_SECONDS, LATE_SECONDS, LOOK_UPS, MOST_OF_A_HOST, STATS, Net, PeerWatch

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from proxy.settings.addresses import Address

UPSTREAM, OTHER = "10.0.0.1:11371", "10.0.0.2:11371"
ONE, TWO, SIX = "198.41.0.4", "199.9.14.201", "2001:503:ba3e::2:30"
DAY = 86_400


def stats(*hosts: str, masked: int = 0) -> bytes:
    """Return statistics that name these hosts."""
    hidden = [{"httpAddr": "k****1", "reconAddr": "k****0", "masked": True}] * masked
    named = [{"httpAddr": f"{host}:11371", "reconAddr": f"{host}:11370"} for host in hosts]
    return json.dumps({"peers": named + hidden}).encode()


class FakeNet(Net):
    """Upstreams and names as a test says.

    Attributes:
        says: What each upstream answers; missing: nothing.
        names: Addresses of each name; missing: it is not found. None: the resolver does not answer.
        looked_up: Names that were asked for; the first one sets `asking`.
        answers: When it is set, the resolver answers.
        most_at_a_time: Look-ups that went on at a time, at most.

    """

    def __init__(self) -> None:
        """Nobody is there."""
        self.says: dict[str, bytes] = {}
        self.names: dict[str, list[str] | None] = {}
        self.asked: list[tuple[str, bool]] = []
        self.looked_up: list[str] = []
        self.asking, self.answers = asyncio.Event(), asyncio.Event()
        self._now = self.most_at_a_time = 0

    async def stats(self, address: Address, *, introduce: bool) -> bytes:
        """Answer for an upstream."""
        self.asked.append((str(address), introduce))
        if str(address) not in self.says:
            raise FetchFailed("no connection: Connection refused")
        return self.says[str(address)]

    async def look_up(self, host: str) -> list[str]:
        """Answer for the resolver."""
        self.looked_up.append(host)
        self.asking.set()
        self._now += 1
        self.most_at_a_time = max(self.most_at_a_time, self._now)
        try:
            found = self.names.get(host, [])
            if found is None:
                await self.answers.wait()
                found = self.names[host] or []
            if not found:
                raise OSError("Name or service not known")
            return found
        finally:
            self._now -= 1


class Node:
    """The analyst's side of a node, over a book and a folder that outlive it."""

    def __init__(self, folder: Path) -> None:
        """Start it, with one upstream."""
        self.folder = folder
        self.net = FakeNet()
        self.memory = memoryview(bytearray(PEER_BOOK_BYTES))
        self.wall = 1_800_000_000.0
        self.settings = {"UPSTREAM": UPSTREAM}
        self.start()

    def config(self) -> Config:
        """Return the configuration."""
        settings = self.settings | {
            "UPSTREAM": ",".join(f"http://{each}" for each in self.settings["UPSTREAM"].split())
        }
        return Config.from_env(
            {f"HKPGUARD_{name}": text for name, text in settings.items()} | {"HKPGUARD_STATE_DIR": str(self.folder)}
        )

    def start(self, *, reboot: bool = False) -> None:
        """Start an analyst; `reboot`: of another node, with the same folder."""
        if reboot:
            self.memory = memoryview(bytearray(PEER_BOOK_BYTES))
        self.watch = PeerWatch(self.config(), PeerBook(self.memory), net=self.net, wall=lambda: self.wall)

    def reload(self, *, learn: bool = True, **settings: str) -> None:
        """Reload with other settings."""
        self.settings |= settings | {"SYNC__LEARN": "on" if learn else "off"}
        self.watch.reload(self.config())

    async def learn(self, *hosts: str, masked: int = 0) -> bool:
        """Let the upstream name these, and take a turn."""
        self.net.says[UPSTREAM] = stats(*hosts, masked=masked)
        return await self.watch.turn()

    @property
    def exempt(self) -> set[str]:
        """Whom workers take for peers."""
        return {address_text(packed) for packed in PeerBook(self.memory).read().addresses}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node where one and two can be found."""
    node = Node(tmp_path)
    node.net.names = {"one.example": [ONE], "two.example": [TWO, SIX]}
    return node


async def test_peers_are_learnt(node: Node) -> None:
    """All addresses of the names that the keyserver gives are peers; names are looked up once, addresses not at all."""
    assert node.exempt == set()
    assert await node.learn("one.example", "two.example", "[2001:500:200::b]", masked=2)
    assert node.exempt == {ONE, TWO, SIX, "2001:500:200::b"}
    assert sorted(node.net.looked_up) == ["one.example", "two.example"]
    assert node.net.asked == [(UPSTREAM, False)]
    assert node.watch.status == (1_800_000_000, 3, 4, 2, 0, 0, 0)
    assert set(node.watch.hosts) == {"one.example", "two.example", "2001:500:200::b"}
    assert node.watch.degraded == ""


async def test_new_addresses_take_the_place_of_old_ones(node: Node) -> None:
    """A peer that moves is exempt where it is, and not any more where it was."""
    await node.learn("one.example")
    node.net.names["one.example"] = [SIX]
    await node.learn("one.example")
    assert node.exempt == {SIX}


async def test_book_is_changed_only_if_peers_are(node: Node) -> None:
    """The same addresses, in whatever order they are found, are the same edition."""
    await node.learn("two.example")
    node.net.names["two.example"] = [SIX, TWO, SIX]
    await node.learn("two.example")
    assert PeerBook(node.memory).edition == 1


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"<html>", b'{"Total": 1}', b'{"peers": null}', b'{"peers": []}', stats(masked=3), b"x" * 2_000_000],
)
async def test_a_list_that_vanishes(node: Node, answer: bytes | None) -> None:
    """Without a good answer peers stay, however often it is tried; the next good one counts."""
    await node.learn("one.example", "two.example")
    for _ in range(5):
        node.net.says = {} if answer is None else {UPSTREAM: answer}
        await node.watch.turn()
        assert node.exempt == {ONE, TWO, SIX}
    await node.learn("one.example")
    await node.learn("one.example")
    assert node.exempt == {ONE}


async def test_a_list_that_shrinks(node: Node) -> None:
    """Who is left out once stays; who is left out by two good answers in a row goes."""
    await node.learn("one.example", "two.example")
    await node.learn("one.example")
    assert node.exempt == {ONE, TWO, SIX}
    await node.learn("one.example", "two.example")
    await node.learn("two.example")
    assert node.exempt == {ONE, TWO, SIX}
    await node.learn("two.example")
    assert node.exempt == {TWO, SIX}


async def test_a_name_that_is_not_found(node: Node) -> None:
    """It keeps the addresses that it had."""
    await node.learn("one.example", "nowhere.example")
    assert node.watch.status.unresolved == 1
    del node.net.names["one.example"]
    for _ in range(5):
        await node.learn("one.example")
        assert node.exempt == {ONE}


async def test_nobody_is_kept_for_ever(node: Node) -> None:
    """Who was not found, or not named, for a week goes when the keyserver answers again, and not before."""
    await node.learn("one.example", "two.example")
    del node.net.names["one.example"]
    node.net.says = {}
    node.wall += KEPT_SECONDS + 1
    await node.watch.turn()
    assert node.exempt == {ONE, TWO, SIX}
    await node.learn("one.example", "two.example")
    assert node.exempt == {TWO, SIX}
    node.wall += KEPT_SECONDS
    await node.learn()
    assert node.exempt == {TWO, SIX}
    node.wall += 1
    await node.learn()
    assert node.exempt == set()


@pytest.mark.parametrize("days", [-400, 400])
async def test_a_clock_that_is_set(node: Node, days: int) -> None:
    """Whatever the clock of the day says, who is named and found is a peer."""
    await node.learn("one.example")
    node.wall += days * DAY
    await node.learn("one.example")
    assert node.exempt == {ONE}


async def test_several_upstreams(node: Node) -> None:
    """Peers of each are peers; one that is down, or knows nobody, takes away none, of its own or of others."""
    node.settings["UPSTREAM"] = f"{UPSTREAM} {OTHER}"
    node.start()
    node.net.says = {UPSTREAM: stats("one.example"), OTHER: stats("two.example")}
    assert await node.watch.turn()
    assert node.exempt == {ONE, TWO, SIX}
    for bad in ({}, {OTHER: stats()}):
        node.net.says = {UPSTREAM: stats("one.example"), **bad}
        for _ in range(3):
            assert await node.watch.turn() is bool(bad)
            assert node.exempt == {ONE, TWO, SIX}
    node.net.says[OTHER] = stats("one.example")
    for _ in range(2):
        await node.watch.turn()
    assert node.exempt == {ONE}


async def test_upstream_that_is_no_more(node: Node) -> None:
    """After a reload, and after a restart, peers that only a former upstream named are none."""
    await node.learn("one.example")
    node.net.says = {OTHER: stats("two.example")}
    node.settings["UPSTREAM"] = f"{UPSTREAM} {OTHER}"
    node.reload()
    await node.watch.turn()
    assert node.exempt == {ONE, TWO, SIX}
    node.reload(UPSTREAM=OTHER)
    assert node.exempt == {TWO, SIX}
    node.reload(UPSTREAM=f"{UPSTREAM} {OTHER}")
    assert node.exempt == {TWO, SIX}
    node.settings["UPSTREAM"] = UPSTREAM
    node.start(reboot=True)
    assert node.exempt == {ONE}


async def test_status_is_of_present_upstreams(node: Node) -> None:
    """What a former one hid, or why it did not answer, is not told any more."""
    await node.learn("one.example", masked=2)
    node.net.says = {OTHER: stats("one.example", masked=1)}
    node.reload(UPSTREAM=f"{UPSTREAM} {OTHER}")
    await node.watch.turn()
    node.wall += 2 * LATE_SECONDS
    assert "Connection refused" in node.watch.degraded
    node.reload(UPSTREAM=OTHER)
    assert node.watch.status.masked == 1
    assert "Connection refused" not in node.watch.degraded
    node.reload(UPSTREAM="10.0.0.3:11371")
    assert node.watch.status.masked == 0


async def test_reload_while_it_asks(node: Node) -> None:
    """What an upstream of before the reload says is not taken over."""
    node.net.names["one.example"] = None
    turn = asyncio.create_task(node.learn("one.example"))
    await node.net.asking.wait()
    node.reload(UPSTREAM=OTHER)
    node.net.names["one.example"] = [ONE]
    node.net.answers.set()
    await turn
    assert node.exempt == set()


PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "240.0.0.1", "::1", "fd00::1"]


@pytest.mark.parametrize("address", [*PRIVATE, "fe80::1%eth0", "::", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::"])
async def test_addresses_of_nobody(node: Node, address: str) -> None:
    """Those where no peer can be are refused, whether the keyserver names them or a name leads there."""
    node.net.names["bad.example"] = [address, ONE]
    host = "" if "%" in address else f"[{address}]" if ":" in address else address
    with capture_logs() as log:
        for _ in range(3):
            await node.learn(host, "bad.example")
    assert node.exempt == {ONE}
    assert node.watch.status.refused >= 1
    assert [each["event"] for each in log] == [
        "addresses of peers refused: not public, or of a trusted proxy",
        "peers learnt",
    ]


async def test_addresses_that_are_configured(node: Node) -> None:
    """Those in HKPGUARD_PEERS are taken, from the reload on that names them."""
    node.net.names["near.example"] = ["10.1.2.3", "10.9.9.9"]
    await node.learn("near.example")
    assert node.exempt == set()
    node.reload(PEERS="10.1.0.0/16")
    assert node.exempt == {"10.1.2.3"}
    node.reload(PEERS="")
    assert node.exempt == set()


async def test_trusted_proxies(node: Node) -> None:
    """A name that leads to a proxy in front of us must not exempt who stands behind it."""
    node.reload(TRUSTED_PROXIES=f"{ONE},10.0.0.0/8")
    await node.learn("one.example", "two.example")
    assert node.exempt == {TWO, SIX}
    node.reload(PEERS=ONE)
    assert node.exempt == {ONE, TWO, SIX}


async def test_names_with_very_many_addresses(node: Node) -> None:
    """Of one name a few are taken, the same ones each time, so that no name crowds out the others."""
    many = [f"44.0.0.{number}" for number in range(1, 200)]
    node.net.names["many.example"] = many
    await node.learn("many.example", "one.example")
    first = node.exempt
    assert first == {ONE, *sorted(many)[:MOST_OF_A_HOST]}
    node.net.names["many.example"] = many[::-1]
    await node.learn("many.example", "one.example")
    assert node.exempt == first


async def test_very_many_names(node: Node) -> None:
    """As many as there is room for are peers, and the operator can see that it is not all."""
    names = [f"{number}.example" for number in range(MOST_HOSTS)]
    node.net.names = {
        name: [f"44.{number // 256}.{number % 256}.{last}" for last in range(1, MOST_OF_A_HOST + 1)]
        for number, name in enumerate(names)
    }
    await node.learn(*names)
    assert len(node.exempt) == MOST_PEER_ADDRESSES
    assert node.watch.status.left_out == MOST_HOSTS * MOST_OF_A_HOST - MOST_PEER_ADDRESSES


async def test_look_ups_at_a_time(node: Node) -> None:
    """A few go on at a time, so that the threads of the resolver are not all waiting for a long list's bad names."""
    node.net.names = {f"{number}.example": None for number in range(5 * LOOK_UPS)}
    turn = asyncio.create_task(node.learn(*node.net.names))
    await node.net.asking.wait()
    node.net.answers.set()
    await turn
    assert len(node.net.looked_up) == 5 * LOOK_UPS
    assert node.net.most_at_a_time == LOOK_UPS


async def test_one_upstream_does_not_crowd_out_another(node: Node) -> None:
    """Of two long lists as much of each is taken."""
    node.settings["UPSTREAM"] = f"{UPSTREAM} {OTHER}"
    node.start()
    lists = [[f"{number}.{upstream}.example" for number in range(MOST_HOSTS)] for upstream in "ab"]
    node.net.names = {name: [ONE] for each in lists for name in each}
    node.net.says = {UPSTREAM: stats(*lists[0]), OTHER: stats(*lists[1])}
    for _ in range(3):
        await node.watch.turn()
        assert set(node.watch.hosts) == {name for each in lists for name in each[: MOST_HOSTS // 2]}
    assert len(node.net.looked_up) == 3 * MOST_HOSTS


async def test_a_resolver_that_does_not_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends in spite of it; there is one look-up for a name at a time, and a late answer counts."""
    monkeypatch.setattr(peers, "LOOK_UP_SECONDS", 0.0)
    node.net.names["slow.example"] = None
    for _ in range(3):
        await node.learn("slow.example", "one.example")
    assert node.net.looked_up.count("slow.example") == 1
    node.net.names["slow.example"] = [SIX]
    node.net.answers.set()
    for _ in range(3):  # one until the late answer is there, one to take it
        await node.learn("slow.example", "one.example")
    assert node.exempt == {ONE, SIX}


async def test_names_that_never_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them the keyserver comes up with, look-ups that go on are bounded, and ended ones forgotten."""
    monkeypatch.setattr(peers, "LOOK_UP_SECONDS", 0.0)
    names = [f"{number}.example" for number in range(3 * MOST_HOSTS)]
    node.net.names = dict.fromkeys(names)
    for start in range(0, len(names), MOST_HOSTS):
        await node.learn(*names[start : start + MOST_HOSTS])
    assert len(node.net.looked_up) == len(node.watch._waiting) == MOST_HOSTS
    node.net.answers.set()
    node.net.names["one.example"] = [ONE]
    for _ in range(4):
        await node.learn("one.example")
    assert len(node.watch._waiting) <= 1
    assert node.exempt == {ONE}


@pytest.mark.parametrize("found", [["no address"], ["192.0.2.300"], [""]])
async def test_a_resolver_that_makes_no_sense(node: Node, found: list[str]) -> None:
    """What is no address is as good as none."""
    node.net.names["odd.example"] = found
    await node.learn("odd.example", "one.example")
    assert node.exempt == {ONE}


async def test_a_restart_begins_with_what_was_learnt(node: Node) -> None:
    """Before anybody is asked peers are exempt; also who was left out by the last answer, until the next says so."""
    await node.learn("one.example", "two.example")
    await node.learn("one.example")
    node.net.says = {}
    node.start(reboot=True)
    assert node.exempt == {ONE, TWO, SIX}
    await node.watch.turn()
    assert node.exempt == {ONE, TWO, SIX}
    for exempt in ({ONE, TWO, SIX}, {ONE}):
        await node.learn("one.example")
        assert node.exempt == exempt


async def test_the_next_analyst(node: Node) -> None:
    """Where nothing is written down, peers that another analyst of this node published stay until the next answer."""
    await node.learn("one.example")
    (node.folder / FILE).unlink()
    node.start()
    assert node.exempt == {ONE}
    await node.learn("two.example")
    assert node.exempt == {TWO, SIX}


async def test_a_damaged_file(node: Node) -> None:
    """It is said in the log, and learning begins anew."""
    (node.folder / FILE).write_text("{")
    with capture_logs() as log:
        node.start(reboot=True)
    assert [each["event"] for each in log] == ["peers could not be read, starting without"]
    assert node.exempt == set()
    await node.learn("one.example")
    node.start(reboot=True)
    assert node.exempt == {ONE}


async def test_a_file_with_bad_addresses(node: Node) -> None:
    """What is not public is no more exempt because it is written there."""
    await node.learn("one.example")
    text = (node.folder / FILE).read_text()
    (node.folder / FILE).write_text(text.replace(ONE, "127.0.0.1"))
    node.start(reboot=True)
    assert node.exempt == set()


async def test_learning_is_switched_off(node: Node) -> None:
    """Nobody is asked and nobody is learnt, from the reload on, and after a restart; and all is back when it is on."""
    await node.learn("one.example")
    node.reload(learn=False)
    assert node.exempt == set()
    asked = len(node.net.asked)
    assert await node.learn("two.example")
    assert len(node.net.asked) == asked
    node.start(reboot=True)
    assert node.exempt == set()
    assert node.watch.degraded == ""
    node.reload(learn=True)
    assert node.exempt == {ONE}


async def test_upstream_that_expects_introductions(node: Node) -> None:
    """It gets one, from the reload on."""
    node.reload(UPSTREAM_PROXY_PROTOCOL="v2")
    await node.learn("one.example")
    assert node.net.asked == [(UPSTREAM, True)]


async def test_the_log_says_it_once(node: Node) -> None:
    """A failure is one line, however long it lasts; so is its end; no line names a peer."""
    with capture_logs() as log:
        for _ in range(3):
            await node.watch.turn()
        for _ in range(3):
            await node.learn("one.example")
    assert [each["event"] for each in log] == ["peers could not be learnt", "peers are learnt again", "peers learnt"]
    assert log[0]["problem"] == "no connection: Connection refused"
    assert "one.example" not in str(log)
    assert ONE not in str(log)


async def test_what_the_operator_is_told(node: Node) -> None:
    """A list that is late is a fault, with the reason; a keyserver that never told its peers is none."""
    node.wall += 10 * LATE_SECONDS
    await node.watch.turn()
    assert node.watch.degraded == ""
    await node.learn("one.example")
    node.net.says = {}
    node.wall += LATE_SECONDS
    await node.watch.turn()
    assert node.watch.degraded == ""
    node.wall += 60
    assert node.watch.degraded == (
        "the keyserver has not told its peers for 61 minutes (no connection: Connection refused)"
    )
    await node.learn()
    assert node.watch.degraded == "the keyserver has not told its peers for 61 minutes (it names nobody)"
    (node.folder / FILE).unlink()
    (node.folder / FILE).mkdir()
    await node.learn("one.example")
    assert node.watch.degraded.startswith(f"peers are not written to {node.folder / FILE}")


async def test_the_operator_hears_of_hidden_peers(node: Node) -> None:
    """Once, and again when they are more: only the configuration can name them."""
    with capture_logs() as log:
        for masked in (0, 2, 2, 1, 3):
            await node.learn(masked=masked)
    assert [(each["event"], each["count"]) for each in log] == [
        ("peers are hidden, and must be named in HKPGUARD_PEERS", count) for count in (2, 3)
    ]
    assert node.watch.status.masked == 3


class Ended(Exception):
    """The test has seen enough."""


async def pauses(node: Node, monkeypatch: pytest.MonkeyPatch, *answers: bytes | None) -> list[float]:
    """Return how long `run` rests after each of these answers, None for none."""
    rests: list[float] = []
    coming = iter(answers)

    def set_answer() -> None:
        answer = next(coming, Ended)
        if answer is Ended:
            raise Ended
        node.net.says = {UPSTREAM: answer} if isinstance(answer, bytes) else {}

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        set_answer()

    monkeypatch.setattr(peers.asyncio, "sleep", sleep)
    set_answer()
    with suppress(Ended):
        await node.watch.run()
    return rests


async def test_how_often_it_asks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each five minutes, and each minute while an answer is missing."""
    assert await pauses(node, monkeypatch, None, stats("one.example"), None, stats()) == [60, 300, 60, 300]
    assert node.exempt == {ONE}


async def test_how_often_it_is_told_to_ask(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the setting says, while all is well."""
    node.reload(SYNC__REFRESH="1h")
    assert await pauses(node, monkeypatch, stats(), None) == [3600, 60]


async def test_it_ends_when_the_analyst_does(node: Node) -> None:
    """Cancelled in the middle of a turn it leaves no task behind."""
    node.net.names["slow.example"] = None
    node.net.says[UPSTREAM] = stats("slow.example")
    task = asyncio.create_task(node.watch.run())
    await node.net.asking.wait()
    task.cancel()
    await asyncio.gather(task, *node.watch._waiting.values(), return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_real_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream is asked for its statistics as JSON, the resolver for addresses to connect to."""
    requests: list[bytes] = []
    lookups: list[tuple[Any, ...]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        body = stats("one.example")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    def getaddrinfo(host: str, port: int | None, **more: Any) -> Coroutine[Any, Any, list[Any]]:
        async def found() -> list[Any]:
            lookups.append((host, port, more))
            return [(2, 1, 6, "", (ONE, 0)), (10, 1, 6, "", (SIX, 0, 0, 0))]

        return found()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = Config.from_env({"HKPGUARD_UPSTREAM": upstream, "HKPGUARD_STATE_DIR": str(tmp_path)})
        book = PeerBook(memoryview(bytearray(PEER_BOOK_BYTES)))
        assert await PeerWatch(config, book).turn()
    assert [request.split(b"\r\n")[0] for request in requests] == [f"GET {STATS} HTTP/1.1".encode()]
    assert set(book.read().addresses) == {parse_address(ONE), parse_address(SIX)}
    assert [(host, port, more["type"]) for host, port, more in lookups if host == "one.example"] == [
        ("one.example", None, socket.SOCK_STREAM)
    ]
