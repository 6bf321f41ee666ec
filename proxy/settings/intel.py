"""Settings of threat intelligence: the feeds by their names, when they block, and who may report or read decisions.

    HKPGUARD_INTEL__FEEDS__<NAME>__URL=https://lists.example.net/abuse.txt     the fields of `FeedConfig`
    HKPGUARD_INTEL__DENY=90                                                    of all feeds together

Nothing is fetched but what is named here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import Field

from proxy.settings.events import WebUrl
from proxy.settings.kinds import (
    DAY,
    HOUR,
    KIB,
    MIB,
    MINUTE,
    SECOND,
    Choice,
    Duration,
    FilePath,
    Kind,
    OrEmpty,
    Size,
    Spelled,
    Switch,
    Whole,
)
from proxy.settings.limits import Mode
from proxy.settings.named import NamedGroup
from proxy.settings.section import Key, Section, keys
from proxy.settings.sources import Fault, Setting, variable

NAME: Final = re.compile(r"[a-z][a-z0-9]{0,31}(-[a-z0-9]{1,32}){0,7}")
FIELD: Final = re.compile(r"[^\s\x00-\x1f]{1,200}")
WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
MOST_FEEDS: Final = 32
MOST_ROWS: Final = 1_000_000

KindWord = Literal["abuse", "scanner", "tor", "vpn", "hosting", "cloud", "mobile", "warning"]
FormatWord = Literal[
    "text",
    "netset",
    "ipset",
    "csv",
    "ipcat",
    "json",
    "jsonl",
    "cloud",
    "spamhaus",
    "tor",
    "crowdsec",
    "misp",
    "stix",
    "taxii",
]
# Of formats whose lists accuse nobody; the others are of kind `abuse`, unless somebody says something else.
USUAL_KINDS: Final[Mapping[str, KindWord]] = {"ipcat": "hosting", "cloud": "cloud", "tor": "tor", "misp": "warning"}


@dataclass(frozen=True, slots=True)
class Source(Kind[str]):
    """Where a list is: on the web, or in a file."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return "a URL with https:// or http://, a host and no password, or the path of a file that begins with /"

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        kind: Kind[str] = FilePath() if text.startswith("/") else WebUrl()
        try:
            return kind.parse(text)
        except ValueError:
            raise self.refusal() from None


File = Annotated[str | None, OrEmpty(FilePath())]
Percent = Annotated[int, Whole(0, 100)]
Rows = Annotated[int | None, OrEmpty(Whole(0, MOST_ROWS))]


class FeedConfig(Section):
    """One feed: where its list is, what it says, and how far it is believed."""

    url: Annotated[str | None, OrEmpty(Source())] = None  # must be given
    format: Annotated[FormatWord, Choice(get_args(FormatWord))] = "text"
    field: Annotated[str | None, OrEmpty(Spelled(FIELD, "the name of a column or of JSON"))] = None  # None: the usual
    kind: Annotated[KindWord | None, OrEmpty(Choice(get_args(KindWord)))] = None  # None: see USUAL_KINDS
    weight: Annotated[int, Whole(0, 200)] = 100  # per cent of the severity that it gives
    group: Annotated[str | None, OrEmpty(Spelled(WORD, "a word of a-z, 0-9 and . _ -"))] = None  # None: the URL's host
    every_ns: Annotated[int, Duration(10 * SECOND, 7 * DAY)] = Field(default=HOUR, alias="every")
    expires_ns: Annotated[int, Duration(MINUTE, 366 * DAY)] = Field(default=3 * DAY, alias="expires")
    timeout_ns: Annotated[int, Duration(SECOND, 10 * MINUTE)] = Field(default=MINUTE, alias="timeout")
    most_bytes: Annotated[int, Size(KIB, 256 * MIB)] = 32 * MIB  # as sent, and unpacked
    most: Rows = None  # listings; None: MOST_ROWS, of kind tor 20,000
    least: Rows = None  # None: 1, of kind tor 300, of CrowdSec 0
    shrink: Percent = 10  # of the listings before, that a new list must have
    key_file: File = None  # what the header says: a secret
    header: Annotated[str | None, OrEmpty(Spelled(HEADER, "the name of a header"))] = None  # None: as the format has it
    ca: File = None  # PEM: whose certificates are believed, None: the system's
    insecure: Annotated[bool, Switch()] = False  # http:// to other machines

    @property
    def local(self) -> bool:
        """Whether the list is a file of this machine."""
        return (self.url or "").startswith("/")

    @property
    def says(self) -> KindWord:
        """What is listed."""
        return self.kind or USUAL_KINDS.get(self.format, "abuse")

    @property
    def bounds(self) -> range:
        """How many listings are plausible."""
        least, most = (300, 20_000) if self.says == "tor" else (int(self.format != "crowdsec"), MOST_ROWS)
        return range(least if self.least is None else self.least, (most if self.most is None else self.most) + 1)

    def group_of(self, name: str) -> str:
        """Return who is behind the list: feeds of one group are one voice."""
        return self.group or (name if self.local else urlsplit(self.url or "").hostname or name)


class IntelConfig(Section):
    """What all feeds have in common, and who else may tell or read."""

    mode: Mode = "enforce"  # of the rules that follow from lists
    deny: Percent = 90  # severity from which one feed alone has an address denied
    deny_feeds: Annotated[int, Whole(2, 10)] = 2  # independent feeds, of which each would have it priced
    price: Percent = 40  # severity from which an address is priced; below it is evidence only
    reporters_file: File = None  # `name token` a line: who may POST reports
    bouncers_file: File = None  # `name key` a line: who may read decisions


FEED_KEYS: Final[Mapping[str, Key]] = {key.path[0]: key for key in keys(FeedConfig)}
Feeds = Mapping[str, FeedConfig]


class FeedsReading(NamedTuple):
    """The feeds by their names, and what was wrong with their settings."""

    feeds: dict[str, FeedConfig]
    faults: list[Fault]


def _problems(name: str, word: str, value: object) -> list[str]:
    if not NAME.fullmatch(name):
        return ["is not the name of a feed: lower-case words with _ between them"]
    if word not in FEED_KEYS:
        return [f"is not a setting of a feed; it has {', '.join(FEED_KEYS)}"]
    return FEED_KEYS[word].kind.problems(value)


FEEDS: Final = NamedGroup(("intel", "feeds"), _problems)


def read_feeds(settings: Iterable[Setting]) -> FeedsReading:
    """Return what settings of FEEDS say of each feed."""
    given, faults = FEEDS.read(settings)
    return FeedsReading({name: FeedConfig.model_validate(values) for name, values in given.items()}, faults)


def settings_of_feeds(feeds: Feeds) -> Iterator[tuple[str, str]]:
    """Yield the settings of all feeds as an environment has them; those that have their default are left out."""
    usual = FeedConfig()
    for name, feed in sorted(feeds.items()):
        for word, key in FEED_KEYS.items():
            if (text := key.text(feed)) != key.text(usual):
                yield variable(FEEDS.path(name, word)), text
