"""The shared tables of a node, for each test."""

import pytest

from proxy.policy.budgets import Tables
from tests.proxy.policy.tables_for_tests import tables_of


@pytest.fixture
def tables() -> Tables:
    """Return empty tables."""
    return tables_of()
