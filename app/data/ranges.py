"""The Range header (RFC 9110, section 14) and the body that answers several ranges."""

import re
import secrets
from collections.abc import Sequence

Span = tuple[int, int]
"""The first byte and the one behind the last."""
Part = bytes | Span
"""A piece of a body: bytes as they are, or a span of the file."""

_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)
_LONGEST_HEADER = 4096
_MOST_RANGES = 64


def total_bytes(parts: Sequence[Part]) -> int:
    """Return how long a body is."""
    return sum([len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts])


def parse_ranges(header: bytes, size: int) -> list[Span] | None:
    """Return the spans that a Range header asks of size bytes, [] when none can be had (416), None to ignore it (200).

    Malformed ones count as not to be had, as in nginx. Ignored are units other than bytes, and what costs far more to
    answer than to ask: very many ranges, or ranges that together exceed the whole.
    """
    unit, equals, specifier = header.decode("latin-1").partition("=")
    if unit.lower() != "bytes" or not equals or len(specifier) > _LONGEST_HEADER:
        return None
    ranges = [_RANGE.fullmatch(part.strip(" \t")) for part in specifier.split(",") if part.strip(" \t")]
    if len(ranges) > _MOST_RANGES:
        return None
    spans = []
    for match in ranges:
        if match is None or match[0] == "-" or _is_backwards(match):
            return []
        spans.append(_span(match, size))
    satisfiable = [span for span in spans if span[0] < span[1]]
    return None if sum(end - start for start, end in satisfiable) > size else satisfiable


def _is_backwards(match: re.Match[str]) -> bool:
    return bool(match[1] and match[2]) and int(match[1]) > int(match[2])


def _span(match: re.Match[str], size: int) -> Span:
    """Return the span of one range, cut at size; empty when it begins behind the end."""
    if not match[1]:
        return max(0, size - int(match[2])), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def content_range(span: Span, size: int) -> bytes:
    """Return the value of Content-Range for a span."""
    return b"bytes %d-%d/%d" % (span[0], span[1] - 1, size)


def multipart(spans: list[Span], size: int, content_type: bytes) -> tuple[bytes, list[Part]]:
    """Return the Content-Type and the parts of a multipart/byteranges body (RFC 9110, section 14.6)."""
    boundary = secrets.token_hex(16).encode()
    parts: list[Part] = []
    for span in spans:
        head = b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n" % (boundary, content_type, content_range(span, size))
        parts += [head, span]
    return b"multipart/byteranges; boundary=" + boundary, [*parts, b"\r\n--%s--\r\n" % boundary]
