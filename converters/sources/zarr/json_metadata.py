"""Metadata in JSON files beside an array: Zarr's, N5's."""

import json
import math
from pathlib import Path
from typing import Any

from converters.errors import SourceError

_LARGEST_FILE = 1 << 28
"""Bytes; a root's zarr.json that repeats the metadata of thousands of arrays takes a few million."""


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a file holds. Raises SourceError for another thing, FileNotFoundError where there is no file.

    NaN and Infinity, which JSON has not and many writers leave in attributes, become floats.
    """
    size = file.stat().st_size
    if size > _LARGEST_FILE:
        raise SourceError(f"{file}: {size} bytes found, up to {_LARGEST_FILE} expected of metadata: it is something else")
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file}: not sound JSON ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise SourceError(f"{file}: holds a JSON {type(value).__name__}, an object expected; copy it again")
    return value


def numbers(value: object) -> tuple[float, ...] | None:
    """Return a JSON list of finite numbers as floats, None for what is none."""
    if not isinstance(value, list) or not all(_is_number(n) for n in value):
        return None
    return tuple(float(n) for n in value)


def texts(value: object) -> tuple[str, ...] | None:
    """Return a JSON list of strings, None for what is none."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return None
    return tuple(value)


def objects(value: object) -> tuple[dict[str, Any], ...] | None:
    """Return a JSON list of objects, None for what is none."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    return tuple(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
