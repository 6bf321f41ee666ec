"""The console of all commands: how far they are, and what ends them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from bench.fault import MeasurementError

T = TypeVar("T")
TABLE_WIDTH: Final = 190  # also where the output is a file

console: Final = Console(width=max(TABLE_WIDTH, Console().width))


def followed(each_of: Iterable[T], total: int, title: Callable[[T], str]) -> Iterator[T]:
    """Yield one after the other, and show meanwhile the title of the last one and how many are to come."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        for each in each_of:
            progress.update(task, description=title(each))
            yield each
            progress.advance(task)


@contextmanager
def faults_end_it() -> Iterator[None]:
    """Turn a measurement that is not valid into one sentence and exit code 1."""
    try:
        yield
    except (MeasurementError, OSError) as fault:
        console.print(f"not measured: {fault}", style="red", markup=False)
        raise typer.Exit(1) from fault


def shortfalls_end_it(sentences: Iterable[str]) -> None:
    """Say what is not as it should be, and end with exit code 1 if anything is not."""
    said = list(sentences)
    for sentence in said:
        console.print(sentence, style="red", markup=False)
    if said:
        raise typer.Exit(1)
