"""Tests that docs/threat-model.md names only tests and settings that there are, and gives each row its tests.

A section has a table, whose first column says what is attempted, and under `Shown by:` a list with the same words in
the same order: each item names tests as `tests/path.py::name`, or says `no test yet`.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proxy.config import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
SETTINGS = {key.variable for key in KEYS.values()} | {"HKPGUARD_CONFIG"}
NAMED_TEST = re.compile(r"\b(tests/[\w/.-]+?)::([\w:]+)")
NAMED_SETTING = re.compile(r"\bHKPGUARD_\w+")
ROW = re.compile(r"^\| (?!attack \||---)(.+?) \|", re.MULTILINE)
ITEM = re.compile(r"^- (.+?):\s+(.+(?:\n  .+)*)", re.MULTILINE)
NO_TEST = "no test yet"


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file, with their class if they have one; none if there is no such file."""
    if not path.is_file():
        return frozenset()
    return frozenset(_names(ast.parse(path.read_text(encoding="utf-8")).body))


def _names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for each in body:
        if isinstance(each, ast.ClassDef):
            yield from _names(each.body, f"{each.name}::")
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
            yield prefix + each.name


def missing_tests(text: str) -> set[str]:
    """Return the tests that a text names and that are not there."""
    return {f"{path}::{name}" for path, name in NAMED_TEST.findall(text) if name not in names_in(ROOT / path)}


def missing_settings(text: str) -> set[str]:
    """Return the settings that a text names and that are not there."""
    return set(NAMED_SETTING.findall(text)) - SETTINGS


class Section(NamedTuple):
    """What a section says is attempted, and by which tests it is shown."""

    title: str
    rows: list[str]
    shown: dict[str, str]


def sections(text: str) -> list[Section]:
    """Return the sections of a text that have a table."""
    found = []
    for part in text.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        table, _, below = rest.partition("\nShown by:\n")
        found.append(Section(title, ROW.findall(table), dict(ITEM.findall(below.partition("\nRemains:\n")[0]))))
    return found


def test_tests_that_are_named_exist() -> None:
    """A test that was renamed or removed is not claimed any more."""
    assert len(NAMED_TEST.findall(DOCUMENT)) > 100
    assert missing_tests(DOCUMENT) == set()


def test_settings_that_are_named_exist() -> None:
    """The same for settings."""
    assert len(NAMED_SETTING.findall(DOCUMENT)) > 50
    assert missing_settings(DOCUMENT) == set()


def test_each_row_has_its_tests() -> None:
    """What bounds an attack is shown by a test, or it is said that there is none."""
    found = sections(DOCUMENT)
    assert len(found) > 10
    for section in found:
        assert section.rows, section.title
        assert section.rows == list(section.shown), section.title
        for row, tests in section.shown.items():
            assert NAMED_TEST.search(tests) or tests == NO_TEST, (section.title, row)


def test_faults_would_be_found() -> None:
    """The tests above can fail: for a test that is not there, its class or its file, for a setting, for a row."""
    here = "tests/test_threat_model.py"
    tarpit = "tests/fastpath/test_tarpit.py"
    there = f"`{here}::test_faults_would_be_found`, `{tarpit}::TestBounds::test_number`"
    gone = {f"{here}::test_gone", f"{tarpit}::test_number", f"{tarpit}::TestGone::test_number", "tests/gone.py::test_a"}
    assert missing_tests(" ".join([there, *(f"`{each}`," for each in gone)])) == gone
    assert missing_settings("`HKPGUARD_LISTEN`, `HKPGUARD_LISTENS` or `HKPGUARD_BANS__POINTS=7`") == {
        "HKPGUARD_LISTENS"
    }
    table = "| attack | bound |\n| --- | --- |\n| a | 1 |\n| b | 2 (`x`) |\n"
    text = f"# T\n\n## One\n\n{table}\nShown by:\n\n- a: {NO_TEST}\n- c:\n  `{here}::x`,\n  y\n\nRemains:\n\n- d: e\n"
    assert sections(text) == [Section("One", ["a", "b"], {"a": NO_TEST, "c": f"`{here}::x`,\n  y"})]
