"""From the catalogue to runs: addresses, dice, moments and ways, all from one seed."""

import random
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Final

from bench.recording.catalogue import TOOLS, Case, Family, Tool

SHADOW: Final = "shadow"
ENFORCE: Final = "enforce"
FIRST_NETWORK, PEER_NETWORK = 16 << 8, 200 << 8  # 127.16.0.0/24, 127.200.0.0/24
PEERS = "127.200.0.0/13"
START_SHARE = 0.6  # of the time; runs that are not patient begin within it
PATIENT_START_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run to be made; `after` is the share of the recording's time that passes before it begins."""

    name: str
    tool: Tool
    case: Case
    mode: str
    seed: int
    addresses: Sequence[str]
    after: float


def missing(tools: Sequence[Tool] = TOOLS) -> set[str]:
    """Return the programs that tools need and this machine does not have."""
    return {program for tool in tools for program in tool.needs if shutil.which(program) is None}


def runs(families: Collection[Family], seed: int, absent: Collection[str] = ()) -> list[Run]:
    """Return the runs of these families, but for tools whose programs are absent; those that begin first come first."""
    dice = random.Random(seed)  # noqa: S311 - the same plan for the same seed
    networks = {False: count(FIRST_NETWORK), True: count(PEER_NETWORK)}
    planned = [
        Run(
            name=f"{tool.name.replace(' ', '-')}-{number}",
            tool=tool,
            case=case,
            mode=mode,
            seed=dice.getrandbits(32),
            addresses=_addresses(dice, case, networks[tool.family is Family.PEER]),
            after=dice.uniform(0, PATIENT_START_SHARE if case.patient else START_SHARE),
        )
        for tool in TOOLS  # the others take their dice, too, so a part of the plan is as it is in the whole
        for number, (case, mode) in enumerate(_cases(tool))
    ]
    wanted = [each for each in planned if each.tool.family in families and not {*each.tool.needs} & {*absent}]
    return sorted(wanted, key=lambda run: run.after)


def _cases(tool: Tool) -> Iterator[tuple[Case, str]]:
    for case in tool.cases:
        yield case, SHADOW
    for case in tool.cases[: tool.enforced]:
        yield case, ENFORCE


def _addresses(dice: random.Random, case: Case, networks: Iterator[int]) -> list[str]:
    """Draw addresses that are nobody else's, in networks that are nobody else's."""
    own = [next(networks) for _ in range(case.networks)]
    hosts = dice.sample(range(1, 255), case.addresses)
    return [f"127.{network >> 8}.{network & 255}.{host}" for network, host in zip(cycle(own), hosts, strict=False)]
