"""From files to lines in the order of time: plain, gzip and xz files and standard input, whatever wrote them.

A log is written when requests end; what counts here is when they began. So lines are held back until the log is
HOLD_NS further, and sorted. What comes later still is taken as if it had begun just now, and counted.

All is bounded: the length of a line, how many are held back, how many bad ones are shown.
"""

import gzip
import lzma
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import IO, Final

from proxy.replay import haproxy_log, hockeypuck_log, own_log, web_log
from proxy.replay.line import BadLine, Line, Parse

FORMATS: Final[Mapping[str, Parse]] = {
    "hkpguard": own_log.parse,
    "hockeypuck": hockeypuck_log.parse,
    "haproxy": haproxy_log.parse,
    "nginx": web_log.parse,
    "apache": web_log.parse,
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
LONGEST_SPAN_NS: Final = 2**60  # 36 years; what begins so much later than the first has a wrong time
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_START = itemgetter(0)


class LogError(Exception):
    """A log that cannot be read at all."""


@dataclass(slots=True)
class Reading:
    """What was read so far.

    Attributes:
        lines: Of all kinds.
        requests: Lines that tell of a request.
        others: Lines that tell of something else.
        bad: Lines that should tell of one.
        late: Requests that began long before their place in the log.
        formats: By the name of each file.
        shown: The first bad lines: file, number, why, and the line.

    """

    lines: int = 0
    requests: int = 0
    others: int = 0
    bad: int = 0
    late: int = 0
    formats: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def note_bad(self, name: str, number: int, error: str, text: str) -> None:
        """Count a bad line, and keep the first ones."""
        self.bad += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{name}:{number}: {error}: {text[:SHOWN_CHARS]!r}")


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
    first_ns = now_ns = None
    for batch in batches:
        held += batch
        held.sort(key=_START)
        if not held:
            continue
        if first_ns is None or now_ns is None:
            first_ns = now_ns = held[0].start_ns
        while held and held[-1].start_ns - first_ns > LONGEST_SPAN_NS:
            reading.note_bad("", 0, "a time that is more than 36 years after the first", str(held.pop().start_ns))
        late = 0
        while late < len(held) and held[late].start_ns < now_ns:
            held[late] = held[late]._replace(start_ns=now_ns)
            late += 1
        reading.late += late
        count = _ripe(held)
        if count:
            yield held[:count]
            now_ns = held[count - 1].start_ns
            del held[:count]
    yield held


def _ripe(held: Sequence[Line]) -> int:
    """Return how many of the lines that are held back need not wait any longer."""
    if not held:
        return 0
    ripe_ns = held[-1].start_ns - HOLD_NS
    count = len(held)
    if held[0].start_ns > ripe_ns:
        return max(0, count - MOST_HELD)
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if held[middle].start_ns <= ripe_ns:
            low = middle + 1
        else:
            high = middle
    return max(low, count - MOST_HELD)


def _parsed(name: str, form: str | None, reading: Reading, progress: Progress) -> Iterator[list[Line]]:
    """Yield the requests of one file in batches, as they stand there."""
    parse = FORMATS[form] if form else None
    number = 0
    with _opened(name) as (stream, raw):
        for texts in _texts(stream, raw, name, progress):
            if parse is None:
                found = recognise(texts)
                if found is None:
                    if any(map(str.strip, texts)):
                        raise LogError(f"{name}: its format is not known; the first line is {_first(texts)!r}")
                    continue
                reading.formats[name], parse = found, FORMATS[found]
            batch: list[Line] = []
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
            yield batch
    if form:
        reading.formats[name] = form


def _first(texts: Sequence[str]) -> str:
    return next(text for text in texts if text.strip())[:SHOWN_CHARS]


def recognise(texts: Sequence[str]) -> str | None:
    """Return the format by which most of the first lines are requests; None if none of them is in any."""
    votes = Counter[str]()
    for text in texts[:PROBED]:
        for form, parse in FORMATS.items():
            try:
                votes[form] += parse(text) is not None
            except BadLine:
                continue
    form, most = max(votes.items(), key=lambda vote: vote[1], default=("", 0))
    return form if most else None


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
        begins = raw.peek(6)  # type: ignore[attr-defined]  # it is a BufferedReader
        if begins.startswith(_GZIP):
            yield gzip.open(raw), raw
        elif begins.startswith(_XZ):
            yield lzma.open(raw), raw
        else:
            yield raw, raw


def _texts(stream: IO[bytes], raw: IO[bytes], name: str, progress: Progress) -> Iterator[list[str]]:
    """Yield the lines of a stream in lists; of one that is too long the beginning."""
    rest, position = b"", 0
    while data := _read(stream, name):
        *whole, rest = (rest + data).split(b"\n")
        if raw is not sys.stdin.buffer:
            position, before = raw.tell(), position
            progress(position - before)
        yield [_text(each) for each in whole]
        if len(rest) > LONGEST:
            rest = rest[:LONGEST]  # what follows, up to the end of the line, is cut when it is complete
    if rest:
        yield [_text(rest)]


def _text(line: bytes) -> str:
    return line[:LONGEST].decode("utf-8", "replace").rstrip("\r")


def _read(stream: IO[bytes], name: str) -> bytes:
    try:
        return stream.read(CHUNK_BYTES)
    except (OSError, EOFError, lzma.LZMAError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise LogError(f"{name}: damaged: {error}") from None
