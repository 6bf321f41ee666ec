"""The compiled modules are what runs."""

from importlib import import_module
from pathlib import Path

import pytest

SOURCES = sorted(Path(import_module("fastpath").__path__[0]).glob("*.pyx"))


def test_there_are_sources() -> None:
    """The list of sources from which the next test is made is not empty."""
    assert len(SOURCES) >= 6


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_the_extension_is_loaded(name: str) -> None:
    """Each `.pyx` is loaded from a shared object, not from a Python file of the same name."""
    assert str(import_module(f"fastpath.{name}").__file__).endswith(".so")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_each_source_has_a_stub(source: Path) -> None:
    """Each `.pyx` has its `.pyi`, and none is longer than 300 lines."""
    assert source.with_suffix(".pyi").exists()
    assert len(source.read_text().splitlines()) <= 300
