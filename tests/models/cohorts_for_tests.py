"""Clients of many networks, and what they do, as records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastpath import client_key
from fastpath.record_array import RECORD_DTYPE
from tests.models.traffic_for_tests import SECOND, UPLOAD, fingerprints, visit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

START = 1_000_000 * SECOND


def address(network: int, host: int = 7, first: int = 10) -> int:
    """Return a client of a /24."""
    return client_key(bytes([first, network >> 8, network & 255, host]))


def merged(visits: Iterable[NDArray[np.void]]) -> NDArray[np.void]:
    """Return all records in the order of time."""
    records = np.asarray(np.concatenate([*visits]), RECORD_DTYPE)  # joined they have lost the gap in the layout
    return records[np.argsort(records["time_ns"], kind="stable")]


def uploading(networks: Iterable[int], *, host: int = 7, pause_ms: float = 60_000) -> list[NDArray[np.void]]:
    """Return clients that upload ten certificates each, at one pace."""
    return [
        visit(
            [""] * 10, start_ns=START + each, pause_ms=pause_ms, client=address(each, host), operation=UPLOAD, method=3
        )
        for each in networks
    ]


def refreshing(networks: Iterable[int]) -> list[NDArray[np.void]]:
    """Return as many people who refresh the same ten keys."""
    keys = fingerprints(10)
    return [visit(keys, start_ns=START + each, client=address(each, first=20)) for each in networks]
