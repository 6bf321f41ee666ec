"""Answers that are kept for a moment, and single flight, as in `proxy.http.micro_cache`; in virtual time.

Of a flight only the end is reckoned: who comes while one is under way is answered by it, and costs nothing. Requests
come in the order in which they are judged. One that was judged before a delayed one, but goes on after it, is not
foreseen: it costs the keyserver an answer too much, never one too few.
"""

from collections import Counter
from typing import Final, NamedTuple

from bench.scenarios.clock import MINUTE
from bench.scenarios.upstream import Cost
from fastpath.cache import largest_reply
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.policy.subjects import Subjects

HEAD_BYTES: Final = 300  # of an answer; it is kept with it


class _Kept(NamedTuple):
    since_ns: int  # when its request went to the keyserver
    until_ns: int


class Replies:
    """What a node keeps."""

    def __init__(self, config: Config, subjects: Subjects) -> None:
        """Keep nothing yet, and all for as long as the settings say."""
        cache = config.cache
        times: dict[int, int] = {
            OperationClass.CERT: cache.cert_ns,
            OperationClass.IDENTITY: cache.search_ns,
            OperationClass.WORDS: cache.search_ns,
            OperationClass.STATS: cache.stats_ns,
        }
        self._kept_ns = times if cache.mode == "on" else {}
        self._missing_ns = cache.missing_ns
        self._largest = largest_reply(cache.bytes) - HEAD_BYTES
        self._subjects = subjects
        self._epochs = Counter[int]()
        self._kept: dict[tuple[bytes, int], _Kept] = {}
        self._next_sweep_ns = 0

    def has(self, operation: Operation, at_ns: int) -> bool:
        """Tell whether an answer is kept, or on its way, at a time."""
        kept = self._kept.get(self._key(operation))
        return kept is not None and kept.since_ns <= at_ns < kept.until_ns

    def keep(self, operation: Operation, cost: Cost, at_ns: int) -> None:
        """Keep the answer to a request that went to the keyserver at a time, if it may be kept."""
        kept_ns = self._kept_ns.get(operation.kind, 0)
        if not cost.found:
            kept_ns = min(kept_ns, self._missing_ns)
        if kept_ns and cost.size_bytes <= self._largest:
            self._kept[self._key(operation)] = _Kept(at_ns, at_ns + cost.service_us * 1000 + kept_ns)

    def forget(self, fingerprint: str) -> None:
        """Forget all that is kept of a certificate, which was uploaded."""
        self._epochs[self._subjects.certificate_of(fingerprint)] += 1

    def turn(self, now_ns: int) -> None:
        """Make room: drop what is too old; as often as one likes."""
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + MINUTE
            self._kept = {key: kept for key, kept in self._kept.items() if kept.until_ns > now_ns}

    def _key(self, operation: Operation) -> tuple[bytes, int]:
        of_certificate = operation.kind == OperationClass.CERT
        edition = self._epochs[self._subjects.certificate_of(operation.subject)] if of_certificate else 0
        return operation.target, edition
