"""Who is recorded, how often, and who is kept for tests: the one place that says so.

A tool is a way of using a program. All runs of a tool are for training, or all are for tests (`Split`), never both.
Those for tests are chosen so that they tell whether a model knows behaviour, or only programs:

- Each family has some of both.
- They are other programs than those in training: GnuPG 1.4 beside 2.2, wget, xargs and a parallel curl beside urllib
  and a curl with a list, ffuf, wfuzz, wapiti and nmap beside gobuster, dirb and sqlmap. Where they are scripts of ours,
  they ask for other things, from other places or to another rhythm than those in training.
- The hardest of each side are among them. Honest: parcimonie, caff, a phone, a web key directory with 70 % misses.
  Hostile: the patient, the many addresses, the pauses, the uploads that gpg makes.

What cannot be told apart is not here: somebody who gives gpg a list of a thousand keys and means to keep them looks
like a refresh of a thousand keys, for it is one. Slow clients finish few requests or none: what stops them is
time-outs, and the few lines that they leave in a log are all that a model can know of them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import cycle, product

from bench.recording import gnupg, people, scrapers, vandals
from bench.recording.session import Act

DISTANCES_MS = (0, 20, 200)


class Family(StrEnum):
    """What somebody is after."""

    GPG = "gpg"
    SQ = "sq"
    MAIL = "mail"
    BROWSER = "browser"
    CI = "ci"
    MONITOR = "monitor"
    PEER = "peer"
    SCRAPER = "scraper"
    HARVESTER = "harvester"
    FLOOD = "flood"
    SCANNER = "scanner"
    SLOW = "slow"
    BRUTE = "brute"
    LOAD = "load"

    @property
    def label(self) -> str:
        """Whether this is abuse."""
        return "legitimate" if self in _HONEST else "abusive"


_HONEST = frozenset({Family.GPG, Family.SQ, Family.MAIL, Family.BROWSER, Family.CI, Family.MONITOR, Family.PEER})


class Split(StrEnum):
    """What the runs of a tool are for."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: what is done, from how far away, from how many addresses in how many networks.

    `patient`: it begins with the recording and goes on beside the others; it may be ended with it.
    """

    act: Act
    rtt_ms: int = 0
    addresses: int = 1
    networks: int = 1
    patient: bool = False

    @property
    def what(self) -> str:
        """The act in a word, and its figures."""
        if not isinstance(self.act, partial):
            return getattr(self.act, "__name__", "")
        return " ".join([self.act.func.__name__, *(f"{name}={value}" for name, value in self.act.keywords.items())])


@dataclass(frozen=True, slots=True)
class Tool:
    """A way of using a program; `needs`: what must be installed; `enforced`: how many cases meet limits as well."""

    name: str
    family: Family
    split: Split
    cases: Sequence[Case]
    needs: Sequence[str] = ()
    enforced: int = 1


def _acts(act: Callable[..., Awaitable[None]], names: str, *rows: object) -> list[Act]:
    """Return the act with the arguments of each row; a row of one need not be a tuple."""
    wholes = (row if isinstance(row, tuple) else (row,) for row in rows)
    return [partial(act, **dict(zip(names.split(), whole, strict=True))) for whole in wholes]


def _near_and_far(acts: Sequence[Act]) -> list[Case]:
    """Return each act from each distance."""
    return [Case(act=act, rtt_ms=rtt_ms) for act, rtt_ms in product(acts, DISTANCES_MS)]


def _once(acts: Sequence[Act], *, patient: bool = False) -> list[Case]:
    """Return each act from one distance, in turn."""
    return [
        Case(act=act, rtt_ms=rtt_ms, patient=patient) for act, rtt_ms in zip(acts, cycle(DISTANCES_MS), strict=False)
    ]


def _long(acts: Sequence[Act]) -> list[Case]:
    return _once(acts, patient=True)


def _from_many(acts: Sequence[Act], *origins: tuple[int, int]) -> list[Case]:
    """Return each act from so many addresses in so many networks."""
    return [
        Case(act=act, addresses=addresses, networks=networks, patient=True)
        for act, (addresses, networks) in zip(acts, origins, strict=True)
    ]


_GNUPG = ("gpg", "dirmngr")
_G, _P, _S, _V = gnupg, people, scrapers, vandals
_WALK, _KEEP = "order rate count shape pace", "order rate count agent pace"
_FETCH, _WATCH = "program certs times pause_s", "program pause_s times"
TRAIN, TEST = Split
GPG, SQ, MAIL, BROWSER, CI, MONITOR, PEER, SCRAPER, HARVESTER, FLOOD, SCANNER, SLOW, BRUTE, LOAD = Family

_HONEST_TOOLS = (
    Tool("gpg refresh", GPG, TRAIN, [
        *_near_and_far(_acts(_G.refresh, "keys", 5, 30, 300)),
        *_once(_acts(_G.refresh, "keys", 12, 60, 120)),
        *_long(_acts(_G.refresh, "keys", 1000, 1000, 1000)),
    ], _GNUPG, enforced=10),
    Tool("gpg receive", GPG, TRAIN, _once([
        *_acts(_G.receive, "keys times", (1, 12), (2, 6), (3, 8), (20, 2), (10, 4)),
        *_acts(_G.receive, "keys times by_id", (1, 10, True)),
    ]), _GNUPG),
    Tool("gpg search", GPG, TRAIN, _once(_acts(_G.search, "times", 4, 8, 15)), _GNUPG),
    Tool("gpg send", GPG, TRAIN, _once(_acts(_G.send, "keys", 1, 3, 8)), _GNUPG, enforced=2),
    Tool("gpg 1.4 refresh", GPG, TRAIN, _once(_acts(_G.refresh_old, "keys", 8, 30, 60, 150, 300)), ("gpg1",), 3),
    Tool("gpg locate", GPG, TEST, _once(_acts(_G.locate, "mails", 5, 10, 20)), _GNUPG),
    Tool("gpg from cron", GPG, TEST, _long(_acts(_G.refresh_one_by_one, "keys pause_s", (60, 4), (40, 1))), _GNUPG),
    Tool("parcimonie", GPG, TEST, _long(_acts(_G.parcimonie, "keys pause_s", (40, 6), (80, 12), (20, 20))),
         ("parcimonie", *_GNUPG)),
    Tool("caff", GPG, TEST, _once(_acts(_G.caff, "keys", 8, 20, 20)), ("caff", "script", *_GNUPG)),
    Tool("sq", SQ, TRAIN, _once(_acts(_G.sequoia, "certs pause_s", (6, 5), (25, 1), (40, 0.3))), ("sq",)),
    Tool("sq send", SQ, TEST, _once(_acts(_G.sequoia_send, "certs", 2, 8)), ("sq",)),
    Tool("mailvelope", MAIL, TRAIN,
         _long(_acts(_P.mailvelope, "mails missing", (12, 0.7), (25, 0.7), (25, 0.9), (40, 0.7)))),
    Tool("thunderbird", MAIL, TRAIN, _long(_acts(_P.thunderbird, "mails", 6, 15, 30))),
    Tool("web key directory", MAIL, TEST, _long(_acts(_P.web_key_directory, "mails", 8, 16, 30))),
    Tool("openkeychain", MAIL, TEST, _long(_acts(_P.openkeychain, "keys", 10, 30, 60))),
    Tool("browser", BROWSER, TRAIN, _long([
        *_acts(_P.browser, "visits", 2, 4, 8),
        *_acts(_P.browser, "visits agent", (5, _P.CHROME)),
    ])),
    Tool("crawler that asks", BROWSER, TRAIN, _long(_acts(_P.honest_crawler, "pages", 30))),
    *(Tool(each, BROWSER, TEST, _once(_acts(_P.text_browser, "program visits", (each, 3), (each, 6))), (each,))
      for each in ("lynx", "w3m", "elinks")),
    Tool("gpg in builds", CI, TRAIN,
         _once(_acts(_G.build_job, "keys jobs pause_s", (1, 25, 3), (4, 15, 6), (10, 12, 1), (3, 40, 0.1))), _GNUPG),
    Tool("curl in builds", CI, TRAIN, _long(
        _acts(_P.fetch_script, _FETCH, ("curl", 1, 60, 4), ("curl", 5, 30, 2), ("curl", 10, 20, 10))
    ), ("curl",)),
    Tool("wget in builds", CI, TEST,
         _long(_acts(_P.fetch_script, _FETCH, ("wget", 2, 40, 5), ("wget", 8, 25, 1))), ("wget",)),
    Tool("httpie in builds", CI, TEST,
         _long(_acts(_P.fetch_script, _FETCH, ("http", 3, 15, 8))), ("http",)),
    Tool("apt-key", CI, TEST, _once(_acts(_G.archive_keys, "keys machines", (1, 15), (3, 8), (6, 4))), _GNUPG),
    Tool("curl as monitor", MONITOR, TRAIN,
         _long(_acts(_P.monitor, _WATCH, ("curl", 10, 60), ("curl", 3, 120), ("curl", 30, 24))), ("curl",)),
    Tool("wget as monitor", MONITOR, TEST,
         _long(_acts(_P.monitor, _WATCH, ("wget", 5, 100), ("wget", 20, 30))), ("wget",)),
    Tool("peer that gossips", PEER, TRAIN, _long(_acts(_P.gossip, "rounds", 6, 12, 20))),
    Tool("peer that pushes", PEER, TEST, _long(_acts(_P.push, "certs", 25, 10))),
)  # fmt: skip

_HOSTILE_TOOLS = (
    Tool("dump walker", SCRAPER, TRAIN, [
        *_once(_acts(_S.one_by_one, _WALK,
            ("dump", 5, 300, "get", "even"), ("dump", 3.9, 300, "plain", "even"), ("dump", 12, 350, "mixed", "drawn"))),
        *_long(_acts(_S.one_by_one, _WALK, ("dump", 1, 400, "get", "shaken"), ("dump", 0.5, 300, "get", "even"))),
    ], enforced=2),
    Tool("random walker", SCRAPER, TRAIN, [
        *_once(_acts(_S.one_by_one, _WALK, ("random", 8, 300, "vks", "even"), ("random", 4, 300, "index", "shaken"))),
        *_long(_acts(_S.keeping, _KEEP, ("random", 1.5, 400, "", "drawn"), ("random", 0.8, 300, _P.CHROME, "even"))),
    ]),
    Tool("counter of key ids", SCRAPER, TRAIN, _once([
        *_acts(_S.one_by_one, _WALK, ("counted", 10, 300, "id", "even"), ("counted", 3, 250, "id", "drawn")),
        *_acts(_S.keeping, _KEEP, ("counted", 15, 400, "", "even")),
    ])),
    Tool("urllib", SCRAPER, TRAIN, _once(
        _acts(_S.with_urllib, "order count pause_s", ("dump", 300, 0), ("random", 250, 0.5), ("dump", 200, 1.5))
    )),
    Tool("curl with a list", SCRAPER, TRAIN, _once([
        *_acts(_S.with_curl, "order count at_a_time", ("dump", 300, 1)),
        *_acts(_S.with_curl, "order count at_a_time rate", ("random", 150, 1, "2/s")),
    ]), ("curl",)),
    Tool("swarm in a network", SCRAPER, TRAIN, _from_many(
        _acts(_S.one_by_one, _WALK, ("dump", 2, 500, "get", "even"), ("random", 1.5, 500, "get", "drawn")),
        (8, 1), (20, 4),
    )),
    Tool("swarm over networks", SCRAPER, TEST, _from_many(
        _acts(_S.one_by_one, _WALK, ("dump", 2, 600, "plain", "even"), ("random", 1.5, 600, "vks", "shaken")),
        (12, 12), (30, 15),
    )),
    Tool("patient walker", SCRAPER, TEST, _long([
        *_acts(_S.one_by_one, _WALK, ("dump", 0.2, 150, "get", "shaken"), ("random", 0.3, 200, "get", "drawn")),
        *_acts(_S.keeping, _KEEP, ("random", 0.2, 150, _P.FIREFOX, "drawn")),
    ])),
    Tool("walker with pauses", SCRAPER, TEST, _long([
        *_acts(_S.one_by_one, _WALK, ("dump", 2, 500, "get", "bursts")),
        *_acts(_S.keeping, _KEEP, ("random", 1, 400, "okhttp/4.9.0", "bursts")),
    ])),
    Tool("aiohttp at full speed", SCRAPER, TEST, _once(_acts(_S.greedy, "at_a_time count", (4, 400), (16, 400)))),
    Tool("wget with a list", SCRAPER, TEST,
         _once(_acts(_S.with_wget, "order count pause_s", ("dump", 300, 0), ("random", 150, 1))), ("wget",)),
    Tool("parallel curl", SCRAPER, TEST,
         _once(_acts(_S.with_curl, "order count at_a_time", ("random", 300, 6))), ("curl",)),
    Tool("xargs", SCRAPER, TEST, _once(_acts(_S.with_xargs, "count at_a_time", (200, 4))), ("xargs", "curl")),
    Tool("domain harvester", HARVESTER, TRAIN, _long(
        _acts(_S.domain_harvester, "rate count pace", (1, 120, "drawn"), (0.3, 120, "shaken"), (3, 120, "drawn"))
    )),
    Tool("dictionary harvester", HARVESTER, TRAIN,
         _long(_acts(_S.dictionary_harvester, "rate count domain", (5, 400, "debian.org"), (0.7, 300, "gmail.com")))),
    Tool("name harvester", HARVESTER, TEST, _long(_acts(_S.name_harvester, "rate count", (1, 150), (0.3, 150)))),
    Tool("mail prober", HARVESTER, TEST, _long(_acts(_S.mail_prober, "rate count", (4, 300), (0.5, 250)))),
    Tool("directory prober", HARVESTER, TEST, _long(_acts(_S.directory_prober, "rate count", (5, 300), (0.6, 250)))),
    Tool("flood of new certificates", FLOOD, TRAIN,
         _once(_acts(_V.flood, "certs rate what", (200, 5, "new"), (120, 1, "new"), (150, 10, "same"))), enforced=2),
    Tool("flood with curl", FLOOD, TRAIN, _once(_acts(_V.flood_with_curl, "certs", 100, 40)), ("curl",)),
    Tool("flood of rubbish", FLOOD, TEST,
         _once(_acts(_V.flood, "certs rate what", (200, 5, "rubbish"), (100, 1, "rubbish")))),
    Tool("flood with gpg", FLOOD, TEST, _once(_acts(_V.flood_with_gpg, "certs", 80, 40)), _GNUPG),
    Tool("flood from many", FLOOD, TEST,
         _from_many(_acts(_V.flood, "certs rate at_a_time", (250, 1, 4), (250, 3, 1)), (20, 20), (8, 2))),
    Tool("sqlmap", SCANNER, TRAIN, _once(_acts(_V.sqlmap, "level path",
         (1, "/pks/lookup?op=index&search=test&options=mr"),
         (2, "/pks/lookup?op=get&search=anna@example.org"),
         (1, "/vks/v1/by-email/anna@example.org*"))), ("sqlmap",)),
    Tool("gobuster", SCANNER, TRAIN, _once(
        _acts(_V.gobuster, "count threads delay", (800, 10, "0ms"), (300, 2, "0ms"), (150, 1, "300ms"))
    ), ("gobuster",)),
    Tool("dirb", SCANNER, TRAIN, _once(_acts(_V.dirb, "count pause_ms", (600, 0), (250, 200))), ("dirb",)),
    Tool("whatweb", SCANNER, TRAIN, _once(_acts(_V.whatweb, "aggression", 4)), ("whatweb",)),
    Tool("wapiti", SCANNER, TEST, _once(_acts(_V.wapiti, "scope", "folder", "domain")), ("wapiti",)),
    Tool("ffuf", SCANNER, TEST, _once(
        _acts(_V.ffuf, "count rate path", (800, 60, "/FUZZ"), (300, 10, "/pks/lookup?op=FUZZ"), (200, 4, "/FUZZ"))
    ), ("ffuf",)),
    Tool("wfuzz", SCANNER, TEST,
         _once(_acts(_V.wfuzz, "count path", (400, "/FUZZ"), (250, "/pks/lookup?op=get&search=FUZZ"))), ("wfuzz",)),
    Tool("nmap", SCANNER, TEST,
         _once(_acts(_V.nmap, "scripts", "http-enum", "http-* and (safe or vuln)")), ("nmap",)),
    Tool("slow script", SLOW, TRAIN,
         _long(_acts(_V.slow_script, "connections seconds body", (40, 120, False), (30, 150, True)))),
    Tool("slowhttptest", SLOW, TEST, _long(
        _acts(_V.slowhttptest, "kind connections seconds", ("-H", 60, 60), ("-B", 60, 60), ("-X", 60, 60))
    ), ("slowhttptest",)),
    Tool("medusa", BRUTE, TRAIN, _once(_acts(_V.medusa, "count", 60, 25)), ("medusa",)),
    Tool("hydra", BRUTE, TEST, _once(
        _acts(_V.hydra, "count module", (80, "http-get"), (30, "http-get"), (60, "http-post-form"))
    ), ("hydra",)),
    Tool("ab", LOAD, TRAIN,
         _once(_acts(_V.ab, "count at_a_time search", (400, 4, "debian"), (600, 2, "anna"))), ("ab",)),
    Tool("siege", LOAD, TEST, _once(_acts(_V.siege, "seconds at_a_time", (15, 4), (25, 2))), ("siege",)),
)  # fmt: skip

TOOLS: Sequence[Tool] = (*_HONEST_TOOLS, *_HOSTILE_TOOLS)
