"""A warden with clocks that a test sets, over a table of bans and a folder that outlive it."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from fastpath import BAN_TABLE_BYTES, BanTable, client_key, key_text, parse_address, parse_network
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.warden import Warden
from tests.proxy.admin.records_for_tests import SECOND, block, record

if TYPE_CHECKING:
    from pathlib import Path

    from fastpath import Record
    from proxy.plugins.events import Event

SECRET = bytes(range(16))
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SETTINGS = {
    "HKPGUARD_BANS__LADDER": "30m,2h,8h",
    "HKPGUARD_BANS__WIDEN_IPV4": "3",
    "HKPGUARD_BANS__WIDEN_IPV6": "2",
}
KINDS = {
    "trap": {"reason": Reason.TRAP, "action": Action.TARPIT},
    "canary": {"reason": Reason.CANARY, "action": Action.ALLOW},
    "malformed": {
        "reason": Reason.MALFORMED,
        "action": Action.DENY,
        "status": 400,
        "operation": OperationClass.UNKNOWN,
    },
    "violation": {"reason": Reason.LIMIT, "action": Action.LIMIT, "status": 429, "operation": OperationClass.IDENTITY},
    "served": {},
    "unknown": {"status": 404},
    "refused": {"reason": Reason.BANNED, "action": Action.DENY, "status": 403},
}


def seconds(text: str) -> int:
    """Return how many seconds `90s`, `2h` or `-3d` are."""
    return int(text[:-1]) * UNITS[text[-1]]


class FakeNode:
    """The analyst's side of a node.

    Attributes:
        now_ns: CLOCK_MONOTONIC.
        day_ns: The clock of the day.
        warden: The present one.
        told: What it has published.
        exits: Clients and networks whose origin says that many people are behind an address.

    """

    def __init__(self, folder: Path, **settings: str) -> None:
        """Start it; `settings` without HKPGUARD_."""
        self.now_ns = 1000 * SECOND
        self.day_ns = 1_800_000_000 * SECOND
        self.state_dir = folder
        self._memory = memoryview(mmap.mmap(-1, BAN_TABLE_BYTES))
        self.settings = settings
        self.exits: set[int] = set()
        self._start()

    def config(self) -> Config:
        """Return the configuration."""
        given = {f"HKPGUARD_{name}": value for name, value in self.settings.items()}
        return Config.from_env(SETTINGS | {"HKPGUARD_STATE_DIR": str(self.state_dir)} | given)

    def _start(self) -> None:
        self.table = BanTable(self._memory, SECRET)
        clocks = {"clock": lambda: self.now_ns, "wall": lambda: self.day_ns}
        self.told: list[Event] = []
        self.warden = Warden(
            self.config(),
            self.table,
            random=lambda: 0.5,
            publish=self.told.append,
            is_shared=self.exits.__contains__,
            **clocks,
        )

    def restart(self, day: int = 0) -> None:
        """Stop and start again on another boot: memory and the monotonic clock begin anew, the folder is kept.

        `day`: seconds by which the clock of the day goes on meanwhile.
        """
        self.warden.close()
        self.crash(day)

    def crash(self, day: int = 0) -> None:
        """Start again on another boot, after one that ended without a word."""
        self.day_ns += day * SECOND
        self._memory = memoryview(mmap.mmap(-1, BAN_TABLE_BYTES))
        self.now_ns = 5 * SECOND
        self._start()

    def kill(self) -> None:
        """Kill the analyst, so that nothing more is written; another one takes its place in the same node."""
        self._start()

    def wait(self, text: str, *, turn: bool = True) -> None:
        """Let time pass."""
        self.now_ns += seconds(text) * SECOND
        self.day_ns += seconds(text) * SECOND
        if turn:
            self.warden.turn(self.now_ns)

    def set_clock(self, text: str) -> None:
        """Set the clock of the day forward or back."""
        self.day_ns += seconds(text) * SECOND

    def reload(self, **settings: str) -> None:
        """Reload with other settings."""
        self.settings.update(settings)
        self.warden.reload(self.config())

    def feed(self, kind: str, address: str, times: int = 1) -> None:
        """Hand over records of a client."""
        self.warden.feed(block(*[self.record(kind, address)] * times))

    def record(self, kind: str, address: str) -> Record:
        """Return a record of this moment."""
        return record(address, now_ns=self.now_ns, **KINDS[kind])  # type: ignore[arg-type]

    def in_table(self) -> dict[str, int]:
        """Return what workers see: seconds left by network."""
        return {
            key_text(entry.key): (entry.until_ns - self.now_ns) // SECOND for entry in self.table.entries(self.now_ns)
        }

    def left(self, address: str) -> int:
        """Return for how many seconds workers refuse a client; 0: they do not."""
        held = self.warden.account(client_key(parse_address(address))).ban
        kept_out = self.table.standing(parse_address(address), self.now_ns)
        assert bool(held) is bool(kept_out), "the table and the ladder agree"
        return (held.until_ns - self.now_ns) // SECOND if held else 0

    def rung(self, address: str) -> int:
        """Return the rung of a client."""
        return self.warden.account(parse_network(address)).rung


def do(node: FakeNode, event: str) -> None:
    """Let something happen: "4xtrap ADDRESS", "wait 1h", "clock +3d", "restart", "kill", "ban NETWORK 1h"..."""
    verb, *words = event.split()
    times, _, kind = verb.rpartition("x")
    if verb == "wait":
        node.wait(words[0])
    elif verb == "pass":
        node.wait(words[0], turn=False)
    elif verb == "clock":
        node.set_clock(words[0])
    elif verb == "restart":
        node.restart()
    elif verb == "crash":
        node.crash()
    elif verb == "kill":
        node.kill()
    elif verb == "ban":
        node.warden.ban(words[0], length_ns=seconds(words[1]) * SECOND)
    elif verb == "unban":
        node.warden.lift(words[0])
    else:
        node.feed(kind, words[0], int(times or 1))
