"""What is answered about one file: status, headers and the body, read up to its first piece."""

from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from app.data.accept import accepts_gzip
from app.data.body import WHOLE_BYTES, decode_rest, decode_whole, decoded_pieces, read_pieces, read_span, total_bytes
from app.data.conditional import entity_tag, http_date, is_unchanged, may_give_range
from app.data.lookup import Stored
from app.data.ranges import Part, Span, content_range, multipart, parse_ranges

Header = tuple[bytes, bytes]
Bytes = bytes | bytearray


class Reply(NamedTuple):
    """A response. rest: what of the body is read while it is being sent."""

    status: int
    headers: list[Header]
    body: Bytes = b""
    rest: AsyncGenerator[Bytes, None] | None = None


class _Representation(NamedTuple):
    """One of the ways to send a file; its part of the ETag, so that each has its own, and its headers."""

    tag: bytes
    headers: tuple[Header, ...]


_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"accept-ranges, content-encoding, content-length, content-range, etag, last-modified"),
)
_FOUND = (*_CORS, (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-cache"))
_VARIES = (*_FOUND, (b"vary", b"accept-encoding"))
_PLAIN = _Representation(b"", (*_FOUND, (b"accept-ranges", b"bytes")))
_GZIPPED = _Representation(b"-gzip", (*_VARIES, (b"content-encoding", b"gzip")))
_DECODED = _Representation(b"-decoded", _VARIES)


def message(status: int, text: bytes, *headers: Header) -> Reply:
    """Return a response in words, which no cache keeps."""
    length = (b"content-length", b"%d" % len(text))
    kind = (b"content-type", b"text/plain; charset=utf-8")
    return Reply(status, [*_CORS, *headers, (b"cache-control", b"no-store"), kind, length], text)


PREFLIGHT = Reply(
    204,
    [
        *_CORS,
        (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
        (b"access-control-allow-headers", b"range, if-range, if-none-match, if-modified-since, cache-control, pragma"),
        (b"access-control-max-age", b"86400"),
    ],
)


async def reply_with(stored: Stored, path: str, method: str, headers: Mapping[bytes, bytes]) -> Reply:
    """Return the response for an open file; method is GET or HEAD, headers are the request's.

    Raises OSError when the file cannot be read, DecodeError when it is to be decoded and is no gzip.
    """
    way = _representation(stored, headers.get(b"accept-encoding", b""))
    size, modified = stored.status.st_size, int(stored.status.st_mtime)
    tag = entity_tag(stored.status, way.tag)
    given = [*way.headers, (b"etag", tag), (b"last-modified", http_date(modified))]
    if is_unchanged(headers, tag, modified):
        return Reply(304, given)
    given.append((b"content-type", _content_type(path)))
    if way is _DECODED:
        reply = await _decoded(stored, given)
        return reply._replace(rest=None) if method == "HEAD" else reply
    # A range is for GET only (RFC 9110, section 14.2), and there is none of what is content-encoded.
    if b"range" in headers and way is _PLAIN and method == "GET" and may_give_range(headers, tag, modified):
        spans = parse_ranges(headers[b"range"], size)
        if spans is not None:
            return await _partial(stored, spans, given)
    if size > WHOLE_BYTES and method == "GET":
        return await _with_body(200, given, stored.descriptor, [(0, size)])
    given.append((b"content-length", b"%d" % size))
    return Reply(200, given, b"" if method == "HEAD" else await read_span(stored.descriptor, (0, size)))


def _representation(stored: Stored, accept_encoding: bytes) -> _Representation:
    if not stored.gzipped:
        return _PLAIN
    return _GZIPPED if accepts_gzip(accept_encoding) else _DECODED


def _content_type(path: str) -> bytes:
    # Two types only: a browser must never show what lies in a dataset as a page of this server.
    return b"application/json" if path.endswith(("/info", "/provenance", ".json")) else b"application/octet-stream"


async def _partial(stored: Stored, spans: list[Span], given: list[Header]) -> Reply:
    """Return 206 with one span as it is or several as multipart/byteranges; 416 when there is none."""
    size = stored.status.st_size
    if not spans:
        return message(416, b"The file does not have this range.\n", (b"content-range", b"bytes */%d" % size))
    parts: list[Part] = [*spans]
    if len(spans) == 1:
        given.append((b"content-range", content_range(spans[0], size)))
    else:
        _, content_type = given.pop()
        content_type, parts = multipart(spans, size, content_type)
        given.append((b"content-type", content_type))
    return await _with_body(206, given, stored.descriptor, parts)


async def _with_body(status: int, given: list[Header], descriptor: int, parts: list[Part]) -> Reply:
    length = total_bytes(parts)
    given.append((b"content-length", b"%d" % length))
    if length <= WHOLE_BYTES:
        body = [await read_span(descriptor, part) if isinstance(part, tuple) else part for part in parts]
        return Reply(status, given, body[0] if len(body) == 1 else b"".join(body))
    pieces = read_pieces(descriptor, parts)
    return Reply(status, given, await anext(pieces), pieces)


async def _decoded(stored: Stored, given: list[Header]) -> Reply:
    """Return a `.gz` file unpacked: a small one whole, so that a corrupt one is a 500; a big one of a length not known before."""
    pieces = decoded_pieces(stored.descriptor, stored.status.st_size)
    body, is_whole = await decode_whole(pieces)
    if not is_whole:
        return Reply(200, given, body, decode_rest(pieces))
    return Reply(200, [*given, (b"content-length", b"%d" % len(body))], body)
