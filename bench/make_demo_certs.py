"""Makes the certificates of the demo keyserver, with gpg.

    python -m bench.make_demo_certs > proxy/demo_certs.asc

The dates are fixed and in the past (a clock that is slow must not make them certificates of the future); the
keys are random, so a new file has other fingerprints. The secret keys are thrown away: nobody can use them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

CREATED: Final = "20240102T030405"


class Person(NamedTuple):
    """A certificate to make: its user ids, and what gpg calls its algorithm and expiry."""

    user_ids: tuple[str, ...]
    algorithm: str = "future-default"
    expires: str = "never"
    revoked: bool = False


PEOPLE: Final = (
    Person(("Alice Example <alice@example.org>", "Alice Example (work) <alice@example.com>")),
    Person(("Bob Example <bob@example.org>",)),
    Person(
        (
            "Carol Sample <carol@example.org>",
            "Carol Sample <carol@example.net>",
            "Carol <c.sample@example.com>",
        )
    ),
    Person(("Dave Demo <dave@example.org>",), algorithm="rsa2048"),
    Person(("Erin Sample <erin@example.net>",)),
    Person(("Frank Example <frank@example.org>",)),
    Person(("Grace Placeholder <grace@example.org>",)),
    Person(("Heidi Müller <heidi@example.org>",)),
    Person(("Ivan Demo <ivan@example.com>",)),
    Person(("Judy Placeholder <judy@example.org>",), revoked=True),
    Person(("Mallory Demo <mallory@example.net>",)),
    Person(("Niaj Sample <niaj@example.org>",)),
    Person(("Olivia Example <olivia@example.org>",), expires="20250101T000000"),
    Person(("Peggy Placeholder <peggy@example.org>",)),
    Person(("Rupert Demo <rupert@example.com>",)),
    Person(("Sybil Sample <sybil@example.org>",)),
    Person(("Trent Example <trent@example.net>",)),
    Person(("Example Project: releases, 100% signed <releases@example.org>",), algorithm="rsa3072"),
    Person(("Example Project Security <security@example.org>",)),
    Person(("Walter Sample <walter@example.org>",)),
)


def main() -> None:
    """Write one armored block with all the certificates to standard output."""
    with tempfile.TemporaryDirectory() as home:
        for person in PEOPLE:
            make(home, person)
        sys.stdout.write(gpg(home, "--armor", "--export"))


def make(home: str, person: Person) -> None:
    """Make one certificate in the keyring of a GnuPG home."""
    first, *others = person.user_ids
    gpg(home, "--quick-generate-key", first, person.algorithm, "default", person.expires)
    fingerprint = newest(home, first)
    for user_id in others:
        gpg(home, "--quick-add-uid", fingerprint, user_id)
    if person.revoked:
        revoke(home, fingerprint)


def newest(home: str, user_id: str) -> str:
    """Return the fingerprint of the certificate with a user id."""
    listing = gpg(home, "--with-colons", "--list-keys", f"={user_id}")
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))


def revoke(home: str, fingerprint: str) -> None:
    """Import the revocation that gpg made with the key; a colon guards it against mistakes."""
    kept = Path(home, "openpgp-revocs.d", f"{fingerprint}.rev")
    ready = Path(home, "revocation.asc")
    ready.write_text(kept.read_text(encoding="utf-8").replace(":-----BEGIN", "-----BEGIN"), encoding="utf-8")
    gpg(home, "--import", str(ready))


def gpg(home: str, *arguments: str) -> str:
    """Run gpg without asking anything and return what it prints; its errors go to our standard error."""
    options = ["--batch", "--quiet", "--passphrase", "", "--faked-system-time", f"{CREATED}!"]
    command = ["gpg", "--homedir", home, *options, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return done.stdout


if __name__ == "__main__":
    main()
