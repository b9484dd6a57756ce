"""The lines of an SWC text as columns: all at once where they are plain numbers, else one by one, so that errors name a line."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formats.errors import DecodeError

_COLUMNS = 7
_WHOLE_COLUMNS = [0, 1, 6]
_NO_RADIUS = {"na", "n/a", "null", "none"}
_LARGEST_TYPE = 255
_WHOLE = re.compile(r"-?[0-9]{1,30}")
_EXACT = float(1 << 53)
"""Whole numbers below it are themselves as float64."""


@dataclass(frozen=True)
class SwcLines:
    """The lines that hold a vertex, [n] each.

    lines: their numbers, from 1. numbers, parents: ids, of any size. kinds: uint8. points: float64 [n, 3], radii: float64, both
    in the text's unit.
    """

    lines: list[int]
    numbers: list[int]
    kinds: NDArray[np.uint8]
    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    parents: list[int]


def read_lines(texts: Sequence[str]) -> SwcLines:
    """Return the columns of lines that hold a vertex. A radius that is left open (NA, or below 0) becomes 0.

    Raises DecodeError, naming the line, for what is no number or no type.
    """
    lines = [number for number, text in enumerate(texts, 1) if text.partition("#")[0].strip()]
    return _at_once(texts, lines) or _one_by_one(texts, lines)


def _at_once(texts: Sequence[str], lines: list[int]) -> SwcLines | None:
    """Return the columns of lines that are nothing but numbers, None where a line has to be looked at by itself."""
    if not lines:
        return None
    try:
        table = np.loadtxt([texts[line - 1] for line in lines], comments="#", usecols=range(_COLUMNS), ndmin=2)
    except ValueError:
        return None
    whole = table[:, _WHOLE_COLUMNS]
    kinds = table[:, 1]
    if not (np.isfinite(table).all() and (np.abs(whole) < _EXACT).all() and (whole == np.trunc(whole)).all()):
        return None
    if kinds.min() < 0 or kinds.max() > _LARGEST_TYPE:
        return None
    numbers, parents = (table[:, column].astype(np.int64).tolist() for column in (0, 6))
    return SwcLines(lines, numbers, kinds.astype(np.uint8), table[:, 2:5], np.maximum(table[:, 5], 0), parents)


def _one_by_one(texts: Sequence[str], lines: list[int]) -> SwcLines:
    rows = [_row(texts[line - 1], line) for line in lines]
    values = np.array([row[1] for row in rows], np.float64).reshape(-1, 5)
    return SwcLines(
        lines,
        [row[0] for row in rows],
        values[:, 0].astype(np.uint8),
        values[:, 1:4],
        np.maximum(values[:, 4], 0),
        [row[2] for row in rows],
    )


def _row(text: str, line: int) -> tuple[int, tuple[float, ...], int]:
    """Return id; type, place and radius; parent."""
    words = text.partition("#")[0].replace(",", " ").split()
    if len(words) < _COLUMNS:
        raise DecodeError(f"line {line}: {len(words)} columns, expected 7: id type x y z radius parent")
    place = (_real(word, line) for word in words[2:5])
    radius = 0.0 if words[5].lower() in _NO_RADIUS else _real(words[5], line)
    kind = _whole(words[1], line)
    if not 0 <= kind <= _LARGEST_TYPE:
        raise DecodeError(f"line {line}: type {kind}, expected a whole number from 0 to {_LARGEST_TYPE}")
    return _whole(words[0], line), (kind, *place, radius), _whole(words[6], line)


def _real(word: str, line: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DecodeError(f"line {line}: found {word[:40]!r}, expected a number")
    return value


def _whole(word: str, line: int) -> int:
    if _WHOLE.fullmatch(word):
        return int(word)
    value = _real(word, line)
    if value != int(value):
        raise DecodeError(f"line {line}: found {word[:40]!r}, expected a whole number")
    return int(value)
