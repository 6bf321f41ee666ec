"""The shared tables of a node, for each test."""

import pytest

from fastpath import Region
from proxy.policy.budgets import Tables


@pytest.fixture
def tables() -> Tables:
    """Return empty tables."""
    return Tables.of(Region.create(clients=1024, workers=1, upstreams=1))
