"""Plugins of others in a real guard: the one of the documents, and those that hang, leak, raise and die."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.guard import environ, hkpguard
from tests.integration.programs import LOOPBACK, run, until
from tests.proxy.plugins.packages_for_tests import LOOKING, install

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard
    from tests.integration.guard import Guard

DOCUMENT = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
SEARCH = "/pks/lookup?op=get&options=mr&search=0x740D7FE2AB3143E86C8FD12300186602339240CB"
HEAD = LOOKING[: LOOKING.index("    def look")]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of packages that guards find, and the processes of plugins with them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def block_of(language: str, words: str) -> str:
    """Return the piece of code in the document that has these words."""
    (found,) = [each for each in re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL) if words in each]
    return str(found)


def status(started: Guard, path: str = SEARCH) -> int:
    """Ask for something, and return the status."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{started.port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def plugin(started: Guard, name: str) -> dict[str, Any]:
    """Return what is known of a plugin."""
    _, text = started.admin(f"/api/v1/plugins/{name}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def await_state(started: Guard, name: str, state: str) -> None:
    """Wait until a plugin is running, broken or off."""
    until(lambda: plugin(started, name).get("state") == state, f"{name} is {state}")


def events(started: Guard, kind: str, *plugins: str) -> list[dict[str, Any]]:
    """Return the first event of a kind about each of these plugins, those that were before among them."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{started.admin_port}/api/v1/events?kind={kind}", headers={"Last-Event-ID": "0"}
    )
    found: dict[str, dict[str, Any]] = {}
    with urllib.request.urlopen(request, timeout=20) as stream:  # noqa: S310 - the request above
        while found.keys() != set(plugins):
            line = stream.readline().decode()
            data = json.loads(line.removeprefix("data: "))["data"] if line.startswith("data: ") else {}
            if data.get("plugin") in plugins:
                found.setdefault(data["plugin"], data)
    return [found[plugin] for plugin in plugins]


def test_plugin_of_the_documents(start_guard: StartGuard, packages: Path, tmp_path: Path) -> None:
    """The plugin of docs/plugins.md has 30 lines, is installed as a package, and finds what it is there to find."""
    source = tmp_path / "source"
    source.mkdir()
    code = block_of("python", "class Repeats")
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (source / "repeats.py").write_text(code, encoding="utf-8")
    (source / "pyproject.toml").write_text(block_of("toml", "hkpguard-repeats"), encoding="utf-8")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    installed = run(sys.executable, "-m", "pip", "install", *options, "--target", str(packages), str(source))
    assert installed.returncode == 0, installed.stderr

    started = start_guard(PLUGINS__REPEATS__MODE="enforce", PLUGINS__REPEATS__MOST="5", CACHE__MODE="off")
    await_state(started, "repeats", "running")
    assert plugin(started, "repeats")["version"] == "1.0"

    def found() -> bool:
        for _ in range(20):
            status(started)
        return plugin(started, "repeats")["counts"].get("evidence", 0) > 0

    until(found, "the plugin finds the client")
    (evidence,) = events(started, "evidence.found", "repeats")
    (piece,) = evidence["found"]
    assert (piece["subject"], piece["kind"], piece["weight"]) == (LOOPBACK, "repeats.repeats", 2.0)
    assert not piece["shadow"]
    (said,) = events(started, "plugin.said", "repeats")
    assert said == {"plugin": "repeats", "topic": "repeats", "data": {"clients": 1}}

    code, out, err = started.command("plugins", "list")
    assert code == 0, err
    assert "repeats" in out
    _, out, _ = started.command("plugins", "config", "repeats", "--json")
    assert json.loads(out)["settings"]["most"] == "5"


def test_commands(start_guard: StartGuard, packages: Path) -> None:
    """At run time a plugin is switched on, set, renewed from new code, not harmed by bad code, and switched off."""
    install(packages, "tried", LOOKING.format(name="tried"))
    started = start_guard()
    pid = started.pid("analyst")
    assert plugin(started, "tried")["state"] == "off"
    assert started.command("plugins", "enable", "tried")[:2] == (
        0,
        "tried is shadow until the configuration is read again.\nTo keep it so: HKPGUARD_PLUGINS__TRIED__MODE=shadow\n",
    )
    await_state(started, "tried", "running")
    assert started.command("plugins", "config", "tried", "percent=10", "--json")[0] == 0
    assert plugin(started, "tried")["settings"]["percent"] == "10"

    install(packages, "tried", LOOKING.format(name="tried").replace('"1.0"', '"2.0"'))
    assert started.command("plugins", "reload", "tried") == (0, "tried 2.0 runs anew, mode shadow.\n", "")
    install(packages, "tried", "raise RuntimeError('not today')")
    code, _, err = started.command("plugins", "reload", "tried")
    assert code == 1
    assert "cannot be started: cannot be loaded: RuntimeError: not today" in err
    assert (plugin(started, "tried")["version"], plugin(started, "tried")["state"]) == ("2.0", "running")
    until(lambda: status(started) and plugin(started, "tried")["counts"].get("evidence"), "the old one still looks")

    assert started.command("plugins", "disable", "tried")[0] == 0
    assert plugin(started, "tried")["state"] == "off"
    assert started.command("plugins", "disable", "antiabuse")[0] == 1
    assert started.command("plugins", "disable", "nothing")[0] == 1
    assert started.pid("analyst") == pid


HARMFUL = {
    "hanging": "while True: pass",
    "leaking": "self.kept = []\n        while True: self.kept.append(bytearray(1 << 20))",
    "raising": "raise ValueError('no')",
    "dying": "import os; os.kill(os.getpid(), 9)",
}


def test_harmful_plugins(start_guard: StartGuard, packages: Path) -> None:
    """Plugins that hang, leak, raise or die are left alone, and it is told; requests, others and the analyst go on."""
    for name, look in HARMFUL.items():
        install(packages, name, f"{HEAD.format(name=name)}    def look(self, block, now_ns):\n        {look}\n")
    install(packages, "good", LOOKING.format(name="good"))
    modes = {f"PLUGINS__{name.upper()}__MODE": "shadow" for name in (*HARMFUL, "good")}
    started = start_guard(**modes, PLUGINS__HANGING__CALL="20ms", PLUGINS__LEAKING__MEMORY="32MiB", CACHE__MODE="off")
    pid = started.pid("analyst")
    for name in (*HARMFUL, "good"):
        await_state(started, name, "running")

    def all_broken() -> bool:
        assert status(started) in {200, 404}
        return all(plugin(started, name)["state"] == "broken" for name in HARMFUL)

    until(all_broken, "all of them are left alone")
    before = plugin(started, "good")["counts"]["evidence"]
    until(lambda: status(started) and plugin(started, "good")["counts"]["evidence"] > before, "the neighbour goes on")
    assert started.pid("analyst") == pid
    told = {event["plugin"]: event["reason"] for event in events(started, "plugin.broken", *HARMFUL)}
    assert told == {
        "hanging": "gave no answer in 0.2 s, and was killed",
        "leaking": "MemoryError",
        "raising": "ValueError: no",
        "dying": "its process ended",
    }
    ready = started.readyz()
    assert ready.status == 200
    assert all(f"plugin {name} is broken" in ready.text for name in HARMFUL)
    assert "ValueError" not in ready.text  # it is open to all, and what plugins raise may hold addresses
    assert started.metric('plugin_up{plugin="hanging"}') == 0
    assert started.metric('plugin_up{plugin="good"}') == 1


def test_nothing_is_left_of_them(start_guard: StartGuard, packages: Path) -> None:
    """When the analyst is killed the processes of plugins go with it, and its successor starts them anew."""
    install(
        packages,
        "tried",
        f"{LOOKING.format(name='tried')}    def health(self):\n        import os\n        return str(os.getpid())\n",
    )
    started = start_guard(PLUGINS__TRIED__MODE="shadow")

    def process() -> int:
        return int(plugin(started, "tried")["problem"] or 0)

    until(lambda: process() > 0, "the plugin has told its process", 20)
    first = process()
    os.kill(started.pid("analyst"), signal.SIGKILL)
    until(lambda: not Path(f"/proc/{first}").exists(), "its process is gone")
    until(lambda: process() not in {0, first}, "another one runs", 20)


def test_check(packages: Path) -> None:
    """`hkpguard check` tells what is wrong with plugins together with all other faults."""
    install(packages, "tried", LOOKING.format(name="tried"))
    given = {"PLUGINS__TRIED__MODE": "shadow", "PLUGINS__TRIED__TOKEN": "hush", "PLUGINS__NOTHING__MODE": "shadow"}
    code, _, err = hkpguard(environ(given | {"WORKERS": "0"}), "check")
    assert code == 1
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        "HKPGUARD_WORKERS=0",
        "HKPGUARD_PLUGINS__NOTHING__MODE=shadow",
        "HKPGUARD_PLUGINS__TRIED__TOKEN=***",
    ]


def test_check_of_a_good_plugin(packages: Path) -> None:
    """A plugin that takes its settings is no fault, and its settings are shown."""
    install(packages, "tried", LOOKING.format(name="tried"))
    code, out, err = hkpguard(environ({"PLUGINS__TRIED__MODE": "shadow"}), "check")
    assert code == 0, err
    assert "HKPGUARD_PLUGINS__TRIED__MODE=shadow" in out
