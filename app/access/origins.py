"""Whose pages may read data: the header that tells browsers so, and the others that change at the gate."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Header = tuple[bytes, bytes]

ANYBODY = b"*"
_ALLOW_ORIGIN = b"access-control-allow-origin"
_CACHING = (b"cache-control", b"no-cache")
_PRIVATE_CACHING = (b"cache-control", b"private, no-cache")


class Marks(NamedTuple):
    """What becomes of an answer's headers. changed: a header -> another one, None for none. added: at the end."""

    changed: Mapping[Header, Header | None]
    added: tuple[Header, ...]

    def on(self, headers: Iterable[Header]) -> list[Header]:
        """Return the headers of an answer as they are sent."""
        changed = self.changed
        return [*(new for header in headers if (new := changed.get(header, header)) is not None), *self.added]


class Origins:
    """The origins (`https://host:port`) of pages that may read data; without any, every page may."""

    def __init__(self, allowed: frozenset[bytes]) -> None:
        self._allowed = allowed
        values = {*allowed, b""} if allowed else {ANYBODY}
        self._marks = {(value, private): _marks(value, private) for value in values for private in (False, True)}

    @property
    def are_all(self) -> bool:
        """Whether every page may read data."""
        return not self._allowed

    def value(self, headers: Iterable[Header]) -> bytes:
        """Return the value of Access-Control-Allow-Origin for a request, b"" for none."""
        if not self._allowed:
            return ANYBODY
        given = next((value for name, value in headers if name == b"origin"), b"")
        return given if given in self._allowed else b""

    def marks(self, headers: Iterable[Header], *, private: bool) -> Marks | None:
        """Return what becomes of the headers of the answer to a request, None where they stay as they are."""
        return self._marks[self.value(headers), private]


def caching(*, private: bool) -> bytes:
    """Return the value of Cache-Control for a file."""
    return (_PRIVATE_CACHING if private else _CACHING)[1]


def _marks(value: bytes, private: bool) -> Marks | None:
    changed: dict[Header, Header | None] = {_CACHING: _PRIVATE_CACHING} if private else {}
    if value == ANYBODY:
        return Marks(changed, ()) if changed else None
    changed[_ALLOW_ORIGIN, ANYBODY] = (_ALLOW_ORIGIN, value) if value else None
    return Marks(changed, ((b"vary", b"origin"),))
