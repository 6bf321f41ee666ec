"""Those who do harm, as far as what they write goes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from pysequoia import Cert

from bench.recording.session import Session
from bench.recording.vandals import _upload
from bench.recording.world import World, make_people
from models.scorer import SHIPPED
from models.text import TEXT, TextScorer
from models.writings import SOME, Writings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("what", ["new", "same"])
def test_floods_write_as_people_do(tmp_path: Path, what: str) -> None:
    """Their names are out of a list, so the model of texts has nothing to say of them: a known limit."""
    dice = random.Random(7)  # noqa: S311 - no secret
    world = World(known=(), unknown=make_people(dice, 3))
    session = Session(port=1, dice=dice, folder=tmp_path, world=world)
    bodies = [_upload(session, what, number) for number in range(SOME)]
    certificates = [Cert.from_bytes(body["keytext"].encode()) for body in bodies if not isinstance(body, bytes)]
    user_ids = [str(user_id).encode() for each in certificates for user_id in each.user_ids]
    assert len(user_ids) == SOME
    assert [*Writings().read([(1, text) for text in user_ids], TextScorer(SHIPPED / f"{TEXT}.onnx"))] == [(1, "")]
