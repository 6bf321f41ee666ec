"""Answers that are kept for a moment, and single flight; how it works is said in `micro_cache.pyx`."""

from asyncio import AbstractEventLoop
from datetime import datetime

from fastpath import Epochs, ReplyCache
from proxy.config import Config
from proxy.http.parcel import Shelf
from proxy.policy.subjects import Subjects

POLL_SECONDS: float
SHELF_BYTES: int
"""What a worker holds of large answers at a time, and of those that are still coming and will be kept: 16 MiB."""

def is_over(day: str, now: datetime) -> bool:
    """Whether a day, written 2026-05-01, is over: its list of what changed does not grow any more."""

class MicroCache:
    """The node's cache as one worker uses it."""

    shelf: Shelf

    def __init__(
        self, loop: AbstractEventLoop, replies: ReplyCache, epochs: Epochs, subjects: Subjects, config: Config
    ) -> None:
        """Take what all workers share, and the settings."""

    def reload(self, config: Config) -> None:
        """Keep answers by other settings; what is kept already stays for its time."""
