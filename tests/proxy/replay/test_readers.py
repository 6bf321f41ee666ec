"""From files to lines in the order of time."""

import gzip
import io
import lzma
import signal
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.replay import readers
from proxy.replay.line import SECOND_NS, Line
from proxy.replay.readers import HOLD_NS, LogError, Reading, requests

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dev.tar.xz"
HOLD_S = HOLD_NS // SECOND_NS
GREEDY = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]


def _line(second: int, address: str = "203.0.113.7") -> str:
    return f'{address} - - [14/Oct/2019:10:{second // 60:02}:{second % 60:02} +0000] "GET /a{second} HTTP/1.1" 200 1\n'


def _read(*names: Path | str, form: str | None = None, quotes: bool = False) -> tuple[list[Line], Reading]:
    reading = Reading(quotes=quotes)
    batches = requests([str(name) for name in names], form, reading, lambda _: None)
    return [line for batch in batches for line in batch], reading


def _targets(lines: list[Line]) -> list[str]:
    return [line.target for line in lines]


def _plain(data: bytes) -> bytes:
    return data


def _in_streams(data: bytes) -> bytes:
    """Return .xz as it is after `cat a.xz b.xz`, padded."""
    return lzma.compress(data[:50]) + bytes(8) + lzma.compress(data[50:]) + bytes(4)


@pytest.mark.parametrize("pack", [_plain, gzip.compress, lzma.compress, _in_streams])
def test_compressed_files_are_read_like_others(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What they are, they say themselves; their names do not matter. The last line may lack its end."""
    log = tmp_path / "access.log"
    log.write_bytes(pack("".join(map(_line, range(5))).rstrip("\n").encode()))
    lines, reading = _read(log)
    assert _targets(lines) == [f"/a{second}" for second in range(5)]
    assert (reading.lines, reading.requests, reading.bad, reading.formats) == (5, 5, 0, {str(log): "nginx"})


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called `-`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_line(1).encode())))
    assert _targets(_read("-")[0]) == ["/a1"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.log", None, "No such file"),
        ("cut.gz", gzip.compress(b"x" * 10_000, mtime=0)[:-20], "cannot be read to its end"),
        ("cut.xz", lzma.compress(b"x" * 10_000)[:-20], "cannot be read to its end: it ends in the middle"),
        ("bad.xz", lzma.compress(b"x" * 10_000)[:-20] + bytes(20), "cannot be read to its end"),
        ("greedy.xz", lzma.compress(b"x", filters=GREEDY), "cannot be read to its end: Memory usage limit"),
        ("other.log", b"a language\nthat nobody knows\n", "its format is not known"),
    ],
)
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    """With what is wrong with it."""
    log = tmp_path / name
    if content is not None:
        log.write_bytes(content)
    with pytest.raises(LogError, match=says) as error:
        _read(log)
    assert str(log) in str(error.value)


def test_bad_lines_are_counted_and_the_first_ones_shown(tmp_path: Path) -> None:
    """With file and number, and not too much of them."""
    log = tmp_path / "access.log"
    log.write_text(_line(1) + "x" * 5000 + "\n" + "y\n" * 9 + _line(2))
    lines, reading = _read(log)
    assert (len(lines), reading.bad, reading.lines) == (2, 10, 12)
    assert [each.split(" ")[0] for each in reading.shown] == [f"{log}:{number}:" for number in (2, 3, 4)]
    assert max(map(len, reading.shown)) < 400


@pytest.mark.parametrize(("quotes", "times"), [(False, 0), (True, 3)])
@pytest.mark.parametrize(
    ("form", "bad"),
    [
        ("nginx", "203.0.113.7:x - - [14/Oct/2019:10:00:00 +0000] rubbish"),
        ("nginx", 'host 203.0.113.7.9 - [14/Oct/2019:10:00:00 +0000] "GET / HTTP/1.1" 200 1'),
        ("nginx", '198.51.100.1 - - [203.0.113.7:10:00:00 +0000] "GET / HTTP/1.1" 200 1'),
        ("haproxy", "203.0.113.7:1 [x"),
        ("hockeypuck", '{"GET": "/", "from": "203.0.113.7x", "status-code": "200", "time": "2019-10-14T10:00:00Z"}'),
        ("hockeypuck", '{"GET": "/", "from": "203.0.113.7", "status-code": "203.0.113.7", "time": "x"}'),
        ("hkpguard", '{"event": "request", "total_ms": "203.0.113.7"}'),
        ("hkpguard", '{"event": "request", "operation": "203.0.113.7", "reason": "", "method": "GET"}'),
    ],
)
def test_bad_lines_are_quoted_only_if_asked_for(
    tmp_path: Path, form: str, bad: str, *, quotes: bool, times: int
) -> None:
    """They may hold addresses; without them line and reason are told, which repeats nothing of the line."""
    log = tmp_path / "access.log"
    log.write_text(f"{bad}\n" * 3)
    _, reading = _read(log, form=form, quotes=quotes)
    assert len(reading.shown) == reading.bad == 3
    assert sum("203.0.113.7" in each for each in reading.shown) == times


def test_a_long_word_costs_no_more_than_its_length() -> None:
    """It is looked at in every format; the alarm is for a search of each of its ends from each of its beginnings."""

    def out_of_time(*_: object) -> None:
        pytest.fail("a line takes its length squared")

    before = signal.signal(signal.SIGVTALRM, out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, 20)  # of processor time, in which there are ten minutes of work
    try:
        assert readers.recognise(["a" * readers.LONGEST] * 10) is None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_lines_without_end_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each the beginning is looked at, and the next one is read as if nothing had been."""
    monkeypatch.setattr(readers, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(readers, "LONGEST", 500)
    log = tmp_path / "access.log"
    log.write_text(_line(1) + "x" * 20_000 + "\n" + _line(2))
    lines, reading = _read(log)
    assert _targets(lines) == ["/a1", "/a2"]
    assert reading.bad == 1


def test_what_ended_early_and_began_late_changes_places(tmp_path: Path) -> None:
    """Lines are sorted by when requests began; who is later than HOLD_NS is taken where he stands, and counted."""
    late = 3 * HOLD_S
    seconds = [5, 3, 4, late, late + HOLD_S + 10, 1, late + HOLD_S + 9]
    log = tmp_path / "access.log"
    log.write_text("".join(map(_line, seconds)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "CHUNK_BYTES", 100)  # a line at a time
        lines, reading = _read(log)
    order = (3, 4, 5, late, 1, late + HOLD_S + 9, late + HOLD_S + 10)
    assert _targets(lines) == [f"/a{second}" for second in order]
    assert reading.late == 1
    assert [line.start_ns for line in lines] == sorted(line.start_ns for line in lines)


def test_clocks_that_are_fast_make_nobody_late(tmp_path: Path) -> None:
    """Lines that say a time far ahead, again and again, come at the end, and all others where they belong."""
    ahead = range(1900, 3600, 2 * HOLD_S)  # the nearer ones far before the farther ones
    seconds = [*range(10 * HOLD_S)]
    for place, second in enumerate(ahead):
        seconds.insert(place * HOLD_S + 7, second)
    log = tmp_path / "access.log"
    log.write_text("".join(map(_line, seconds)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "CHUNK_BYTES", 2000)  # some lines at a time
        lines, reading = _read(log)
    assert _targets(lines) == [f"/a{second}" for second in sorted(seconds)]
    assert reading.late == 0


def test_logs_are_merged(tmp_path: Path) -> None:
    """Rotated ones, and those of several servers, in any order."""
    for name, seconds in (("a", (1, 4, 9)), ("b", (2, 3, 10)), ("c", (0,))):
        (tmp_path / name).write_text("".join(map(_line, seconds)))
    lines, reading = _read(tmp_path / "b", tmp_path / "c", tmp_path / "a")
    assert _targets(lines) == [f"/a{second}" for second in (0, 1, 2, 3, 4, 9, 10)]
    assert reading.requests == 7


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever they hold: each line is counted as what it is."""
    reading = Reading()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_line(1).encode() + data)))
        lines = [line for batch in requests(["-"], None, reading, lambda _: None) for line in batch]
    assert reading.requests == len(lines) >= 1
    assert reading.lines == reading.requests + reading.bad + reading.others


@pytest.mark.skipif(not SHARED.is_file(), reason="the public logs (../shared/data/dev.tar.xz) are not here")
@pytest.mark.parametrize("name", ["almhuette_2019.log", "elastic_2015_PARSER_ONLY.log", "srhegde_2005_2018.log"])
def test_real_logs(tmp_path: Path, name: str) -> None:
    """Of those of real servers every line is read; all but a few hundred tell of requests that one can read."""
    with tarfile.open(SHARED) as archive:
        log = archive.extractfile(f"./access_logs/{name}")
        assert log is not None
        (tmp_path / name).write_bytes(log.read())
    lines, reading = _read(tmp_path / name)
    assert (reading.bad, reading.others) == (0, 0)
    assert sum(not line.target for line in lines) < len(lines) / 100
