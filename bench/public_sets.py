"""The trainer on public sets that are not of keyservers: `python -m bench.public_sets DATA`.

There is no public log of a keyserver, so these sets say nothing of how well models do there. They show that the way
to train (trees with these parameters, from counts, shares and octaves of pauses of a client) is as good as what was
measured before, on the same splits. Some have no licence: nothing of them, and no model that was trained on them, is
kept.

How large the trees grow, which depends on how much there is to learn from, is chosen for each split anew, by folds of
its training part. What is kept for the test has no part in that.

| set | label | split |
| --- | --- | --- |
| srhegde | User-Agent: known crawler or library, against browser | clients, 70/30, five times |
| API behaviour | bot or attack, against normal | sessions, five folds |
| M4D phase 1 | moderate bot, against human | sessions, five folds, ten times |

Of M4D the published test set is not at hand, so its figure is of folds of the training set.
"""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final, NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray

from models.training.evaluation import area
from models.training.fit import ROUNDS, TREES
from models.training.imagination import COPIES

Figures = NDArray[np.float64]
Flags = NDArray[np.bool_]
FEWEST = 5  # requests of a client
LINE = re.compile(
    r'- - \[(?P<time>[^\]]+)\] "(?P<method>\S*) ?(?P<target>\S*) ?(?P<http>[^"]*)" (?P<status>\d{3}) (?P<size>\S+) '
    r'"(?P<referer>[^"]*)" (?:\S+ )?"(?P<agent>[^"]*)"'
)
LIBRARIES = re.compile(r"python|curl|wget|libwww|java/|perl|ruby|go-http|httpclient|scrapy|zgrab|nmap", re.IGNORECASE)
IMAGE, STYLE = (
    re.compile(r"\.(gif|jpe?g|png|ico|bmp|svg)$", re.IGNORECASE),
    re.compile(r"\.(css|js|swf)$", re.IGNORECASE),
)


class Choice(NamedTuple):
    """How large trees grow; all else is as in the models that are shipped."""

    leaves: int
    least: int  # looks in a leaf
    rounds: int


class Judged(NamedTuple):
    """How well trees did on what they had not seen."""

    area: float
    f1: float
    accuracy: float


SHIPPED: Final[Mapping[str, Any]] = {name: value for name, value in TREES.items() if "monotone" not in name}
USUAL: Final = Choice(SHIPPED["num_leaves"], SHIPPED["min_data_in_leaf"] // COPIES, ROUNDS)  # no look is there twice
CHOICES: Final = tuple(map(Choice._make, product((USUAL.leaves, 31), (USUAL.least, 5), (USUAL.rounds, 4 * ROUNDS))))
FOLDS_INSIDE = 4


class Request(NamedTuple):
    """One line of a web server's log."""

    second: float
    method: str
    path: str
    query: bool
    http: str
    status: int
    size: int
    referer: str
    agent: str


def request(text: str) -> Request | None:
    """Read a line from `- -` on."""
    found = LINE.search(text)
    if not found:
        return None
    path, _, query = found["target"].partition("?")
    size = int(found["size"]) if found["size"].isdigit() else 0
    return Request(
        _second(found["time"]), found["method"], path, bool(query), found["http"], int(found["status"]), size,
        found["referer"], found["agent"],
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _second(text: str) -> float:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp()


# What a request may be: of how many of a client's that is true says what it does.
HABITS: Final[tuple[Callable[[Request], bool], ...]] = (
    lambda each: each.method == "HEAD",
    lambda each: each.method == "POST",
    lambda each: each.status >= 400,
    lambda each: 300 <= each.status < 400,
    lambda each: bool(IMAGE.search(each.path)),
    lambda each: bool(STYLE.search(each.path)),
    lambda each: each.referer in {"-", ""},
    lambda each: each.query,
    lambda each: "robots.txt" in each.path,
    lambda each: "1.0" in each.http,
    lambda each: each.path in {"/", "/index.html", "/index.htm"},
)


def behaviour(requests: Sequence[Request]) -> list[float]:
    """Return features of one client: nothing of who it says it is, only of what it does."""
    count = len(requests)
    times = np.array([each.second for each in requests])
    sizes = np.log2(1 + np.array([each.size for each in requests]))
    depths = np.array([each.path.count("/") for each in requests])
    return [
        np.log2(count),
        *_rhythm(times),
        len({each.path for each in requests}) / count,
        sum(one.path == other.path for one, other in pairwise(requests)) / count,
        *(sum(map(habit, requests)) / count for habit in HABITS),
        len({each.referer for each in requests}) / count,
        np.log2(1 + times[-1] - times[0]),
        depths.mean(),
        depths.std(),
        sizes.mean(),
        sizes.std(),
    ]


def _rhythm(times: Figures) -> Iterator[float]:
    """Yield what the pauses between requests are like, as octaves, and the share of requests in the longest burst."""
    pauses = np.log2(1 + np.maximum(np.diff(times), 0))
    yield from (pauses.mean(), pauses.std(), pauses.min(), (pauses == 0).mean(), _burst(times) / len(times))


def _burst(times: Figures) -> int:
    """Return the most requests without a rest of a minute."""
    ends = np.flatnonzero(np.diff(times) >= 60)
    return int(np.diff(np.concatenate([[-1], ends, [len(times) - 1]])).max())


def srhegde(data: Path) -> Iterator[Judged]:
    """Yield the figures of each split of the small-business log."""
    crawlers = json.loads((data / "ua/crawler-user-agents/crawler-user-agents.json").read_text(encoding="utf-8"))
    known = re.compile("|".join(each["pattern"] for each in crawlers))
    clients: dict[str, list[Request]] = {}
    with (data / "access_logs/srhegde_2005_2018.log").open(encoding="utf-8", errors="replace") as file:
        for text in file:
            if found := request(text):
                clients.setdefault(text.partition(" ")[0], []).append(found)
    chosen = [each for each in clients.values() if len(each) >= FEWEST]
    agents = [{one.agent for one in each} for each in chosen]
    bots = np.array([any(known.search(agent) or LIBRARIES.search(agent) for agent in each) for each in agents])
    features = np.array([behaviour(each) for each in chosen])
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(bots))
        train = np.zeros(len(bots), np.bool_)
        train[order[: int(0.7 * len(bots))]] = True
        yield _judged(features, bots, train)


def api(data: Path) -> Iterator[Judged]:
    """Yield the figures of each fold of the API behaviour set."""
    with (data / "api_behaviour/remaining_behavior.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    kinds = [*rows[0]][1:]
    numeric = [name for name in kinds if name not in {"ip_type", "behavior", "behavior_type", "source"}]
    types = sorted({row["ip_type"] for row in rows})
    features = np.array(
        [[*(float(row[name] or "nan") for name in numeric), types.index(row["ip_type"])] for row in rows], np.float64
    )
    bad = np.array([row["behavior_type"] in {"bot", "attack"} for row in rows])
    chosen = np.array([row["behavior_type"] in {"bot", "attack", "normal"} for row in rows])
    yield from _folds(features[chosen], bad[chosen], 1)


def m4d(data: Path) -> Iterator[Judged]:
    """Yield the figures of each fold of the sessions of phase 1."""
    sessions: dict[tuple[str, str], list[Request]] = {}
    with (data / "m4d/phase1_train_human_moderate.tsv").open(encoding="utf-8", newline="") as file:
        for label, session, text in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if found := request(text):
                sessions.setdefault((label, session), []).append(found)
    chosen = {key: each for key, each in sessions.items() if len(each) >= FEWEST}
    features = np.array([behaviour(each) for each in chosen.values()])
    bots = np.array([label != "human" for label, _ in chosen])
    yield from _folds(features, bots, 10)


def _folds(features: Figures, bad: Flags, times: int) -> Iterator[Judged]:
    for seed in range(times):
        fold = np.random.default_rng(seed).permutation(len(bad)) % 5
        for number in range(5):
            yield _judged(features, bad, fold != number)


def _judged(features: Figures, bad: Flags, train: Flags) -> Judged:
    choice = max(CHOICES, key=lambda each: _area_inside(features[train], bad[train], each))
    scores = _scores(features[train], bad[train], features[~train], choice)
    found, truth = scores >= 0.5, bad[~train]
    hits = np.count_nonzero(found & truth)
    f1 = 2 * hits / (np.count_nonzero(found) + np.count_nonzero(truth))
    return Judged(area(scores, truth), f1, float(np.mean(found == truth)))


def _area_inside(features: Figures, bad: Flags, choice: Choice) -> float:
    """Return how well trees of this choice do in folds of what they may be trained on."""
    fold = np.random.default_rng(0).permutation(len(bad)) % FOLDS_INSIDE
    scores = np.empty(len(bad))
    for number in range(FOLDS_INSIDE):
        inside = fold != number
        scores[~inside] = _scores(features[inside], bad[inside], features[~inside], choice)
    return area(scores, bad)


def _scores(features: Figures, bad: Flags, others: Figures, choice: Choice) -> Figures:
    """Return the scores of others by trees that are grown of these."""
    parameters = {**SHIPPED, "num_leaves": choice.leaves, "min_data_in_leaf": choice.least}
    trees = lightgbm.train(parameters, lightgbm.Dataset(features, bad.astype(np.int8)), choice.rounds)
    return np.asarray(trees.predict(others), np.float64)


def main(data: Path) -> None:
    """Print a row for each set."""
    print("| set | area under ROC | F1 | accuracy | measured before |")
    print("| --- | --- | --- | --- | --- |")
    for name, run, before in (
        ("srhegde", srhegde, "area 0.972, F1 0.937"),
        ("API behaviour", api, "area 0.992, F1 0.954"),
        ("M4D", m4d, "area 0.960, accuracy 0.900"),
    ):
        figures = np.array([*run(data)])
        told = (
            f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(figures.mean(axis=0), figures.std(axis=0), strict=True)
        )
        print("|", " | ".join((name, *told, before)), "|", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
