"""Features: as documented, within their ranges, and about behaviour, not about the guard or the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.origin import NetworkKind
from models.features import FEATURES, NAMES, NETWORK, compute, different, of_networks
from models.marks import PEAKS, SUMS
from models.windows import WINDOW, Windows
from proxy.hkp.classes import OperationClass
from tests.models.traffic_for_tests import (
    IDENTITY,
    UPLOAD,
    WORDS,
    delayed,
    fingerprints,
    refresh,
    refused,
    visit,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "models.md"


def features(made: NDArray[np.void]) -> dict[str, float]:
    """Return the features of the one client of these records."""
    windows = Windows()
    windows.feed(made)
    [row] = compute(windows.columns(np.array([0], np.int32)))
    return dict(zip(NAMES, row.tolist(), strict=True))


def test_the_document_lists_every_feature() -> None:
    """docs/models.md has each feature in its order, with unit, range and meaning."""
    text = DOCUMENTATION.read_text(encoding="utf-8").partition("\n## Features\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ")[:4] for line in text.splitlines() if re.match(r"\| `\w+` ", line)]
    assert rows == [
        [f"`{each.name}`", each.unit, f"{each.lowest:g} to {each.highest:g}", each.text] for each in FEATURES
    ]


def test_names_are_unique() -> None:
    """Each feature has its own name."""
    assert len(set(NAMES)) == len(FEATURES)


@given(
    st.lists(st.tuples(*[st.integers(0, 2**31 - 1)] * (len(SUMS) + len(PEAKS))), max_size=4),
    st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
)
def test_features_stay_in_their_ranges(rows: list[tuple[int, ...]], members: list[int]) -> None:
    """Whatever a window holds, even what no traffic makes, no feature is undefined or out of its range."""
    found = compute(np.array([(*row, members) for row in rows], WINDOW))
    assert found.dtype == np.float32
    assert found.shape == (len(rows), len(FEATURES))
    assert found.flags.c_contiguous
    assert (found >= [each.lowest for each in FEATURES]).all()
    assert (found <= np.array([each.highest for each in FEATURES], np.float32)).all()


def test_windows_say_nothing_of_networks() -> None:
    """What is computed of a window is of a network of which nothing is known."""
    found = features(visit(fingerprints(20)))
    assert [found[name] for name in NAMES[NETWORK]] == [0.0] * 4


def test_networks() -> None:
    """A network is of one of four kinds, or of none of them: unknown, and kinds of which too few clients come."""
    found = of_networks(np.array([*NetworkKind], np.uint8))
    assert found.dtype == np.float32
    told = {
        kind.name.lower(): NAMES[NETWORK][row.argmax()]
        for kind, row in zip(NetworkKind, found, strict=True)
        if row.any()
    }
    assert told == {name: name for name in ("residential", "mobile", "hosting", "vpn")}
    assert found.sum() == len(told)


def test_rows_do_not_depend_on_each_other() -> None:
    """A window has the same features alone and among others."""
    windows = Windows()
    made = visit(fingerprints(400))
    made["client"] = np.arange(400) % 37 + 1
    windows.feed(made)
    rows = np.arange(37, dtype=np.int32)
    together = compute(windows.columns(rows))
    assert all((compute(windows.columns(rows[row : row + 1]))[0] == together[row]).all() for row in range(37))


@pytest.mark.parametrize("count", [1, 8, 60, 240])
@pytest.mark.parametrize("seed", range(5))
def test_different_members_are_estimated(count: int, seed: int) -> None:
    """Within three standard errors of what there are."""
    bits = np.zeros((1, 256), np.uint8)
    bits[0, np.random.default_rng(seed).integers(0, 256, count)] = 1
    members = np.packbits(bits, axis=1).view(np.uint32)
    assert different(members)[0] == pytest.approx(count, abs=1 + 0.15 * count)


# What a refresh with gpg has in common, however many keys, however slow the guard or the keyserver.

GPG = features(refresh(fingerprints(240)))


def test_a_refresh() -> None:
    """It has nothing of what scanners, harvesters and vandals do, though it is fast, regular, and misses a third."""
    tame = {
        "identity_share", "words_share", "upload_share", "page_share", "rare_share", "unknown_share",
        "malformed_share", "unfinished_share", "odd_method_share", "missed_share", "domain_share", "same_domain_share",
        "odd_text_share", "key_id_share", "overlap_share", "upload_size", "upload_spread",
    }  # fmt: skip
    assert {name for name in tame if GPG[name] != 0} == set()
    assert GPG["order"] < 0.2
    assert GPG["nearness"] < 1
    assert GPG["http_1_0_share"] == GPG["burst_share"] == 1
    assert GPG["distinct_share"] > 0.9


@pytest.mark.parametrize("count", [8, 30, 300, 3000])
def test_the_length_of_a_refresh_does_not_show(count: int) -> None:
    """One of 3,000 keys looks like one of 8: how much is asked for is for limits and budgets."""
    found = features(refresh(fingerprints(count)))
    free = {"order": 0.7, "nearness": 2.5, "distinct_share": 0.15}  # chance, which is greater in few
    assert found == {name: pytest.approx(value, abs=free.get(name, 1e-6)) for name, value in GPG.items()}


@pytest.mark.parametrize("wait_ms", [5, 200, 10_000])
def test_a_delay_does_not_show(wait_ms: float) -> None:
    """Who is delayed by the guard looks exactly as without."""
    made = refresh(fingerprints(100))
    assert features(delayed(made, wait_ms)) == features(made)


def test_a_refusal_does_not_show() -> None:
    """Nor does who is refused look worse for it."""
    made = refresh(fingerprints(100))
    assert features(refused(made)) == features(made)
    searches = visit([f"{word}@example.org" for word in "abcdefgh"], operation=IDENTITY)
    assert features(refused(searches)) == features(searches)


def test_a_slow_keyserver_does_not_show() -> None:
    """What the keyserver takes for an answer is not the client's doing."""
    assert features(refresh(fingerprints(100), total_ms=900)) == features(refresh(fingerprints(100), total_ms=1))


@pytest.mark.parametrize("unknown", [1, 3, 1000])
def test_unknown_keys_do_not_show(unknown: int) -> None:
    """A refresh may ask for keys that were never uploaded, be it all of them."""
    assert features(refresh(fingerprints(100), unknown=unknown)) == features(refresh(fingerprints(100)))


def test_who_asks_exactly_like_gpg_looks_like_gpg() -> None:
    """The rows of a scraper that imitates a refresh are those of one: no model can tell them apart, nor shall it."""
    scraper = refresh(fingerprints(240, seed=9), unknown=1000)
    same = {"order": 0.2, "nearness": 1.0, "distinct_share": 0.1}
    assert features(scraper) == {name: pytest.approx(value, abs=same.get(name, 1e-6)) for name, value in GPG.items()}


# What makes others differ from it, in the first 60 requests.

NAMES_OF_PEOPLE = sorted({f"{first}{last}" for first in ("al", "bo", "cy", "di", "ed") for last in "abcdefghijkl"})
WORD_PAIRS = [f"{first} {last}" for first in ("alice", "bob", "carol") for last in ("liddell", "hope", "queen")]


def near_ids(count: int) -> list[str]:
    """Return key ids that are counted up."""
    return [f"{0xDEAD_BEEF_0000_0000 + number:016X}" for number in range(count)]


def parallel(made: NDArray[np.void]) -> NDArray[np.void]:
    """Return the same requests, four at a time."""
    made = made.copy()
    made["total_us"] *= 20
    return made


@pytest.mark.parametrize(
    ("who", "made", "expected"),
    [
        ("a walk through a sorted dump", visit(sorted(fingerprints(60))), {"order": 1.0, "nearness": (3, 10)}),
        ("the same backwards", visit(sorted(fingerprints(60), reverse=True)), {"order": 1.0, "nearness": (3, 10)}),
        (
            "counting key ids",
            visit(near_ids(60), status=404),
            {"nearness": (60, 62), "key_id_share": 1.0, "missed_share": 1.0},
        ),
        ("a scraper with four connections", parallel(visit(fingerprints(60))), {"overlap_share": (0.9, 1.0)}),
        ("a patient one", visit(fingerprints(60), pause_ms=600_000), {"burst_share": (0, 0.02), "pause": (29, 30)}),
        (
            "a harvester with a dictionary",
            visit([f"{name}@example.org" for name in NAMES_OF_PEOPLE], operation=IDENTITY, status=404),
            {"identity_share": 1.0, "same_domain_share": (0.9, 1.0), "missed_share": 1.0, "order": 1.0},
        ),
        (
            "a harvester by domain",
            visit([f"{name}.example" for name in NAMES_OF_PEOPLE], operation=WORDS),
            {"words_share": 1.0, "domain_share": 1.0, "order": 1.0},
        ),
        (
            "a flood of uploads of one length",
            visit([""] * 20, operation=UPLOAD, method=3, received=1232),
            {"upload_share": 1.0, "upload_size": (10, 11), "upload_spread": 0.0},
        ),
        (
            "a scanner for injections",
            visit([f"1') or {n}={n};#*/" for n in range(20)], operation=WORDS, status=404),
            {"words_share": 1.0, "odd_text_share": (0.3, 0.8)},
        ),
        (
            "a scanner for paths",
            visit([""] * 60, operation=OperationClass.UNKNOWN, status=404, method=2),
            {"unknown_share": 1.0, "odd_method_share": 1.0},
        ),
        (
            "slow heads",
            visit([""] * 10, operation=OperationClass.UNKNOWN, subject_hash=0, reason=10, status=408, action=3),
            {"unfinished_share": 1.0, "unknown_share": 0.0},
        ),
        (
            "a walk through lists of changes",
            visit([f"2024-05-{day:02}" for day in range(1, 31)], operation=OperationClass.PREFIXLOG),
            {"rare_share": 1.0},
        ),
        ("a build that asks for three keys", visit(fingerprints(3) * 20), {"distinct_share": (0, 0.06)}),
        (
            "somebody who searches",
            visit(WORD_PAIRS, operation=WORDS, pause_ms=20_000),
            {"burst_share": (0, 0.2), "domain_share": 0.0, "odd_text_share": 0.0},
        ),
    ],
)  # fmt: skip
def test_others_differ(who: str, made: NDArray[np.void], expected: dict[str, Any]) -> None:
    """Each of them shows in the features that are meant for him, where a refresh has something else."""
    found = features(made)
    for name, value in expected.items():
        lowest, highest = value if isinstance(value, tuple) else (value, value)
        assert lowest <= found[name] <= highest, (who, name)
    assert any(found[name] != pytest.approx(GPG[name], abs=0.05) for name in expected), who
