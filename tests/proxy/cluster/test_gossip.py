"""What one node knows all nodes know: bans, lifts, offences and standings over a store that loses, doubles and lies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastpath import Standing, parse_network
from models.steps import whole
from proxy.cluster.gossip import LOOK_SECONDS, READY_NS, TURN_SECONDS, WORDS_PER_TURN
from proxy.cluster.keys import Family
from proxy.cluster.listener import Gap, Message
from proxy.cluster.shared_bans import BAN
from proxy.cluster.word import AHEAD_US, Word
from proxy.plugins.events import BanLifted, BanPlaced
from proxy.policy.offender import Origin
from proxy.settings.kinds import SECOND
from tests.proxy.cluster.gossips_for_tests import FakeServer, GossipNode, Nodes
from tests.proxy.cluster.virtual_time import run
from tests.proxy.test_warden import do

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from random import Random

X, Y, NET = "192.0.2.1", "192.0.2.2", "192.0.2.0/24"


@pytest.fixture
async def nodes(tmp_path: Path) -> Nodes:
    """Return three nodes that have read what the others say: nothing."""
    made = Nodes(tmp_path, "a", "b", "c")
    await made.meet()
    return made


async def step(nodes: Nodes, event: str) -> None:
    """Let something happen: to all ("talk", "all wait 1h", "store down"), or to one ("a ban X 1h", "b 4xtrap X")."""
    who, _, what = event.partition(" ")
    if who == "talk":
        await nodes.talk()
    elif who == "all":
        nodes.wait(what.split()[1])
    elif who == "store":
        nodes.server.down = what == "down"
        if what == "empty":
            nodes.server.hashes.clear()
    else:
        await step_of(nodes[who], what)


async def step_of(node: GossipNode, what: str) -> None:
    """Let one node do or suffer something."""
    verb, *words = what.split()
    if verb == "read":
        await node.read()
    elif verb == "look":
        await node.read(missed=False)
    elif verb == "speak":
        await node.speak()
    elif verb == "deaf":
        node.heard = len(node.server.published)
    elif verb == "lose":  # its disk
        node.warden.close()
        (node.state_dir / "bans.sqlite3").unlink()
        node.crash()
    elif verb == "set":
        name, _, value = words[0].partition("=")
        node.reload(**{name: value})
    elif verb == "exit":
        node.exits.add(parse_network(words[0]))
    else:
        do(node, what)


# (what, events, for how many seconds who is kept out on a, b and c)
ROWS: list[tuple[str, list[str], str, tuple[int, int, int]]] = [
    ("a ban binds on all", [f"a ban {X} 1h", "talk"], X, (3600, 3600, 3600)),
    ("so does one of the ladder", [f"b 4xtrap {X}", "talk"], X, (1800, 1800, 1800)),
    ("a network as well", [f"b ban {NET} 1h", "talk"], X, (3600, 3600, 3600)),
    ("the later end wins", [f"a ban {X} 1h", f"b ban {X} 2h", "talk"], X, (7200, 7200, 7200)),
    ("it ends everywhere", [f"a ban {X} 1h", "talk", "all wait 1h"], X, (0, 0, 0)),
    (
        "a node may make its own ban shorter",
        [f"a ban {X} 2h", "talk", "all wait 1s", f"a ban {X} 1h", "talk"],
        X,
        (3600, 3600, 3600),
    ),
    ("lifted on one is lifted on all", [f"a ban {X} 1h", "talk", f"c unban {X}", "talk"], X, (0, 0, 0)),
    ("with its network", [f"a ban {X} 1h", f"b 4xtrap {X}", "talk", f"c unban {NET}", "talk"], X, (0, 0, 0)),
    (
        "banned again after a lift",
        [f"a ban {X} 1h", "talk", f"c unban {X}", "talk", f"b ban {X} 10m", "talk"],
        X,
        (600, 600, 600),
    ),
    (
        "banned and lifted while the store is away",
        [f"a ban {X} 1h", "talk", "store down", "all wait 5s", f"b unban {X}", "talk", "store up", "talk"],
        X,
        (0, 0, 0),
    ),
    (
        "banned after the lift that nobody heard",
        ["store down", f"b unban {X}", "all wait 5s", f"a ban {X} 1h", "talk", "store up", "talk"],
        X,
        (3600, 3600, 3600),
    ),
    (
        "a node that missed it reads it",
        [f"a ban {X} 1h", "a speak", "c deaf", "c read"],
        X,
        (3600, 0, 3600),
    ),
    (
        "a node that missed the lift",
        [f"a ban {X} 1h", "talk", f"b unban {X}", "b speak", "c deaf", "c read"],
        X,
        (3600, 0, 0),
    ),
    (
        "a store that came back empty is filled by who knows",
        [f"a ban {X} 1h", "talk", "store empty", "a read", "a speak", "c lose", "c read"],
        X,
        (3600, 3600, 3600),
    ),
    (
        "also with what a node has said that is gone",
        [f"a ban {X} 1h", "talk", "store empty", "b look", "b speak", "c lose", "c read"],
        X,
        (3600, 3600, 3600),
    ),
    (
        "a lift while a node was away holds against its disk",
        [
            f"c ban {X} 1h",
            "talk",
            "all wait 2s",
            f"a unban {X}",
            "a speak",
            "c restart",
            "c deaf",
            "c read",
            "talk",
        ],
        X,
        (0, 0, 0),
    ),
    (
        "a restarted node knows its own and those of others",
        [f"a ban {X} 1h", "talk", "all wait 2s", "b restart", "c lose", "b read", "c read", "talk"],
        X,
        (3598, 3598, 3598),
    ),
    (
        "shadow mode spreads nothing",
        ["a set BANS__MODE=shadow", f"a ban {X} 1h", f"a 4xtrap {Y}", "talk"],
        X,
        (3600, 0, 0),
    ),
    ("who is exempt is not banned", [f"b set ALLOW={X}", f"a ban {X} 1h", "talk"], X, (3600, 0, 3600)),
    ("nor with his network", [f"b set ALLOW={X}", f"a ban {NET} 1h", "talk"], X, (3600, 0, 3600)),
    ("nor when he becomes exempt", [f"a ban {X} 1h", "talk", f"b set ALLOW={X}"], X, (3600, 0, 3600)),
    (
        "and is if not any more",
        [f"b set ALLOW={X}", f"a ban {X} 1h", "talk", "b set ALLOW="],
        X,
        (3600, 3600, 3600),
    ),
    ("a shared exit is let go soon", [f"b exit {X}", f"a 4xtrap {X}", "talk"], X, (1800, 60, 1800)),
    ("three and one offence add up", [f"a 3xtrap {X}", "talk", f"b trap {X}", "talk"], X, (1800, 1800, 1800)),
    (
        "one on each of three and one more",
        [f"a trap {X}", f"b trap {X}", f"c trap {X}", "talk", f"c trap {X}", "talk"],
        X,
        (1800, 1800, 1800),
    ),
    (
        "what was told is not counted again with the next",
        [f"a trap {X}", "talk", f"a trap {X}", "talk", f"b trap {X}", "talk"],
        X,
        (0, 0, 0),
    ),
    ("at the same time, too", [f"a 2xtrap {X}", f"b 2xtrap {X}", "talk"], X, (1800, 1800, 1800)),
    ("three do not", [f"a trap {X}", f"b trap {X}", f"c trap {X}", "talk"], X, (0, 0, 0)),
    (
        "one refused chunk over all nodes is one offence",
        [f"{name} violation {X}" for name in "abcabcabcabcabcabcabcabc"] + ["talk"] + [f"a 3xtrap {X}", "talk"],
        X,
        (0, 0, 0),
    ),
    (
        "offences are forgiven by a lift",
        [f"a 3xtrap {X}", "talk", "all wait 1s", f"b unban {X}", "talk", f"c trap {X}", "talk"],
        X,
        (0, 0, 0),
    ),
    (
        "the next ban is a rung higher, wherever",
        [f"a 4xtrap {X}", "talk", "all wait 30m", f"b 4xtrap {X}", "talk"],
        X,
        (7200, 7200, 7200),
    ),
    (
        "points are paid with a ban elsewhere",
        [f"a 2xtrap {X}", f"b 2xtrap {X}", "talk", "all wait 30m", f"a 3xtrap {X}", "talk"],
        X,
        (0, 0, 0),
    ),
    (
        "a network follows from clients that several nodes have banned",
        [f"a 4xtrap {X}", f"b 4xtrap {Y}", "c 4xtrap 192.0.2.3", "talk"],
        "192.0.2.99",
        (1800, 1800, 1800),
    ),
]


@pytest.mark.parametrize(("events", "address", "left"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_what_binds(nodes: Nodes, events: list[str], address: str, left: tuple[int, int, int]) -> None:
    """What all nodes believe of a client after some history."""
    for event in events:
        await step(nodes, event)
    assert tuple(nodes[name].left(address) for name in "abc") == left


async def test_who_banned(nodes: Nodes) -> None:
    """A ban tells which node it came from, and why, on the bus as well; what a node said itself it does not hear."""
    nodes["a"].warden.ban(X, length_ns=60 * SECOND, reason="a test")
    await nodes.talk(3)
    account = nodes["b"].warden.account(parse_network(X))
    assert account.ban is not None
    assert (account.ban.origin, account.ban.node, account.ban.reason) == (Origin.CLUSTER, "a", "a test")
    own = nodes["a"].warden.account(parse_network(X)).ban
    assert own is not None
    assert (own.origin, own.node) == (Origin.MANUAL, "")
    placed = [each for each in nodes["b"].told if isinstance(each, BanPlaced)]
    assert [(each.origin, each.node, each.seconds) for each in placed] == [("cluster", "a", 60)]
    nodes["c"].warden.lift(X)
    await nodes.talk()
    lifted = [each for each in nodes["b"].told if isinstance(each, BanLifted)]
    assert [(each.by, each.node) for each in lifted] in ([("cluster", "a")], [])


async def test_only_who_saw_an_offence_bans(nodes: Nodes) -> None:
    """A node that has seen nothing of a client does not ban it on what others say; it hears of their ban."""
    do(nodes["a"], f"2xtrap {X}")
    do(nodes["b"], f"2xtrap {X}")
    for name in "ab":
        await nodes[name].speak()
    nodes["c"].listen()
    assert nodes["c"].left(X) == 0
    assert nodes["c"].warden.account(parse_network(X)).points == pytest.approx(100, abs=1)
    await nodes.talk()
    assert nodes["c"].warden.own_ban(parse_network(X)) is None
    assert nodes["c"].left(X) == 1800


async def test_standings(nodes: Nodes) -> None:
    """What one node has concluded is a floor on the others, never a ban, and goes when it is taken back."""
    nodes["a"].accuse(7.0, X)
    await nodes.talk()
    assert [nodes[name].standing(X) for name in "abc"] == [Standing.LIMITED] * 3
    assert nodes["b"].verdicts.explain(parse_network(X))["elsewhere"] == {"node": "a", "standing": "limited"}
    nodes["b"].accuse(5.0, X)
    await nodes.talk()
    assert [nodes[name].standing(X) for name in "abc"] == [Standing.LIMITED] * 3
    nodes["a"].accuse(0.0, X)
    await nodes.talk()
    assert [nodes[name].standing(X) for name in "abc"] == [Standing.DELAYED] * 3
    nodes.wait("61s")
    for node in nodes.nodes.values():
        whole(node.verdicts.turn(node.now_ns))
    await nodes.talk()
    assert [nodes[name].standing(X) for name in "abc"] == [Standing.WELCOME] * 3
    assert all(node.left(X) == 0 for node in nodes.nodes.values())


async def test_the_worst_verdict(nodes: Nodes) -> None:
    """It bans on the node that has come to it; on the others it is a ban of that node, and none of theirs."""
    for kind in ("pace", "tools"):
        nodes["a"].accuse(6.0, X, kind)
    await nodes.talk()
    assert [nodes[name].standing(X) for name in "abc"] == [Standing.BANNED, Standing.TARPIT, Standing.TARPIT]
    assert [nodes[name].left(X) for name in "abc"] == [1800, 1800, 1800]
    assert nodes["b"].warden.own_ban(parse_network(X)) is None


# Hostile words.


def word(at: GossipNode, **changes: object) -> Word:
    """Return a ban of X by a node called m, as it should be but for `changes`."""
    now_us = at.server.now_us
    good = Word(BAN + parse_network(X).to_bytes(8), "m", now_us, now_us + 600 * 10**6, b"\0\0why")
    return good._replace(**changes)  # type: ignore[arg-type]


def sealed(node: GossipNode, said: Word, kind: str = Family.BAN) -> bytes:
    """Return a word as it is written."""
    data: bytes = node.store.seal.seal(kind, said.pack())
    return data


HOSTILE: list[tuple[str, Callable[[GossipNode], bytes], int]] = [
    ("as it should be", lambda node: sealed(node, word(node)), 600),
    ("no seal", lambda node: bytes(16) + word(node).pack(), 0),
    ("sealed as another kind", lambda node: sealed(node, word(node), Family.VERDICT), 0),
    ("cut off", lambda node: sealed(node, word(node))[:-1], 0),
    ("nothing", lambda _node: b"", 0),
    ("of nobody", lambda node: sealed(node, word(node, node="")), 0),
    ("no key", lambda node: sealed(node, word(node, thing=BAN + bytes(8))), 0),
    ("no thing of ours", lambda node: sealed(node, word(node, thing=b"z" + bytes(8))), 0),
    ("a key with more behind it", lambda node: sealed(node, word(node, thing=word(node).thing + b"x")), 0),
    ("no rung", lambda node: sealed(node, word(node, body=b"")), 0),
    ("over", lambda node: sealed(node, word(node, stamp_us=5, until_us=node.server.now_us)), 0),
    ("out of time", lambda node: sealed(node, word(node, stamp_us=-5)), 0),
    ("for ever", lambda node: sealed(node, word(node, until_us=2**62)), 0),
    (
        "of the future",
        lambda node: sealed(node, word(node, stamp_us=node.server.now_us + AHEAD_US + 1, until_us=2**61)),
        0,
    ),
    (
        "of the ladder, for longer than it goes here",
        lambda node: sealed(node, word(node, body=b"\0\1", until_us=node.server.now_us + 300 * 86_400 * 10**6)),
        int(8 * 3600 * 1.1),
    ),
]


@pytest.mark.parametrize(("make", "left"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_hostile_words(nodes: Nodes, make: Callable[[GossipNode], bytes], left: int) -> None:
    """Nothing is believed that no node of the cluster has sealed, or that makes no sense."""
    node = nodes["a"]
    whole(node.gossip.take(Message(Family.BAN, make(node))))
    assert node.left(X) == left


async def test_a_lifted_ban_that_is_put_back_stays_lifted(nodes: Nodes) -> None:
    """Who kept the sealed word of a ban can neither publish it again nor write it back."""
    nodes["a"].warden.ban(X, length_ns=7200 * SECOND)
    await nodes["a"].speak()
    kept = {key: dict(words) for key, words in nodes.server.hashes.items()}
    message = nodes.server.published[-1]
    await nodes.talk()
    nodes["b"].warden.lift(X)
    await nodes.talk()
    nodes.wait("1h")
    for name in "abc":
        whole(nodes[name].gossip.take(message))
    for key, words in kept.items():
        nodes.server.hashes[key].update(words)
    await step(nodes, "c lose")
    await nodes.meet()
    assert [nodes[name].left(X) for name in "abc"] == [0, 0, 0]
    nodes.server.hashes = kept  # the lift deleted as well: those who know of it write it again
    await nodes["b"].read()
    await nodes["b"].speak()
    await step(nodes, "c lose")
    await nodes["c"].read()
    assert nodes["c"].left(X) == 0


@pytest.mark.parametrize("step_s", [-3600, -5, 5, 3600])
async def test_another_server_with_another_clock(nodes: Nodes, step_s: int) -> None:
    """When the clock of the store is set, bans that are held stay as long as they are, and later lifts lift them."""
    nodes["a"].warden.ban(X, length_ns=7200 * SECOND)
    await nodes.talk()
    nodes.server.now_us += step_s * 10**6
    await nodes.meet()
    assert [nodes[name].left(X) for name in "abc"] == [7200, 7200, 7200]
    nodes["c"].warden.lift(X)
    await nodes.talk()
    assert [nodes[name].left(X) for name in "abc"] == [0, 0, 0]
    nodes["b"].warden.ban(X, length_ns=600 * SECOND)
    await nodes.talk()
    assert [nodes[name].left(X) for name in "abc"] == [600, 600, 600]


# Starting, and the store away.


async def test_readiness(tmp_path: Path) -> None:
    """A node that starts is not ready before it has read what others have banned; after 2 s it is, and says so."""
    nodes = Nodes(tmp_path, "a", "b")
    nodes.server.down = True
    gossip, started_ns = nodes["a"].gossip, nodes["a"].now_ns
    assert (bool(gossip.unready), bool(gossip.degraded)) == (True, False)
    nodes["a"].now_ns = started_ns + READY_NS
    assert (bool(gossip.unready), bool(gossip.degraded)) == (False, True)
    nodes.server.down = False
    await nodes["a"].read()
    assert (gossip.unready, gossip.degraded) == ("", "")


async def test_nothing_is_said_before_all_is_read(tmp_path: Path) -> None:
    """A node that has not read what was lifted does not say again what it knows from its disk."""
    nodes = Nodes(tmp_path, "a", "b")
    nodes["a"].warden.ban(X, length_ns=60 * SECOND)
    nodes["a"].clock.note(nodes["a"].now_ns, nodes["a"].now_ns, nodes.server.now_us)  # of a page that was read
    await nodes["a"].speak()
    assert nodes.server.published == []
    await nodes["a"].read()
    await nodes["a"].speak()
    assert len(nodes.server.published) == 1


async def test_many_words_while_the_store_is_away(nodes: Nodes) -> None:
    """What could not be said is said when the store is back, some at a time, and nothing twice."""
    nodes.server.down = True
    for number in range(300):
        nodes["a"].warden.ban(f"198.51.{number // 250}.{number % 250}", length_ns=600 * SECOND)
    await nodes.talk()
    nodes.server.down = False
    await nodes.talk(5)
    assert len(nodes.server.published) == 300
    assert len(nodes["b"].in_table()) == 300


async def test_a_gap_asks_for_the_whole(nodes: Nodes) -> None:
    """After a gap all that is kept of answers is forgotten, and other nodes are not told of that."""
    before = nodes["b"].epochs.of(0)
    whole(nodes["b"].gossip.take(Gap()))
    await nodes.talk()
    assert nodes["b"].epochs.of(0) == before + 1
    assert nodes.server.published == []


# When it is said.

AT_ONCE = 0.001  # s


async def _publishes(server: FakeServer, within_s: float) -> int:
    """Return how many messages there are more after so long."""
    before = len(server.published)
    await asyncio.sleep(within_s)
    return len(server.published) - before


async def _talking(folder: Path, test: Callable[[GossipNode, FakeServer], Awaitable[None]]) -> None:
    """Let a test do something to a node that has nothing more to say."""
    nodes = Nodes(folder, "a")
    await nodes.meet()
    running = asyncio.create_task(nodes["a"].gossip.run())
    await asyncio.sleep(2.1)  # it has read all once more, and is between two looks
    await test(nodes["a"], nodes.server)
    running.cancel()


def _upload(node: GossipNode) -> None:
    node.epochs.advance(7)
    node.gossip.look()


def test_who_has_nothing_to_say_asks_nobody(tmp_path: Path) -> None:
    """A quiet node costs the store nothing."""

    async def quiet(_node: GossipNode, server: FakeServer) -> None:
        before = server.asked
        await asyncio.sleep(60)
        assert server.asked == before

    run(_talking(tmp_path, quiet))


@pytest.mark.parametrize(
    "happens",
    [
        lambda node: do(node, f"ban {X} 1h"),
        lambda node: do(node, f"unban {X}"),
        lambda node: do(node, f"trap {X}"),
        lambda node: node.accuse(9, X),
        _upload,
    ],
    ids=["ban", "lift", "offence", "verdict", "upload"],
)
def test_news_go_out_at_once(tmp_path: Path, happens: Callable[[GossipNode], None]) -> None:
    """What a quiet node has to say waits for no turn."""

    async def one(node: GossipNode, server: FakeServer) -> None:
        happens(node)
        assert await _publishes(server, AT_ONCE) > 0

    run(_talking(tmp_path, one))


def test_news_that_follow_go_together(tmp_path: Path) -> None:
    """What comes in the same turn is said at its end, and what is too much for one in the next."""

    async def many(node: GossipNode, server: FakeServer) -> None:
        do(node, f"ban {X} 1h")
        assert await _publishes(server, AT_ONCE) == 1
        for number in range(3 * WORDS_PER_TURN + 5):
            node.warden.ban(f"198.51.{number // 250}.{number % 250}", length_ns=600 * SECOND)
        assert await _publishes(server, TURN_SECONDS / 2) == 0
        for _ in range(3):
            assert await _publishes(server, TURN_SECONDS) == WORDS_PER_TURN
        assert await _publishes(server, TURN_SECONDS) == 5

    run(_talking(tmp_path, many))


def test_news_while_the_store_is_away(tmp_path: Path) -> None:
    """Nobody is asked then, and soon after it is back all is said."""

    async def away(node: GossipNode, server: FakeServer) -> None:
        server.down = True
        before = server.asked
        do(node, f"ban {X} 1h")
        await asyncio.sleep(60)
        assert server.asked == before
        server.down = False
        assert await _publishes(server, LOOK_SECONDS + TURN_SECONDS + AT_ONCE) == 1

    run(_talking(tmp_path, away))


# Convergence.

HEARD = 0.7  # of all messages, each time
DEEDS = (f"ban {X} 1h", f"ban {X} 2h", f"ban {NET} 1h", f"unban {X}", f"unban {NET}", f"4xtrap {X}", "hear")
MOVES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(DEEDS)), max_size=8)


@given(MOVES, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nodes_agree_whatever_happens_on_the_way(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, str]], chance: Random
) -> None:
    """Messages are lost, doubled and come in any order: nodes with the same last words keep out the same clients."""
    asyncio.run(_agree(tmp_path_factory.mktemp("nodes"), moves, chance))


async def _agree(folder: Path, moves: list[tuple[str, str]], chance: Random) -> None:
    nodes = Nodes(folder, "a", "b", "c")
    await nodes.meet()
    for name, move in moves:
        nodes.wait("1s")
        if move != "hear":
            do(nodes[name], move)
            await nodes[name].speak()
        elif nodes.server.published:
            whole(nodes[name].gossip.take(chance.choice(nodes.server.published)))
    for _ in range(2):
        for name in "abc":
            await nodes[name].speak()
        for name in "abc":
            messages = [each for each in nodes.server.published * 2 if chance.random() < HEARD]
            chance.shuffle(messages)
            for message in messages:
                whole(nodes[name].gossip.take(message))
        await nodes.meet()
    seen = [nodes[name].in_table() for name in "abc"]
    assert seen[0].keys() == seen[1].keys() == seen[2].keys(), seen
    for network, left in seen[0].items():
        assert max(abs(left - other[network]) for other in seen) <= 1, seen
