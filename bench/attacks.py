"""What honest clients notice of an attack, and what it costs the guard.

For each scenario a fresh guard (so that no ban or memory of one attack is in the next) is loaded by honest clients at
a moderate, fixed rate, first quiet, then with the attack at its full strength: rounds of a few seconds each, of which
the medians count. Ratios are taken within one guard. Its memory is read between the rounds, at rest and at the end of
the attack.

Guard, keyserver and honest clients go before all other programs of the machine (`bench.precedence`), the attackers
after them. Where they may not, others delay the generator or take the guard's core, and the host may take either
anyhow: then a round is repeated, chosen by that and never by what the guard did, and what failed in it counts all the
same.

With one address the caps and bans of the guard do their work, and few connections stay open; with many addresses all
should be. A measurement is not valid if the attack was not at its strength, if honest requests failed before it, if the
generator was late by more than half of what it measured, or if others had a good part of the guard's core.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from math import inf
from statistics import median

from rich.table import Table

from bench import attackers, precedence, visitors
from bench.attackers import AttackError, Force
from bench.cpu import Meter, ProcessGoneError, busiest, snapshot
from bench.defenders import DEFENDERS, KEYSERVER, prove
from bench.load import Client
from bench.memory import kernel_bytes, pss_bytes
from bench.openloop import PUNCTUAL_US
from bench.peers import ROOT, Running, Setup, serving
from bench.processes import Cores, free_port, scratch
from bench.report import OURS
from bench.sieges import MIB, PACE, SCENARIOS, Origin, Scenario
from bench.verify import verify
from bench.visitors import Crowd, Experience, VisitorsError

RATES = {Client.KEEPALIVE: 2000.0, Client.DIRMNGR: 200.0}
TLS_RATES = {Client.KEEPALIVE: 1000.0, Client.DIRMNGR: 50.0}  # a handshake costs the generator half a ms
MOST_RATIO = 2.0
WARM_UP_S = 1.0
ATTACK_SPARE_S = 60.0
ROUND_SPARE_S = 8.0  # what a round may take beyond its time: start, warm-up, patience for the last answers
ATTEMPTS = 5
ALONE = 0.2  # share of the guard's core that others may have in a calm round; ticks tell it to a tenth
CROWDED = 0.4
STOLEN = 0.004  # of a core: half of the hundredth of all requests that the p99 is made of
STRONG = 0.8  # of the connections held, or of the pace kept where the guard lets none stay
LATE = 0.5
BAN_TIMEOUT_S = 20.0
FAULTS = (AttackError, VisitorsError, ProcessGoneError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Siege:
    """What to run: scenarios, defenders and origins by name, how strong, rounds of how many seconds, cores."""

    scenarios: Sequence[str]
    defenders: Sequence[str]
    origins: Sequence[Origin]
    connections: int
    rounds: int
    seconds: float
    cores: Cores

    def cases(self) -> Iterator[tuple[Scenario, Origin, str]]:
        """Yield what is measured, in this order."""
        for key in self.scenarios:
            for origin in SCENARIOS[key].origins:
                if origin in self.origins:
                    yield from ((SCENARIOS[key], origin, name) for name in self.defenders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A few seconds.

    Attributes:
        met: What the honest clients met.
        core_share: Of the guard's core (0..1), what the guard had.
        foreign_share: What others took of it: nothing where ours go first, for they had what was left.
        stolen_share: Of one core, what the host took from all of them.
        counted: Honest requests, those of repeated rounds too.
        failed: Of these, how many went wrong.

    """

    met: Mapping[Client, Experience]
    core_share: float
    foreign_share: float
    stolen_share: float
    counted: int
    failed: int

    @property
    def disturbance(self) -> float:
        """How far it is from what is good enough (1.0): lateness of the generator, cores used by others."""
        late_us = self.met[Client.KEEPALIVE].late_p99_us
        return max(late_us / PUNCTUAL_US, self.foreign_share / ALONE, self.stolen_share / STOLEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One defender in one scenario.

    Attributes:
        scenario: Its key.
        origin: Where the attack came from.
        defender: Who was attacked.
        quiet: The rounds before.
        attacked: The rounds meanwhile.
        held: Connections of the attackers before and after the latter.
        opened: Connections that our own attackers opened, a second; 0: not known.
        rest_bytes: Pss of the whole tree before.
        attacked_bytes: The same at the end of the attack.
        bound_bytes: What that may be.
        kernel_bytes: How much more the kernel had at the end of the attack, for both ends of all connections.
        invalid: Why this means nothing; empty: it does.

    """

    scenario: str
    origin: str
    defender: str
    quiet: Sequence[Round] = ()
    attacked: Sequence[Round] = ()
    held: tuple[int, int] = (0, 0)
    opened: float = 0.0
    rest_bytes: int = 0
    attacked_bytes: int = 0
    bound_bytes: int = 0
    kernel_bytes: int = 0
    invalid: str = ""

    def p99_us(self, kind: Client) -> tuple[float, float]:
        """Return the medians of the rounds' 99th percentiles, before and meanwhile."""
        quiet, attacked = ([each.met[kind].p99_us for each in rounds] for rounds in (self.quiet, self.attacked))
        return median(quiet), median(attacked)

    def ratio(self, kind: Client) -> float:
        """Return how many times the p99 before the p99 meanwhile is; infinity if nothing was answered."""
        quiet_us, attacked_us = self.p99_us(kind)
        return attacked_us / quiet_us if quiet_us and attacked_us else inf

    @property
    def errors(self) -> int:
        """Honest requests that failed meanwhile."""
        return sum(each.failed for each in self.attacked)

    @property
    def requests(self) -> int:
        """Honest requests meanwhile."""
        return sum(each.counted for each in self.attacked)

    def missed(self) -> list[str]:
        """Return which goals were missed."""
        goals = {
            "p99": all(self.ratio(kind) < MOST_RATIO for kind in Client if kind in self.quiet[0].met),
            "errors": self.errors == 0,
            "memory": self.attacked_bytes <= self.bound_bytes,
        }
        return [name for name, met in goals.items() if not met]


def measure(siege: Siege) -> Iterator[Outcome]:
    """Yield outcomes as they are found; one that is not valid says so.

    Raises:
        StartError: a program does not run.
        AnswerError: it does not do what it is for, even before it is attacked.

    """
    for scenario, origin, name in siege.cases():
        try:
            yield _case(scenario, origin, name, siege)
        except FAULTS as fault:
            yield Outcome(scenario=scenario.key, origin=origin.value, defender=name, invalid=str(fault))


def _case(scenario: Scenario, origin: Origin, name: str, siege: Siege) -> Outcome:
    crowd = Crowd(rates=TLS_RATES if scenario.tls else RATES, tls=scenario.tls)
    force = Force(
        siege.connections, ATTEMPTS * siege.rounds * (siege.seconds + ROUND_SPARE_S) + ATTACK_SPARE_S, siege.cores.load
    )
    with _guarded(scenario, origin, name, siege.cores) as guard:
        ran = snapshot(guard.pid)
        visitors.measure(guard.port, crowd, WARM_UP_S, core=siege.cores.load)
        precedence.concede(guard.pid, but=busiest(ran, snapshot(guard.pid)))
        quiet = _rounds(guard, crowd, siege)
        rest_bytes, kernel_before = pss_bytes(guard.pid), kernel_bytes()
        with attackers.attacking(scenario, origin, guard.port, force) as attack:
            before = attack.gather()
            attacked = _rounds(guard, crowd, siege)
            attacked_bytes, kernel_after = pss_bytes(guard.pid), kernel_bytes()
            after = attack.held()
    outcome = Outcome(
        scenario=scenario.key,
        origin=origin.value,
        defender=name,
        quiet=quiet,
        attacked=attacked,
        held=(before, after),
        opened=attack.opened_per_s,
        rest_bytes=rest_bytes,
        attacked_bytes=attacked_bytes,
        bound_bytes=rest_bytes + scenario.bound_bytes(siege.connections),
        kernel_bytes=kernel_after - kernel_before,
    )
    return replace(outcome, invalid=doubt(outcome, siege.connections))


def doubt(outcome: Outcome, connections: int) -> str:
    """Return why `outcome` means nothing; empty: it does mean something."""
    if failed := sum(each.failed for each in outcome.quiet):
        return f"{failed} honest requests failed before the attack"
    if (foreign := median(each.foreign_share for each in outcome.attacked)) > CROWDED:
        return f"others had {foreign:.2f} of the guard's core"
    for kind in outcome.attacked[0].met:
        late_us = median(each.met[kind].late_p99_us for each in outcome.attacked)
        if late_us > LATE * outcome.p99_us(kind)[1]:
            return f"the honest generator was late itself, by {late_us / 1000:.2f} ms ({kind.value})"
    if outcome.origin == Origin.ONE.value or SCENARIOS[outcome.scenario].script is None:
        return ""  # the caps hold it down; and slowhttptest does not come again when it is turned away
    if min(outcome.held) < STRONG * connections and outcome.opened < STRONG * PACE:
        return f"a weak attack: {min(outcome.held)} of {connections} connections held, {outcome.opened:.0f}/s opened"
    return ""


@contextmanager
def _guarded(scenario: Scenario, origin: Origin, name: str, cores: Cores) -> Iterator[Running]:
    """Run keyserver and defender, proven to work."""
    setup = Setup.TLS if scenario.tls else Setup.OPEN
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(serving(KEYSERVER, folder, core=cores.load))
        prove(server)
        admin = free_port()
        program = DEFENDERS[name](scenario, origin, admin)
        guard = stack.enter_context(serving(program, folder, upstream=server.port, setup=setup, core=cores.proxy))
        verify(guard, server, setup)
        if scenario.banned and name == OURS:
            _ban(scenario.source(0, origin), admin, server.port)
        yield guard


def _ban(address: str, admin: int, server: int) -> None:
    """Ban `address` as an operator does.

    Raises:
        AttackError: hkpguard did not.

    """
    env = {"HKPGUARD_ADMIN": f"127.0.0.1:{admin}", "HKPGUARD_UPSTREAM": f"http://127.0.0.1:{server}"}
    command = [sys.executable, "-m", "proxy", "ban", address, "--for", "1h"]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=BAN_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise AttackError(f"{address} was not banned: {done.stderr or done.stdout}")


def _round(guard: Running, crowd: Crowd, siege: Siege) -> Round:
    """Return the calmest of up to ATTEMPTS rounds."""
    rounds: list[Round] = []
    while len(rounds) < ATTEMPTS and all(each.disturbance > 1.0 for each in rounds):
        meter = Meter(guard.pid, siege.cores.proxy)
        met = visitors.measure(guard.port, crowd, siege.seconds, core=siege.cores.load)
        figures = meter.figures(sum(each.sent for each in met.values()))
        rounds.append(
            Round(
                met=met,
                core_share=figures["core_share"],
                foreign_share=0.0 if precedence.is_taken() else figures["foreign_share"],
                stolen_share=figures["stolen_share"],
                counted=sum(each.counted for each in met.values()),
                failed=sum(each.failed for each in met.values()),
            )
        )
    counted, failed = sum(each.counted for each in rounds), sum(each.failed for each in rounds)
    return replace(min(rounds, key=lambda each: each.disturbance), counted=counted, failed=failed)


def _rounds(guard: Running, crowd: Crowd, siege: Siege) -> list[Round]:
    return [_round(guard, crowd, siege) for _ in range(siege.rounds)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the figures as a table."""
    shown = Table(title="Under attack; medians of the rounds", title_justify="left")
    for heading in ("scenario", "from", "guard"):
        shown.add_column(heading, no_wrap=True)
    for heading in (
        "held",
        "p99 ms",
        "x",
        "gpg p99 ms",
        "x",
        "failed",
        "MB (bound)",
        "kernel",
        "core",
        "others",
        "goals",
    ):
        shown.add_column(heading, justify="right", no_wrap=True)
    for each in outcomes:
        shown.add_row(each.scenario, each.origin, each.defender, *_cells(each))
    return shown


def _cells(outcome: Outcome) -> list[str]:
    if not outcome.attacked:
        return ["-"] * 10 + ["not measured"]
    cells = [f"{min(outcome.held):,}"]
    for kind in (Client.KEEPALIVE, Client.DIRMNGR):
        quiet_us, attacked_us = outcome.p99_us(kind)
        cells += [f"{quiet_us / 1000:.2f} > {attacked_us / 1000:.2f}", f"{outcome.ratio(kind):.2f}"]
    ours = outcome.defender == OURS
    bound = f" ({outcome.bound_bytes / MIB:.0f})" if ours else ""
    shares = (median(each.core_share for each in rounds) for rounds in (outcome.quiet, outcome.attacked))
    return [
        *cells,
        f"{outcome.errors:,} of {outcome.requests:,}",
        f"{outcome.rest_bytes / MIB:.0f} > {outcome.attacked_bytes / MIB:.0f}{bound}",
        f"{outcome.kernel_bytes / MIB:+.0f}",
        " > ".join(f"{share:.2f}" for share in shares),
        f"{median(each.foreign_share for each in outcome.attacked):.2f}",
        _verdict(outcome) if ours or outcome.invalid else "",
    ]


def _verdict(outcome: Outcome) -> str:
    if outcome.invalid:
        return "invalid"
    missed = outcome.missed()
    return f"MISSED: {', '.join(missed)}" if missed else "met"


def content(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return what is saved: all that was measured, and what the goals say."""
    return {"outcomes": [{**asdict(each), "goals": _verdict(each)} for each in outcomes]}
