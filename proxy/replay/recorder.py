"""The step `record` of a replay: requests that were judged become records, as the workers of a node write them.

Only what detectors look at is filled in. What a log does not tell is 0: how long a request took, how large an upload
was, whether it came in HTTP/1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.record_array import RECORD_DTYPE, gather
from proxy.policy.actions import Action
from proxy.policy.judge import ALLOW
from proxy.telemetry.numbers import METHODS, SHADOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from proxy.hkp.operation import Operation
    from proxy.policy.judge import Verdict
    from proxy.policy.subjects import Subjects
    from proxy.replay.line import Line

    Asked = tuple[int, int, Operation, Line, Verdict]  # when, the client's key, what, how, and what was said to it

NO_HEAD: Final = 0  # in the place of the word of a subject
_MOST: Final = (1 << 32) - 1  # of what a record can tell in 32 bits
_METHODS: Final = {name: number for number, name in enumerate(METHODS)}
_LIMIT: Final = int(Action.LIMIT)


def recorded(asked: Sequence[Asked], subjects: Subjects, *, patient: bool = True) -> NDArray[np.void]:
    """Return the records (RECORD_DTYPE) of requests in the order in which they ended; at least one.

    Clients that are not `patient` ask for the next thing when the log says, whatever they were made to wait. So theirs
    take as long as in the log: with the wait of this run, who asks for one thing after the other would seem to ask for
    several at once, and without that of the log to rest in between.
    """
    found = np.zeros(len(asked), RECORD_DTYPE)
    now_ns, clients, operations, lines, verdicts = zip(*asked, strict=True)
    _, _, methods, targets, statuses, _, _, took, waited, received, flags = zip(*lines, strict=True)
    kinds, texts, *_ = zip(*operations, strict=True)
    took_us = np.array(took, np.int64)
    if patient:
        took_us = np.maximum(took_us - np.array(waited, np.int64), 0)  # without the guard of the log
    found["client"] = np.array(clients, np.uint64)
    found["operation"] = np.frombuffer(bytes(kinds), np.uint8)
    found["subject"] = [*map(str.encode, texts)]
    found["subject_hash"] = np.array([*map(subjects.word_of, texts)], np.uint64)
    found["method"] = [_METHODS.get(method, 0) for method in methods]
    found["status"] = statuses
    found["received"] = np.minimum(np.array(received, np.int64), _MOST)
    found["flags"] = flags
    action, reason, status, subject_hash = (found[name] for name in ("action", "reason", "status", "subject_hash"))
    for place, verdict in enumerate(verdicts):
        if verdict is not ALLOW:
            action[place] = verdict.shadow + SHADOW if verdict.shadow else verdict.action
            reason[place] = verdict.reason
            if verdict.action >= _LIMIT:
                status[place], took_us[place] = verdict.status, 0  # the guard's, and a refused one took no time
            elif patient:
                took_us[place] += verdict.wait_ns // 1000
            if not targets[place]:
                subject_hash[place] = NO_HEAD
    found["total_us"] = np.minimum(took_us, _MOST)
    found["time_ns"] = np.array(now_ns, np.int64) + took_us * 1000
    return gather(found, np.argsort(found["time_ns"], kind="stable"))
