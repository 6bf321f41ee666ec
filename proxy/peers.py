"""The peers of the keyserver: asks it who they are, finds their addresses, and tells the workers. Part of the analyst.

    op=stats of each upstream -> host names -> addresses -> PeerBook (workers), peers.json (the next start)

A learnt peer is exempt from the rates of reconciliation, and from nothing else. Who is in HKPGUARD_PEERS is a peer
without any of this.

Peers stay when knowledge fails, for a peer that is refused falls behind, and one too many costs little:

- An upstream that does not answer, or not with statistics, leaves everything as it is.
- Its peers are those that one of its last two good answers names, and an answer that names nobody is none. So a
  list that shrinks, or vanishes while the keyserver starts, takes nobody away before the next good one says the same.
- A name that cannot be resolved keeps its addresses.
- But who has not been both named and resolved for a week goes, once an upstream answers again.

What comes from outside is bounded: the statistics (`proxy.hkp.peer_list`), names, addresses of a name and in all,
time, and look-ups at a time, also those that nobody waits for any more. Addresses where nobody on the public net can
be, and those of trusted proxies, are refused, unless HKPGUARD_PEERS has them: a name that leads to 127.0.0.1 must not
exempt all that stands behind a proxy of this machine.
"""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from fastpath import address_text, parse_address
from fastpath.peer_book import MOST_PEER_ADDRESSES
from proxy.hkp.peer_list import MOST_BYTES, MOST_HOSTS, BadStats, PeerList, is_public, read
from proxy.http.fetch import FetchFailed, fetch
from proxy.peer_store import Learnt, PeerStore, Resolved
from proxy.policy.networks import network_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastpath.peer_book import PeerBook
    from proxy.config import Config
    from proxy.settings.addresses import Address

STATS: Final = "/pks/lookup?op=stats&options=mr"
ASK_SECONDS: Final = 10.0
LOOK_UP_SECONDS: Final = 5.0
LOOK_UPS: Final = 8  # that are waited for at a time
MOST_OF_A_HOST: Final = 16  # addresses
RETRY_SECONDS: Final = 60.0
KEPT_SECONDS: Final = 7 * 86_400
LATE_SECONDS: Final = 3600  # without an answer: the operator should know


class PeerStatus(NamedTuple):
    """What an operator should know. Counts are those of the last answers."""

    answered: int  # seconds since 1970 of the last good answer; 0: never
    hosts: int  # that are known
    addresses: int  # that workers take for peers
    masked: int  # peers that the keyserver hides
    refused: int  # texts that are no hosts, and addresses that may not be a peer's
    unresolved: int  # names without an address
    left_out: int  # addresses for which there is no room


class Net:
    """Whom the watch asks: the upstreams, and the resolver of this machine."""

    async def stats(self, address: Address, *, introduce: bool) -> bytes:
        """Return the statistics of an upstream; FetchFailed if it does not give any."""
        return await fetch(address, STATS, seconds=ASK_SECONDS, most_bytes=MOST_BYTES, introduce=introduce)

    async def look_up(self, host: str) -> list[str]:
        """Return the addresses of a name; OSError if they are not found."""
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]


class PeerWatch:
    """The only writer of the book of peers of a node."""

    def __init__(
        self,
        config: Config,
        book: PeerBook,
        *,
        net: Net | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take up what is written down in HKPGUARD_STATE_DIR.

        If that is nothing, the book is left alone: it may still be right, of an analyst before.

        Args:
            config: The configuration.
            book: Of the node.
            net: Whom to ask.
            wall: The clock of the day, seconds since 1970.

        """
        self._log = structlog.get_logger().bind(process="analyst")
        self._book = book
        self._net = net or Net()
        self._wall = wall
        self._waiting: dict[str, asyncio.Task[tuple[str, ...]]] = {}  # look-ups that have not ended, by name
        self._answers: dict[str, tuple[tuple[str, ...], ...]] = {}  # the last good ones of each upstream, last first
        self._lists: dict[str, PeerList] = {}  # what each upstream said last
        self._problems: dict[str, str] = {}  # why an upstream did not answer
        self._hosts: dict[str, Resolved] = {}
        self._answered = 0
        self._refused = self._left_out = 0
        self._use(config)
        self._store = PeerStore(config.state_dir)
        learnt = self._store.load()
        if learnt is not None:
            self._take_up(learnt)
        if learnt is not None or not self._learn:
            self._publish()

    def _use(self, config: Config) -> None:
        self._learn = config.sync.learn
        self._pause = config.sync.refresh_ns / 1e9
        self._upstreams = {str(address): address for address in config.upstream}
        self._introduce = config.upstream_proxy_protocol == "v2"
        self._configured = network_set(config.peers)
        self._proxies = network_set(config.trusted_proxies)

    def _take_up(self, learnt: Learnt) -> None:
        self._answered = learnt.answered
        self._answers = {upstream: (named,) for upstream, named in learnt.upstreams.items()}
        self._hosts = learnt.hosts
        self._forget()

    # What the analyst calls.

    async def run(self) -> None:
        """Learn, again and again."""
        try:
            while True:
                good = await self.turn()
                await asyncio.sleep(self._pause if good else RETRY_SECONDS)
        finally:
            for task in self._waiting.values():
                task.cancel()

    async def turn(self) -> bool:
        """Ask all upstreams once; return whether there is nothing to try again soon."""
        if not self._learn:
            return True
        asked = dict(self._upstreams)
        lists = await asyncio.gather(*(self._ask(address) for address in asked.values()))
        answers = {upstream: peers for upstream, peers in zip(asked, lists, strict=True) if peers is not None}
        if not answers:
            return False
        named = {upstream: peers.hosts for upstream, peers in answers.items() if peers.hosts}
        found = await self._resolve(list(islice(_turns(named.values()), MOST_HOSTS)))
        masked = sum(peers.masked for peers in answers.values())
        if masked > sum(peers.masked for peers in self._lists.values()):
            self._log.info("peers are hidden, and must be named in HKPGUARD_PEERS", count=masked)
        self._lists = answers
        self._note(named, found)
        self._publish()
        if named:
            upstreams = {upstream: tuple(_turns(answers)) for upstream, answers in self._answers.items()}
            await asyncio.to_thread(self._store.save, Learnt(self._answered, upstreams, self._hosts))
        return len(answers) == len(asked)

    def reload(self, config: Config) -> None:
        """Go on by another configuration; peers of an upstream that is no more are none any more."""
        self._use(config)
        for known in (self._answers, self._lists, self._problems):
            for upstream in set(known) - set(self._upstreams):
                del known[upstream]
        self._forget()
        self._publish()

    @property
    def status(self) -> PeerStatus:
        """What is known, in numbers."""
        lists = self._lists.values()
        return PeerStatus(
            answered=self._answered,
            hosts=len(self._hosts),
            addresses=len(self._book.read().addresses),
            masked=sum(peers.masked for peers in lists),
            refused=sum(peers.refused for peers in lists) + self._refused,
            unresolved=sum(host not in self._hosts for host in self._wanted()),
            left_out=self._left_out,
        )

    @property
    def hosts(self) -> dict[str, Resolved]:
        """What is known, by name."""
        return dict(self._hosts)

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well.

        A keyserver that never told its peers, as only Hockeypuck does, is no fault.
        """
        silent_seconds = self._wall() - self._answered
        late = ""
        if self._learn and self._hosts and silent_seconds > LATE_SECONDS:
            why = "; ".join(dict.fromkeys(self._problems.values())) or "it names nobody"
            late = f"the keyserver has not told its peers for {int(silent_seconds // 60)} minutes ({why})"
        return "; ".join(filter(None, (late, self._store.problem)))

    # Upstreams.

    async def _ask(self, address: Address) -> PeerList | None:
        """Return what an upstream says of its peers, None if it does not."""
        upstream = str(address)
        try:
            peers = read(await self._net.stats(address, introduce=self._introduce))
        except (FetchFailed, BadStats) as error:
            if upstream not in self._problems:
                self._log.warning("peers could not be learnt", upstream=upstream, problem=str(error))
            self._problems[upstream] = str(error)
            return None
        if self._problems.pop(upstream, ""):
            self._log.info("peers are learnt again", upstream=upstream)
        return peers

    # Names.

    async def _resolve(self, hosts: list[str]) -> dict[str, tuple[str, ...]]:
        """Return the addresses of the hosts that have some, as far as they are found in time."""
        for host in [host for host, task in self._waiting.items() if task.done() and host not in hosts]:
            del self._waiting[host]
        places = asyncio.Semaphore(LOOK_UPS)

        async def resolve(host: str) -> tuple[str, ...]:
            async with places:
                return await self._addresses(host)

        found = await asyncio.gather(*map(resolve, hosts))
        return {host: addresses for host, addresses in zip(hosts, found, strict=True) if addresses}

    async def _addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host; none if they are not known in time.

        A look-up cannot be broken off: a thread of the resolver goes on with it. So one that takes longer is kept, and
        waited for in the next turn, rather than begun again: there is never more than one for a name, and never more
        than MOST_HOSTS.
        """
        task = self._waiting.get(host)
        if task is None:
            if len(self._waiting) >= MOST_HOSTS:
                return ()
            task = self._waiting[host] = asyncio.create_task(self._look_up_once(host))
        await asyncio.wait({task}, timeout=LOOK_UP_SECONDS)
        if not task.done():
            return ()
        del self._waiting[host]
        return task.result()

    async def _look_up_once(self, host: str) -> tuple[str, ...]:
        if _is_address(host):
            return (host,)
        try:
            found = {address_text(parse_address(text)) for text in await self._net.look_up(host)}
        except (OSError, ValueError):  # ValueError: not an address, or no name that can be asked for
            return ()
        return tuple(sorted(found)[:MOST_OF_A_HOST])

    # What is known.

    def _note(self, named: dict[str, tuple[str, ...]], found: dict[str, tuple[str, ...]]) -> None:
        now = int(self._wall())
        for upstream, hosts in named.items():
            self._answers[upstream] = (hosts, *self._answers.get(upstream, ())[:1])
        self._hosts |= {host: Resolved(addresses, now) for host, addresses in found.items()}
        if named:
            self._answered = now
        self._hosts = {host: known for host, known in self._hosts.items() if now - known.seen <= KEPT_SECONDS}
        self._forget()

    def _forget(self) -> None:
        """Forget hosts that nobody names."""
        self._hosts = {host: self._hosts[host] for host in self._wanted() if host in self._hosts}

    def _wanted(self) -> list[str]:
        """Return the hosts that the last good answers name, the newest answers first."""
        rounds = zip_longest(*(self._answers.get(upstream, ()) for upstream in self._upstreams), fillvalue=())
        return list(islice(dict.fromkeys(chain.from_iterable(_turns(each) for each in rounds)), MOST_HOSTS))

    # Shared memory.

    def _publish(self) -> None:
        addresses = self._exempt() if self._learn else []
        before = set(self._book.read().addresses)
        if set(addresses) != before:
            self._book.publish(addresses)
            self._log.info("peers learnt", hosts=len(self._hosts), addresses=len(addresses), before=len(before))

    def _exempt(self) -> list[bytes]:
        """Return the addresses that workers are to take for peers."""
        packed = list(dict.fromkeys(parse_address(text) for host in self._hosts.values() for text in host.addresses))
        allowed = [each for each in packed if self._may_be_exempt(each)]
        refused = len(packed) - len(allowed)
        if refused > self._refused:
            self._log.warning("addresses of peers refused: not public, or of a trusted proxy", count=refused)
        self._refused = refused
        self._left_out = max(0, len(allowed) - MOST_PEER_ADDRESSES)
        return allowed[:MOST_PEER_ADDRESSES]

    def _may_be_exempt(self, packed: bytes) -> bool:
        """Tell whether an address that a name leads to may be a peer's."""
        if self._configured.get(packed) is not None:
            return True
        return is_public(packed) and self._proxies.get(packed) is None


def _turns(lists: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield what is in the lists, each once, in turns, so that a long one does not crowd out the others."""
    rounds = zip_longest(*lists)
    return iter(dict.fromkeys(host for each in rounds for host in each if host is not None))


def _is_address(host: str) -> bool:
    try:
        return bool(parse_address(host))
    except ValueError:
        return False
