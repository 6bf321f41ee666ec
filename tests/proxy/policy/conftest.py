"""A client table for each test."""

import pytest

from fastpath import ClientTable, Region


@pytest.fixture
def table() -> ClientTable:
    """Return an empty client table."""
    region = Region.create(clients=1024, workers=1, upstreams=0)
    region.close()
    return ClientTable(region.table, region.secret)
