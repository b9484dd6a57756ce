"""The members of the JSON files that the viewer reads, each taken and checked, with messages that say where and what.

`null` is refused: the viewer does not take it for a member left out.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from formats.errors import InfoError

Transform = tuple[float, ...]
"""12 numbers, 3 x 4 in rows, from what is stored to nm."""

IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

LARGEST = (1 << 53) - 1
"""The largest whole number that every JSON reader, JavaScript's too, takes exactly."""

_T = TypeVar("_T")


class Members:
    """The members of one JSON object; those not taken stay in `left`."""

    def __init__(self, where: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise InfoError(f"{where}: found {shown(value)}, expected an object")
        self.where = where
        self.left: dict[str, Any] = dict(value)

    def take(self, name: str, parse: Callable[[Any], _T]) -> _T:
        """Return what parse makes of a member. Raises InfoError where it is missing, null, or not what parse expects."""
        if name not in self.left:
            raise InfoError(f"{self.where}: has no member {name}")
        value = self.left.pop(name)
        if value is None:
            raise InfoError(f"{self.where}: {name} is null, which the viewer refuses; leave the member out or give it a value")
        try:
            return parse(value)
        except UnexpectedError as expected:
            raise InfoError(f"{self.where}: {name} is {shown(value)}, expected {expected}") from None

    def optional(self, name: str, parse: Callable[[Any], _T], default: _T) -> _T:
        """Return what parse makes of a member, default where it is left out. Raises InfoError as take does."""
        return self.take(name, parse) if name in self.left else default


class UnexpectedError(Exception):
    """A member's value is not what the message says: what was expected, to be read behind that word."""


def read_json(data: bytes) -> Any:
    """Return what an info holds, JSON in UTF-8. Raises InfoError."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InfoError(f"info: not JSON in UTF-8 ({error})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    # Python makes 1e999 infinity, which nothing may write again.
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is larger than any number that programs take")
    return value


def string(value: Any) -> str:
    """Take a string."""
    if not isinstance(value, str):
        raise UnexpectedError("a string")
    return value


def boolean(value: Any) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise UnexpectedError("true or false")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Take an object."""
    if not isinstance(value, dict):
        raise UnexpectedError("an object, or no such member")
    return value


def one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    """Return what takes one of these names, in any case, as lower case."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in names:
            raise UnexpectedError("one of " + ", ".join(names))
        return value.lower()

    return parse


def whole(least: int, most: int = LARGEST) -> Callable[[Any], int]:
    """Return what takes a whole number within these bounds."""

    def parse(value: Any) -> int:
        found = number(value)
        if found is None or found != int(found) or not least <= found <= most:
            raise UnexpectedError(f"a whole number from {least} to {most}")
        return int(found)

    return parse


def list_of(what: str) -> Callable[[Any], list[Any]]:
    """Return what takes a list that is not empty; what: the name of one item."""

    def parse(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise UnexpectedError(f"a list of at least one {what}")
        return value

    return parse


def number(value: Any) -> float | None:
    """Return a finite JSON number, None for anything else; Python would count true and false as numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def transform(value: Any) -> Transform:
    """Return the rows of a 3 x 4 matrix, 12 numbers."""
    values = [number(item) for item in value] if isinstance(value, list) else []
    found = [float(item) for item in values if item is not None and abs(item) <= LARGEST]
    if len(found) != len(IDENTITY) or len(values) != len(IDENTITY):
        raise UnexpectedError("12 numbers, the rows of a 3 x 4 matrix")
    return tuple(found)


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def plain(length: float) -> float:
    """Return a whole number as an int, so that 8.0 is written 8."""
    return int(length) if float(length).is_integer() and length <= LARGEST else length


def object_text(members: Mapping[str, Any], indent: str) -> str:
    """Return a JSON object with each member on a line of its own."""
    lines = (f"{indent}{json.dumps(name)}: {json.dumps(value)}" for name, value in members.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent[:-1]}}}"
