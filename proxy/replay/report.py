"""What a replay has found, as plain figures: the same for text, JSON and the page."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from fastpath import key_text, parents
from proxy.policy.actions import Action, Reason
from proxy.replay.looks import Looks
from proxy.replay.readers import Reading
from proxy.replay.suspicion import Accusation
from proxy.replay.tally import Fate, Fortune, Tally
from proxy.replay.world import World

MOST_REASONS: Final = 3  # of a suspect
FATES: Final = tuple(fate.name.lower() for fate in Fate)
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What was read.

    Attributes:
        files: Formats by names.
        lines: Of all kinds.
        requests: That were replayed.
        others: Lines that tell of something else.
        bad: Lines that could not be read.
        late: Requests that stand far from their place.
        shown: The first bad lines.
        begin: Time of the first request, as ISO 8601.
        hours: From the first to the last.
        notes: What this log does not tell.

    """

    files: Mapping[str, str]
    lines: int
    requests: int
    others: int
    bad: int
    late: int
    shown: Sequence[str]
    begin: str
    hours: float
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Requests with the same action for the same reason."""

    action: str
    reason: str
    requests: int


@dataclass(slots=True)
class Hit:
    """Clients, or what a limit did to them.

    Attributes:
        name: Of the limit, the network or the client.
        clients: How many of them were delayed, refused or banned.
        legitimate: How many of these look legitimate.
        delayed: Requests.
        refused: Likewise.
        banned: Refused because of a ban.
        requests: All that there were; of a limit those that it touched.
        limit: What did most of it.

    """

    name: str
    clients: int = 0
    legitimate: int = 0
    delayed: int = 0
    refused: int = 0
    banned: int = 0
    requests: int = 0
    limit: str = ""


@dataclass(slots=True)
class Suspect:
    """Clients that the models accuse.

    Attributes:
        name: Of the network or the client.
        clients: How many are accused.
        legitimate: How many of these look legitimate.
        standing: The hardest that one of them had, or in shadow mode would have had.
        reasons: Why that one had it, the weightiest first.

    """

    name: str
    clients: int
    legitimate: int
    standing: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run.

    Attributes:
        title: Which run it is.
        settings: HKPGUARD_* that differ from the present ones.
        requests: By fate.
        clients: How many there were, and of how many at least one request was delayed, refused, banned.
        legitimate: The same of those that look legitimate.
        legitimate_requests: Theirs, by fate.
        bans: How many were earned.
        worst_wait_s: The longest delay of a request, seconds.
        untold: Clients for which there was no room in memory; they are one.
        verdicts: Requests by action and reason.
        limits: What did it, the worst first.
        worst: Networks, or clients, with the most refused requests.
        models: Whether and how the models looked, one sentence.
        accused: How many clients they accuse, and how many of these look legitimate.
        suspects: Networks, or clients, that are accused, the worst first.
        column_s: Width of a column of the timeline, seconds.
        timeline: Beginning of each column, seconds from the first request, and requests by fate.

    """

    title: str
    settings: Mapping[str, str]
    requests: Mapping[str, int]
    clients: Mapping[str, int]
    legitimate: Mapping[str, int]
    legitimate_requests: Mapping[str, int]
    bans: int
    worst_wait_s: float
    untold: bool
    verdicts: Sequence[Verdicts]
    limits: Sequence[Hit]
    worst: Sequence[Hit]
    models: str
    accused: Mapping[str, int]
    suspects: Sequence[Suspect]
    column_s: float
    timeline: Sequence[tuple[float, Sequence[int]]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; of two outcomes the second is with other settings."""

    log: LogFigures
    outcomes: Sequence[Outcome]


def log_figures(reading: Reading, begin_ns: int, end_ns: int) -> LogFigures:
    """Return what was read; times since 1970."""
    return LogFigures(
        files=dict(reading.formats),
        lines=reading.lines,
        requests=reading.requests,
        others=reading.others,
        bad=reading.bad,
        late=reading.late,
        shown=tuple(reading.shown),
        begin=datetime.fromtimestamp(begin_ns // _SECOND_NS, UTC).isoformat(),
        hours=round((end_ns - begin_ns) / _SECOND_NS / 3600, 3),
        notes=tuple(reading.notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a run is told of.

    Attributes:
        title: Of the run.
        settings: What was set for it.
        addresses: Name clients, which is personal data; else networks.
        most: Of them, at most.

    """

    title: str
    settings: Mapping[str, str]
    addresses: bool
    most: int


def outcome(world: World, looks: Looks, naming: Naming) -> Outcome:
    """Return what became of a run; `looks`: who looks legitimate."""
    tally = world.tally
    legitimate = {client for client in tally.clients if looks.legitimate(client)}
    rows = [(fortune, client in legitimate) for client, fortune in tally.clients.items()]
    accused = world.suspicion.accused if world.suspicion else {}
    return Outcome(
        title=naming.title,
        settings=naming.settings,
        requests=_sums([*(fortune for fortune, _ in rows), tally.others]),
        clients=_counts([fortune for fortune, _ in rows]),
        legitimate=_counts([fortune for fortune, good in rows if good]),
        legitimate_requests=_sums([fortune for fortune, good in rows if good]),
        bans=world.node.bans.placed,
        worst_wait_s=round(tally.wait_ns / _SECOND_NS, 3),
        untold=any(tally.others.fates),
        verdicts=_verdicts(tally),
        limits=_limits(tally, legitimate),
        worst=_worst(tally, legitimate, addresses=naming.addresses)[: naming.most],
        models=world.detection.told,
        accused={"all": len(accused), "legitimate": len(legitimate & accused.keys())},
        suspects=_suspects(accused, legitimate, addresses=naming.addresses)[: naming.most],
        column_s=tally.timeline.width_ns / _SECOND_NS,
        timeline=[(begin_ns / _SECOND_NS, tuple(fates)) for begin_ns, fates in tally.timeline.rows()],
    )


def _sums(fortunes: Iterable[Fortune]) -> Mapping[str, int]:
    """Return requests by fate."""
    sums = [0] * len(FATES)
    for fortune in fortunes:
        for fate, count in enumerate(fortune.fates):
            sums[fate] += count
    return dict(zip(FATES, sums, strict=True))


def _counts(fortunes: Sequence[Fortune]) -> Mapping[str, int]:
    """Return how many clients there are, and of how many at least one request had each fate other than an answer."""
    counts = {"all": len(fortunes)}
    for fate in (Fate.DELAYED, Fate.REFUSED, Fate.BANNED):
        counts[fate.name.lower()] = sum(fortune.fates[fate] > 0 for fortune in fortunes)
    counts["lost"] = sum(fortune.fates[Fate.REFUSED] + fortune.fates[Fate.BANNED] > 0 for fortune in fortunes)
    return counts


def _verdicts(tally: Tally) -> list[Verdicts]:
    rows = [
        Verdicts(
            f"{Action(shadow).name.lower()}_shadow" if shadow else Action(action).name.lower(),
            Reason(reason).name.lower(),
            count,
        )
        for (action, reason, shadow), count in tally.verdicts.most_common()
    ]
    return [Verdicts("allow", "none", tally.allowed), *rows]


def _limits(tally: Tally, legitimate: set[int]) -> list[Hit]:
    """Return what each limit did; a client counts for each that touched it."""
    clients, good = Counter[str](), Counter[str]()
    for client, fortune in tally.clients.items():
        if fortune.limits:
            clients.update(fortune.limits.keys())
            if client in legitimate:
                good.update(fortune.limits.keys())
    hits = [
        Hit(name, clients[name], good[name], delayed, refused, banned, delayed + refused + banned)
        for name, (_, delayed, refused, banned, _) in tally.limits.items()
    ]
    return sorted(hits, key=_weight)


def _worst(tally: Tally, legitimate: set[int], *, addresses: bool) -> list[Hit]:
    """Return who was refused or delayed, the worst first."""
    hits: dict[int, Hit] = {}
    limits: defaultdict[int, Counter[str]] = defaultdict(Counter)
    touched = {client if addresses else network_of(client) for client, each in tally.clients.items() if each.limits}
    for client, fortune in tally.clients.items():
        key = client if addresses else network_of(client)
        if key not in touched:
            continue
        hit = hits.setdefault(key, Hit(key_text(key)))
        hit.requests += sum(fortune.fates)
        if fortune.limits:
            _, delayed, refused, banned, _ = fortune.fates
            hit.clients += 1
            hit.legitimate += client in legitimate
            hit.delayed += delayed
            hit.refused += refused
            hit.banned += banned
            limits[key].update(fortune.limits)
    for key, counts in limits.items():
        [(hits[key].limit, _)] = counts.most_common(1)
    return sorted(hits.values(), key=_weight)


def _suspects(accused: Mapping[int, Accusation], legitimate: set[int], *, addresses: bool) -> list[Suspect]:
    """Return who is accused, the worst first; the worst client of a network tells the reasons."""
    suspects: dict[int, Suspect] = {}
    for client in sorted(accused, key=lambda client: (accused[client][:2], -client), reverse=True):
        standing, _, reasons = accused[client]
        key = client if addresses else network_of(client)
        suspect = suspects.setdefault(key, Suspect(key_text(key), 0, 0, standing.name.lower(), reasons[:MOST_REASONS]))
        suspect.clients += 1
        suspect.legitimate += client in legitimate
    return list(suspects.values())


def network_of(client: int) -> int:
    """Return the key of the network around a client, IPv4 /24 or IPv6 /48."""
    return parents(client)[-1]


def _weight(hit: Hit) -> tuple[int, int, str]:
    return -hit.refused - hit.banned, -hit.delayed, hit.name
