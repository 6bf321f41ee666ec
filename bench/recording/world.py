"""What there is to ask for: certificates that the keyserver has, others that it never heard of, names and words.

The known ones are those of Debian's developers, in their real sizes, and some that are made up; the unknown ones are
made up. What people have in their keyrings comes without the signatures of others, as gpg has kept it since 2.2.17.
"""

import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from pysequoia import Cert, Profile, Tsk

from bench.gpg import DEBIAN_KEYRING
from bench.onak import Onak
from bench.recording.keyserver import WKD_FILE, wkd_digest

AT_A_TIME = 50  # certificates that onak is given in one go
SLIMMING_S = 300.0
STOP_S = 20.0
PUBLISHED_SHARE = 0.6  # of the made-up certificates
FIRST_NAMES = (
    "anna", "bruno", "carla", "david", "elena", "felix", "greta", "henri", "ida", "jonas", "karin", "lukas", "maria",
    "nils", "olga", "paul", "rosa", "simon", "tina", "viktor",
)  # fmt: skip
LAST_NAMES = (
    "abel", "berger", "costa", "duarte", "eriksen", "fischer", "garcia", "hansen", "ivanov", "jansen", "keller",
    "lopez", "moreau", "novak", "olsen", "petit", "rossi", "silva", "torres", "weber",
)  # fmt: skip
DOMAINS = ("example.org", "example.net", "mail.example.com", "cs.example.edu", "lists.example.org", "corp.example.com")
WORDS = ("security", "release", "archive", "signing", "kernel", "debian", "package", "automatic", "team", "backup")
_ADDRESS = re.compile(rb"<([\w.+-]+@[\w.-]+\.[a-zA-Z]+)>")
_WORD_LISTS = Path("/usr/share/dirb/wordlists")
_SOME_WORDS = (
    "admin", "backup", "cgi-bin", "config", "data", "db", "docs", "files", "images", "include", "index", "js", "lib",
    "login", "logs", "old", "phpmyadmin", "private", "scripts", "secret", "server-status", "setup", "static", "test",
    "tmp", "upload", "users", "vendor", "wp-admin", "xmlrpc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """A certificate: its fingerprint in upper case, its addresses, and itself in binary."""

    fingerprint: str
    addresses: tuple[str, ...]
    certificate: bytes = field(repr=False)

    @classmethod
    def of(cls, certificate: Cert) -> "Person":
        """Return what is used of it; addresses as they are written there, for many a binding is too old for Sequoia."""
        raw = bytes(certificate)
        addresses = dict.fromkeys(found.decode().lower() for found in _ADDRESS.findall(raw))
        return cls(certificate.fingerprint.upper(), tuple(addresses), raw)


@dataclass(frozen=True, kw_only=True)
class World:
    """The people whose certificates the keyserver has, and the others."""

    known: Sequence[Person]
    unknown: Sequence[Person]

    @cached_property
    def addresses(self) -> Sequence[str]:
        """Addresses that can be found."""
        return [address for person in self.known for address in person.addresses]

    def keyring(self, dice: random.Random, count: int, unknown_share: float) -> list[Person]:
        """Draw people for somebody's keyring, no one twice; fewer if there are not enough."""
        strangers = min(round(count * unknown_share), len(self.unknown))
        people = dice.sample(self.unknown, strangers)
        people += dice.sample(self.known, min(count - strangers, len(self.known)))
        dice.shuffle(people)
        return people

    def address(self, dice: random.Random, missing_share: float) -> str:
        """Draw an address to look for, one of nobody's with the probability `missing_share`."""
        return made_address(dice) + "x" if dice.random() < missing_share else dice.choice(self.addresses)


def made_address(dice: random.Random) -> str:
    """Draw a likely address."""
    return f"{dice.choice(FIRST_NAMES)}.{dice.choice(LAST_NAMES)}{dice.randrange(100)}@{dice.choice(DOMAINS)}"


def make_people(dice: random.Random, count: int) -> list[Person]:
    """Make certificates that gpg 2.2 can read; the names come from `dice`, the keys cannot."""
    return [Person.of(_make(dice)) for _ in range(count)]


def _make(dice: random.Random) -> Cert:
    address = made_address(dice)
    name = address.partition("@")[0].replace(".", " ").title()
    return Tsk.generate(user_ids=[f"{name} <{address}>"], profile=Profile.RFC4880).extract_certificate()


def debians(most: int) -> tuple[list[bytes], list[Person]]:
    """Return the developers' certificates as they are, and the same people as a keyring has them; none if not here."""
    if not most or not DEBIAN_KEYRING.exists():
        return [], []
    whole = [bytes(each) for each in islice(Cert.split_file(str(DEBIAN_KEYRING)), most)]
    return whole, [Person.of(each) for each in Cert.split_bytes(_slimmed(b"".join(whole)))]


def _slimmed(certificates: bytes) -> bytes:
    """Let gpg drop what others have signed; that takes it 20 ms for each."""
    with gpg_home() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-auto-check-trustdb"]
        take = [*gpg, "--import-options", "self-sigs-only", "--import"]
        subprocess.run(take, input=certificates, check=False, capture_output=True, timeout=SLIMMING_S)
        return subprocess.run([*gpg, "--export"], check=True, capture_output=True, timeout=SLIMMING_S).stdout


@contextmanager
def gpg_home(people: Iterable[Person] = ()) -> Iterator[Path]:
    """Give a home for gpg with these people in its keyring, and stop what gpg has started there."""
    home = Path(tempfile.mkdtemp(prefix="gpg"))  # short: there are sockets in it
    try:
        if keyring := b"".join(person.certificate for person in people):
            (home / "pubring.gpg").write_bytes(keyring)  # the form of old, which is how --export writes, too
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=STOP_S)
        shutil.rmtree(home, ignore_errors=True)


def words(dice: random.Random, name: str, count: int) -> list[str]:
    """Draw words of a list of dirb's, in their order, or of a few of our own where it is not installed."""
    file = _WORD_LISTS / f"{name}.txt"
    lines = file.read_text(errors="replace").split() if file.exists() else list(_SOME_WORDS)
    chosen = sorted(dice.sample(range(len(lines)), min(count, len(lines))))
    return [lines[each] for each in chosen]


def build(folder: Path, dice: random.Random, *, debian: int, made: int) -> World:
    """Fill an onak in `folder`; a certificate of Debian's takes it 50 ms."""
    certificates, developers = debians(debian)
    people = make_people(dice, made)
    published = round(made * PUBLISHED_SHARE)
    known = [*developers, *people[:published]]
    folder.mkdir()
    onak = Onak(folder)
    for batch in _batches([*certificates, *(each.certificate for each in people[:published])]):
        onak.add(b"".join(batch))
    found = {wkd_digest(address.partition("@")[0]): address for person in known for address in person.addresses}
    (folder / WKD_FILE).write_text(json.dumps(found))
    return World(known=known, unknown=people[published:])


def _batches(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), AT_A_TIME):
        yield items[start : start + AT_A_TIME]
