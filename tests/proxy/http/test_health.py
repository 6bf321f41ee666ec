"""Health of a keyserver: a row of failures, a rest, and what the active check says."""

from __future__ import annotations

from proxy.http.health import Health, HealthRules

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND
RULES = HealthRules(failures=3, down_ns=10 * SECOND, interval_ns=5 * SECOND)


def words() -> memoryview:
    """Return the shared words of one upstream, as they are at the start."""
    return memoryview(bytearray(32)).cast("q")


def fresh() -> Health:
    """Return the health of a keyserver that nobody knows yet."""
    return Health(words(), RULES)


def fail(health: Health, times: int) -> None:
    """Let it fail so often."""
    for _ in range(times):
        health.failed(NOW)


def test_unknown_is_up() -> None:
    """Until something is known, requests are sent; also on a machine that was started a second ago."""
    assert fresh().up(NOW)
    assert fresh().up(1)


def test_row_of_failures() -> None:
    """The third failure in a row puts it to rest for `down_ns`, not the second."""
    health = fresh()
    fail(health, 2)
    assert health.up(NOW)
    fail(health, 1)
    assert not health.up(NOW)
    assert not health.up(NOW + RULES.down_ns - 1)
    assert health.up(NOW + RULES.down_ns)


def test_success_ends_the_row() -> None:
    """Failures with a success between them are no row."""
    health = fresh()
    fail(health, 2)
    health.succeeded()
    fail(health, 2)
    assert health.up(NOW)


def test_row_begins_anew_after_the_rest() -> None:
    """After a rest it has as many chances as before."""
    health = fresh()
    fail(health, 3)
    fail(health, 2)
    assert health.up(NOW + RULES.down_ns)


def test_active_check_counts_while_it_is_fresh() -> None:
    """A bad finding counts for three intervals; older, there is no analyst, and requests must find out."""
    health = fresh()
    health.checked(ok=False, now_ns=NOW)
    assert not health.up(NOW + 3 * RULES.interval_ns - 1)
    assert health.up(NOW + 3 * RULES.interval_ns)


def test_good_finding_ends_a_rest() -> None:
    """What the analyst could reach may be used again."""
    health = fresh()
    fail(health, 3)
    health.checked(ok=True, now_ns=NOW)
    assert health.up(NOW)
    fail(health, 2)
    assert health.up(NOW)


def test_bad_finding_does_not_end_a_rest() -> None:
    """Two that say no do not make a yes."""
    health = fresh()
    fail(health, 3)
    health.checked(ok=False, now_ns=NOW)
    assert not health.up(NOW)


def test_shared_by_all_processes() -> None:
    """What one worker saw counts for the others."""
    memory = words()
    one, other = Health(memory, RULES), Health(memory, RULES)
    fail(one, 1)
    fail(other, 2)
    assert not one.up(NOW)
