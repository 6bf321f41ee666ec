"""Plugins of others in processes of their own: what they cannot do to us. Each test starts real processes."""

from __future__ import annotations

import asyncio
import os
from textwrap import indent
from typing import TYPE_CHECKING

import pytest

from fastpath import client_key
from fastpath.record import RECORD_BYTES
from fastpath.record_array import record_array
from proxy.config import Config, ConfigError
from proxy.plugins import discovery
from proxy.plugins.instance import Hosted, PluginFailure
from proxy.plugins.wire import MOST_EVIDENCE, SetUp
from tests.proxy.admin.records_for_tests import block, record
from tests.proxy.plugins.packages_for_tests import LOOKING, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

MIB = 1 << 20
BLOCK = record_array(block(record("192.0.2.1"), record("192.0.2.2")))
HEAD = LOOKING[: LOOKING.index("    def look")].format(name="tried")


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Hosted]]:
    """Return a maker of plugins: `make(what look does)`; all of them are ended after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Hosted] = []

    def one(look: str, *, call_ms: int = 5000, more: str = "") -> Hosted:
        code = f"{HEAD}\n    def look(self, block, now_ns):\n{indent(look, ' ' * 8)}\n{indent(more, ' ' * 4)}"
        install(tmp_path, "tried", code)
        instance = Hosted("tried_plugin:Looking", call_ns=call_ms * 1_000_000, memory_bytes=64 * MIB)
        made.append(instance)
        return instance

    yield one
    for instance in made:
        await instance.stop()


async def begin(instance: Hosted, folder: Path, **own: str) -> Hosted:
    """Open and start it."""
    await instance.open()
    await instance.start(SetUp(own=own, state_dir=str(folder / "state")))
    return instance


async def test_evidence(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """It sees records as they are, and its evidence comes back."""
    look = """
        return [Evidence(int(r["client"]), "seen", 1.5, r["subject"][:4].decode(), now_ns + 7) for r in block]
    """
    instance = await begin(make(look.strip()), tmp_path)
    assert (instance.description.name, instance.looks) == ("tried", True)
    reply = await instance.look(BLOCK, 1000)
    assert [(each.subject, each.weight, each.reason, each.until_ns) for each in reply.evidence] == [
        (client_key(bytes([192, 0, 2, last])), 1.5, "740D", 1007) for last in (1, 2)
    ]


HOSTILE = [
    ("raise ValueError('no\\nway')", "^ValueError: no way$", True),
    ("raise SystemExit(3)", "its process ended", False),
    ("import os; os._exit(3)", "its process ended", False),
    ("import ctypes; ctypes.string_at(0)", "its process ended", False),
    ("kept = []\nwhile True: kept.append(bytearray(1 << 20))", "^MemoryError$", True),
    ("self.kept = []\nwhile True: self.kept.append(bytes(100))", "MemoryError|its process ended", None),
    ("return [Evidence(5, 'seen', 1.0, '', 0)]", "0x5 is not a key", True),
    ("return [Evidence(int(block[0]['client']), 'Not A Word', 1.0, '', 0)]", "kind", True),
    ("return 5", "TypeError", True),
    ("return 'words'", "AttributeError", True),
]


@pytest.mark.parametrize(("look", "words", "lives"), HOSTILE, ids=[each[0][:30] for each in HOSTILE])
async def test_harm_stays_with_it(
    make: Callable[..., Hosted], tmp_path: Path, look: str, words: str, *, lives: bool | None
) -> None:
    """Whatever it raises, exits with or eats is a failure that says what happened, and no more."""
    instance = await begin(make(look), tmp_path)
    with pytest.raises(PluginFailure, match=words):
        await instance.look(BLOCK, 0)
    if lives is not None:
        await asyncio.sleep(0)
        assert instance.alive is lives


@pytest.mark.parametrize("look", ["while True: pass", "import time; time.sleep(1000)", "import signal; signal.pause()"])
async def test_endless_loop_is_killed(make: Callable[..., Hosted], tmp_path: Path, look: str) -> None:
    """One that never answers is killed; nothing is left of it, and it can be started anew."""
    instance = await begin(make(look, call_ms=10), tmp_path)
    with pytest.raises(PluginFailure, match=r"gave no answer in 0.1 s, and was killed"):
        await instance.look(BLOCK, 0)
    assert instance._process is not None
    pid = instance._process.pid
    assert await instance._process.wait() == -9
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await instance.start(SetUp(state_dir=str(tmp_path / "state")))
    assert instance.alive


LEAVES_A_CHILD = """
import os, subprocess, threading
child = subprocess.Popen(["sleep", "100"])
threading.Timer(0.1, os._exit, [3]).start()
return [Evidence(int(block[0]["client"]), "seen", 1.0, str(child.pid), 0)]
"""


@pytest.mark.parametrize("anew", [False, True])
async def test_children_go_with_it(make: Callable[..., Hosted], tmp_path: Path, *, anew: bool) -> None:
    """What a plugin has started is ended with it, also if it has ended by itself before that was noticed."""
    instance = await begin(make(LEAVES_A_CHILD), tmp_path)
    child = int((await instance.look(BLOCK, 0)).evidence[0].reason)
    assert instance._process is not None
    assert await instance._process.wait() == 3
    ended, watch = asyncio.Event(), os.pidfd_open(child)  # it is there still
    asyncio.get_running_loop().add_reader(watch, ended.set)
    if anew:
        await instance.start(SetUp(state_dir=str(tmp_path / "state")))
    else:
        instance.kill()
    await asyncio.wait_for(ended.wait(), 5)
    asyncio.get_running_loop().remove_reader(watch)
    os.close(watch)
    assert instance.alive is anew


async def test_too_much_evidence_is_cut(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """An endless answer is cut."""
    look = """
while True:
    yield Evidence(int(block[0]["client"]), "seen", 1.0, "x" * 10_000, 0)
"""
    instance = await begin(make(look), tmp_path)
    reply = await instance.look(BLOCK, 0)
    assert len(reply.evidence) == MOST_EVIDENCE
    assert len(reply.evidence[0].reason) == 500


async def test_what_it_prints_goes_nowhere(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """Prints, also those of the lowest kind, do not mix with its answers."""
    instance = await begin(make("import os; print('x' * 100); os.write(1, b'y' * 100); return []"), tmp_path)
    assert (await instance.look(BLOCK, 0)).evidence == ()
    assert (await instance.look(BLOCK, 0)).evidence == ()


async def test_false_answers(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """A process that writes into the pipe itself is believed nothing, and ended."""
    look = """
import os
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b"\\xff" * 100)
    except OSError:
        pass
return []
"""
    instance = await begin(make(look), tmp_path)
    with pytest.raises(PluginFailure, match="4294967295 bytes"):
        await instance.look(BLOCK, 0)
    assert not instance.alive


async def test_it_has_nothing_of_ours(
    make: Callable[..., Hosted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the environment of the guard nor its open files are there."""
    monkeypatch.setenv("HKPGUARD_ADMIN_TOKEN", "correct-horse-battery")
    look = """
import os
paths = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
files = [os.readlink(path) for path in paths if os.path.lexists(path)]
self.host.log.info("seen", names=" ".join(sorted(os.environ)), files=" ".join(files))
return []
"""
    instance = await begin(make(look), tmp_path)
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        (line,) = (await instance.look(BLOCK, 0)).logged
    assert set(line.more["names"].split()) <= {"PYTHONPATH", "LANG", "OPENBLAS_NUM_THREADS", "LC_CTYPE"}
    kinds = {name.partition(":")[0] for name in line.more["files"].split()}
    assert all(kind in {"/dev/null", "pipe", "socket"} or kind.startswith("/proc/") for kind in kinds)


async def test_memory_budget_cannot_be_lifted(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """The limit is hard: a plugin may lower it, no more, unless hkpguard runs as root, which nobody should do."""
    look = """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
self.host.log.info("limits", soft=soft, hard=hard)
return []
"""
    instance = await begin(make(look), tmp_path)
    (line,) = (await instance.look(BLOCK, 0)).logged
    assert line.more["soft"] == line.more["hard"]
    assert 64 * MIB < int(line.more["hard"]) < 1024 * MIB


async def test_settings_and_folder(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """It gets its settings as its model reads them, and a folder that is nobody else's."""
    more = """
from pydantic import BaseModel
class Settings(BaseModel):
    most: int = 5
    strict: bool = False
settings = Settings
def health(self):
    return f"{self.host.config.most + 1} {self.host.config.strict} {self.host.state_dir.is_dir()}"
"""
    instance = await begin(make("return []", more=more), tmp_path, most="41", strict="true")
    assert (await instance.health()).health == "42 True True"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('not today')", "cannot be loaded: RuntimeError: not today"),
        ("import nothing_of_this_name", "cannot be loaded: ModuleNotFoundError"),
        ("Looking = 5", "is not a class derived from Plugin"),
        ("import os; os._exit(0)", "its process ended"),
        ("class Looking(Plugin): pass", "cannot be loaded: AttributeError"),
    ],
)
async def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str) -> None:
    """What its module does when it is imported is bounded as well."""
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "tried", code)
    instance = Hosted("tried_plugin:Looking", call_ns=1_000_000_000, memory_bytes=64 * MIB)
    with pytest.raises(PluginFailure, match=words):
        await instance.open()
    await instance.stop()


async def test_end(make: Callable[..., Hosted], tmp_path: Path) -> None:
    """It is drained and stopped before it ends."""
    more = """
def drain(self):
    (self.host.state_dir / "drained").touch()
def stop(self):
    (self.host.state_dir / "stopped").touch()
"""
    instance = await begin(make("return []", more=more), tmp_path)
    await instance.stop()
    assert sorted(each.name for each in (tmp_path / "state").iterdir()) == ["drained", "stopped"]


def test_records_of_tests_are_whole() -> None:
    """The block of these tests is two records."""
    assert BLOCK.nbytes == 2 * RECORD_BYTES


FAULTY = {  # what is wrong with which plugin, and what is said of it
    "raising": ("raise RuntimeError('not today')", "MODE=shadow: cannot be loaded: RuntimeError: not today"),
    "dying": ("import os; os._exit(0)", "MODE=shadow: cannot be loaded: its process ended"),
    "false": (
        "import os; os.write(3, b'x' * 99); os.write(4, b'x' * 99); os._exit(0)",
        "MODE=shadow: cannot be loaded",
    ),
    "strange": ("", "MOST=5: is unknown"),
    "plain": ("", "FEATURES=words:5: has no feature words; there are: none"),
    "lonely": ("    needs = ('nobody',)", "MODE=shadow: needs nobody, which is off or not there"),
    "round": ("    needs = ('trip',)", "MODE=shadow: needs itself: round < trip < round"),
    "trip": ("    needs = ('round',)", "MODE=shadow: needs itself: round < trip < round"),
    "renamed": ("    name = 'other'", "MODE=shadow: calls itself other, its entry point renamed"),
    "antiabuse": ("", "MODE=shadow: is not to be set: HKPGUARD_MODE is its switch"),
}


def test_faults_are_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is wrong with plugins and their settings is found before anything runs, in one go."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, (code, _) in FAULTY.items():
        whole = code.startswith(("raise", "import"))
        install(tmp_path, name, code if whole else LOOKING.format(name=name) + code)
    modes = {f"HKPGUARD_PLUGINS__{name.upper()}__MODE": "shadow" for name in FAULTY}
    own = {"HKPGUARD_PLUGINS__STRANGE__MOST": "5", "HKPGUARD_PLUGINS__PLAIN__FEATURES": "words:5"}
    with pytest.raises(ConfigError) as caught:
        Config.from_env(modes | own)
    faults = [str(fault) for fault in caught.value.faults]
    assert len(faults) == len(FAULTY)
    for name, (_, words) in FAULTY.items():
        assert any(fault.startswith(f"HKPGUARD_PLUGINS__{name.upper()}__{words}") for fault in faults), faults


def test_plugin_that_hangs_when_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for its faults waits for so long, and no longer."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "START_SECONDS", 0.5)
    install(tmp_path, "tried", "while True: pass")
    with pytest.raises(ConfigError, match=r"cannot be loaded: no answer in 0.5 s"):
        Config.from_env({"HKPGUARD_PLUGINS__TRIED__MODE": "shadow"})


def test_names_that_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the name of a built-in plugin, and two packages do not share one."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("antiabuse", "twice"):
        install(tmp_path, name, LOOKING.format(name=name))
    (tmp_path / "more-1.0.dist-info").mkdir()
    (tmp_path / "more-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1\n")
    (tmp_path / "more-1.0.dist-info" / "entry_points.txt").write_text("[hkpguard.plugins]\ntwice = elsewhere:Looking\n")
    found = discovery.installed()
    assert found.problems["antiabuse"] == "antiabuse_plugin:Looking has the name of a built-in plugin"
    assert "have the same name" in found.problems["twice"]
    assert {"antiabuse", "twice"}.isdisjoint(found.places)
