"""What is asked for: certificates that everybody wants, those that one person wants, and people's addresses."""

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

POPULAR: Final = 50_000
DOMAINS: Final = 2000
OWN_SHARE: Final = 0.2  # of a keyring: certificates of friends, which nobody else asks for


class Certificate(NamedTuple):
    """What an upload holds."""

    fingerprint: str
    user_id: str


class Certificates:
    """All that there are. Popularity follows Zipf's law: the second is wanted half as often as the first."""

    def __init__(self, random: Random) -> None:
        """Draw them."""
        self._random = random
        self._popular = [self.rare() for _ in range(POPULAR)]
        self._weights = list(accumulate(1 / rank for rank in range(1, POPULAR + 1)))

    def rare(self) -> str:
        """Return a certificate that was never asked for: the next one of a dump."""
        return f"{self._random.getrandbits(160):040X}"

    def most_popular(self, count: int) -> Sequence[str]:
        """Return those that are wanted most."""
        return self._popular[:count]

    def popular(self, count: int) -> Sequence[str]:
        """Draw certificates by their popularity, some of them more than once."""
        return self._random.choices(self._popular, cum_weights=self._weights, k=count)

    def keyring(self, size: int) -> list[str]:
        """Return what somebody has: `size` certificates, most of them popular, in no order."""
        own = max(1, round(size * OWN_SHARE))
        keys: set[str] = set()
        while len(keys) < size - own:
            keys.update(self.popular(size - own - len(keys)))
        ring = sorted(keys) + [self.rare() for _ in range(own)]
        self._random.shuffle(ring)
        return ring

    def mail_address(self) -> str:
        """Return somebody's address at one of the usual places."""
        return f"p{self._random.getrandbits(40):010x}@d{self._random.randrange(DOMAINS)}.example.org"

    def new(self) -> Certificate:
        """Return a certificate that no keyserver has yet."""
        return Certificate(self.rare(), f"Person <{self.mail_address()}>")


def gpg_get(fingerprint: str) -> str:
    """Return what gpg, sq and OpenKeychain ask for."""
    return f"/pks/lookup?op=get&options=mr&search=0x{fingerprint}"


def thunderbird_get(fingerprint: str) -> str:
    """Return what Thunderbird asks for."""
    return f"/pks/lookup?search=0x{fingerprint}&op=get&options=mr"


def mail_get(address: str) -> str:
    """Return how Thunderbird looks for the certificate of a recipient."""
    return f"/pks/lookup?search={address.replace('@', '%40')}&op=get&options=mr"


def mail_search(address: str) -> str:
    """Return what `gpg --search-keys` asks for."""
    return f"/pks/lookup?op=index&options=mr&fingerprint=on&search={address}"
