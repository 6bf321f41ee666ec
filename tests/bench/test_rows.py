"""The order of measurements."""

from bench.peers import Running
from bench.rows import rotated

PROXIES = [Running(name, 1, 1) for name in "ABC"]


def test_each_round_starts_with_another_proxy_and_measures_all() -> None:
    """Whoever goes first meets a cache that the last one left: that is shared out."""
    orders = ["".join(proxy.name for proxy in rotated(PROXIES, turn)) for turn in range(4)]
    assert orders == ["ABC", "BCA", "CAB", "ABC"]
