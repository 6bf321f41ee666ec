"""`python -m bench`: every claim of speed and memory, as a command.

Without a command it runs `proxies`, `memory` and `judge`; a quarter of an hour.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from bench import chart, machine, memory, openloop, report
from bench.cpu import ProcessGoneError
from bench.load import LoadError
from bench.openloop import OpenLoopError
from bench.peers import PROXIES
from bench.processes import StartError, choose_cores, pinned
from bench.rows import ROWS, Plan, Sample, measure
from bench.verify import AnswerError

ROUNDS, SECONDS = 9, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
ALL_PROXIES, ALL_ROWS = ",".join(PROXIES), "".join(ROWS)
MEMORY_PROXIES = "hkpguard,haproxy,nginx"
FAULTS = (StartError, LoadError, OpenLoopError, ProcessGoneError, AnswerError, OSError)
TABLE_WIDTH = 150  # also where the output is a file
HERE = Path(__file__).parent

Only = Annotated[str, typer.Option(help="Which proxies, comma-separated.")]
Rows = Annotated[str, typer.Option(help="Which rows, as one word.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each is measured.")]
Seconds = Annotated[float, typer.Option(min=1, help="Of one measurement.")]
Quick = Annotated[bool, typer.Option("--quick", help="One short round: does it work at all?")]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)
console = Console(width=max(TABLE_WIDTH, Console().width))


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
            _measure(plan, samples)
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


@contextmanager
def faults_end_it() -> Iterator[None]:
    """Turn a measurement that is not valid into one sentence and exit code 1."""
    try:
        yield
    except FAULTS as fault:
        console.print(f"not measured: {fault}", style="red", markup=False)
        raise typer.Exit(1) from fault


def _measure(plan: Plan, samples: list[Sample]) -> None:
    openloop.build()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("bench", total=plan.measurements)
        for sample in measure(plan):
            samples.append(sample)
            progress.update(task, advance=1, description=f"({sample.row}) round {sample.round + 1}")


def _publish(about: Mapping[str, object], samples: list[Sample]) -> None:
    summaries = report.summarise(samples)
    report.show(console, about, summaries)
    path = report.save("proxies", about, report.proxies_content(samples, summaries))
    pictures = chart.draw(summaries, path) if summaries else []
    console.print(*[path, *pictures], sep="\n")


if __name__ == "__main__":
    app(prog_name="python -m bench")
