"""What an answer to a request for a dataset's file may be: known contents, ranges by RFC 9110, and nothing else."""

import email
import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import brotli

CORS = "access-control-allow-origin"
STATUSES = frozenset({200, 204, 206, 304, 401, 404, 405, 416})
_SPEC = re.compile(r"[ \t]*(?:(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+))[ \t]*", re.ASCII)
_MOST_RANGES = 64
_LONGEST_RANGE = 4000


@dataclass(frozen=True)
class Answer:
    """headers: names in small letters, each once; where a header came twice its values are joined by a line feed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def told_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers as Answer has them."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}\n{text}" if key in found else text
    return found


def expected_spans(header: str, size: int) -> list[tuple[int, int]] | None:
    """Return the spans that RFC 9110, section 14, gives for a Range header, [] where none can be had; None for what is none."""
    unit, equals, specs = header.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    # A list may hold empty elements (section 5.6.1).
    found = [_SPEC.fullmatch(spec) for spec in specs.split(",") if spec.strip(" \t")]
    if not found or any(match is None for match in found):
        return None
    spans = []
    for match in found:
        assert match is not None
        if match["suffix"] is not None:
            spans.append((size - min(size, int(match["suffix"])), size))
            continue
        first = int(match["first"])
        last = int(match["last"]) if match["last"] else size - 1
        if match["last"] and last < first:
            return None
        spans.append((first, min(last, size - 1) + 1))
    return [(begin, end) for begin, end in spans if begin < end and begin < size]


def assert_known(answer: Answer, known: Iterable[bytes], asked_range: str | None, method: str = "GET") -> None:
    """Fail unless a body is one of the known contents, or ranges of one exactly as asked for."""
    known = frozenset(known)
    if answer.status == 206:
        _assert_ranges(answer, known, asked_range)
    elif answer.status == 200 and method != "HEAD":
        body = decoded(answer)
        assert body in known, f"{len(body)} bytes that are no known content: {body[:60]!r}"
        _assert_whole_is_right(answer, asked_range, len(body))
    elif method == "HEAD":
        assert answer.body == b""
    if "content-length" in answer.headers and method != "HEAD" and answer.status != 304:
        assert int(answer.headers["content-length"]) == len(answer.body)


def decoded(answer: Answer) -> bytes:
    """Return the body as it was before it was packed."""
    coding = answer.headers.get("content-encoding")
    return gzip.decompress(answer.body) if coding == "gzip" else brotli.decompress(answer.body) if coding == "br" else answer.body


def _assert_whole_is_right(answer: Answer, asked_range: str | None, size: int) -> None:
    """Fail where the whole came though a range could have been had."""
    if asked_range is None or "content-encoding" in answer.headers or answer.headers.get("accept-ranges") != "bytes":
        return
    spans = expected_spans(asked_range, size)
    is_costly = spans is not None and (
        sum(end - begin for begin, end in spans) > size
        or asked_range.count(",") >= _MOST_RANGES
        or len(asked_range) > _LONGEST_RANGE
    )
    assert spans is None or is_costly, f"the whole of {size} bytes for {asked_range!r}"


def _assert_ranges(answer: Answer, known: frozenset[bytes], asked_range: str | None) -> None:
    assert asked_range is not None, "a part that was not asked for"
    found = _parts(answer)
    sizes = {size for _, _, size, _ in found}
    assert len(sizes) == 1
    (size,) = sizes
    assert [(begin, end) for begin, end, _, _ in found] == expected_spans(asked_range, size)
    whole = [content for content in known if len(content) == size]
    assert any(all(body == content[begin:end] for begin, end, _, body in found) for content in whole), "parts of nothing known"


def _parts(answer: Answer) -> list[tuple[int, int, int, bytes]]:
    """Return begin, end, size of the whole and body of each range."""
    kind = answer.headers.get("content-type", "")
    if not kind.startswith("multipart/byteranges"):
        return [(*_told_range(answer.headers["content-range"]), answer.body)]
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + answer.body)
    boundary = message.get_boundary()
    assert boundary is not None
    parts = []
    pieces = answer.body.split(b"--" + boundary.encode())
    assert pieces[-1].strip() == b"--"
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        told = email.message_from_bytes(head.lstrip(b"\r\n"))
        parts.append((*_told_range(told["Content-Range"]), body.removesuffix(b"\r\n")))
    return parts


def _told_range(header: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", header)
    assert match is not None, header
    return int(match[1]), int(match[2]) + 1, int(match[3])
