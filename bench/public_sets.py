"""The trainer on public sets that are not of keyservers: `python -m bench.public_sets DATA`.

There is no public log of a keyserver, so these sets say nothing of how well models do there. They show that the way
to train (trees with these parameters, from counts, shares and octaves of pauses of a client) is as good as what was
measured before, on the same splits. Some have no licence: nothing of them, and no model that was trained on them, is
kept.

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
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
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


def srhegde(data: Path) -> Iterator[tuple[float, float]]:
    """Yield area under the ROC curve and F1 of each split of the small-business log."""
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


def api(data: Path) -> Iterator[tuple[float, float]]:
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


def m4d(data: Path) -> Iterator[tuple[float, float]]:
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


def _folds(features: Figures, bad: Flags, times: int) -> Iterator[tuple[float, float]]:
    for seed in range(times):
        fold = np.random.default_rng(seed).permutation(len(bad)) % 5
        for number in range(5):
            yield _judged(features, bad, fold != number)


def _judged(features: Figures, bad: Flags, train: Flags) -> tuple[float, float]:
    parameters: dict[str, Any] = {name: value for name, value in TREES.items() if "monotone" not in name}
    parameters["min_data_in_leaf"] //= COPIES  # nothing is there several times here
    data = lightgbm.Dataset(features[train], bad[train].astype(np.int8))
    scores = np.asarray(lightgbm.train(parameters, data, ROUNDS).predict(features[~train]), np.float64)
    found, truth = scores >= 0.5, bad[~train]
    hits = np.count_nonzero(found & truth)
    return area(scores, truth), 2 * hits / (np.count_nonzero(found) + np.count_nonzero(truth))


def main(data: Path) -> None:
    """Print a row for each set."""
    print("| set | area under ROC | F1 | measured before |")
    print("| --- | --- | --- | --- |")
    for name, run, before in (("srhegde", srhegde, "0.972"), ("API behaviour", api, "0.992"), ("M4D", m4d, "0.960")):
        figures = np.array([*run(data)])
        mean, spread = figures.mean(axis=0), figures.std(axis=0)
        print(f"| {name} | {mean[0]:.3f} ± {spread[0]:.3f} | {mean[1]:.3f} | {before} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
