"""The plugin `ratelimit-threat-intel`: tells of clients who are in lists, or were bad lately, as evidence.

    records -> proxy.intel.combined (what follows from all feeds) -> Evidence `listed`
    bans, verdicts (events), listings -> proxy.intel.reputation ---> Evidence `reputation`

What lists say loud enough is a rule already, which workers obey (`HKPGUARD_INTEL__DENY`); this is for the rest of it,
and for those who ask why. Feeds are fetched whether it runs or not.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fastpath import client_key, parse_address, parse_network
from proxy.intel import columns
from proxy.intel.columns import Column
from proxy.intel.combined import FILE, Latest
from proxy.intel.combining import LOUDEST
from proxy.intel.reputation import FORGOTTEN, Reputation
from proxy.intel.snapshot import FOLDER
from proxy.plugins.contract import Plugin
from proxy.plugins.events import BanPlaced, VerdictRaised
from proxy.policy.actions import Action
from proxy.policy.fusion import Evidence
from proxy.settings.kinds import MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geo.atlas import Atlas
    from proxy.intel.combined import Listed
    from proxy.plugins.contract import Heard, Host, Json, Route

LISTED, REPUTATION = "listed", "reputation"  # kinds of evidence, and features
LOOK_NS: Final = 5 * SECOND  # how often it looks for other lists
SAVE_NS: Final = 5 * MINUTE
MOST_TOLD: Final = 65_536
STEP: Final = 16  # clients that are looked at in a step: some tenths of a millisecond
SHOWN_FEEDS: Final = 8
BAN_POINTS: Final = 1.0
VERDICT_POINTS: Final = {"limited": 0.25, "tarpit": 0.5}  # a ban follows the hardest, and tells itself
LISTED_POINTS: Final = 0.5  # of who is listed as loud as can be
OK, NO_LONGER_OK = 200, 400
REPUTATION_FILE: Final = "reputation"
_COLUMNS: Final = {
    "asns": Column(np.bool_),
    "keys": Column(np.uint64),
    "points": Column(np.float32),
    "since_s": Column(np.float64),
}


class Settings(BaseModel):
    """Its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_weight: float = Field(LOUDEST, ge=0.0, le=LOUDEST, description="Log-odds that a listing has at most")
    minutes: int = Field(15, ge=1, le=1440, description="How long evidence counts")


class _Told(NamedTuple):
    """What was said of a client: until when it counts, by which lists, and whether it was in one."""

    until_ns: int
    lists: int
    listed: bool


_NOTHING: Final = _Told(0, 0, listed=False)


class RatelimitThreatIntel(Plugin):
    """Finds who is listed, and who has a reputation."""

    name = "ratelimit-threat-intel"
    version = version("hkpguard")
    settings = Settings
    features = (LISTED, REPUTATION)

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        """`wall`: the clock of the day, seconds since 1970."""
        self._wall = wall

    def set_up(self, host: Host) -> None:
        """See `Plugin`."""
        assert isinstance(host.config, Settings)  # noqa: S101 - the runner made it of this model
        self._settings, self._host = host.config, host
        self._atlas: Atlas | None = host.common.atlas if host.common else None
        self._lists = Latest(host.state_dir.parent.parent / FOLDER / FILE)
        self._save_problem = ""
        self._told: OrderedDict[int, _Told] = OrderedDict()
        self._listed = 0
        self._look_ns = self._save_ns = 0
        self._reputation = Reputation()
        self._own_path = host.state_dir / REPUTATION_FILE
        self._load()

    def stop(self) -> None:
        """See `Plugin`."""
        self._save(self._reputation.columns())

    def detectors(self) -> Sequence[RatelimitThreatIntel]:
        """See `Plugin`."""
        return (self,)

    def look(self, block: NDArray[np.void], now_ns: int) -> Iterator[Evidence | None]:
        """See `contract.Detector`."""
        self._turn(now_ns)
        yield None
        clients, rows = np.unique(block["client"], return_index=True)
        addresses = block["address"][rows]
        yield None
        for start in range(0, len(clients), STEP):
            for client, address in zip(
                clients[start : start + STEP].tolist(), addresses[start : start + STEP], strict=True
            ):
                yield from self._of(client, address.tobytes(), now_ns)
            yield None
        good = (block["action"] == Action.ALLOW) & (block["status"] >= OK) & (block["status"] < NO_LONGER_OK)
        behaved = np.unique(block["client"][good])
        yield None
        self._reputation.credit(self._reputation.known(behaved), self._wall())

    def _turn(self, now_ns: int) -> None:
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_NS
            self._lists.refresh()
        if now_ns >= self._save_ns:
            if self._save_ns:
                # A disk may take its time, which nobody here has; there is one such thread in five minutes.
                save = threading.Thread(
                    target=self._save, args=(self._reputation.columns(),), name=REPUTATION, daemon=True
                )
                save.start()
            self._save_ns = now_ns + SAVE_NS

    # What is said of a client.

    def _of(self, client: int, address: bytes, now_ns: int) -> Iterator[Evidence]:
        """Yield what speaks against a client, unless it was said and that still counts."""
        lasts_ns = self._settings.minutes * MINUTE
        before = self._told.get(client, _NOTHING)
        if before.until_ns - now_ns > lasts_ns // 2 and before.lists == self._lists.changes:
            return
        said = [*self._evidence(client, address, now_ns + lasts_ns)]
        listed = any(each.kind == LISTED for each in said)
        if before.listed and not listed and before.until_ns > now_ns:
            said.append(Evidence(client, LISTED, 0.0, "in no list any more", before.until_ns))
        self._told[client] = _Told(now_ns + lasts_ns, self._lists.changes, listed=listed)
        self._told.move_to_end(client)
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        yield from said

    def _evidence(self, client: int, address: bytes, until_ns: int) -> Iterator[Evidence]:
        combined = self._lists.combined
        listed = combined.find(address) if combined else None
        asn, now_s = self._asn(address), self._wall()
        if listed is not None and listed.weight > 0 and self._feature(LISTED, client):
            self._listed += 1
            weight = min(listed.weight, self._settings.most_weight)
            yield Evidence(client, LISTED, weight, f"listed by {_names(listed)}", until_ns)
        standing = self._reputation.standing(client, now_s, asn)
        if standing.weight >= FORGOTTEN and self._feature(REPUTATION, client):
            reason = "; ".join(
                f"{points:.1f} points of {what}"
                for what, points in (
                    ("its own", standing.client),
                    ("its network", standing.network),
                    ("its ASN", standing.asn),
                )
                if points
            )
            yield Evidence(client, REPUTATION, standing.weight, f"reputation: {reason}", until_ns)
        if listed is not None and listed.weight > 0 and not standing.client:
            self._reputation.blame(client, LISTED_POINTS * listed.weight / LOUDEST, now_s, asn)

    def _feature(self, name: str, client: int) -> bool:
        return bool(self._host.feature(name, np.array([client], np.uint64))[0])

    def _asn(self, address: bytes) -> int:
        holder = self._atlas.locate(address).holder if self._atlas else None
        return holder.asn if holder else 0

    # What it hears of.

    def subscriptions(self) -> Mapping[str, Heard]:
        """See `Plugin`."""
        return {BanPlaced.kind: self._hear_ban, VerdictRaised.kind: self._hear_verdict}

    def _hear_ban(self, _kind: str, data: Json) -> None:
        """Note a ban that somebody has earned: not of a network for its clients, nor one that shadow mode spares."""
        if data["origin"] != "widened" and data["mode"] == "enforce":
            self._blame(data["network"], BAN_POINTS)

    def _hear_verdict(self, _kind: str, data: Json) -> None:
        if points := VERDICT_POINTS.get(data["after"]):
            self._blame(data["subject"], points)

    def _blame(self, text: str, points: float) -> None:
        subject, now_s = parse_network(text), self._wall()
        asn = self._asn(parse_address(text.partition("/")[0]))
        self._reputation.blame(subject, points, now_s, asn)
        self._told.pop(subject, None)

    # Files.

    def _load(self) -> None:
        try:
            _, found = columns.read(self._own_path, _COLUMNS)
            self._reputation.take_up(found, self._wall())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._host.log.warning("reputations could not be read, starting without", problem=str(error))

    def _save(self, known: Mapping[str, NDArray[np.generic]]) -> None:
        try:
            columns.write(self._own_path, {}, known)
            self._save_problem = ""
        except OSError as error:
            self._save_problem = f"reputations are not written down: {error.strerror}"

    # What operators ask.

    def health(self) -> str:
        """See `Plugin`."""
        return "; ".join(filter(None, (self._lists.problem, self._save_problem)))

    def metrics(self) -> Mapping[str, float]:
        """See `Plugin`."""
        return {
            "prefixes": float(len(self._lists.combined or ())),
            "listed": float(self._listed),
            "reputations": float(len(self._reputation)),
        }

    def routes(self) -> Mapping[str, Route]:
        """See `Plugin`."""
        return {"reputation": self._tell}

    def _tell(self, query: Mapping[str, str]) -> Json:
        """Tell what is known of an address: `?address=`; ValueError if it is none."""
        packed = parse_address(query.get("address", ""))
        standing = self._reputation.standing(client_key(packed), self._wall(), self._asn(packed))
        return {
            **{name: round(points, 3) for name, points in standing._asdict().items()},
            "weight": round(standing.weight, 3),
        }


def _names(listed: Listed) -> str:
    names, more = listed.feeds[:SHOWN_FEEDS], len(listed.feeds) - SHOWN_FEEDS
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
