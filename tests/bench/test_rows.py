"""The order of measurements."""

from bench.peers import PROXIES as KNOWN
from bench.peers import Running, Setup
from bench.processes import Cores
from bench.rows import ROWS, Plan, rotated

PROXIES = [Running(name, 1, 1) for name in "ABC"]


def test_each_round_starts_with_another_proxy_and_measures_all() -> None:
    """Whoever goes first meets a cache that the last one left: that is shared out."""
    orders = ["".join(proxy.name for proxy in rotated(PROXIES, turn)) for turn in range(4)]
    assert orders == ["ABC", "BCA", "CAB", "ABC"]


def test_rows_with_tls_leave_out_who_cannot_speak_it() -> None:
    """The others are in every row but that of the cache, and each measurement is announced."""
    found = {key: row.proxies(list(KNOWN)) for key, row in ROWS.items()}
    encrypted = [key for key, row in ROWS.items() if row.setup is Setup.TLS]
    assert encrypted == ["e", "f"]
    assert all(("aiohttp" in names) == (key not in [*encrypted, "g"]) for key, names in found.items())
    plan = Plan(rows=["a", "e"], proxies=["haproxy", "aiohttp"], rounds=5, seconds=1.0, cores=Cores(None, None))
    assert plan.measurements == 5 * (2 + 1)
