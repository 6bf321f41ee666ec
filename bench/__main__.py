"""`python -m bench`: every claim of speed, memory and endurance, as a command.

Without a command it runs `proxies`, `memory` and `judge`; a quarter of an hour. `tarpit` takes five minutes more,
`attacks` three quarters of an hour, `scenarios` and `refresh` three or more each. `record` measures nothing: it
records traffic for models, in a quarter of an hour.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bench import (
    attacks,
    chart,
    cluster,
    cluster_scale,
    machine,
    memory,
    openloop,
    planes,
    precedence,
    refresh,
    replay,
    report,
    seclusion,
    stretches,
    swap,
    tarpit,
)
from bench.attacks import Siege
from bench.certserver import SOURCES
from bench.console import console, faults_end_it, followed, shortfalls_end_it
from bench.defenders import DEFENDERS
from bench.peers import PROXIES
from bench.processes import choose_cores, pinned
from bench.recording import plan as plans
from bench.recording import record
from bench.recording.catalogue import Family
from bench.redis_wire import Flow
from bench.refresh import Trial as RefreshTrial
from bench.rows import ROWS, Plan, Sample, measure
from bench.scenarios import alike
from bench.scenarios import plan as days
from bench.scenarios import table as fortunes
from bench.sieges import CONNECTIONS, SCENARIOS, Origin
from bench.tarpit import Trial

ROUNDS, SECONDS = 9, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
REPLAYED = 1_000_000
SIMULATED_CLIENTS = 1000  # a second of more takes minutes
ALL_PROXIES, ALL_ROWS = ",".join(PROXIES), "".join(ROWS)
MEMORY_PROXIES = "hkpguard,haproxy,nginx"
TARPITS = ",".join(tarpit.NAMES)
ORIGINS = ",".join(each.value for each in Origin)
HERE = Path(__file__).parent

Only = Annotated[str, typer.Option(help="Which proxies, comma-separated.")]
Rows = Annotated[str, typer.Option(help="Which rows, as one word.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each is measured.")]
Seconds = Annotated[float, typer.Option(min=1, help="Of one measurement.")]
Quick = Annotated[bool, typer.Option("--quick", help="One short round: does it work at all?")]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Run all of them if no command is named."""
    if context.invoked_subcommand is None:
        proxies()
        idle_memory()
        judge()


@app.command()
def proxies(
    *,
    only: Only = ALL_PROXIES,
    rows: Rows = ALL_ROWS,
    rounds: Rounds = ROUNDS,
    seconds: Seconds = SECONDS,
    quick: Quick = False,
) -> None:
    """Compare hkpguard with its peers, row by row."""
    plan = Plan(
        rows=chosen(list(rows), ROWS),
        proxies=chosen(only.split(","), PROXIES),
        rounds=QUICK_ROUNDS if quick else rounds,
        seconds=QUICK_SECONDS if quick else seconds,
        cores=choose_cores(),
    )
    about = machine.describe()
    samples: list[Sample] = []
    with faults_end_it():
        try:
            openloop.build()
            samples.extend(followed(measure(plan), plan.measurements, _turn))
        finally:  # a fault in the last row must not lose the others
            _publish(about, samples)


@app.command("memory")
def idle_memory(
    *,
    only: Only = MEMORY_PROXIES,
    connections: Annotated[int, typer.Option(min=1)] = memory.IDLE_CONNECTIONS,
) -> None:
    """Measure the guard at rest, and what an idle client connection costs."""
    names, cores = chosen(only.split(","), PROXIES), choose_cores()
    possible = memory.connections_possible(connections)
    with faults_end_it():
        rest = memory.at_rest(cores) if report.OURS in names else None
        each = {name: memory.per_connection(PROXIES[name], cores, possible) for name in names}
    console.print(memory.table(rest, each, possible))
    content = {"rest_bytes": rest, "connections": possible, "bytes_per_connection": each}
    console.print(report.save("memory", machine.describe(), content))


@app.command("tarpit")
def held_connections(
    *,
    only: Only = TARPITS,
    connections: Annotated[int, typer.Option(min=1)] = CONNECTIONS,
    rounds: Rounds = 5,
    seconds: Seconds = SECONDS,
) -> None:
    """Measure what connections cost that are held in the tarpit."""
    names = chosen(only.split(","), {name: name for name in tarpit.NAMES})
    possible = memory.connections_possible(connections)
    trial = Trial(connections=possible, turns=rounds, seconds=seconds, cores=choose_cores())
    about = machine.describe()
    figures: list[tarpit.Figures] = []
    with faults_end_it():
        try:
            figures.extend(tarpit.measure(name, trial) for name in names)
        finally:
            console.print(tarpit.table(figures, possible))
            console.print(report.save("tarpit", about, tarpit.content(figures, possible)))


@app.command("attacks")
def under_attack(  # noqa: PLR0913 - its options
    *,
    only: Annotated[str, typer.Option(help="Who is attacked, comma-separated.")] = ",".join(DEFENDERS),
    scenarios: Annotated[str, typer.Option(help="Which attacks, comma-separated.")] = ",".join(SCENARIOS),
    origins: Annotated[str, typer.Option(help="From many addresses, from one, or both.")] = ORIGINS,
    connections: Annotated[int, typer.Option(min=1)] = CONNECTIONS,
    rounds: Rounds = 3,
    seconds: Seconds = 4.0,
) -> None:
    """Measure what honest clients notice while 10,000 hostile connections are open."""
    seclusion.seclude()
    precedence.take()
    siege = Siege(
        scenarios=chosen(scenarios.split(","), SCENARIOS),
        defenders=chosen(only.split(","), DEFENDERS),
        origins=[Origin(each) for each in chosen(origins.split(","), {each.value: each for each in Origin})],
        connections=memory.connections_possible(connections),
        rounds=rounds,
        seconds=seconds,
        cores=choose_cores(),
    )
    about = machine.describe()
    outcomes: list[attacks.Outcome] = []
    with faults_end_it():
        try:
            cases = len([*siege.cases()])
            outcomes.extend(followed(attacks.measure(siege), cases, _attack))
        finally:
            console.print(attacks.table(outcomes))
            console.print(report.save("attacks", about, attacks.content(outcomes)))
    invalid = [each for each in outcomes if each.invalid]
    shortfalls_end_it(
        f"not measured: {each.scenario} from {each.origin}, {each.defender}: {each.invalid}" for each in invalid
    )


@app.command("scenarios")
def virtual_days(
    *,
    profile: Annotated[str, typer.Option(help=f"Which limits: {' or '.join(days.PROFILES)}.")] = "default",
    hours: Annotated[float, typer.Option(min=0.1, help="Of virtual time.")] = 24.0,
    only: Annotated[str, typer.Option(help="Which scenarios, comma-separated.")] = ",".join(days.SCENARIOS),
    bans: Annotated[bool, typer.Option(help="Whether refusals lead to bans, as they do by default.")] = True,
) -> None:
    """Let the real policy meet people, scrapers and vandals in virtual time; exit code 1 if a goal is missed.

    HKPGUARD_* settings of the environment hold.
    """
    [name] = chosen([profile], days.PROFILES)
    own = days.of_operator(os.environ)
    environ = {**days.PROFILES[name], **({} if bans else days.NO_BANS), **own}
    keys = chosen(only.split(","), days.SCENARIOS)
    outcomes = [days.play(days.SCENARIOS[key], environ, hours) for key in followed(keys, len(keys), str)]
    title = ", ".join([f"{hours:g} h, limits: {name}{'' if bans else ', no bans'}", *map("=".join, own.items())])
    console.print(fortunes.table(outcomes, title))
    console.print(fortunes.LEGEND, style="dim")
    console.print(report.save("scenarios", machine.describe(), fortunes.content(outcomes, title)))
    raise typer.Exit(bool(fortunes.missed(outcomes)))


@app.command("cohorts")
def cohorts(
    only: Annotated[str, typer.Option(help="Which scenarios, comma-separated.")] = "walk-slow,walk-fast,tor-uploads",
) -> None:
    """Tell who is named as a member of a cohort, of walkers, flooders and honest people in virtual time."""
    keys = chosen(only.split(","), days.SCENARIOS)
    console.print(alike.table({key: alike.watched(days.SCENARIOS[key]) for key in keys}))


@app.command("refresh")
def refreshes(
    *,
    only: Annotated[str, typer.Option(help=f"Which of {', '.join(refresh.PROXIES)}.")] = ",".join(refresh.USUAL),
    keys: Annotated[int, typer.Option(min=1, help="In the keyring.")] = refresh.KEYS,
    seconds: Annotated[float, typer.Option(min=0, help="That the scrapers go on; 0: none.")] = refresh.SECONDS,
    answer_ms: Annotated[int, typer.Option(min=0, help="That each answer takes more.")] = refresh.ANSWER_MS,
    upstream: Annotated[str, typer.Option(help=f"Which keyserver: {' or '.join(SOURCES)}.")] = refresh.FILES,
) -> None:
    """Refresh a keyring with gpg beside two scrapers, through hkpguard and through HAProxy's stick table."""
    names = chosen(only.split(","), refresh.PROXIES)
    [source] = chosen([upstream], SOURCES)
    trial = RefreshTrial(keys=keys, seconds=seconds, answer_ms=answer_ms, upstream=source, proxies=names)
    about = machine.describe()
    with faults_end_it(), console.status("gpg and scrapers are at work"):
        outcomes = refresh.measure(trial)
    console.print(refresh.table(outcomes, trial))
    console.print(report.save("refresh", about, refresh.content(outcomes, trial)))


@app.command("record")
def recording(
    *,
    out: Annotated[Path, typer.Option(help="A folder, made if need be: runs.jsonl and the access logs.")],
    only: Annotated[str, typer.Option(help="Which families, comma-separated.")] = ",".join(Family),
    minutes: Annotated[float, typer.Option(min=0.1, help="That the recording takes.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Of the plan.")] = 1,
) -> None:
    """Record what real programs, honest and hostile, do in front of a real keyserver: what models learn from."""
    families = [Family(each) for each in chosen(only.split(","), {each.value: each for each in Family})]
    absent = plans.missing()
    if absent:
        console.print(f"not installed, so not recorded: {', '.join(sorted(absent))}", style="yellow")
    with faults_end_it(), console.status("programs are at work"):
        planned = plans.runs(families, seed, absent)
        lines = record.record(out, planned, minutes)
    console.print(record.table(lines))
    console.print(f"{len(planned) - len(lines)} of {len(planned)} runs had no time to begin")


@app.command("replay")
def replayed(*, lines: Annotated[int, typer.Option(min=1, help="Of the log that is made up.")] = REPLAYED) -> None:
    """Measure how many lines of a log `hkpguard replay` judges in a second."""
    per_cpu_s, per_s = replay.measure(lines)
    console.print(f"{per_cpu_s:,.0f} lines a second of CPU time, {per_s:,.0f} a second of real time; goal 50,000")


@app.command("planes")
def both_planes(*, rounds: Rounds = 6, seconds: Seconds = 4.0) -> None:
    """Measure what the analyst, with every plugin on, costs the workers."""
    precedence.take()
    about = machine.describe()
    with faults_end_it():
        rate, measured = planes.measure(choose_cores(), rounds, seconds)
    console.print(planes.table(rate, measured))
    console.print(report.save("planes", about, planes.content(rate, measured)))


@app.command("stretches")
def stretches_of_uploads(*, uploads: Annotated[int, typer.Option(min=1)] = stretches.UPLOADS) -> None:
    """Measure how long large uploads keep a worker from its other connections; exit code 1 beyond the goal."""
    about = machine.describe()
    with faults_end_it():
        measured = list(followed(stretches.measure(choose_cores(), uploads), stretches.CASES, lambda each: each.case))
    console.print(stretches.table(measured))
    console.print(report.save("stretches", about, stretches.content(measured)))
    shortfalls_end_it(stretches.shortfalls(measured))


@app.command("swap")
def swapped(*, rounds: Rounds = 5, seconds: Seconds = 4.0) -> None:
    """Swap a million prefixes under full load; exit code 1 if a request failed, or p99 is 5 % longer."""
    about = machine.describe()
    with faults_end_it():
        measured = swap.measure(choose_cores(), rounds, seconds)
    console.print(swap.table(measured))
    console.print(report.save("swap", about, swap.content(measured)))
    shortfalls_end_it(swap.missed(measured))


@app.command("cluster")
def with_redis(*, rounds: Rounds = 4, seconds: Seconds = SECONDS) -> None:
    """Measure what Redis costs, there and lost; exit code 1 if the guard's CPU or p99 grows by more than 5 %."""
    seclusion.seclude()
    precedence.take()
    about = machine.describe()
    measured: list[cluster.Round] = []
    with faults_end_it():
        try:
            measured.extend(cluster.measure(choose_cores(), rounds, seconds))
        finally:
            console.print(cluster.table(measured))
            console.print(report.save("cluster", about, cluster.content(measured)))
    shortfalls_end_it(cluster.missed(measured))


@app.command("cluster-scale")
def what_redis_is_asked(
    *, seconds: Annotated[float, typer.Option(min=1, help="Of each run, virtual or not.")] = 3.0
) -> None:
    """Tell what clusters of 2 to 1000 nodes ask of Redis: by a formula, a simulation and a Redis that counts."""
    loads = [cluster_scale.Load(nodes, clients) for nodes in (2, 10, 100, 1000) for clients in (100, 1000, 10_000)]
    tried = cluster_scale.Load(10, 100)
    with faults_end_it(), console.status("nodes are at work"):
        rows = [cluster_scale.row(load, seconds if load.clients <= SIMULATED_CLIENTS else 0) for load in loads]
        real = cluster_scale.counted(tried, seconds, choose_cores().proxy)
        most = cluster_scale.carried(1.0, choose_cores().proxy)
    console.print(cluster_scale.table(rows))
    ratios = ((name, getattr(real, name) / getattr(cluster_scale.exchanged(tried), name)) for name in Flow.__slots__)
    shown = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios)
    console.print(f"a real Redis, asked by 10 nodes for 100 clients: of what the formula says, {shown}")
    console.print(f"one core of this machine in Redis: {most:,.0f} levels a second")
    console.print(report.save("cluster-scale", machine.describe(), cluster_scale.content(rows, real, most)))


@app.command()
def judge() -> None:
    """Time single calls with pytest-benchmark: a limit decision, the whole judge."""
    report.OUT.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", str(HERE), "--benchmark-only", "-p", "no:randomly", "-q"]
    command.append(f"--benchmark-json={report.OUT / 'judge.json'}")
    raise typer.Exit(subprocess.run(pinned(command, choose_cores().proxy), check=False).returncode)


def chosen(names: list[str], known: Mapping[str, object]) -> list[str]:
    """Return `names`, all of them known, in the order given.

    Raises:
        typer.BadParameter: one is not known.

    """
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    return names


def _turn(sample: Sample) -> str:
    return f"({sample.row}) round {sample.round + 1}"


def _attack(outcome: attacks.Outcome) -> str:
    return f"{SCENARIOS[outcome.scenario].title}, from {outcome.origin}"


def _publish(about: Mapping[str, object], samples: list[Sample]) -> None:
    summaries = report.summarise(samples)
    report.show(console, about, summaries)
    path = report.save("proxies", about, report.proxies_content(samples, summaries))
    pictures = chart.draw(summaries, path) if summaries else []
    console.print(*[path, *pictures], sep="\n")


if __name__ == "__main__":
    app(prog_name="python -m bench")
