"""Validators of a file (ETag, Last-Modified) and the headers that ask about them (RFC 9110, sections 8.8 and 13)."""

import os
from collections.abc import Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

_LAST_SECOND = 253402300799
"""The end of the year 9999, beyond which HTTP has no dates."""


def entity_tag(status: os.stat_result, encoding: bytes) -> bytes:
    """Return the strong ETag of a file, another one for each encoding that it is sent in."""
    return b'"%x-%x-%x%s"' % (status.st_ino, status.st_mtime_ns, status.st_size, encoding)


@lru_cache(4096)
def http_date(seconds: int) -> bytes:
    """Return a time, in seconds since 1970, as HTTP writes it."""
    return formatdate(min(max(seconds, 0), _LAST_SECOND), usegmt=True).encode()


def is_unchanged(headers: Mapping[bytes, bytes], tag: bytes, modified: int) -> bool:
    """Tell whether the client has what it asks for already (304).

    tag: the ETag it would get. modified: seconds since 1970. If-None-Match rules out If-Modified-Since.
    """
    known = headers.get(b"if-none-match")
    if known is not None:
        return known.strip() == b"*" or tag in [one.strip().removeprefix(b"W/") for one in known.split(b",")]
    since = headers.get(b"if-modified-since")
    return since is not None and modified <= _seconds(since)


def may_give_range(headers: Mapping[bytes, bytes], tag: bytes, modified: int) -> bool:
    """Tell whether a range fits what the client has of the file: there is no If-Range, or it names this very state."""
    expected = headers.get(b"if-range")
    return expected is None or expected.strip() in (tag, http_date(modified))


def _seconds(date: bytes) -> float:
    """Return an HTTP date as seconds since 1970, minus infinity when it is none."""
    try:
        moment = parsedate_to_datetime(date.decode("latin-1"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return float("-inf")
