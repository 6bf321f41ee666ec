"""Advice on texts: what it finds, and what it must not say of people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scorer import SHIPPED
from models.text import TEXT, TextScorer, letters
from tests.keyrings_for_tests import CERTS, UNBOUNDED, debian_keyrings, walk

SHIPPED_TEXT = TextScorer(SHIPPED / f"{TEXT}.onnx")
[SURE] = SHIPPED_TEXT.manifest.accuse


@pytest.mark.parametrize(
    "text",
    [
        b"alice liddell", b"O'Brien", b"anna.weber@example.org", b"Brzeczyszczykiewicz", "Björn Þórsson".encode(),
        "王伟".encode(), b"union of concerned scientists", b"Debian release team", b"jdoe1984@example.com",
        b"Anna Weber (do not use, old key) <anna@example.org>", b"0x1A2B3C4D5E6F7081", b"", b"a",
        b"everything should be made as simple as possible",
    ],
)  # fmt: skip
def test_people(text: bytes) -> None:
    """Names, addresses, comments and sentences are neither injections nor machine-made."""
    advice = SHIPPED_TEXT.score([text])[0]
    assert advice.injection < SURE
    assert advice.machine_made < SURE


@pytest.mark.parametrize(
    "text",
    [
        b"' or 1=1 --", b"<script>alert(1)</script>", b"1' UNION ALL SELECT NULL,NULL,CONCAT(0x71,0x71)-- x",
        b"../../../../../../../etc/passwd", b"') AND SLEEP(5)#",
    ],
)  # fmt: skip
def test_injections(text: bytes) -> None:
    """Injections look like injections rather than like names, and most of them for sure."""
    assert SHIPPED_TEXT.score([text])[0].injection > 1.0


def test_what_debian_developers_write() -> None:
    """Of their user ids none looks like an injection, and hardly any machine-made."""
    user_ids = {each for keyring in debian_keyrings() for cert in walk(keyring, UNBOUNDED) for each in cert.user_ids}
    kinds = SHIPPED_TEXT.kinds([*user_ids])
    injections, drawn = kinds.mean(axis=0)
    assert len(kinds) > 2 * CERTS
    assert injections == 0
    assert drawn < 0.01


def test_machine_made() -> None:
    """What was drawn by chance looks so."""
    assert SHIPPED_TEXT.score([b"xkqjzwqpvbnm"])[0].machine_made > SURE


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes(texts: list[bytes]) -> None:
    """Whatever bytes it is given, each text has a score, and the same one alone as among others."""
    scores = SHIPPED_TEXT.score(texts)
    assert len(scores) == len(texts)
    for text, score in zip(texts, scores, strict=True):
        assert SHIPPED_TEXT.score([text])[0] == pytest.approx(score, abs=1e-4)


def test_small_and_large_letters() -> None:
    """Capitals make no difference, and no more than 64 bytes are seen."""
    assert SHIPPED_TEXT.score([b"' OR 1=1"]) == SHIPPED_TEXT.score([b"' or 1=1"])
    assert SHIPPED_TEXT.score([b"a" * 64]) == SHIPPED_TEXT.score([b"a" * 64 + b"' or 1=1"])
    assert letters([]).shape == (0, 64)


def test_remarks() -> None:
    """Something is said if it holds for most of a client's texts, and nothing else."""
    injections, names = [b"<script>alert(1)</script>", b"' or 1=1 --"], [b"alice liddell"]
    assert SHIPPED_TEXT.remarks(injections + names) == ["2 of 3 searched texts look like injections"]
    assert SHIPPED_TEXT.remarks(injections[:1] + names) == []
    assert SHIPPED_TEXT.remarks([]) == []
