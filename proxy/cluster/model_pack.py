"""Models as one content: name and bytes of each file, one after the other.

length of name (1 byte), name, length (4 bytes), bytes;  in the order of the names, so that the same models are the same
content
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from models.manifest import MANIFEST_ENDING, MODEL_ENDING, MOST_MANIFEST_BYTES, MOST_MODEL_BYTES
from proxy.cluster.release import MOST_CONTENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_FILES: Final = 16
BOUNDS: Final = {MODEL_ENDING: MOST_MODEL_BYTES, MANIFEST_ENDING: MOST_MANIFEST_BYTES}
_NAME: Final = re.compile(r"(?P<stem>[a-z][a-z0-9-]{0,63})(?P<ending>\.onnx|\.json)")


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return files by their names as one content; ValueError if they are not models with their manifests."""
    _check(files)
    parts = [
        len(name).to_bytes(1) + name.encode() + len(data).to_bytes(4) + data for name, data in sorted(files.items())
    ]
    if sum(map(len, parts)) > MOST_CONTENT_BYTES:
        raise ValueError(f"the models are larger than {MOST_CONTENT_BYTES} bytes")
    return b"".join(parts)


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of a content; ValueError if it is none that `packed` makes."""
    files: dict[str, bytes] = {}
    rest = memoryview(content)
    while rest:
        end = 1 + rest[0]
        name, start = bytes(rest[1:end]).decode("ascii"), end + 4
        stop = start + int.from_bytes(rest[end:start])
        files[name], rest = bytes(rest[start:stop]), rest[stop:]
    if packed(files) != content:
        raise ValueError("not models")
    return files


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the models in a folder and their manifests; ValueError if it has none, OSError if it cannot be read."""
    names = [path.stem for path in sorted(folder.glob(f"*{MODEL_ENDING}"))[:MOST_FILES]]
    if not names:
        raise ValueError(f"there is no model in {folder}")
    files = {}
    for stem in names:
        for ending, most in BOUNDS.items():
            with (folder / (stem + ending)).open("rb") as file:
                files[stem + ending] = file.read(most + 1)
    _check(files)
    return files


def _check(files: Mapping[str, bytes]) -> None:
    if not files or len(files) > MOST_FILES:
        raise ValueError(f"{len(files)} files are not models and their manifests")
    for name, data in files.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not the name of a model or a manifest")
        if len(data) > BOUNDS[match["ending"]]:
            raise ValueError(f"{name} is larger than {BOUNDS[match['ending']]} bytes")
        if any(match["stem"] + ending not in files for ending in BOUNDS):
            raise ValueError(f"{match['stem']} needs a model and a manifest")
