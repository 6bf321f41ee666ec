"""Models as one content."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import MOST_MANIFEST_BYTES, MOST_MODEL_BYTES
from proxy.cluster.model_pack import packed, read_folder, unpacked

if TYPE_CHECKING:
    from pathlib import Path

STEMS = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
FILES = st.dictionaries(STEMS, st.tuples(st.binary(max_size=50), st.binary(max_size=50)), min_size=1, max_size=4).map(
    lambda models: {
        name: data
        for stem, both in models.items()
        for name, data in zip((f"{stem}.onnx", f"{stem}.json"), both, strict=True)
    }
)
GOOD = {"a.onnx": b"model", "a.json": b"manifest"}


@given(FILES)
def test_what_is_packed_is_unpacked(files: dict[str, bytes]) -> None:
    """Files come out as they went in, and the same files are the same bytes in whichever order."""
    content = packed(files)
    assert unpacked(content) == files
    assert packed(dict(reversed(files.items()))) == content


@given(st.binary(max_size=200))
def test_whatever_comes_is_models_or_refused(data: bytes) -> None:
    """Bytes of others are refused with ValueError, or are the only form of what they say."""
    try:
        files = unpacked(data)
    except ValueError:
        return
    assert packed(files) == data


@given(st.integers(0, 40), st.binary(max_size=3))
def test_damaged(place: int, piece: bytes) -> None:
    """A content that lost something, or got something, is refused, or is exactly what it says now."""
    content = packed(GOOD)
    damaged = content[:place] + piece + content[place + 1 :]
    with suppress(ValueError):
        assert packed(unpacked(damaged)) == damaged


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.onnx": b""},
        {"a.json": b"", "b.onnx": b""},
        GOOD | {"../x.onnx": b"", "../x.json": b""},
        GOOD | {"/x.onnx": b"", "/x.json": b""},
        GOOD | {"x": b""},
        GOOD | {"A.onnx": b"", "A.json": b""},
        GOOD | {"a.onnx": bytes(MOST_MODEL_BYTES + 1)},
        GOOD | {"a.json": bytes(MOST_MANIFEST_BYTES + 1)},
        {f"m{number}.{ending}": b"" for number in range(9) for ending in ("onnx", "json")},
        {
            f"m{number}.{ending}": bytes(MOST_MODEL_BYTES if ending == "onnx" else 1)
            for number in range(3)
            for ending in ("onnx", "json")
        },
    ],
    ids=[
        "none",
        "no manifest",
        "no model",
        "above",
        "absolute",
        "no ending",
        "capital",
        "large",
        "long",
        "many",
        "all",
    ],
)
def test_what_are_no_models(files: dict[str, bytes]) -> None:
    """Names that are no names of models, models without manifests, too many and too large ones are refused."""
    with pytest.raises(ValueError, match=r".+"):
        packed(files)


def test_folder(tmp_path: Path) -> None:
    """The models of a folder are read with their manifests, and nothing else that is there."""
    for name, data in (GOOD | {"reservoir.csv.gz": b"private"}).items():
        (tmp_path / name).write_bytes(data)
    assert read_folder(tmp_path) == GOOD
    (tmp_path / "a.json").unlink()
    with pytest.raises(OSError, match=r"a\.json"):
        read_folder(tmp_path)
    (tmp_path / "a.onnx").unlink()
    with pytest.raises(ValueError, match="no model"):
        read_folder(tmp_path)
