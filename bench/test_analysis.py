"""What the analysis of behaviour costs: run with `pytest bench/test_analysis.py`. Goal: 100,000 a second of each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath import NetworkKind, Origin, client_key
from fastpath.origin_arrays import kinds_of
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet
from fastpath.record import RECORD_BYTES
from fastpath.record_array import RECORD_DTYPE, record_array
from models.features import FEATURES, compute, of_networks
from models.scorer import MAIN, SECOND, SHIPPED, Scorer
from models.steps import whole
from models.totals import BY_NETWORK, BY_SUBJECT, Grouping, Totals
from models.windows import TURN, Windows
from proxy.hkp.classes import OperationClass

RECORDS = 100_000
MS = 1_000_000
IPV4 = np.uint64(client_key(bytes(4)))
KINDS = [OperationClass.CERT] * 5 + [OperationClass.IDENTITY, OperationClass.WORDS, OperationClass.UNKNOWN]
TEXTS = {OperationClass.IDENTITY: b"somebody@example.org", OperationClass.WORDS: b"alice liddell"}


def stream(clients: int) -> NDArray[np.void]:
    """Return records of so many clients in no order, most of them gets by fingerprint."""
    source = np.random.default_rng(1)
    made = np.zeros(RECORDS, RECORD_DTYPE)
    made["time_ns"] = np.arange(1, RECORDS + 1) * MS
    made["client"] = source.integers(1, clients, RECORDS, endpoint=True)
    made["client"] |= IPV4
    made["subject_hash"] = source.integers(2, 2**63, RECORDS)
    made["total_us"], made["status"], made["method"] = 900, 200, 1
    made["operation"] = source.choice(KINDS, RECORDS)
    made["subject"] = [TEXTS.get(kind, f"{number:040X}".encode()) for number, kind in enumerate(made["operation"])]
    return made


@pytest.mark.parametrize("clients", [1, 300, 60_000, 2**40])
def test_feed(benchmark: Callable[..., Any], clients: int) -> None:
    """Feed 100,000 records: of one client, of some, of as many as there are rows, and each of a new one."""
    made, windows = stream(clients), Windows()
    benchmark(windows.feed, made)


@pytest.mark.parametrize("clients", [300, 2**40])
def test_feed_a_turn(benchmark: Callable[..., Any], clients: int) -> None:
    """Feed 512 records, which the analyst does in one step: goal 0.5 ms."""
    made, windows = stream(clients), Windows()
    windows.feed(made)
    places = iter(range(10**9))

    def turn() -> None:
        start = next(places) * TURN % (RECORDS - TURN)
        windows.feed(made[start : start + TURN])

    benchmark(turn)


@pytest.mark.parametrize("clients", [300, 2**40])
@pytest.mark.parametrize("grouping", [BY_NETWORK, BY_SUBJECT])
def test_totals(benchmark: Callable[..., Any], grouping: Grouping, clients: int) -> None:
    """Feed 100,000 records to the totals of networks, or of subjects, nearly each of which is a new one."""
    made, totals = stream(clients), Totals(grouping)
    benchmark(lambda: whole(totals.feed(made)))


@pytest.mark.parametrize("clients", [300, 60_000, 2**40])
def test_all_windows(benchmark: Callable[..., Any], clients: int) -> None:
    """Take 100,000 records as rings give them, 4096 at a time, to windows of clients, of networks and of subjects."""
    raw, size = stream(clients).tobytes(), 4096 * RECORD_BYTES
    windows, networks, subjects = Windows(), Totals(BY_NETWORK), Totals(BY_SUBJECT)

    def feed() -> None:
        for start in range(0, len(raw), size):
            made = record_array(raw[start : start + size])
            windows.feed(made)
            whole(networks.feed(made))
            whole(subjects.feed(made))

    benchmark(feed)


def test_features(benchmark: Callable[..., Any]) -> None:
    """Take 100,000 windows from their rows and make features of them, in portions of 1024."""
    windows = Windows()
    windows.feed(stream(60_000))
    rows = np.resize(np.arange(50_000, dtype=np.int32), RECORDS)

    def features() -> int:
        return sum(len(compute(windows.columns(rows[start : start + 1024]))) for start in range(0, RECORDS, 1024))

    assert benchmark(features) == RECORDS
    assert len(FEATURES) == 29


def test_networks(benchmark: Callable[..., Any]) -> None:
    """Look up the networks of 100,000 clients in 50,000 prefixes, in portions of 1024: only for who has trained it."""
    source = np.random.default_rng(1)
    rows = [(packed + b"\0", 24, Origin(kind=NetworkKind.HOSTING).pack()) for packed in map(source.bytes, [3] * 50_000)]
    look_up = PrefixSet(build(Rows.of(rows))).look_up
    clients = np.array([client_key(source.bytes(4)) for _ in range(RECORDS)], np.uint64)

    def networks() -> int:
        return sum(len(of_networks(kinds_of(clients[at : at + 1024], look_up))) for at in range(0, RECORDS, 1024))

    assert benchmark(networks) == RECORDS


@pytest.mark.parametrize("name", [MAIN, SECOND])
def test_score(benchmark: Callable[..., Any], name: str) -> None:
    """Take 100,000 windows from their rows, make features of them and score them."""
    windows, scorer = Windows(), Scorer(SHIPPED / f"{name}.onnx")
    windows.feed(stream(60_000))
    rows = np.resize(np.arange(50_000, dtype=np.int32), RECORDS)

    def score() -> int:
        done = 0
        for start in range(0, RECORDS, 1024):
            columns = windows.columns(rows[start : start + 1024])
            done += len(scorer.score(compute(columns), columns["requests"]))
        return done

    assert benchmark(score) == RECORDS
