"""Makes a recording: starts the keyserver and two guards, lets all runs of the plan happen, and writes down what did.

All is bounded: the runs by their acts, programs that work by PROGRAMS_AT_A_TIME, each program and the whole by time.
What has not ended by then is ended, and its line says so.
"""

import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.table import Table

from bench.peers import ROOT
from bench.processes import free_port, running, scratch
from bench.recording import world as worlds
from bench.recording.catalogue import Family
from bench.recording.plan import ENFORCE, PEERS, SHADOW, Run
from bench.recording.relay import relaying
from bench.recording.session import Session
from bench.recording.world import World

PROGRAMS_AT_A_TIME = 24  # runs that are not patient
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - on a disk onak takes three times as long
LAST_LINES_S = 2.0  # for what the guards have still to write
DEBIAN, MADE = 905, 700
COMMON = {
    "LOG__ACCESS": "on",
    "LOG__FORMAT": "json",
    "LOG__ADDRESSES": "on",
    "LOG__SUBJECTS": "on",
    "WORKERS": "1",
    "TABLE_CLIENTS": "16384",
    "PEERS": PEERS,
    "SYNC__LEARN": "off",
}
MODES = {
    SHADOW: {
        "MODE": "shadow", "BANS__MODE": "shadow", "TRAPS__MODE": "shadow", "UPLOADS__MODE": "shadow", "UNKNOWN": "pass",
        "CONNECTIONS_PER_CLIENT": "0", "CONNECTIONS_PER_NETWORK": "0",
    },
    ENFORCE: {},
}  # fmt: skip


Line = dict[str, object]


class Guard(NamedTuple):
    """A running guard: its port, and where all that it writes goes."""

    port: int
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What became of a run; `ended` is "done", "time" (it was ended with the recording) or what went wrong."""

    run: Run
    begin: str
    end: str
    ended: str
    connections: int
    told: Counter[str] = field(default_factory=Counter)

    def line(self, requests: int) -> Line:
        """Return the run's line of runs.jsonl."""
        run = self.run
        return {
            "run": run.name,
            "tool": run.tool.name,
            "family": run.tool.family.value,
            "label": run.tool.family.label,
            "split": run.tool.split.value,
            "mode": run.mode,
            "what": run.case.what,
            "rtt_ms": run.case.rtt_ms,
            "seed": run.seed,
            "addresses": list(run.addresses),
            "begin": self.begin,
            "end": self.end,
            "ended": self.ended,
            "connections": self.connections,
            "requests": requests,
            "told": dict(self.told),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all runs share: the world, the port of the guard in each mode, and how long it all takes."""

    world: World
    ports: Mapping[str, int]
    seconds: float


def record(out: Path, planned: Sequence[Run], minutes: float, *, debian: int = DEBIAN, made: int = MADE) -> list[Line]:
    """Make the recording in `out`, with so many certificates of Debian's and made-up ones; return the runs' lines.

    Raises:
        StartError: the keyserver or a guard does not listen.

    """
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        database = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)))
        world = worlds.build(database / "onak", random.Random(1), debian=debian, made=made)  # noqa: S311 - no secret
        upstream = free_port()
        command = [sys.executable, "-m", "bench.recording.keyserver", str(upstream), str(database / "onak")]
        stack.enter_context(running(command, upstream, folder, core=None, env={"PYTHONPATH": str(ROOT)}))
        guards = {
            mode: stack.enter_context(_guard(folder / mode, upstream, mode)) for mode in {run.mode for run in planned}
        }
        ports = {mode: guard.port for mode, guard in guards.items()}
        happened = uvloop.run(_perform(planned, Scene(world=world, ports=ports, seconds=60 * minutes)))
        logs = {mode: _access_lines(guard.output.read_text()) for mode, guard in guards.items()}
    return _written(out, happened, logs)


def _written(out: Path, happened: Sequence[Happened], logs: Mapping[str, Sequence[str]]) -> list[Line]:
    for mode, access in logs.items():
        (out / f"access-{mode}.jsonl").write_text("".join(access))
    asked = Counter(json.loads(line)["address"] for access in logs.values() for line in access)
    lines = [each.line(sum(asked[address] for address in each.run.addresses)) for each in happened]
    (out / "runs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return lines


@contextmanager
def _guard(folder: Path, upstream: int, mode: str) -> Iterator[Guard]:
    """Run a guard."""
    folder.mkdir()
    port = free_port()
    settings = {
        "LISTEN": f"127.0.0.1:{port}",
        "UPSTREAM": f"http://127.0.0.1:{upstream}",
        "ADMIN": f"127.0.0.1:{free_port()}",
        **COMMON,
        **MODES[mode],
    }
    env = {"PYTHONPATH": str(ROOT), **{f"HKPGUARD_{name}": value for name, value in settings.items()}}
    with running([sys.executable, "-m", "proxy", "serve"], port, folder, core=None, env=env):
        yield Guard(port, folder / f"output-{port}.log")


def _access_lines(log: str) -> list[str]:
    """Return the whole lines about requests; the guard says other things, too."""
    return [line for line in log.splitlines(keepends=True) if '"event": "request"' in line and line.endswith("}\n")]


async def _perform(planned: Sequence[Run], scene: Scene) -> list[Happened]:
    room = asyncio.Semaphore(PROGRAMS_AT_A_TIME)
    end_s = asyncio.get_running_loop().time() + scene.seconds
    happened = await asyncio.gather(*(_happen(run, scene, room, end_s) for run in planned))
    await asyncio.sleep(LAST_LINES_S)
    return [each for each in happened if each]


async def _happen(run: Run, scene: Scene, room: asyncio.Semaphore, end_s: float) -> Happened | None:
    """Wait for the run's moment, and make it; None if the time was over before it could begin."""
    await asyncio.sleep(run.after * scene.seconds)
    if run.case.patient:
        return await _make(run, scene, end_s)
    async with room:
        return await _make(run, scene, end_s)


async def _make(run: Run, scene: Scene, end_s: float) -> Happened | None:
    if asyncio.get_running_loop().time() >= end_s:
        return None
    dice = random.Random(run.seed)  # noqa: S311 - runs are to be repeated
    folder = Path(tempfile.mkdtemp(prefix="run"))
    begin, ended = _now(), "done"
    source = random.Random(run.seed + 1)  # noqa: S311 - the same
    async with relaying(scene.ports[run.mode], lambda: source.choice(run.addresses), run.case.rtt_ms / 1000) as relay:
        session = Session(port=relay.port, dice=dice, folder=folder, world=scene.world)
        try:
            async with asyncio.timeout_at(end_s):
                await run.case.act(session)
        except TimeoutError:
            ended = "time"
        except Exception as error:  # noqa: BLE001 - one run that fails is no reason to lose the others
            ended = f"{type(error).__name__}: {error}"
    shutil.rmtree(folder, ignore_errors=True)
    return Happened(run=run, begin=begin, end=_now(), ended=ended, connections=relay.connections, told=session.told)


def _now() -> str:
    """Return the time as the access log writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def table(lines: Sequence[Line]) -> Table:
    """Return a row for each family: runs, those for tests, requests, and what did not end by itself."""
    made = Table(title="recorded", title_justify="left")
    for heading in ("family", "label"):
        made.add_column(heading)
    for heading in ("runs", "for tests", "requests", "without requests", "ended with the time", "failed"):
        made.add_column(heading, justify="right")
    for family in Family:
        own = [line for line in lines if line["family"] == family]
        if own:
            made.add_row(family, family.label, *map(str, _figures(own)))
    made.add_row("all", "", *map(str, _figures(lines)), style="bold")
    return made


def _figures(lines: Sequence[Line]) -> tuple[int, ...]:
    return (
        len(lines),
        sum(line["split"] == "test" for line in lines),
        sum(int(str(line["requests"])) for line in lines),
        sum(line["requests"] == 0 for line in lines),
        sum(line["ended"] == "time" for line in lines),
        sum(line["ended"] not in {"done", "time"} for line in lines),
    )
