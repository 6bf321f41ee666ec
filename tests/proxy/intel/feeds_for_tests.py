"""Lists, settings and sources for the tests of feeds."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from proxy.config import Config
from proxy.intel.formats.reading import Parsed
from proxy.intel.gathering import Gathered
from proxy.intel.listing import Listing, Listings, Prefixes
from proxy.settings.intel import FeedConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOW_S = 1_780_000_000.0
NOBODY = Prefixes.of(())


def listings(*texts: str, severity: float = 0.5, until_s: float | None = None) -> Listings:
    """Return a list of networks."""
    return Listings.of(Listing(ip_network(text), severity, until_s) for text in texts)


def prefixes(*texts: str) -> Prefixes:
    """Return networks."""
    return Prefixes.of(map(ip_network, texts))


def feed_config(**settings: str) -> FeedConfig:
    """Return the settings of a feed."""
    return FeedConfig.model_validate({"url": "https://lists.example/list.txt", **settings})


def config_of(folder: Path, feeds: dict[str, dict[str, str]], **settings: str) -> Config:
    """Return a configuration with feeds; `settings` without HKPGUARD_."""
    environ = {f"HKPGUARD_{word}": text for word, text in settings.items()} | {"HKPGUARD_STATE_DIR": str(folder)}
    for name, feed in feeds.items():
        environ |= {f"HKPGUARD_INTEL__FEEDS__{name.upper()}__{word.upper()}": text for word, text in feed.items()}
    return Config.from_env(environ, try_files=False)


class FakeSource:
    """A source that gives what a test has put in: lists, errors, or None."""

    def __init__(self, *answers: Listings | Exception | None) -> None:
        """`answers`: in their order; the last again and again."""
        self.answers: list[Listings | Exception | None] = [*answers]
        self.accepted = 0
        self.asked: list[float] = []

    async def gather(self, now_s: float) -> Gathered | None:
        """See `Gatherer`."""
        self.asked.append(now_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return None
        return Gathered(Parsed(listings=answer, withdrawn=NOBODY, rows=len(answer)), {"etag": f'"{len(answer)}"'})

    def accept(self) -> None:
        """See `Gatherer`."""
        self.accepted += 1


def texts(found: Iterable[Listing]) -> list[str]:
    """Return the networks of a list as text."""
    return [str(each.network) for each in found]
