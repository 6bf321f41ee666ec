"""What is said of user IDs that somebody uploads."""

import pytest

from models import writings
from models.scorer import SHIPPED
from models.text import TEXT, TextScorer
from models.writings import FEWEST, SOME, Writings

SCORER = TextScorer(SHIPPED / f"{TEXT}.onnx")
HERE, THERE = 1, 2
ALICE = b"Alice Liddell <alice@example.org>"
DRAWN = b"qzxkvbnmwr tkqjxhzpl <xk2qz9wv@fjqhzkxw.xyz>"
SCRIPT = b"<script>alert(1)</script>"


def said(made: Writings, *texts: bytes, client: int = HERE) -> str:
    """Return what is said of a client after these texts."""
    [(who, found)] = made.read([(client, text) for text in texts], SCORER)
    assert who == client
    return found


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([ALICE] * 8, ""),
        ([DRAWN] * (FEWEST - 1), ""),
        ([DRAWN] * FEWEST, f"{FEWEST} of {FEWEST} uploaded user IDs look machine-made"),
        ([DRAWN] * 4 + [ALICE] * 4, ""),
        ([SCRIPT] * 5 + [ALICE] * 4, "5 of 9 uploaded user IDs look like injections"),
    ],
)
def test_most_of_several(texts: list[bytes], expected: str) -> None:
    """Something is said if most user IDs of a client look alike, and there are a few of them."""
    assert said(Writings(), *texts) == expected


def test_looks_are_added_up() -> None:
    """It does not matter how many come at once; the last of a client count, and those of nobody else."""
    made = Writings()
    for number in range(1, SOME + 1):
        expected = f"{number} of {number} uploaded user IDs look machine-made"
        assert said(made, DRAWN) == (expected if number >= FEWEST else "")
    assert said(made, ALICE, client=THERE) == ""
    assert said(made, *[ALICE] * (SOME // 2 - 1)) == f"17 of {SOME} uploaded user IDs look machine-made"
    assert said(made, ALICE) == ""


def test_several_clients_at_once() -> None:
    """Each is told of once, in the order in which they came."""
    excerpts = [(HERE, DRAWN), (THERE, ALICE)] * FEWEST
    assert [*Writings().read(excerpts, SCORER)] == [
        (HERE, f"{FEWEST} of {FEWEST} uploaded user IDs look machine-made"),
        (THERE, ""),
    ]


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has uploaded nothing for longest is forgotten when there are too many."""
    monkeypatch.setattr(writings, "MOST_CLIENTS", 2)
    made = Writings()
    for client in (HERE, THERE, HERE, 3):
        said(made, ALICE, client=client)
    assert [*made._kinds] == [HERE, 3]


def test_nothing_of_a_text_is_kept() -> None:
    """What stays is whether it looked like something."""
    made = Writings()
    said(made, ALICE, DRAWN)
    assert [*made._kinds[HERE]] == [[False, False], [False, True]]
