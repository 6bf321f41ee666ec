"""The model of texts: its graph is what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.scorer import SHIPPED, runner
from models.text import letters

pytest.importorskip("onnx")
pytest.importorskip("scipy")

from models.training.letters import FIELDS, WEIGHTS, grams, read, to_onnx, write

TEXTS = [b"", b"a", b"ab", b"abc", b"Alice Liddell", "Björn Þórsson".encode(), b"' or 1=1 --", bytes(range(1, 65))]


def test_graph() -> None:
    """Hashing, counting and weighing in the graph give what they give in training."""
    weights = np.random.default_rng(1).normal(0, 1, (WEIGHTS, 2)).astype(np.float32)
    offsets = np.array([0.5, -0.5], np.float32)
    run = runner(Path("graph"), to_onnx(weights, offsets), letters(TEXTS))
    assert run(letters(TEXTS)) == pytest.approx(grams(TEXTS) @ weights + offsets, abs=1e-4)


def test_grams() -> None:
    """A text of three letters has three n-grams of one, two of two and one of three, and its length does not count."""
    [row] = grams([b"abc"]).toarray()
    assert sorted(row[row > 0].tolist()) == pytest.approx([1 / 6**0.5] * 6)
    assert (grams([b"abc"]) != grams([b"ABC"])).nnz == 0


def test_written_and_read(tmp_path: Path) -> None:
    """A table of texts is read as it was, bytes that are no UTF-8 among them."""
    path = tmp_path / "texts.csv.gz"
    write([('a,"b"\n', "train", "names", "0", "0"), ("\udcff", "test", "drawn", "0", "1")], path)
    found = read(path)
    assert found.text == [b'a,"b"\n', b"\xff"]
    assert found.labels.tolist() == [[False, False], [False, True]]


def test_shipped_table() -> None:
    """The shipped table has both kinds and harmless texts of several origins, in training and for tests."""
    found = read(SHIPPED / "texts.csv.gz")
    assert FIELDS[0] == "text"
    for split in ("train", "test"):
        part = found.at(found.split == split)
        assert set(part.origin) == {"names", "documentation", "drawn", "httpparams"}
        assert part.labels.any(axis=0).all()
