"""How each kind of setting is written, read and printed.

A `Kind` owns all three, so that the message of a fault, the text of `hkpguard check` and the parser cannot
differ: `parse(render(value)) == value` for every value that `parse` gives. Kinds stand in the `Annotated`
types of the models in `proxy/config.py`; pydantic calls them through `__get_pydantic_core_schema__`. Kinds that only
one group of settings has stand with it; those of addresses in `addresses.py`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")

MILLISECOND: Final = 1_000_000
SECOND: Final = 1000 * MILLISECOND
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KIB: Final = 1024
MIB: Final = 1024 * KIB

DURATION_UNITS: Final = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MILLISECOND}
SIZE_UNITS: Final = {"mib": MIB, "kib": KIB}
SHORTEST_SECRET: Final = 16
LONGEST_SECRET: Final = 256

# At most 15 digits: int() of a very long text is slow, and refused by Python with words of its own.
NUMBER_AND_UNIT: Final = re.compile(r"(?P<number>[0-9]{1,15})\s*(?P<unit>[a-z]*)")


class Kind(ABC, Generic[T]):
    """How settings of one kind are written."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What may be written, in words that follow "must be"."""

    @property
    def secret(self) -> bool:
        """Whether values must not be shown."""
        return False

    @abstractmethod
    def parse(self, given: object) -> T:
        """Read text from the environment or a TOML value; raise ValueError, one argument for each problem."""

    def render(self, value: T) -> str:
        """Return the text which `parse` reads as `value`."""
        return str(value)

    def refusal(self) -> ValueError:
        """Return the error that says what is allowed."""
        return ValueError(f"must be {self.allowed}")

    def problems(self, given: object) -> list[str]:
        """Return what is wrong with a value; nothing if `parse` accepts it."""
        try:
            self.parse(given)
        except ValueError as error:
            return [str(problem) for problem in error.args]
        return []

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read the field with `parse`."""
        return core_schema.no_info_plain_validator_function(self.parse)


@dataclass(frozen=True, slots=True)
class Whole(Kind[int]):
    """A whole number, `low` and `high` included."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, given: object) -> int:
        """See `Kind`."""
        number = _whole_number(given)
        if number is None or not self.low <= number <= self.high:
            raise self.refusal()
        return number


@dataclass(frozen=True, slots=True)
class Duration(Kind[int]):
    """A time in ns between `low` and `high`, written with a unit; a bare number counts seconds."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a time from {self.render(self.low)} to {self.render(self.high)}"

    def parse(self, given: object) -> int:
        """See `Kind`."""
        time_ns = _with_unit(given, DURATION_UNITS, bare=SECOND)
        if time_ns is None or not self.low <= time_ns <= self.high:
            raise self.refusal()
        return time_ns

    def render(self, value: int) -> str:
        """See `Kind`: the largest unit that leaves no remainder."""
        unit = next((unit for unit, size in DURATION_UNITS.items() if value and value % size == 0), "s")
        return f"{value // DURATION_UNITS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class Size(Kind[int]):
    """A number of bytes between `low` and `high`, bare or in KiB or MiB."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a size from {self.render(self.low)} to {self.render(self.high)}"

    def parse(self, given: object) -> int:
        """See `Kind`."""
        size_bytes = _with_unit(given, SIZE_UNITS, bare=1)
        if size_bytes is None or not self.low <= size_bytes <= self.high:
            raise self.refusal()
        return size_bytes

    def render(self, value: int) -> str:
        """See `Kind`."""
        if value and value % MIB == 0:
            return f"{value // MIB}MiB"
        return f"{value // KIB}KiB" if value and value % KIB == 0 else str(value)


@dataclass(frozen=True, slots=True)
class Choice(Kind[str]):
    """One of a few words, in any case."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def parse(self, given: object) -> str:
        """See `Kind`."""
        word = given.strip().lower() if isinstance(given, str) else ""
        if word not in self.words:
            raise self.refusal()
        return word


@dataclass(frozen=True, slots=True)
class Switch(Kind[bool]):
    """`on` or `off`; also true and false, as TOML has them."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return "on or off"

    def parse(self, given: object) -> bool:
        """See `Kind`."""
        word = str(given).strip().lower()
        if not isinstance(given, str | bool) or word not in {"on", "off", "true", "false"}:
            raise self.refusal()
        return word in {"on", "true"}

    def render(self, value: bool) -> str:  # noqa: FBT001 - a value, not a flag
        """See `Kind`."""
        return "on" if value else "off"


@dataclass(frozen=True, slots=True)
class Spelled(Kind[str]):
    """A text that a pattern describes."""

    pattern: re.Pattern[str]
    words: str

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return self.words

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        if not self.pattern.fullmatch(text):
            raise self.refusal()
        return text


@dataclass(frozen=True, slots=True)
class FilePath(Kind[str]):
    """The path of a file or folder."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return "a path"

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        if not text or not text.isprintable():
            raise self.refusal()
        return text


@dataclass(frozen=True, slots=True)
class Secret(Kind[str]):
    """A password that programs use."""

    shortest: int = SHORTEST_SECRET

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"{self.shortest} to {LONGEST_SECRET} visible ASCII characters"

    @property
    def secret(self) -> bool:
        """See `Kind`."""
        return True

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        if not self.holds(text):
            raise self.refusal()
        return text

    def holds(self, text: str) -> bool:
        """Tell whether a text may be one."""
        visible = text.isascii() and text.isprintable() and " " not in text
        return visible and self.shortest <= len(text) <= LONGEST_SECRET


@dataclass(frozen=True, slots=True)
class ListOf(Kind[tuple[T, ...]]):
    """Items of one kind: a comma-separated text or a TOML array. Empty is allowed."""

    item: Kind[T]

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a list, each item {self.item.allowed}"

    def parse(self, given: object) -> tuple[T, ...]:
        """See `Kind`: reports every bad item."""
        items = self._split(given)
        problems = [f"{item!r} {text}" for item in items for text in self.item.problems(item)]
        if problems:
            raise ValueError(*problems)
        return tuple(self.item.parse(item) for item in items)

    def render(self, value: tuple[T, ...]) -> str:
        """See `Kind`."""
        return ",".join(self.item.render(item) for item in value)

    def _split(self, given: object) -> list[object]:
        if isinstance(given, list):
            return given
        if not isinstance(given, str):
            raise self.refusal()
        return [item.strip() for item in given.split(",")] if given.strip() else []


@dataclass(frozen=True, slots=True)
class OrEmpty(Kind[T | None]):
    """A kind for which empty text (or an empty array) means "not set"."""

    inner: Kind[T]

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"{self.inner.allowed}, or empty"

    @property
    def secret(self) -> bool:
        """See `Kind`."""
        return self.inner.secret

    def parse(self, given: object) -> T | None:
        """See `Kind`: no value is empty, so nobody need ask the inner kind about empty text."""
        if given in ("", []) or (isinstance(given, str) and not given.strip()):
            return None
        value = self.inner.parse(given)
        return None if value == () else value

    def render(self, value: T | None) -> str:
        """See `Kind`."""
        return "" if value is None else self.inner.render(value)


@dataclass(frozen=True, slots=True)
class Made(Kind[T]):
    """A kind made of two functions, for a value with a structure of its own."""

    allowed_words: str
    parser: Callable[[object], T]
    renderer: Callable[[T], str]

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return self.allowed_words

    def parse(self, given: object) -> T:
        """See `Kind`."""
        return self.parser(given)

    def render(self, value: T) -> str:
        """See `Kind`."""
        return self.renderer(value)


# Visible ASCII without the comma, which separates the items of a list.
PATH_PREFIX: Final = Spelled(re.compile(r"/[!-+\--~]*"), "a path that begins with /, in visible ASCII without commas")
AnyKind = Kind[Any]


def _whole_number(given: object) -> int | None:
    if isinstance(given, str):
        return _with_unit(given, {}, bare=1)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _with_unit(given: object, units: Mapping[str, int], *, bare: int) -> int | None:
    """Return a number times its unit, times `bare` if it has none; None if it is not written so."""
    if isinstance(given, bool) or not isinstance(given, str | int):
        return None
    match = NUMBER_AND_UNIT.fullmatch(str(given).strip().lower())
    factor = {"": bare, **units}.get(match["unit"]) if match else None
    return None if match is None or factor is None else int(match["number"]) * factor
