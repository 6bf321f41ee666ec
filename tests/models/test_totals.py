"""Totals of networks and of subjects: the same as a plain account of the last two minutes, and bounded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, network_key
from models.steps import whole
from models.totals import BY_NETWORK, BY_SUBJECT, PANE_NS, ROWS, TURN, Grouping, Totals
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action
from proxy.telemetry.numbers import SHADOW
from tests.models.traffic_for_tests import CERT, IDENTITY, SECOND, UPLOAD, WORDS, records

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADDRESSES = [bytes(each) for each in ([192, 0, 2, 1], [192, 0, 2, 200], [192, 0, 3, 1])]
ADDRESSES += [bytes([0x20, 1, 0xD, 0xB8, 0, 0, 0, each, *[0] * 8]) for each in (1, 2)]
CLIENTS = [client_key(each) for each in ADDRESSES]
NOW = 1000 * PANE_NS + 30 * SECOND


def fed(made: NDArray[np.void], grouping: Grouping = BY_NETWORK, rows: int = ROWS) -> Totals:
    """Return totals of these records."""
    totals = Totals(grouping, rows)
    whole(totals.feed(made))
    return totals


def test_networks() -> None:
    """The clients of a /24 or /48 have one row, whatever they ask for; what they look up is told apart."""
    rows = [
        {"client": CLIENTS[0], "subject_hash": 5, "sent": 100},
        {"client": CLIENTS[1], "subject_hash": 6, "sent": 2**32 - 1, "status": 404},
        {"client": CLIENTS[1], "subject_hash": 6, "operation": UPLOAD, "sent": 2**32 - 1},
        {"client": CLIENTS[0], "subject_hash": 7, "operation": UPLOAD, "status": 429, "action": 2},
        {"client": CLIENTS[2], "operation": OperationClass.UNKNOWN, "subject_hash": 0, "status": 404},
    ]
    busy, idle = fed(records(*({"time_ns": NOW} | row for row in rows))).busiest(9, NOW)
    assert busy == (network_key(ADDRESSES[0]), UPLOAD, 4, 2, 0.5, 0.25, 2 * (2**32 - 1) + 1334)
    assert idle == (network_key(ADDRESSES[2]), OperationClass.UNKNOWN, 1, 0, 0.0, 0.0, 1234)


def test_subjects() -> None:
    """All that ask for one thing have one row, in which clients are told apart; what has no name has none."""
    rows = [{"client": client, "subject_hash": 5, "operation": IDENTITY} for client in (*CLIENTS[:3], CLIENTS[0])]
    rows += [{"subject_hash": 6}, {"subject_hash": 7, "operation": UPLOAD}, {"subject_hash": 0, "operation": WORDS}]
    found = fed(records(*({"time_ns": NOW} | row for row in rows)), BY_SUBJECT).busiest(9, NOW)
    assert [each[:4] for each in found] == [(5, IDENTITY, 4, 3), (6, CERT, 1, 1)]


@pytest.mark.parametrize(
    ("action", "refused"),
    [
        *((action, action > Action.DELAY) for action in Action),
        *((action + SHADOW, False) for action in Action if action > Action.DELAY),
    ],
)
def test_who_refuses(*, action: int, refused: bool) -> None:
    """Refused is what the guard refused, and not only would have; of that nothing says whether it is there."""
    [found] = fed(records({"time_ns": NOW, "action": action, "status": 404})).busiest(9, NOW)
    assert (found.refused_share, found.not_found_share) == (refused, not refused)


@st.composite
def streams(draw: st.DrawFn) -> NDArray[np.void]:
    """Return records of two minutes, in the order of time."""
    one = st.fixed_dictionaries(
        {
            "client": st.sampled_from(CLIENTS),
            "subject_hash": st.integers(0, 3),
            "operation": st.sampled_from([CERT, WORDS, UPLOAD]),
            "status": st.sampled_from([200, 404]),
            "action": st.integers(0, 8),
        }
    )
    rows: list[dict[str, Any]] = draw(st.lists(one, min_size=1, max_size=40))
    made = records(*rows)
    made["time_ns"] = NOW - PANE_NS + np.sort(draw(st.lists(st.integers(0, PANE_NS), min_size=len(rows)))[: len(rows)])
    return made


@given(streams(), st.lists(st.integers(0, 40)))
def test_equals_a_plain_account(stream: NDArray[np.void], cuts: list[int]) -> None:
    """Each figure is what one finds by looking at all records one by one, however the stream is cut."""
    totals = Totals(BY_NETWORK)
    for block in np.split(stream, sorted(cuts)):
        whole(totals.feed(block))
    keys = [network_key(ADDRESSES[CLIENTS.index(client)]) for client in stream["client"].tolist()]
    refused = (stream["action"] > Action.DELAY) & (stream["action"] < SHADOW)
    answered = (stream["operation"] != UPLOAD) & ~refused
    account = {
        key: (
            count,
            sum(each == key for each, plain in zip(keys, refused, strict=True) if plain) / count,
            Counter(np.array(keys)[answered & (stream["status"] == 404)].tolist())[key]
            / max(1, Counter(np.array(keys)[answered].tolist())[key]),
        )
        for key, count in Counter(keys).items()
    }
    found = totals.busiest(9, NOW)
    assert {each.key: (each.requests, each.refused_share, each.not_found_share) for each in found} == account
    assert [each.requests for each in found] == sorted((count for count, _, _ in account.values()), reverse=True)


@pytest.mark.parametrize("seconds", [0, 29, 30, 89, 90, 150, 1000])
def test_what_is_over_is_forgotten(seconds: int) -> None:
    """A request counts for the minute it was in and for the next one, also where nothing comes after it."""
    totals = fed(records({"time_ns": NOW}))
    assert len(totals.busiest(9, NOW + seconds * SECOND)) == (seconds < 90)


def test_who_comes_back_begins_anew() -> None:
    """Nothing is left of what was forgotten, and the minute before is not forgotten with the one before that."""
    totals = fed(records({"time_ns": NOW, "subject_hash": 5}))
    for minutes, requests, members in [(1, 2, 2), (2, 2, 2), (9, 1, 1)]:
        whole(totals.feed(records({"time_ns": NOW + minutes * PANE_NS, "subject_hash": 10**9 * minutes})))
        [found] = totals.busiest(9, NOW + minutes * PANE_NS)
        assert (found.requests, found.members) == (requests, members)


@pytest.mark.parametrize(
    ("first_s", "now_s", "seconds"), [(0, 0, 1), (0, 25, 25), (0, 29, 29), (0, 30, 30), (0, 89, 89), (0, 90, 60)]
)
def test_seconds(first_s: int, now_s: int, seconds: int) -> None:
    """It is told how much time the totals are of: since the first record, and not more than two minutes."""
    totals = fed(records({"time_ns": NOW + first_s * SECOND}))
    assert totals.seconds(NOW + now_s * SECOND) == seconds


def test_nothing_came() -> None:
    """Without records there is nobody, and a second of it."""
    totals = fed(records())
    assert (totals.busiest(9, NOW), totals.seconds(NOW)) == ([], 1)


def test_those_with_the_fewest_requests_make_room() -> None:
    """A flood of subjects that are asked for once does not push out those that many ask for."""
    totals = Totals(BY_SUBJECT, 4 * TURN)
    for turn in range(20):
        flood = records(*[{"time_ns": NOW}] * TURN)
        flood["subject_hash"] = np.arange(TURN) + 1000 * (turn + 1)
        flood["subject_hash"][-3:] = 5, 5, 6 + turn % 2
        whole(totals.feed(flood))
        assert len(totals.busiest(10**6, NOW)) <= 4 * TURN
    assert [each[:3] for each in totals.busiest(3, NOW)] == [(5, CERT, 40), (6, CERT, 10), (7, CERT, 10)]
    assert len({each.key for each in totals.busiest(10**6, NOW)}) == len(totals.busiest(10**6, NOW))


def test_a_row_that_was_made_free_is_empty() -> None:
    """Who gets the row of somebody else gets none of his figures, in neither minute."""
    totals = Totals(BY_SUBJECT, 4 * TURN)
    for minute, keys in [(0, range(1, 4 * TURN + 1)), (1, range(10_000, 10_000 + 4 * TURN))]:
        made = records(*[{"time_ns": NOW + minute * PANE_NS, "sent": 1}] * (4 * TURN))
        made["subject_hash"] = keys
        whole(totals.feed(made))
    found = {each[2:] for each in totals.busiest(10**6, NOW + PANE_NS)}
    assert found == {(1, 1, 0.0, 0.0, 1)}


def test_somebody_asks_between_steps() -> None:
    """There are two steps for each turn; who asks meanwhile, and lets the minute pass, changes nothing."""
    made = records(*[{"time_ns": NOW}] * (2 * TURN + 1))
    made["subject_hash"] = np.arange(len(made)) % 7 + 1
    totals, asked = Totals(BY_SUBJECT), 0
    for _ in totals.feed(made):
        asked += 1
        totals.busiest(9, NOW + PANE_NS)
    assert asked == 6
    found = totals.busiest(9, NOW + PANE_NS)
    assert Counter({each.key: each.requests for each in found}) == Counter(made["subject_hash"].tolist())


@pytest.mark.parametrize(("count", "most_off"), [(1, 0), (30, 2), (1000, 100), (4000, 1000)])
def test_different_members_are_estimated(count: int, most_off: int) -> None:
    """About as many as there are, up to some thousands."""
    made = records(*[{"time_ns": NOW}] * count)
    made["subject_hash"] = np.random.default_rng(1).integers(1, 2**63, count)
    [found] = fed(made).busiest(9, NOW)
    assert found.members == pytest.approx(count, abs=most_off)


def test_no_more_members_than_bits_can_tell() -> None:
    """Where all bits are set the estimate stays what it is."""
    made = records(*[{"time_ns": NOW}] * 20_000)
    made["subject_hash"] = np.random.default_rng(1).integers(1, 2**63, len(made))
    assert fed(made).busiest(9, NOW)[0].members == 7098


def test_too_few_rows_are_refused() -> None:
    """A turn of new keys must find room beside those that are known."""
    with pytest.raises(ValueError, match="rows 2047"):
        Totals(BY_NETWORK, 4 * TURN - 1)


def test_memory_is_bounded() -> None:
    """All columns of 8,192 rows take about 3 MB, and none grows but the index, to 12 bytes a row."""
    totals = fed(records({"time_ns": NOW}))
    panes: list[NDArray[Any]] = [each for pane in (totals._now, totals._before) for each in (pane.totals, pane.bits)]
    columns = [*panes, totals._key, totals._operation, totals._index._free]
    assert 2.5e6 < sum(column.nbytes for column in columns) + ROWS * 12 < 3.1e6
