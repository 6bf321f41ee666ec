"""Which databases are used: those of settings, else those that were fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from geo.atlas import Sources
from proxy.config import Config
from proxy.geo_files import RECORD, Fetched, FetchedFile, fetched_paths, sources

if TYPE_CHECKING:
    from pathlib import Path


def bring(state: Path, version: str, when: str, *, package: str = "p", **sorts: str) -> Path:
    """Write down that a package was fetched, with files of these sorts; return its folder."""
    folder = state / "geo" / f"{package}@{version}"
    folder.mkdir(parents=True)
    files = {name: FetchedFile.model_validate({"sort": sort, "size_bytes": 1, "sha256": "0" * 64})
             for name, sort in sorts.items()}  # fmt: skip
    record = Fetched(
        package=package,
        version=version,
        licence="CC0-1.0",
        licence_files=(),
        accepted="option",
        fetched=when,
        files=files,
    )
    (folder / RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    return folder


def config(state: Path, **settings: str) -> Config:
    """Return a configuration with these settings."""
    return Config.from_env({"HKPGUARD_STATE_DIR": str(state)} | {f"HKPGUARD_GEOIP_{k}": v for k, v in settings.items()})


def test_settings(tmp_path: Path) -> None:
    """Each setting names files, in order."""
    made = config(tmp_path, CITY="/a,/b", COUNTRY="/c", ASN="/d", ANONYMOUS="/e")
    assert sources(made) == Sources(("/a", "/b"), ("/c",), ("/d",), ("/e",))
    assert sources(config(tmp_path)) == Sources()


def test_fetched_ones_stand_in(tmp_path: Path) -> None:
    """A fetched database is used for the setting of its sort, if that is empty."""
    folder = bring(tmp_path, "1", "2026-01-01T00:00:00Z", a="city", b="country", c="country")
    both = (str(folder / "b"), str(folder / "c"))
    assert sources(config(tmp_path, ASN="/d")) == Sources((str(folder / "a"),), both, ("/d",), ())
    assert sources(config(tmp_path, COUNTRY="/x")).country == ("/x",)


def test_latest_counts(tmp_path: Path) -> None:
    """Of several versions of a package the one that was fetched last is used; other packages beside it."""
    bring(tmp_path, "9", "2026-01-01T00:00:00Z", a="country")
    new = bring(tmp_path, "10", "2026-02-01T00:00:00Z", a="country")
    other = bring(tmp_path, "1", "2025-01-01T00:00:00Z", package="q", a="country")
    assert set(fetched_paths(tmp_path)["country"]) == {str(new / "a"), str(other / "a")}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"package": "p"}', '{"files": {"../../x": {}}}', "\xff"])
def test_bad_record(tmp_path: Path, text: str) -> None:
    """A folder without a good record is none of ours."""
    folder = bring(tmp_path, "1", "2026-01-01T00:00:00Z", a="country")
    (folder / RECORD).write_text(text, encoding="latin-1")
    (tmp_path / "geo" / "empty").mkdir()
    assert fetched_paths(tmp_path)["country"] == ()


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    """A record cannot name a file outside of its folder."""
    with pytest.raises(ValueError, match="pattern"):
        bring(tmp_path, "1", "2026-01-01T00:00:00Z", **{"../a": "country"})
