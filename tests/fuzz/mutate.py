"""Changes inputs in ways that respect what they are made of: lines, words, and the places where words end."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.fuzz.target import Target

T = TypeVar("T")
EDGES = re.compile(rb"[^0-9A-Za-z]+|[0-9A-Za-z]+")
BYTES = b'\0\t\n\x0b\r "#%&+,-./0:;=?@_\x7f\x80\xa0\xff'
MOST_CHANGES = 4
POOL = 2048
KEPT = 1 / 16  # of the accepted inputs


class Mutator:
    """Makes inputs out of seeds; the same ones for the same number.

    Without coverage to guide it, the pool drifts by outcome: some of the inputs that are accepted join it.
    """

    def __init__(self, target: Target, number: int) -> None:
        """Take the seeds; `number` is that of the random numbers."""
        self.restart(number)
        self._pool = [seed[: target.longest] for seed in target.seeds()]
        self._words = target.words
        self._longest = target.longest
        self._changes: Sequence[Callable[[bytes], bytes]] = (
            self._insert_word, self._insert_word, self._replace_word, self._replace_word, self._remove_word,
            self._set_byte, self._set_byte, self._flip_bit, self._remove_span, self._repeat_span, self._swap_lines,
            self._splice, self._truncate, self._change_case, self._grow,
        )  # fmt: skip

    def restart(self, number: int) -> None:
        """Begin anew with other random numbers."""
        self._draw = Random(number).random  # noqa: S311 - the same in every run

    def next(self) -> bytes:
        """Return a changed input of the pool."""
        return self.changed(self._pick(self._pool))

    def changed(self, data: bytes) -> bytes:
        """Return `data` after one to four changes, cut to the length that the target takes."""
        for _ in range(1 + int(self._draw() * MOST_CHANGES)):
            data = self._pick(self._changes)(data)
        return data[: self._longest]

    def accepted(self, data: bytes) -> None:
        """Maybe keep an input that was accepted as a parent of others."""
        if self._draw() < KEPT:
            if len(self._pool) < POOL:
                self._pool.append(data)
            else:
                self._pool[int(self._draw() * POOL)] = data

    def _pick(self, items: Sequence[T]) -> T:
        return items[int(self._draw() * len(items))]

    def _place(self, data: bytes) -> int:
        return int(self._draw() * (len(data) + 1))

    def _span(self, data: bytes) -> tuple[int, int]:
        """Return the bounds of up to sixteen bytes."""
        start = self._place(data)
        return start, start + int(self._draw() * 16)

    def _word_at(self, data: bytes) -> tuple[int, int]:
        """Return the bounds of a run of letters and digits, or of what is between two of them."""
        found = EDGES.search(data, self._place(data))
        return found.span() if found else (len(data), len(data))

    def _insert_word(self, data: bytes) -> bytes:
        place = self._word_at(data)[0]
        return data[:place] + self._pick(self._words) + data[place:]

    def _replace_word(self, data: bytes) -> bytes:
        start, end = self._word_at(data)
        return data[:start] + self._pick(self._words) + data[end:]

    def _remove_word(self, data: bytes) -> bytes:
        start, end = self._word_at(data)
        return data[:start] + data[end:]

    def _set_byte(self, data: bytes) -> bytes:
        place = self._place(data)
        byte = self._pick(BYTES) if self._draw() < 0.75 else int(self._draw() * 256)
        return data[:place] + bytes((byte,)) + data[place + (self._draw() < 0.5) :]

    def _flip_bit(self, data: bytes) -> bytes:
        place = self._place(data)
        if place == len(data):
            return data
        return data[:place] + bytes((data[place] ^ (1 << int(self._draw() * 8)),)) + data[place + 1 :]

    def _remove_span(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _repeat_span(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] + data[end:]

    def _swap_lines(self, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        one, other = int(self._draw() * len(lines)), int(self._draw() * len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        return b"\r\n".join(lines)

    def _splice(self, data: bytes) -> bytes:
        other = self._pick(self._pool)
        return data[: self._word_at(data)[0]] + other[self._word_at(other)[0] :]

    def _truncate(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _change_case(self, data: bytes) -> bytes:
        start, end = self._word_at(data)
        return data[:start] + data[start:end].swapcase() + data[end:]

    def _grow(self, data: bytes) -> bytes:
        """Repeat a byte up to the bound of the input."""
        place = self._place(data)
        byte = data[place : place + 1] or b"a"
        return data[:place] + byte * int(self._draw() * self._longest) + data[place:]
