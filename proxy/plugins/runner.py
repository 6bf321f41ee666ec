"""Runs one plugin, synchronously: the same for one that is built in and for one in a process of its own."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from proxy.plugins.contract import Host
from proxy.plugins.events import MOST_TEXT, PluginSaid
from proxy.plugins.wire import MOST_EVIDENCE, MOST_LINES, MOST_METRICS, Logged, Piece, Reply, SetUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from models.steps import Steps
    from proxy.plugins.contract import Common, Detector, Heard, Plugin, Publisher, Route
    from proxy.plugins.events import Event
    from proxy.policy.fusion import Evidence

FOLDER_MODE: Final = 0o700


class Notebook:
    """What a plugin says between two answers: a log and a bus that forget what is too much."""

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._said: list[PluginSaid] = []
        self._logged: list[Logged] = []

    def publish(self, event: Event) -> None:
        """See `contract.Publisher`."""
        if not isinstance(event, PluginSaid):
            raise TypeError(f"a plugin may publish PluginSaid, not {type(event).__name__}")
        if len(self._said) < MOST_LINES:
            self._said.append(event)

    def info(self, text: str, **more: object) -> None:
        """See `contract.Log`."""
        self._log("info", text, more)

    def warning(self, text: str, **more: object) -> None:
        """See `contract.Log`."""
        self._log("warning", text, more)

    def _log(self, level: str, text: str, more: Mapping[str, object]) -> None:
        if len(self._logged) < MOST_LINES:
            words = {name: line(str(value)) for name, value in more.items()}
            self._logged.append(Logged.model_validate({"level": level, "text": line(text), "more": words}))

    def close(self, reply: Reply) -> Reply:
        """Return an answer with all that was said, and forget it."""
        said, self._said = tuple(self._said), []
        logged, self._logged = tuple(self._logged), []
        return reply.model_copy(update={"said": said, "logged": logged})


class Runner:
    """One plugin and what it offers. Whatever it raises comes out of here."""

    def __init__(self, plugin: Plugin, bus: Publisher | None = None, common: Common | None = None) -> None:
        """Take a plugin that is not set up yet. Without a bus it may say less (`Notebook`)."""
        self.plugin = plugin
        self.notebook = Notebook()
        self._bus = bus or self.notebook
        self._common = common
        self._detectors: tuple[Detector, ...] = ()
        self._routes: Mapping[str, Route] = {}
        self._heard: Mapping[str, Heard] = {}

    def faults(self, given: SetUp) -> Reply:
        """Tell what is wrong with settings."""
        unknown = [name for name in given.features if name not in self.plugin.features]
        known = ", ".join(self.plugin.features) or "none"
        faults = [("features", f"has no feature {name}; there are: {known}") for name in unknown]
        try:
            self._settings(given)
        except ValidationError as error:
            faults += [("__".join(map(str, each["loc"])) or "mode", line(_problem(each))) for each in error.errors()]
        return Reply(faults=tuple(faults))

    def set_up(self, given: SetUp) -> Reply:
        """Set it up and start it; tell what it offers."""
        folder = Path(given.state_dir)
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        host = Host(
            config=self._settings(given),
            log=self.notebook,
            bus=self._bus,
            state_dir=folder,
            features=given.features,
            common=self._common,
        )
        self.plugin.set_up(host)
        self._detectors = tuple(self.plugin.detectors())
        self._routes = self.plugin.routes()
        self._heard = self.plugin.subscriptions()
        self.plugin.start()
        return Reply(
            looks=bool(self._detectors),
            routes=tuple(self._routes),
            subscriptions=tuple(self._heard),
            health=line(self.plugin.health()),
        )

    def _settings(self, given: SetUp) -> BaseModel:
        """Return its own settings; a name that is none of them is a fault, unless its model says otherwise."""
        model = self.plugin.settings
        return model.model_validate_strings(given.own, extra=model.model_config.get("extra") or "forbid")

    def look(self, block: NDArray[np.void], now_ns: int) -> Steps[Reply]:
        """Let its detectors look at records, step by step."""
        pieces: list[Piece] = []
        for each in (found for detector in self._detectors for found in detector.look(block, now_ns)):
            if each is not None:
                pieces.append(_piece(each))
            if len(pieces) == MOST_EVIDENCE:
                break
            yield
        return Reply(evidence=tuple(pieces))

    def hear(self, kind: str, data: dict[str, Any]) -> Reply:
        """Tell it of an event."""
        for pattern, heard in self._heard.items():
            if fnmatchcase(kind, pattern):
                heard(kind, data)
        return Reply()

    def ask(self, route: str, query: Mapping[str, str]) -> Reply:
        """Let it answer a question of the operator; KeyError if there is no such route."""
        return Reply(answer=self._routes[route](query))

    def health(self) -> Reply:
        """Ask how it is, and for its figures."""
        figures = islice(self.plugin.metrics().items(), MOST_METRICS)
        return Reply(health=line(self.plugin.health()), metrics={name: float(value) for name, value in figures})

    def end(self) -> Reply:
        """Drain and stop it; it is stopped also if draining fails."""
        try:
            self.plugin.drain()
        finally:
            self.plugin.stop()
        return Reply()


def _piece(evidence: Evidence) -> Piece:
    return Piece(
        subject=int(evidence.subject),
        kind=evidence.kind,
        weight=float(evidence.weight),
        reason=line(evidence.reason),
        until_ns=int(evidence.until_ns),
    )


def line(text: str) -> str:
    """Return a text as one line that is not too long, and that does nothing to a terminal."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(text.split())[:MOST_TEXT]


def _problem(error: ErrorDetails) -> str:
    return "is unknown" if error["type"] == "extra_forbidden" else error["msg"]


def reason_of(error: BaseException) -> str:
    """Return what was raised, in one line; of what is not valid only where it stood, for it may be a secret."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return line(": ".join((".".join(map(str, first["loc"])), _problem(first))))
    return line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
