"""The protocol of `flights.pxd`, step by step: every interleaving of a few processes is gone through."""

from collections.abc import Iterator

import pytest

WAYS = 3
FREE, KEPT = "-", "kept"
Cells = tuple[str, ...]
State = tuple[object, ...]  # of a process: the name of its next step, and what it remembers
World = tuple[Cells, tuple[State, ...]]
SEEK: State = ("seek", 0, False)


def put(cells: Cells, way: int, word: str) -> Cells:
    """Write a cell."""
    return (*cells[:way], word, *cells[way + 1 :])


def seek(cells: Cells, _: str, way: int, claimed: bool) -> Iterator[tuple[Cells, State]]:  # noqa: FBT001 - a state
    """Look at the cells one by one: a reply may be of use or not; a claim counts if nothing else is found."""
    if way == WAYS:
        yield cells, ("waits",) if claimed else ("choose",)
    elif cells[way] == KEPT:
        yield cells, ("served",)
        yield cells, ("take over", way)
    elif cells[way].startswith("flight"):
        yield cells, ("waits",)
    else:
        yield cells, ("seek", way + 1, claimed or cells[way].startswith("claim"))


def take_over(cells: Cells, me: str, way: int) -> Iterator[tuple[Cells, State]]:
    """Swap a flight into the cell of a reply that is of no use."""
    yield (put(cells, way, f"flight{me}"), ("leads", way)) if cells[way] == KEPT else (cells, SEEK)


def choose(cells: Cells, _: str) -> Iterator[tuple[Cells, State]]:
    """Choose any free cell, or that of another tag's reply, which is the same here."""
    for way in range(WAYS):
        if cells[way] == FREE:
            yield cells, ("claim", way)


def claim(cells: Cells, me: str, own: int) -> Iterator[tuple[Cells, State]]:
    """Publish the claim, unless somebody was faster."""
    yield (put(cells, own, f"claim{me}"), ("scan", own, 0)) if cells[own] == FREE else (cells, SEEK)


def scan(cells: Cells, _: str, own: int, way: int) -> Iterator[tuple[Cells, State]]:
    """Look at another cell."""
    if way == WAYS:
        yield cells, ("confirm", own)
    elif way == own or cells[way] == FREE:
        yield cells, ("scan", own, way + 1)
    elif cells[way].startswith("claim") and way > own:
        yield cells, ("knock out", own, way, cells[way])
    else:
        yield cells, ("withdraw", own)


def knock_out(cells: Cells, _: str, own: int, way: int, seen: str) -> Iterator[tuple[Cells, State]]:
    """Free a higher claim, or give way if it is no longer what it was."""
    yield (put(cells, way, FREE), ("scan", own, way + 1)) if cells[way] == seen else (cells, ("withdraw", own))


def confirm(cells: Cells, me: str, own: int) -> Iterator[tuple[Cells, State]]:
    """Become the flight, unless knocked out."""
    if cells[own] == f"claim{me}":
        yield put(cells, own, f"flight{me}"), ("leads", own)
    else:
        yield cells, ("withdraw", own)


def withdraw(cells: Cells, me: str, own: int) -> Iterator[tuple[Cells, State]]:
    """Take the claim back and begin anew."""
    yield put(cells, own, FREE) if cells[own] == f"claim{me}" else cells, SEEK


def lead(cells: Cells, me: str, own: int) -> Iterator[tuple[Cells, State]]:
    """End the flight with a reply or with nothing, unless it is void."""
    mine = cells[own] == f"flight{me}"
    yield put(cells, own, KEPT) if mine else cells, ("has led",)
    yield put(cells, own, FREE) if mine else cells, ("has led",)


def void(cells: Cells, _: str, way: int) -> Iterator[tuple[Cells, State]]:
    """Invalidate: free one cell after the other."""
    yield (put(cells, way, FREE), ("void", way + 1)) if way < WAYS else (cells, ("done",))


STEPS = {
    "seek": seek,
    "take over": take_over,
    "choose": choose,
    "claim": claim,
    "scan": scan,
    "knock out": knock_out,
    "confirm": confirm,
    "withdraw": withdraw,
    "void": void,
}


def successors(world: World, *, ending: bool) -> Iterator[World]:
    """Return the worlds after one step of one process."""
    cells, states = world
    for i, (name, *rest) in enumerate(states):
        step = lead if name == "leads" and ending else STEPS.get(str(name))
        if step is not None:
            for after, state in step(cells, str(i), *rest):  # type: ignore[operator]  # each has its own state
                yield after, (*states[:i], state, *states[i + 1 :])


def explore(start: World, *, ending: bool) -> Iterator[tuple[World, bool]]:
    """Return all worlds that can come to be, and whether each is an end."""
    seen, todo = {start}, [start]
    while todo:
        world = todo.pop()
        following = set(successors(world, ending=ending))
        yield world, not following
        todo += following - seen
        seen |= following


@pytest.mark.parametrize(
    ("cells", "processes", "ending"),
    [
        ((FREE,) * 3, (SEEK,) * 3, False),
        ((FREE,) * 3, (SEEK, SEEK, ("void", 0)), True),
        ((FREE, KEPT, FREE), (SEEK,) * 3, False),
        ((FREE, KEPT, FREE), (SEEK, SEEK, ("void", 0)), True),
        ((FREE, FREE, "claim0"), (("scan", 2, 0), SEEK, SEEK), True),
        (("claim0", FREE, FREE), (("scan", 0, 0), SEEK, SEEK), True),
        ((FREE, "claim0", FREE), (("scan", 1, 0), SEEK, SEEK), True),
    ],
)
def test_a_key_has_one_flight_or_one_reply(cells: Cells, processes: tuple[State, ...], *, ending: bool) -> None:
    """In no interleaving, stopped anywhere, has a key two flights or replies, nor a flight two leaders; one leads."""
    ends = 0
    for (after, states), end in explore((cells, processes), ending=ending):
        assert sum(word == KEPT or word.startswith("flight") for word in after) <= 1
        ends += end
        if not ending:
            leaders = sum(state[0] == "leads" for state in states)
            assert leaders <= 1
            assert not end or leaders == 1 or ("served",) in states
    assert ends > 0
