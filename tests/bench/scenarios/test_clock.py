"""Virtual time."""

from bench.scenarios.clock import START_NS, Clock, Life


def _life(heard: list[tuple[str, int]], name: str, *pauses_ns: int) -> Life:
    for pause_ns in pauses_ns:
        now_ns = yield pause_ns
        heard.append((name, now_ns - START_NS))


def test_lives_wake_in_the_order_of_time() -> None:
    """Each is told the time at which it wanted to wake, and the clock shows it."""
    heard: list[tuple[str, int]] = []
    clock = Clock()
    clock.add(_life(heard, "slow", 50, 50))
    clock.add(_life(heard, "quick", 20, 20, 20), after_ns=5)
    clock.run(START_NS + 1000)
    assert heard == [("quick", 25), ("quick", 45), ("slow", 50), ("quick", 65), ("slow", 100)]
    assert clock.now_ns == START_NS + 100


def test_at_the_same_time_who_slept_first_wakes_first() -> None:
    """So that two runs are alike."""
    heard: list[tuple[str, int]] = []
    clock = Clock()
    for name in "abc":
        clock.add(_life(heard, name, 0, 0))
    clock.run(START_NS)
    assert "".join(name for name, _ in heard) == "abcabc"


def test_time_stops_where_it_is_told_to() -> None:
    """What would happen later does not; what happens at the very end does."""
    heard: list[tuple[str, int]] = []
    clock = Clock()
    clock.add(_life(heard, "a", 10, 1, 1))
    clock.run(START_NS + 11)
    assert heard == [("a", 10), ("a", 11)]
    clock.run(START_NS + 12)
    assert heard[-1] == ("a", 12)
