"""What `models.windows` must give, written plainly: it keeps all records and looks at one after the other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from models import windows
from models.marks import FORGET_NS, PEAKS, SUMS
from models.windows import WINDOW
from proxy.hkp.classes import OperationClass as Kind
from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS, SHADOW

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.windows import Windows

PAGES = {Kind.STATS, Kind.STATIC}
RARE = {Kind.MAIL, Kind.ADMIN, Kind.SYNC, Kind.PREFIXLOG}
LOOKUPS = {Kind.CERT, Kind.IDENTITY, Kind.WORDS}
SLOWEST = 35 * 16
Row = dict[str, Any]


def everything(fed: Windows) -> dict[int, dict[str, Any]]:
    """Return all windows by their keys."""
    rows = fed._index.used
    columns = fed.columns(rows)
    plain = [{name: column[name].tolist() for name in WINDOW.names or ()} for column in columns]
    return dict(zip(fed.keys(rows).tolist(), plain, strict=True))


class SlowWindows:
    """The same windows, without arrays; the bounds of the module hold, so that a test may lower them."""

    def __init__(self, rows: int, forget_ns: int = FORGET_NS) -> None:
        """Know nobody."""
        self.rows, self.forget_ns = rows, forget_ns
        self.visits: dict[int, list[Row]] = {}  # the client that was seen last is the last one
        self.fed = self.evicted = 0

    def feed(self, records: NDArray[np.void]) -> None:
        """Take note of records."""
        for record in records:
            row = {name: record[name].item() for name in records.dtype.names or () if name != "address"}
            if self.fed % windows.TURN == 0:
                self.make_room()
            self.fed += 1
            if row["reason"] == Reason.BANNED:
                continue
            visit = self.visits.pop(row["client"], [])
            if visit and row["time_ns"] - visit[-1]["time_ns"] > self.forget_ns:
                visit = []
            self.visits[row["client"]] = [*visit, row]

    def make_room(self) -> None:
        """Forget those who were not seen for longest."""
        if self.rows - len(self.visits) >= windows.TURN:
            return
        for client in list(self.visits)[: max(windows.TURN, len(self.visits) // 32)]:
            del self.visits[client]
            self.evicted += 1

    def window(self, client: int) -> dict[str, Any]:
        """Return the last two panes of a client."""
        visit = self.visits[client]
        pane = (len(visit) - 1) // windows.PANE
        start = max(0, pane - 1) * windows.PANE
        total: dict[str, Any] = dict.fromkeys((*SUMS, *PEAKS), 0)
        members = set()
        for place in range(start, len(visit)):
            for name, value in marks(visit[: place + 1]).items():
                total[name] = max(total[name], value) if name in PEAKS else total[name] + value
            if visit[place]["operation"] in LOOKUPS:
                members.add((visit[place]["subject_hash"] * 0x9E3779B97F4A7C15) % 2**64 >> 56)
        bits = sum(1 << member for member in members)
        return total | {"members": [bits >> 32 * word & 0xFFFF_FFFF for word in range(8)]}


def marks(visit: list[Row]) -> dict[str, int]:
    """Return what the last record of a visit adds."""
    row = visit[-1]
    kind, reason = row["operation"], row["reason"]
    bad = reason in {Reason.MALFORMED, Reason.TOO_LARGE, Reason.UNWANTED}
    head = row["subject_hash"] != 0
    size = octaves(row["received"]) if kind == Kind.UPLOAD else 0
    return {
        "requests": 1,
        "certs": kind == Kind.CERT,
        "identities": kind == Kind.IDENTITY,
        "words": kind == Kind.WORDS,
        "uploads": kind == Kind.UPLOAD,
        "pages": kind in PAGES,
        "rare": kind in RARE,
        "unknown": kind == Kind.UNKNOWN and head and not bad,
        "malformed": bad,
        "unfinished": reason in {Reason.TIMEOUT, Reason.GONE},
        "odd_methods": head and row["method"] not in {METHODS.index("GET"), METHODS.index("POST")},
        "http_1_0": row["flags"] & FLAG_HTTP_1_0,
        "upload_octaves": size,
        "upload_squares": size**2,
        **times(visit),
        **lookup(visit),
    }


def times(visit: list[Row]) -> dict[str, int]:
    """Tell the pause before the last record, and how many there were since a rest."""
    pauses = [pause(before, after) for before, after in pairwise(visit)]
    burst = 1
    while burst <= len(pauses) and pauses[-burst] < 1_000_000:
        burst += 1
    if not pauses:
        return {"burst": burst}
    steps = octaves(pauses[-1])
    row, before = visit[-1], visit[-2]
    overlaps = row["time_ns"] - row["total_us"] * 1000 < before["time_ns"] <= row["time_ns"]
    return {
        "pauses": 1,
        "pause_octaves": steps,
        "pause_squares": steps**2,
        "haste": SLOWEST - steps,
        "overlaps": overlaps,
        "burst": burst,
    }


def pause(before: Row, after: Row) -> int:
    """Return the pause between two requests, us."""
    return int(max(0, after["time_ns"] - after["total_us"] * 1000 - before["time_ns"])) // 1000


def lookup(visit: list[Row]) -> dict[str, int]:
    """Tell what the last record looked up."""
    row = visit[-1]
    if row["operation"] not in LOOKUPS:
        return {}
    family = family_of(row)
    action = row["action"]
    answered = action in {Action.ALLOW, Action.DELAY} or action >= SHADOW
    counts = family != "fingerprint" and answered and row["status"] in {200, 404}
    found = {
        "searches": counts,
        "missed": counts and row["status"] == 404,
        "key_ids": family == "key id",
        **steps([each for each in visit if each["operation"] in LOOKUPS]),
    }
    if row["operation"] == Kind.CERT:
        return found
    subject: bytes = row["subject"]
    plain = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+@',"
    found["text_bytes"] = len(subject) - subject.count(0)
    found["odd_bytes"] = sum(byte not in plain and 0 < byte < 128 for byte in subject)
    if row["operation"] == Kind.WORDS:
        found["domains"] = (b"." in subject or b"@" in subject) and b" " not in subject
    else:
        domains = [domain(each["subject"]) for each in visit if each["operation"] == Kind.IDENTITY]
        found["same_domain"] = len(domains) > 1 and domains[-1] == domains[-2]
    return found


def steps(lookups: list[Row]) -> dict[str, int]:
    """Tell whether the last subject is above or below the one before, if they can be compared."""
    if len(lookups) == 1 or family_of(lookups[-1]) != family_of(lookups[-2]):
        return {}
    family = family_of(lookups[-1])
    distance = rank(lookups[-1]) - rank(lookups[-2])
    step = distance != 0 and family in {"fingerprint", "key id"}
    return {
        "rises": distance > 0 and family != "key id",
        "falls": distance < 0 and family != "key id",
        "steps": step,
        "step_octaves": octaves(abs(distance)) if step else 0,
    }


def family_of(row: Row) -> str:
    """Return what kind of thing is looked up."""
    if row["operation"] == Kind.CERT:
        return "fingerprint" if len(row["subject"]) >= 32 else "key id"
    return "identity" if row["operation"] == Kind.IDENTITY else "words"


def rank(row: Row) -> int:
    """Return the number by which subjects are in order."""
    if row["operation"] == Kind.CERT:
        return int(row["subject"][:16].ljust(16, b"0"), 16)
    return int.from_bytes(row["subject"][:8].ljust(8, b"\0"))


def domain(subject: bytes) -> bytes:
    """Return what comes after the first @, as far as it is looked at."""
    return subject.partition(b"@")[2][:32]


def octaves(value: int) -> int:
    """Return steps of a sixteenth of an octave."""
    mantissa, exponent = math.frexp(float(value) + 1)
    return 16 * (exponent - 1) + int((2 * mantissa - 1) * 16)
