"""From files to lines in the order of time: plain, gzip and xz files and standard input, whatever wrote them.

A log is written when requests end; what counts here is when they began. So lines are held back until the log is
HOLD_NS further, and sorted. What comes later still is taken as if it had begun just now, and counted.

All is bounded: the length of a line, how many are held back, how many bad ones are shown, the memory to unpack files.
"""

import gzip
import lzma
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import IO, Final, cast

from proxy.replay import haproxy_log, hockeypuck_log, own_log, web_log
from proxy.replay.line import BadLine, Format, Line, Parse

_WEB: Final = Format(web_log.parse, web_log.missing)
FORMATS: Final[Mapping[str, Format]] = {
    "hkpguard": Format(own_log.parse, own_log.missing),
    "hockeypuck": Format(hockeypuck_log.parse, hockeypuck_log.missing),
    "haproxy": Format(haproxy_log.parse, haproxy_log.missing),
    "nginx": _WEB,
    "apache": _WEB,
}
STDIN: Final = "-"
PROBED: Final = 1000  # lines from which the format is recognised
LONGEST: Final = 65_536  # bytes of a line
CHUNK_BYTES: Final = 1_048_576
BATCH: Final = 8192  # lines
HOLD_NS: Final = 120 * 1_000_000_000
MOST_HELD: Final = 500_000
SHOWN: Final = 3  # bad lines
SHOWN_CHARS: Final = 160
XZ_BYTES: Final = 128 << 20  # to unpack; what `xz -9` has packed takes 65 MiB, and a file may ask for gigabytes
LONGEST_SPAN_NS: Final = 2**60  # 36 years; what begins so much later than the first has a wrong time
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_START = itemgetter(0)


class LogError(Exception):
    """A log that cannot be read at all."""


@dataclass(slots=True)
class Reading:
    """What was read so far.

    Attributes:
        quotes: Show the text of bad lines: it may hold addresses.
        lines: Of all kinds.
        requests: Lines that tell of a request.
        others: Lines that tell of something else.
        bad: Lines that should tell of one.
        late: Requests that began long before their place in the log.
        formats: By the name of each file.
        shown: The first bad lines: file, number, and why.
        notes: What the logs do not tell, in sentences.

    """

    quotes: bool = False
    lines: int = 0
    requests: int = 0
    others: int = 0
    bad: int = 0
    late: int = 0
    formats: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, name: str, form: str, text: str) -> None:
        """Note the format of a file, and what it does not tell if all its requests are like `text`."""
        self.formats[name] = form
        self.notes += [f"{name}: {note}" for note in FORMATS[form].missing(text)]

    def note_bad(self, name: str, number: int, error: str, text: str) -> None:
        """Count a bad line, and keep the first ones."""
        self.bad += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{name}:{number}: {error}" + (f": {text[:SHOWN_CHARS]!r}" if self.quotes else ""))


Progress = Callable[[int], None]
"""Is told how many bytes of the files were read since it was told last, as they lie on the disk."""


def requests(names: Sequence[str], form: str | None, reading: Reading, progress: Progress) -> Iterator[list[Line]]:
    """Yield all requests of some logs in the order of time, in batches.

    Args:
        names: Files; `-` is standard input.
        form: One of FORMATS; None: each file is looked at.
        reading: Is kept up to date.
        progress: Likewise.

    Raises:
        LogError: A file cannot be read, or its format is unknown.

    """
    logs = [_in_order(_parsed(name, form, reading, progress), reading) for name in names]
    if len(logs) == 1:
        yield from logs[0]
        return
    batch: list[Line] = []
    for line in merge(*map(_singly, logs), key=_START):
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def _singly(batches: Iterator[list[Line]]) -> Iterator[Line]:
    for batch in batches:
        yield from batch


def _in_order(batches: Iterator[list[Line]], reading: Reading) -> Iterator[list[Line]]:
    """Sort the lines of one log by the time at which they began."""
    held: list[Line] = []
    first_ns: int | None = None
    now_ns = 0
    for batch in batches:
        _sort_in(batch, held)
        if not held:
            continue
        if first_ns is None:
            first_ns = held[0].start_ns
        while held and held[-1].start_ns - first_ns > LONGEST_SPAN_NS:
            reading.note_bad("", 0, "a time that is more than 36 years after the first", str(held.pop().start_ns))
        late = bisect_left(held, now_ns, key=_START)
        held[:late] = [line._replace(start_ns=now_ns) for line in held[:late]]
        reading.late += late
        count = _ripe(held, batch)
        if count:
            yield held[:count]
            now_ns = held[count - 1].start_ns
            del held[:count]
    yield held


def _sort_in(batch: Sequence[Line], held: list[Line]) -> None:
    """Add lines to others, which are sorted: those that begin before all of the new need not be looked at again."""
    if batch:
        place = bisect_right(held, min(map(_START, batch)), key=_START)
        held[place:] = sorted((*held[place:], *batch), key=_START)


def _ripe(held: Sequence[Line], batch: Sequence[Line]) -> int:
    """Return how many of the lines that are held back need not wait any longer.

    The present is the median of the lines that came last: else a few of a fast clock would make all others late.
    """
    if not batch:
        return 0
    present_ns = sorted(map(_START, batch))[len(batch) // 2]
    ripe = bisect_right(held, present_ns - HOLD_NS, key=_START)
    return max(ripe, len(held) - MOST_HELD)


def _parsed(name: str, form: str | None, reading: Reading, progress: Progress) -> Iterator[list[Line]]:
    """Yield the requests of one file in batches, as they stand there."""
    parse: Parse | None = None
    number = 0
    with _opened(name) as (stream, raw):
        for texts in _texts(stream, raw, name, progress):
            if parse is None:
                known = _known(name, texts, form)
                reading.begin(name, known, _first(texts, FORMATS[known].parse))
                parse = FORMATS[known].parse
            yield _batch(name, number, texts, parse, reading)
            number += len(texts)


def _batch(name: str, number: int, texts: Sequence[str], parse: Parse, reading: Reading) -> list[Line]:
    """Return the requests among lines, before which there were `number` others."""
    batch: list[Line] = []
    bad = reading.bad
    for text in texts:
        number += 1
        try:
            line = parse(text) if text else None
        except BadLine as error:
            reading.note_bad(name, number, str(error), text)
            continue
        if line is not None:
            batch.append(line)
    reading.requests += len(batch)
    reading.lines += len(texts)
    reading.others += len(texts) - len(batch) - (reading.bad - bad)
    return batch


def _known(name: str, texts: Sequence[str], form: str | None) -> str:
    """Return the format of a file with these first lines; LogError if it is none that we know."""
    found = form or recognise(texts)
    if found is None:
        raise LogError(f"{name}: its format is not known (--format tells it)")
    return found


def _first(texts: Sequence[str], parse: Parse) -> str:
    """Return the first line that is a request; an empty one if none is."""
    return next((text for text in texts if _is_request(text, parse)), "")


def _is_request(text: str, parse: Parse) -> bool:
    try:
        return parse(text) is not None
    except BadLine:
        return False


def recognise(texts: Sequence[str]) -> str | None:
    """Return the format by which most of the first lines are requests; None if none of them is in any."""
    votes = {name: sum(_is_request(text, form.parse) for text in texts[:PROBED]) for name, form in FORMATS.items()}
    most = max(votes, key=votes.__getitem__)
    return most if votes[most] else None


def texts(name: str, progress: Progress) -> Iterator[list[str]]:
    """Yield the lines of a file (`-`: standard input) in lists, whatever they say; LogError if it cannot be read."""
    with _opened(name) as (stream, raw):
        yield from _texts(stream, raw, name, progress)


@contextmanager
def _opened(name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file; yield its content, and the file itself, whose position tells how far one is."""
    if name == STDIN:
        yield sys.stdin.buffer, sys.stdin.buffer
        return
    try:
        raw = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise LogError(f"{name}: {error.strerror}") from None
    with raw:
        begins = raw.peek(6)
        if begins.startswith(_GZIP):
            with gzip.open(raw) as content:
                yield cast("IO[bytes]", content), raw
        elif begins.startswith(_XZ):
            yield cast("IO[bytes]", _Xz(raw)), raw
        else:
            yield raw, raw


class _Xz:
    """The content of an .xz file, one stream in it after the other; `lzma.open` knows no bound of memory."""

    def __init__(self, raw: IO[bytes]) -> None:
        """Unpack a file."""
        self._raw = raw
        self._stream = self._next_stream()

    @staticmethod
    def _next_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_BYTES)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; LZMAError or EOFError if there is something wrong."""
        content = b""
        while not content:
            packed = b""
            if self._stream.eof:  # zeros may follow, and then another one
                packed = self._stream.unused_data.lstrip(b"\0") or self._raw.read(size).lstrip(b"\0")
                if not packed:
                    break
                self._stream = self._next_stream()
            elif self._stream.needs_input and not (packed := self._raw.read(size)):
                raise EOFError("it ends in the middle")
            content = self._stream.decompress(packed, size)
        return content


def _texts(stream: IO[bytes], raw: IO[bytes], name: str, progress: Progress) -> Iterator[list[str]]:
    """Yield the lines of a stream in lists; of one that is too long the beginning."""
    rest, position = b"", 0
    while data := _read(stream, name):
        if raw is not sys.stdin.buffer:
            position, before = raw.tell(), position
            progress(position - before)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield _split(whole)
        if len(rest) > LONGEST:
            rest = rest[:LONGEST]  # what follows, up to the end of the line, is cut when it is complete
    if rest:
        yield _split(rest)


def _split(data: bytes) -> list[str]:
    """Return lines as texts; all at once, which takes a fifth of the time."""
    texts = data.decode("utf-8", "replace").split("\n")
    if b"\r" in data:
        texts = [text.rstrip("\r") for text in texts]
    if len(max(texts, key=len)) > LONGEST:
        texts = [text[:LONGEST] for text in texts]
    return texts


def _read(stream: IO[bytes], name: str) -> bytes:
    try:
        return stream.read(CHUNK_BYTES)
    except (OSError, EOFError, lzma.LZMAError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise LogError(f"{name}: cannot be read to its end: {error}") from None
