"""Which databases of locations there are: those that settings name, and those that `hkpguard geo fetch` brought.

    HKPGUARD_STATE_DIR/geo/<package>@<version>/    *.mmdb, the texts of its licence, and fetched.json

Fetched ones stand in for each setting that is empty. Of a package the one that was fetched last counts.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geo.atlas import Sources
from proxy.settings.geo import FIELDS, PURPOSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config import Config

FOLDER: Final = "geo"
RECORD: Final = "fetched.json"
MOST_RECORD_BYTES: Final = 64 << 10

Line = Annotated[str, Field(max_length=500)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
Sort = Literal["city", "country", "asn", "anonymous"]


class Strict(BaseModel):
    """A part of the record: what it does not know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FetchedFile(Strict):
    """One database of a package."""

    sort: Sort
    size_bytes: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Fetched(Strict):
    """What was fetched, under which terms, and who agreed to them."""

    package: Line
    version: Line
    licence: Line  # as the package names it
    licence_files: tuple[FileName, ...]
    accepted: Literal["option", "terminal"]  # where somebody agreed
    fetched: Line  # when, UTC
    files: dict[FileName, FetchedFile]


def sources(config: Config) -> Sources:
    """Return the files to use."""
    brought = fetched_paths(Path(config.state_dir))
    return Sources(**{purpose: getattr(config, FIELDS[purpose]) or brought[purpose] for purpose in PURPOSES})


def fetched_paths(state_dir: Path) -> dict[str, tuple[str, ...]]:
    """Return the paths of fetched files by what they are for."""
    latest = {about.package: (folder, about) for folder, about in sorted(fetched(state_dir), key=_when)}
    paths = defaultdict(list)
    for folder, about in latest.values():
        for name, file in about.files.items():
            paths[file.sort].append(str(folder / name))
    return {purpose: tuple(paths[purpose]) for purpose in PURPOSES}


def fetched(state_dir: Path) -> Iterator[tuple[Path, Fetched]]:
    """Yield what was fetched, with its folder. A folder without a good record is none of ours."""
    with contextlib.suppress(OSError):
        for folder in sorted((state_dir / FOLDER).iterdir()):
            with contextlib.suppress(OSError, ValidationError), (folder / RECORD).open("rb") as file:
                yield folder, Fetched.model_validate_json(file.read(MOST_RECORD_BYTES))


def _when(found: tuple[Path, Fetched]) -> str:
    return found[1].fetched
