"""The shared tables of a node, in memory that goes with them."""

from fastpath import Region
from proxy.policy.budgets import Tables


def tables_of(clients: int = 1024) -> Tables:
    """Return empty tables; no descriptor stays open."""
    region = Region.create(clients=clients, workers=1, upstreams=1)
    region.close()
    return Tables.of(region)
