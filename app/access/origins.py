"""Whose pages may read data: the header that tells browsers so, and the others that change at the gate."""

from collections.abc import Iterable
from typing import NamedTuple

Header = tuple[bytes, bytes]

ANYBODY = b"*"
_ALLOW_ORIGIN = b"access-control-allow-origin"
_CACHING = (b"cache-control", b"no-cache")
_VARY = (b"vary", b"origin")
_PRIVATE_CACHING = (b"cache-control", b"private, no-cache")
_PRIVATE = ((_CACHING, _PRIVATE_CACHING),)


class Marks(NamedTuple):
    """What becomes of an answer's headers. changed: a header and another one, None for none. added: at the end."""

    changed: tuple[tuple[Header, Header | None], ...]
    added: tuple[Header, ...] = ()

    def on(self, headers: Iterable[Header]) -> list[Header]:
        """Return the headers of an answer as they are sent."""
        marked = [*headers, *self.added]
        for before, after in self.changed:
            if before in marked:
                place = marked.index(before)
                marked[place : place + 1] = [] if after is None else [after]
        return marked


class Origins:
    """The origins (`https://host:port`) of pages that may read data; without any, every page may."""

    def __init__(self, allowed: frozenset[bytes]) -> None:
        self._allowed = allowed
        self._private = Marks(_PRIVATE)
        self._marks = {(value, private): _marks(value, private) for value in (*allowed, b"") for private in (False, True)}

    @property
    def are_all(self) -> bool:
        """Whether every page may read data."""
        return not self._allowed

    def value(self, headers: Iterable[Header]) -> bytes:
        """Return the value of Access-Control-Allow-Origin for a request, b"" for none."""
        if not self._allowed:
            return ANYBODY
        for name, value in headers:
            if name == b"origin":
                return value if value in self._allowed else b""
        return b""

    def marks(self, headers: Iterable[Header], *, private: bool) -> Marks | None:
        """Return what becomes of the headers of the answer to a request, None where they stay as they are."""
        if not self._allowed:
            return self._private if private else None
        return self._marks[self.value(headers), private]


def caching(*, private: bool) -> bytes:
    """Return the value of Cache-Control for a file."""
    return (_PRIVATE_CACHING if private else _CACHING)[1]


def _marks(value: bytes, private: bool) -> Marks:
    allowed = ((_ALLOW_ORIGIN, ANYBODY), (_ALLOW_ORIGIN, value) if value else None)
    return Marks((*(_PRIVATE if private else ()), allowed), (_VARY,))
