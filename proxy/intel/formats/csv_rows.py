"""CSV: rows of fields, of which one is an address or a CIDR, or two are the ends of a range.

Which, the setting says by name or number; else it is the column that has one of the usual names, else the first. Where
the column is no address in the first row, that is the head. `ipcat` is `first,last,provider,url` without a head.
"""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from proxy.intel.formats.addresses import BadAddress, prefixes_of
from proxy.intel.formats.body import lines_of, text_of
from proxy.intel.formats.collector import Collector, printable
from proxy.intel.formats.json_paths import USUAL_NAMES
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.text import whole

Row = list[str]

_DELIMITERS: Final = ",;\t|"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_LONGEST_NAME: Final = 48


class _Columns(NamedTuple):
    address: int
    last: int | None = None  # of a range
    note: int | None = None


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read CSV; `reading.field` names the column, or two as `first-last`."""
    rows = _rows(data, reading)
    first = next(rows, [])
    columns = _found(first, reading.field)
    return _taken(first, rows, columns, reading)


def parse_ipcat(data: bytes, reading: Reading) -> Parsed:
    """Read ipcat's list of data centres."""
    rows = _rows(data, reading)
    return _taken(next(rows, []), rows, _Columns(address=0, last=1, note=2), reading)


def _taken(first: Row, rows: Iterator[Row], columns: _Columns, reading: Reading) -> Parsed:
    collector = Collector(reading)
    if not _is_head(first, columns, reading):
        _take(collector, first, columns)
    for row in rows:
        _take(collector, row, columns)
    return whole(collector.parsed())


def _take(collector: Collector, row: Row, columns: _Columns) -> None:
    most = max(column for column in columns if column is not None)
    if len(row) <= most:
        collector.refuse(",".join(row), "has too few columns")
        return
    note = row[columns.note] if columns.note is not None else ""
    if columns.last is None:
        collector.take(row[columns.address].strip(), note=note)
    else:
        collector.take_range(row[columns.address].strip(), row[columns.last].strip(), note=note)


def _rows(data: bytes, reading: Reading) -> Iterator[Row]:
    lines = lines_of(text_of(data, reading.limits), reading.limits)
    lines = (line for line in lines if line and not line.startswith("#"))
    first = next(lines, "")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), _DELIMITERS[0])
    try:
        yield from csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    except csv.Error as fault:
        raise NotAList(f"no CSV, or cut short: {fault}") from None


def _found(head: Row, field: str) -> _Columns:
    """Return the columns that a setting means, or the usual one."""
    names = [name.strip().lower() for name in head]
    if not field:
        return _Columns(next((names.index(name) for name in USUAL_NAMES if name in names), 0))
    if (column := _column(names, field)) is not None:
        return _Columns(column)
    first, last = (_column(names, part) for part in field.partition("-")[::2])
    if first is None or last is None:
        raise NotAList(f"no column {printable(field, _LONGEST_NAME)!r} in the head")
    return _Columns(first, last)


def _column(names: list[str], field: str) -> int | None:
    if _NUMBER.fullmatch(field):
        return int(field) - 1
    return names.index(field.lower()) if field.lower() in names else None


def _is_head(row: Row, columns: _Columns, reading: Reading) -> bool:
    cell = row[columns.address].strip() if columns.address < len(row) else ""
    try:
        prefixes_of(cell, reading.limits)
    except BadAddress:
        return True
    return False
