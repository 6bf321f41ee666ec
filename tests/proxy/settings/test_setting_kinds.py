"""Tests of how values are read. What is refused stands in test_config.py, with the message."""

import pytest

from proxy.settings.kinds import (
    DAY,
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    PATH_PREFIX,
    SECOND,
    AnyKind,
    Choice,
    Duration,
    ListOf,
    OrEmpty,
    Size,
    Switch,
    Whole,
)
from proxy.settings.limits import NETWORKS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(0, 9), " 7 ", 7),
        (Whole(0, 9), 7, 7),
        (Duration(0, DAY), "500ms", 500 * MILLISECOND),
        (Duration(0, DAY), "10s", 10 * SECOND),
        (Duration(0, DAY), "1m", MINUTE),
        (Duration(0, DAY), "1h", HOUR),
        (Duration(0, DAY), "1d", DAY),
        (Duration(0, DAY), "15", 15 * SECOND),
        (Duration(0, DAY), 15, 15 * SECOND),
        (Duration(0, DAY), "2 S", 2 * SECOND),
        (Size(0, MIB), "16KiB", 16 * KIB),
        (Size(0, MIB), "1MiB", MIB),
        (Size(0, MIB), "100", 100),
        (Choice(("a", "b")), "B", "b"),
        (Switch(), "On", True),
        (Switch(), False, False),
        (ListOf(Whole(0, 9)), "1, 2", (1, 2)),
        (ListOf(Whole(0, 9)), ["1", 2], (1, 2)),
        (ListOf(Whole(0, 9)), "", ()),
        (OrEmpty(ListOf(PATH_PREFIX)), "/a,/b/", ("/a", "/b/")),
        (OrEmpty(ListOf(PATH_PREFIX)), " ", None),
        (NETWORKS, "", ()),
    ],
)
def test_value_is_read(kind: AnyKind, text: object, value: object) -> None:
    """Each kind of value is read as the documentation writes it."""
    assert kind.parse(text) == value
