"""A guard that a test starts, with what its operator would look at: readiness, metrics, log, processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import proxy
from tests.integration.programs import LOOPBACK, START_SECONDS, Program, free_port, run, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGES = Path(proxy.__file__).parent.parent
# What a test would only wait for.
QUICK = {
    "WORKERS": "2",
    "TABLE_CLIENTS": "4096",
    "GRACE": "0s",
    "HARD_STOP_AFTER": "5s",
    "HEALTH__INTERVAL": "500ms",
}
# What comes between a request and the keyserver of the other tests, or asks it by itself; tests of these set them.
ALONE = {"CACHE__MODE": "off", "SYNC__LEARN": "off"}
NO_LIMITS = {"MODE": "off"}
SIGNS_OF_TROUBLE = ("Exception in callback", "Exception ignored", "never retrieved", '"event": "died"')
CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE)


class Ready(NamedTuple):
    """What /readyz says."""

    status: int
    text: str


class Guard:
    """A running guard."""

    def __init__(self, folder: Path, upstreams: tuple[str, ...], settings: Mapping[str, str]) -> None:
        """Start it in `folder`; `settings` without HKPGUARD_, on top of those that make tests quick."""
        self.port, self.admin_port = free_port(), free_port()
        own = {"LISTEN": f"{LOOPBACK}:{self.port}", "ADMIN": f"{LOOPBACK}:{self.admin_port}"}
        given = QUICK | ALONE | own | {"UPSTREAM": ",".join(upstreams)} | dict(settings)
        self.environ = environ(given)
        command = "serve" if given["UPSTREAM"] else "demo"
        self.program = Program([sys.executable, "-m", "proxy", command], folder, self.environ)

    @property
    def keyserver(self) -> str:
        """What gpg and sq call it."""
        return f"hkp://{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """What curl calls it."""
        return f"http://{LOOPBACK}:{self.port}"

    def await_ready(self) -> None:
        """Wait until it says that it should get traffic."""
        ready = lambda: not self.program.running or self.readyz().status == 200  # noqa: E731 - a condition
        until(ready, "the guard is ready", START_SECONDS)
        assert self.program.running, self.program.err()

    def admin(self, path: str) -> tuple[int, str]:
        """Ask the admin API; return status and text, 0 if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin_port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def readyz(self) -> Ready:
        """Ask whether it should get traffic."""
        return Ready(*self.admin("/readyz"))

    def client(self, address: str) -> dict[str, Any]:
        """Ask what it knows of a client."""
        _, text = self.admin(f"/api/v1/clients/{address}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def remaining(self, address: str, limit: str) -> int:
        """Return the tokens that a client has left of a limit."""
        limits = {each["limit"]: int(each["remaining"]) for each in self.client(address)["limits"]}
        return limits[limit]

    def metrics(self) -> dict[str, float]:
        """Return the samples by name and labels, as they are written."""
        _, text = self.admin("/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def metric(self, name: str) -> float:
        """Return one sample (without `hkpguard_`), 0 if it is not there yet."""
        return self.metrics().get(f"hkpguard_{name}", 0.0)

    def await_metric(self, name: str, value: float) -> None:
        """Wait until a sample has a value: a request is counted when its reply is on its way already."""
        until(lambda: self.metric(name) == value, f"{name} is {value:g}")

    def messages(self) -> list[dict[str, Any]]:
        """Return what it has logged of itself."""
        return _json_lines(self.program.err())

    def access_log(self) -> list[dict[str, Any]]:
        """Return a line for each request that it has logged."""
        return _json_lines(self.program.out())

    def pid(self, child: str) -> int:
        """Return the present process id of `worker-0`, `analyst`..."""
        started = [each for each in self.messages() if each["event"] == "started"]
        return next(int(each["pid"]) for each in reversed(started) if each["child"] == child)

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `hkpguard` with arguments and the same environment; return exit status, output and errors."""
        return hkpguard(self.environ, *arguments)


def environ(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with settings, and none of ours."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("HKPGUARD_")}
    given = {f"HKPGUARD_{name}": value for name, value in settings.items()}
    path = os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH"))))  # plugins of a test
    return ours | {"PYTHONPATH": path} | given


def hkpguard(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run the command to its end; return exit status, output and errors."""
    done = run(sys.executable, "-m", "proxy", *arguments, environ=environment)
    return done.returncode, done.stdout, done.stderr


def _json_lines(text: str) -> list[dict[str, Any]]:
    """Read whole lines; the last one may be in the writing, and a traceback is none."""
    return [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]


@contextmanager
def guard(folder: Path, *upstreams: str, **settings: str) -> Iterator[Guard]:
    """Run a guard in front of `upstreams`; the demo keyserver if there are none."""
    started = Guard(folder, upstreams, settings)
    try:
        started.await_ready()
        yield started
        check_log(started)
    finally:
        started.program.end(signal.SIGINT)
        sys.stdout.write(started.program.err())  # pytest shows it if the test fails


def check_log(started: Guard) -> None:
    """Fail if the guard met something that its authors did not think of, or crashed."""
    said = started.program.err()
    assert not any(sign in said for sign in SIGNS_OF_TROUBLE), said
    crashed = [each for each in started.messages() if each["event"] == "ended" and each["status"] in CRASHES]
    assert not crashed, said
