"""Which networks a STIX pattern lists: those that fulfil it by themselves.

    [ipv4-addr:value = '192.0.2.7' OR ipv4-addr:value = '192.0.2.8']          both
    [ipv6-addr:value ISSUBSET '2001:db8::/32'] OR [domain-name:value = 'a']   the network
    [ipv4-addr:value = '192.0.2.7'] AND [file:size > 5]                       none: an address alone says nothing here
    [ipv4-addr:value = '192.0.2.7'] REPEATS 5 TIMES                           none, for the same reason
    [ipv4-addr:value != '192.0.2.7']                                         none

A pattern with NOT in it lists nothing either: stix2 3.0.2 loses the NOT of NOT IN and NOT ISSUBSET, and an address that
is listed because it was excluded is the worst that can happen here.

Nearly all patterns of feeds are of the first kind, and an expression finds what is in them in a microsecond. The others
are for the library, whose grammar is the standard's: half a millisecond each and more, so it gets so many characters
of a body and no more. It is imported only then, as it costs 0.2 s and 20 MB.
"""

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARACTERS: Final = 200_000  # of a body, for the library
_LONGEST: Final = 8192  # a pattern for the library
_TEST: Final = r"ipv[46]-addr:value\s*(?:=|\sISSUBSET\s)\s*'[0-9A-Fa-f.:/]{2,49}'"
_OBSERVATION: Final = rf"\[\s*{_TEST}(?:\s+OR\s+{_TEST})*\s*\]"
_PLAIN: Final = re.compile(rf"\s*{_OBSERVATION}(?:\s+OR\s+{_OBSERVATION})*\s*", re.ASCII)
_QUOTED: Final = re.compile(r"'([^']*)'")
_TEXT: Final = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_NOT: Final = re.compile(r"\bNOT\b", re.IGNORECASE)
_SUBJECTS: Final = frozenset({"ipv4-addr:value", "ipv6-addr:value"})


class BadPattern(ValueError):
    """No pattern of STIX."""


class TooCostly(ValueError):
    """A pattern that is right as far as is known, but is not looked at: too long, or too many before it."""


class PatternReader:
    """Reads the patterns of one body."""

    def __init__(self) -> None:
        """Begin with all characters."""
        self._characters = MOST_CHARACTERS

    def networks(self, pattern: str) -> list[str]:
        """Return the networks that fulfil a pattern, as they are written; maybe none.

        Raises:
            BadPattern: It is none.
            TooCostly: It is not looked at.

        """
        if not any(subject.partition(":")[0] in pattern for subject in _SUBJECTS):
            return []
        if _PLAIN.fullmatch(pattern):
            return _QUOTED.findall(pattern)
        if _NOT.search(_TEXT.sub("", pattern)):
            return []
        self._characters -= len(pattern)
        if len(pattern) > _LONGEST or self._characters < 0:
            raise TooCostly("a pattern that is too long, or one too many")
        return list(_listed(_parsed(pattern)))


def _parsed(pattern: str) -> Any:  # noqa: ANN401 - the library has no types
    try:
        from stix2.pattern_visitor import create_pattern_object  # noqa: PLC0415 - see above
    except ImportError:
        raise TooCostly("a pattern that needs stix2, which is not installed") from None
    try:
        return create_pattern_object(pattern, version="2.1")
    except Exception:  # noqa: BLE001 - its own, ValueError, RecursionError and what else a visitor may run into
        raise BadPattern("is no pattern of STIX") from None


def _listed(node: Any) -> "Iterator[str]":  # noqa: ANN401 - the library has no types
    """Yield what fulfils an expression by itself."""
    from stix2 import patterns  # noqa: PLC0415 - see above

    match node:
        case patterns.ParentheticalExpression():
            yield from _listed(node.expression)
        case patterns.ObservationExpression():
            yield from _listed(node.operand)
        case patterns.OrObservationExpression() | patterns.OrBooleanExpression():
            for operand in node.operands:
                yield from _listed(operand)
        case patterns.EqualityComparisonExpression() | patterns.IsSubsetComparisonExpression() if _is_meant(node):
            yield str(node.rhs.value)
        case patterns.InComparisonExpression() if _is_meant(node):
            yield from (str(constant.value) for constant in node.rhs.value)


def _is_meant(comparison: Any) -> bool:  # noqa: ANN401 - the library has no types
    return str(comparison.lhs) in _SUBJECTS and not comparison.negated
