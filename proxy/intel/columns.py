"""Arrays in a file: written as a whole or not at all, checked, and mapped rather than read.

    MAGIC | length of the head | head, JSON: what its writer tells, and where each column stands | columns | BLAKE2b

Each column begins at a cache line, so that what is mapped can be searched where it is. The digest is of all before it;
it finds damage, not forgers: who can write here can write anything. A file is another one after each writing, so who
has it mapped keeps what it has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

Json = dict[str, Any]
MAGIC: Final = b"hkpcols1"
MOST_HEAD_BYTES: Final = 16 * 1024 * 1024
MOST_BYTES: Final = 512 * 1024 * 1024
_START: Final = struct.Struct("<8sQ")
_LINE: Final = 64  # bytes
_DIGEST_BYTES: Final = 32


class BadFile(ValueError):
    """It is not a file that was written here; the text says why."""


class Column(NamedTuple):
    """What a reader expects of a column."""

    dtype: DTypeLike
    width: int = 0  # values of a row; 0: one


def write(path: Path, told: Json, columns: Mapping[str, NDArray[Any]]) -> None:
    """Put a file in the place of what is at `path`, for its owner alone.

    Raises:
        OSError: It cannot be written; what was there stays.

    """
    beside = path.with_name(path.name + ".new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            for piece in _pieces(told, columns):
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _pieces(told: Json, columns: Mapping[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    arrays = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    # The offsets stand in the head, whose length moves them: so they count from the end of the head.
    places, offset = {}, 0
    for name, array in arrays.items():
        places[name] = [offset, len(array), array.dtype.str, 0 if array.ndim == 1 else array.shape[1]]
        offset += _lines(array.nbytes)
    head = json.dumps({"told": told, "columns": places}).encode()
    head += b" " * (_lines(_START.size + len(head)) - _START.size - len(head))
    yield _START.pack(MAGIC, len(head))
    yield head
    for array in arrays.values():
        yield array.reshape(-1).view(np.uint8).data
        yield bytes(_lines(array.nbytes) - array.nbytes)


def read(path: Path, columns: Mapping[str, Column], *, verify: bool = True) -> tuple[Json, dict[str, NDArray[Any]]]:
    """Return what the writer told, and the columns: read-only, and mapped from the file.

    Args:
        path: Of the file.
        columns: What is expected; more may be in it.
        verify: Compare the digest, which reads all of it.

    Raises:
        OSError: It cannot be opened.
        BadFile: It is damaged, or not as expected.

    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not _START.size + _DIGEST_BYTES < size <= MOST_BYTES:
            raise BadFile(f"{size} bytes")
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    body = mapped[:-_DIGEST_BYTES]
    if verify and hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != mapped[-_DIGEST_BYTES:]:
        raise BadFile("its checksum is wrong")
    told, places, start = _head(body)
    return told, {name: _column(body, places.get(name), column, start) for name, column in columns.items()}


def _head(body: memoryview) -> tuple[Json, Json, int]:
    magic, length = _START.unpack_from(body)
    if magic != MAGIC or length > min(MOST_HEAD_BYTES, len(body) - _START.size):
        raise BadFile("it does not begin as it should")
    try:
        head = json.loads(bytes(body[_START.size : _START.size + length]))
    except (ValueError, RecursionError):
        raise BadFile("its head is no JSON") from None
    match head:
        case {"told": dict(told), "columns": dict(places)}:
            return told, places, _START.size + length
    raise BadFile("its head is not as it should be")


def _column(body: memoryview, place: object, column: Column, start: int) -> NDArray[Any]:
    dtype = np.dtype(column.dtype)
    match place:
        case [int(offset), int(rows), dtype.str, column.width] if offset >= 0 and rows >= 0 and offset % _LINE == 0:
            values = rows * max(1, column.width)
            if start + offset + values * dtype.itemsize <= len(body):
                array = np.frombuffer(body, dtype, values, start + offset)
                return array.reshape(rows, column.width) if column.width else array
    raise BadFile("a column is missing, or not whole")


def _lines(size: int) -> int:
    return -(-size // _LINE) * _LINE
