"""The Range header against a table, and against a reference that goes through every byte."""

import email
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.ranges import multipart, parse_ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-99", [(0, 100)]),
        (b"bytes=0-100", [(0, 100)]),
        (b"bytes=10-19", [(10, 20)]),
        (b"bytes=99-", [(99, 100)]),
        (b"bytes=-1", [(99, 100)]),
        (b"bytes=-100", [(0, 100)]),
        (b"bytes=-101", [(0, 100)]),
        (b"BYTES=0-4", [(0, 5)]),
        (b"bytes=0-4 , 8-9", [(0, 5), (8, 10)]),
        (b"bytes=,0-4,,", [(0, 5)]),
        (b"bytes=0-4,100-200", [(0, 5)]),
        (b"bytes=5-9,0-4", [(5, 10), (0, 5)]),
        (b"bytes=0-" + b"9" * 4000, [(0, 100)]),
        (b"bytes=100-", []),
        (b"bytes=100-100", []),
        (b"bytes=-0", []),
        (b"bytes=5-1", []),
        (b"bytes=abc", []),
        (b"bytes=", []),
        (b"bytes=-", []),
        (b"bytes=--1", []),
        (b"bytes=1-2-3", []),
        (b"bytes=+1-2", []),
        (b"bytes=1_0-20", []),
        ("bytes=１-２".encode(), []),
        (b"bytes=0x1-2", []),
        (b"chunks=0-4", None),
        (b"bytes", None),
        (b"", None),
        (b"bytes=0-4,0-99", None),
        (b"bytes=" + b"0-0," * 65, None),
        (b"bytes=0-" + b"9" * 5000, None),
    ],
)
def test_table_of_headers_for_100_bytes(header: bytes, expected: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(header, 100) == expected


@pytest.mark.parametrize("header", [b"bytes=0-0", b"bytes=0-", b"bytes=-1", b"bytes=-0"])
def test_nothing_can_be_had_of_an_empty_file(header: bytes) -> None:
    assert parse_ranges(header, 0) == []


def reference(text: str, size: int) -> list[int]:
    """Return the bytes that one range names, by asking each byte (RFC 9110, section 14.1.2)."""
    first, last = text.split("-")
    if not first:
        return [k for k in range(size) if k >= size - int(last)]
    return [k for k in range(size) if k >= int(first) and (not last or k <= int(last))]


positions = st.integers(0, 60).map(str)
ranges = st.one_of(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    positions.map(lambda position: f"{position}-"),
    positions.map(lambda length: f"-{length}"),
)


@given(ranges, st.integers(0, 50))
def test_one_range_is_the_bytes_that_it_names(text: str, size: int) -> None:
    spans = parse_ranges(f"bytes={text}".encode(), size)
    assert spans is not None
    assert [k for start, end in spans for k in range(start, end)] == reference(text, size)


@given(st.lists(ranges, min_size=2, max_size=5), st.integers(0, 50))
def test_several_ranges_are_each_what_they_name_or_the_whole(texts: list[str], size: int) -> None:
    spans = parse_ranges(f"bytes={','.join(texts)}".encode(), size)
    expected = [found for text in texts if (found := reference(text, size))]
    if sum(map(len, expected)) > size:
        assert spans is None
    else:
        assert spans is not None
        assert [list(range(*span)) for span in spans] == expected


@given(st.binary(max_size=60))
def test_no_header_is_an_error_or_a_span_outside(header: bytes) -> None:
    for text in (header, b"bytes=" + header):
        for start, end in parse_ranges(text, 100) or []:
            assert 0 <= start < end <= 100


def test_multipart_is_read_by_the_mail_parser() -> None:
    content = bytes(range(32, 132))
    spans = [(0, 5), (90, 100), (7, 8)]
    content_type, parts = multipart(spans, 100, b"application/x-test")
    body = b"".join(part if isinstance(part, bytes) else content[slice(*part)] for part in parts)
    message = email.message_from_bytes(b"Content-Type: %s\r\n\r\n%s" % (content_type, body))
    found = message.get_payload()
    assert isinstance(found, list)
    assert [part.get_payload(decode=True) for part in found] == [content[slice(*span)] for span in spans]
    assert [part["Content-Range"] for part in found] == ["bytes 0-4/100", "bytes 90-99/100", "bytes 7-7/100"]
    assert {part["Content-Type"] for part in found} == {"application/x-test"}


def test_each_multipart_body_has_a_boundary_of_its_own() -> None:
    boundaries = {re.search(rb"boundary=(\w+)", multipart([(0, 1), (2, 3)], 9, b"x/y")[0]) for _ in range(20)}
    assert len({match[1] for match in boundaries if match}) == 20
