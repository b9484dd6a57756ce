"""What is answered about one file, from the request's headers and the file's size and time alone: nothing is read here."""

from collections.abc import Mapping
from typing import NamedTuple

from app.data.accept import accepts
from app.data.conditional import entity_tag, http_date, is_unchanged, may_give_range
from app.data.lookup import Stored
from app.data.ranges import Part, Span, content_range, multipart, parse_ranges, total_bytes

Header = tuple[bytes, bytes]


class Outline(NamedTuple):
    """A response whose body is not read yet. is_decoded: the body is all that is stored, unpacked, and parts is empty."""

    status: int
    headers: list[Header]
    parts: list[Part]
    is_decoded: bool = False


class Made(NamedTuple):
    """What answers a path and lies in no file. tag: its ETag, b"" where no cache may keep it."""

    data: bytes
    tag: bytes


class _Representation(NamedTuple):
    """One of the ways to send a file; its part of the ETag, so that each has its own, and its headers."""

    tag: bytes
    headers: tuple[Header, ...]


_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"accept-ranges, content-encoding, content-length, content-range, etag, last-modified"),
)
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_FOUND = (*_CORS, _NO_SNIFFING, (b"cache-control", b"no-cache"))
_VARIES = (*_FOUND, (b"vary", b"accept-encoding"))
_PLAIN = _Representation(b"", (*_FOUND, (b"accept-ranges", b"bytes")))
_PACKED = {coding: _Representation(b"-" + coding, (*_VARIES, (b"content-encoding", coding))) for coding in (b"gzip", b"br")}
_DECODED = _Representation(b"-decoded", _VARIES)


def message(status: int, text: bytes, *headers: Header) -> Outline:
    """Return a response in words, which no cache keeps."""
    length = (b"content-length", b"%d" % len(text))
    kind = (b"content-type", b"text/plain; charset=utf-8")
    return Outline(status, [*_CORS, *headers, _NO_STORE, kind, length], [text])


PREFLIGHT = Outline(
    204,
    [
        *_CORS,
        (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
        (b"access-control-allow-headers", b"range, if-range, if-none-match, if-modified-since, cache-control, pragma"),
        (b"access-control-max-age", b"86400"),
    ],
    [],
)


def outline(stored: Stored, path: str, method: str, headers: Mapping[bytes, bytes]) -> Outline:
    """Return the response for a stretch of an open file; method is GET or HEAD, headers are the request's."""
    way = _representation(stored, headers.get(b"accept-encoding", b""))
    start, end = stored.span
    size, modified = end - start, int(stored.status.st_mtime)
    tag = entity_tag(stored.status, way.tag if stored.is_whole else b"-%x-%x%s" % (start, end, way.tag))
    given = [*way.headers, (b"etag", tag), (b"last-modified", http_date(modified))]
    if is_unchanged(headers, tag, modified):
        return Outline(304, given, [])
    given.append((b"content-type", _content_type(path)))
    if way is _DECODED:
        return Outline(200, given, [], is_decoded=True)
    # A range is for GET only (RFC 9110, section 14.2), and there is none of what is content-encoded.
    if b"range" in headers and way is _PLAIN and method == "GET" and may_give_range(headers, tag, modified):
        spans = parse_ranges(headers[b"range"], size)
        if spans is not None:
            return _from(start, _partial(spans, size, given))
    given.append((b"content-length", b"%d" % size))
    return Outline(200, given, [stored.span] if method == "GET" else [])


def outline_made(made: Made, path: str, method: str, headers: Mapping[bytes, bytes]) -> Outline:
    """Return the response for what lies in no file; method is GET or HEAD, headers are the request's."""
    caching = [(b"cache-control", b"no-cache"), (b"etag", made.tag)] if made.tag else [_NO_STORE]
    given = [*_CORS, _NO_SNIFFING, *caching]
    if made.tag and headers.get(b"if-none-match") and is_unchanged(headers, made.tag, 0):
        return Outline(304, given, [])
    given += [(b"content-type", _content_type(path)), (b"content-length", b"%d" % len(made.data))]
    return Outline(200, given, [made.data] if method == "GET" else [])


def _representation(stored: Stored, accept_encoding: bytes) -> _Representation:
    if not stored.coding:
        return _PLAIN
    packed = _PACKED.get(stored.coding)
    return packed if packed is not None and accepts(accept_encoding, stored.coding) else _DECODED


def _content_type(path: str) -> bytes:
    # Two types only: a browser must never show what lies in a dataset as a page of this server.
    return b"application/json" if path.endswith(("/info", "/provenance", ".json")) else b"application/octet-stream"


def _from(start: int, planned: Outline) -> Outline:
    """Return a response whose spans were counted from a stretch's first byte with spans of the file."""
    parts: list[Part] = [part if isinstance(part, bytes) else (start + part[0], start + part[1]) for part in planned.parts]
    return planned._replace(parts=parts)


def _partial(spans: list[Span], size: int, given: list[Header]) -> Outline:
    """Return 206 with one span as it is or several as multipart/byteranges; 416 when there is none."""
    if not spans:
        return message(416, b"The file does not have this range.\n", (b"content-range", b"bytes */%d" % size))
    parts: list[Part] = [*spans]
    if len(spans) == 1:
        given.append((b"content-range", content_range(spans[0], size)))
    else:
        _, content_type = given.pop()
        content_type, parts = multipart(spans, size, content_type)
        given.append((b"content-type", content_type))
    given.append((b"content-length", b"%d" % total_bytes(parts)))
    return Outline(206, given, parts)
