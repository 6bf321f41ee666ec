"""What the analyst makes of refusals: records, offences, the ladder, the table of bans; in virtual time.

It is the part of `proxy.warden` that decides, without its files and its clocks of the day. The analyst is a second
late at most; here it is not late at all.
"""

from collections.abc import Callable, Iterable
from typing import Final

from fastpath import BanTable, Record, client_key
from fastpath.record import NO_UPSTREAM
from proxy.config import Config
from proxy.hkp.operation import Operation
from proxy.policy.exemptions import LOCAL_PROXIES, Exemptions
from proxy.policy.judge import Verdict
from proxy.policy.ladder import Ladder
from proxy.policy.networks import Network
from proxy.policy.offences import SHADOWS, Episodes, OffenceKind, offence_of

EXPIRE_NS: Final = 1_000_000_000
_NOBODY: Final = Record(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NO_UPSTREAM, b"", b"")


class Bans:
    """The only writer of the bans of a node.

    Attributes:
        placed: How many bans were earned.
        due_ns: When `turn` has something to do.

    """

    def __init__(
        self, config: Config, table: BanTable, random: Callable[[], float], exits: Iterable[Network] = ()
    ) -> None:
        """`random` returns numbers from 0.0 to 1.0, without 1.0; `exits`: shared ones that the settings do not name."""
        never = config.allow + config.peers + config.trusted_proxies
        exemptions = Exemptions(never, (*config.shared_exits, *exits, *LOCAL_PROXIES))
        modes = {config.mode, config.bans.mode}
        self._off = "off" in modes
        self._shadow = "shadow" in modes
        self._canaries_count = config.traps.mode == "enforce" or self._shadow
        self._verdicts_count = config.verdicts.mode == "enforce" or (self._shadow and config.verdicts.mode == "shadow")
        self._ladder = Ladder(config.bans, exemptions, random)
        self._table = table
        self._episodes = Episodes()
        self.due_ns = 0
        self.placed = 0

    def note(self, address: bytes, operation: Operation, verdict: Verdict, now_ns: int) -> None:
        """Look at a request that was not simply allowed; a ban that it earns is in force when this returns."""
        if self._off:
            return
        record = _NOBODY._replace(
            time_ns=now_ns,
            client=client_key(address),
            status=verdict.status,
            operation=operation.kind,
            action=verdict.shadow + SHADOWS if verdict.shadow else verdict.action,
            reason=verdict.reason,
        )
        kind = offence_of(record, shadow=self._shadow)
        if kind is OffenceKind.CANARY and not self._canaries_count:
            return
        if kind is None or not self._episodes.counts(kind, record.client, record.operation, now_ns):
            return
        self._offend(record.client, kind, now_ns)

    def convict(self, client: int, now_ns: int) -> None:
        """Count a verdict as an offence, unless verdicts bind nobody."""
        if not self._off and self._verdicts_count:
            self._offend(client, OffenceKind.VERDICT, now_ns)

    def _offend(self, client: int, kind: OffenceKind, now_ns: int) -> None:
        if self._ladder.offend(client, kind, now_ns) is not None:
            self.placed += 1
            self._place_changes(now_ns)

    def turn(self, now_ns: int) -> None:
        """End the bans that are over; as often as one likes."""
        if now_ns >= self.due_ns:
            self.due_ns = now_ns + EXPIRE_NS
            self._ladder.expire(now_ns)
            self._place_changes(now_ns)

    def _place_changes(self, now_ns: int) -> None:
        for key in self._ladder.take_changes():
            until_ns = self._ladder.until(key, now_ns)
            if until_ns:
                self._table.put(key, until_ns)
            else:
                self._table.remove(key)
