"""What goes between the analyst and the process of a plugin: frames, and what stands in them.

    frame: length of the payload (4 bytes), kind (1 byte), payload
    plugin: `Hello` first, then one `Reply` for each frame that it gets

One question, one answer: so a plugin can neither flood the analyst nor leave it in doubt what an answer belongs to.
What it says in between waits for the next answer. Its bytes are outside bytes: bounded, and read through models.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fastpath import key_text
from proxy.plugins.contract import Description  # noqa: TC001 - pydantic reads it
from proxy.plugins.events import Line, PluginSaid  # noqa: TC001 - likewise
from proxy.policy.fusion import MOST_WEIGHT
from proxy.settings.events import PATTERN

CHECK, SET_UP, LOOK, EVENT, ROUTE, HEALTH, END = b"C", b"S", b"L", b"E", b"R", b"H", b"D"
HEAD: Final = struct.Struct(">Ic")
NOW: Final = struct.Struct(">q")  # before the records of LOOK
MOST_ANSWER_BYTES: Final = 1 << 20
MOST_EVIDENCE: Final = 1024  # in one answer
MOST_LINES: Final = 64  # of log, and of events, in one answer
MOST_METRICS: Final = 32

Word = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
Wanted = Annotated[str, Field(max_length=64, pattern=f"^({PATTERN.pattern})$")]


def _key(given: int) -> int:
    key_text(given)  # ValueError if it is none
    return given


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Piece(_Message):
    """One piece of evidence."""

    subject: Annotated[int, Field(gt=0, lt=1 << 64), AfterValidator(_key)]
    kind: Word
    weight: float = Field(ge=-MOST_WEIGHT, le=MOST_WEIGHT)
    reason: Line
    until_ns: int = Field(ge=0, lt=1 << 63)


class Logged(_Message):
    """One line for the operator."""

    level: Literal["info", "warning"]
    text: Line
    more: dict[Word, Line] = Field(default={}, max_length=16)


class Hello(_Message):
    """The first frame: what the plugin is, or why there is none."""

    description: Description | None = None
    failed: Line = ""


class Reply(_Message):
    """The answer to a frame."""

    failed: Line = ""
    faults: tuple[tuple[str, Line], ...] = Field(default=(), max_length=256)  # of settings: which, and what
    looks: bool = False
    routes: tuple[Word, ...] = Field(default=(), max_length=16)
    subscriptions: tuple[Wanted, ...] = Field(default=(), max_length=16)
    evidence: tuple[Piece, ...] = Field(default=(), max_length=MOST_EVIDENCE)
    said: tuple[PluginSaid, ...] = Field(default=(), max_length=MOST_LINES)
    logged: tuple[Logged, ...] = Field(default=(), max_length=MOST_LINES)
    metrics: dict[Word, float] = Field(default={}, max_length=MOST_METRICS)
    health: Line = ""
    answer: dict[str, Any] | None = None


class SetUp(_Message):
    """What a plugin is set up with."""

    own: dict[str, str] = {}
    features: dict[str, int] = {}
    state_dir: str = ""


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return a frame; `kind` is one byte."""
    return HEAD.pack(len(payload), kind) + payload
