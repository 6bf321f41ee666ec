"""Validation: tools for training only, each judged by what was learnt of others."""

from __future__ import annotations

import pytest

from models.training.table import joined
from tests.models.models_for_tests import ABUSIVE, clients

pytest.importorskip("lightgbm")

from models.training import validation


def test_tools_that_were_left_out() -> None:
    """Who is like others that were recorded is judged as they are; who is like none of his kind, wrongly."""
    table = joined(
        [
            *(clients(f"mail {number}", seed=number, order=0.1) for number in range(6)),
            *(clients(f"walker {number}", ABUSIVE, seed=number, order=0.9) for number in range(6)),
            clients("sorted", seed=9, order=0.9),
        ]
    )
    names = {"honest", "abusive", *table.tool.tolist()}
    found = [{row.name: row.found for row in rows} for rows in validation.validated(table)]
    assert len(found) == len(validation.SEEDS)
    for rows in found:
        assert set(rows) == names
        assert sum(rows[f"mail {number}"] for number in range(6)) == 0
        assert rows["sorted"] == 10
