"""How a run starts programs and asks by itself."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.recording.session import Session
from bench.recording.world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Return the session of a run for which there is nothing in the world."""
    dice = random.Random(1)  # noqa: S311 - no secret
    return Session(port=9, dice=dice, folder=tmp_path, world=World(known=[], unknown=[]))


async def test_a_program_is_fed_and_heard(session: Session) -> None:
    """In the folder of the run, which is its home as well; how it ended is counted."""
    done = await session.run("sh", "-c", 'cat; pwd; echo "$HOME" >&2; exit 3', stdin=b"fed\n")
    assert done == (3, f"fed\n{session.folder}\n{session.folder}\n".encode())
    assert session.told == {"sh exit 3": 1}


async def test_a_program_that_takes_too_long_is_ended_with_its_children(session: Session) -> None:
    """The child would hold the pipe open, and write into the folder."""
    done = await session.run("sh", "-c", "sleep 600 & wait", seconds=0.0)
    assert done.status is None
    assert session.told == {"sh ended by us": 1}


async def test_a_program_that_does_not_read_its_input(session: Session) -> None:
    """Is no failure of the run."""
    assert (await session.run("true", stdin=b"x" * 1_000_000)).status == 0


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 3)])
async def test_connections_are_kept_or_not(session: Session, keep: bool, connections: int) -> None:  # noqa: FBT001
    """What is asked is sent as it is written."""
    seen: list[tuple[object, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.transport.get_extra_info("peername") if request.transport else None, request.raw_path))
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", note)
    async with TestServer(app, host="127.0.0.1") as server:
        session.port = server.port or 0
        async with session.web(keep=keep) as client:
            statuses = [await client.get("/a?b=%40c%20d") for _ in range(3)]
    assert statuses == [404, 404, 404]
    assert {path for _, path in seen} == {"/a?b=%40c%20d"}
    assert len({peer for peer, _ in seen}) == connections


async def test_no_answer_is_no_failure(session: Session) -> None:
    """It is counted: vandals are not stopped by a closed door."""
    async with session.web() as client:
        with suppress(TimeoutError):
            assert await client.get("/") == 0
    assert session.told == {"broken": 1}
