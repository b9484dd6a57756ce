"""Validators and the headers that ask about them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.conditional import entity_tag, http_date, is_unchanged, may_give_range

MODIFIED = 784111777
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
"""The example of RFC 9110, section 5.6.7."""
TAG = b'"5-a"'


def test_dates_are_written_as_http_wants_them() -> None:
    assert http_date(MODIFIED) == DATE


@pytest.mark.parametrize("seconds", [-1, 0, 2**31, 10**30])
def test_every_time_of_a_file_has_a_date(seconds: int) -> None:
    assert http_date(seconds).endswith(b" GMT")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"if-none-match": TAG}, True),
        ({b"if-none-match": b"W/" + TAG}, True),
        ({b"if-none-match": b'"other", W/"more" , ' + TAG}, True),
        ({b"if-none-match": b"*"}, True),
        ({b"if-none-match": b'"other"'}, False),
        ({b"if-none-match": b"5-a"}, False),
        ({b"if-none-match": b""}, False),
        ({b"if-modified-since": DATE}, True),
        ({b"if-modified-since": b"Sunday, 06-Nov-94 08:49:37 GMT"}, True),
        ({b"if-modified-since": b"Sun Nov  6 08:49:37 1994"}, True),
        ({b"if-modified-since": b"Sun, 06 Nov 1994 08:49:38 GMT"}, True),
        ({b"if-modified-since": b"Sun, 06 Nov 1994 08:49:36 GMT"}, False),
        ({b"if-modified-since": b"yesterday"}, False),
        ({b"if-modified-since": b""}, False),
        ({b"if-none-match": b'"other"', b"if-modified-since": DATE}, False),
    ],
)
def test_table_of_what_is_unchanged(headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_unchanged(headers, TAG, MODIFIED) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (TAG, True),
        (DATE, True),
        (b"W/" + TAG, False),
        (b'"other"', False),
        (b"Sun, 06 Nov 1994 08:49:38 GMT", False),
        (b"", False),
    ],
)
def test_a_range_is_given_for_exactly_this_state(condition: bytes, expected: bool) -> None:
    assert may_give_range({b"if-range": condition}, TAG, MODIFIED) is expected


@given(st.binary(max_size=40))
def test_no_condition_is_an_error(value: bytes) -> None:
    assert is_unchanged({b"if-modified-since": value}, TAG, MODIFIED) in (True, False)
    assert is_unchanged({b"if-none-match": value}, TAG, MODIFIED) is (value.strip() == b"*")


def test_the_tag_changes_with_time_size_file_and_encoding(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    tags = {entity_tag(path.stat(), b""), entity_tag(path.stat(), b"-gzip")}
    os.utime(path, ns=(1, 1))
    tags.add(entity_tag(path.stat(), b""))
    path.write_bytes(b"abcd")
    os.utime(path, ns=(1, 1))
    tags.add(entity_tag(path.stat(), b""))
    other = tmp_path / "other"
    other.write_bytes(b"abcd")
    os.utime(other, ns=(1, 1))
    tags.add(entity_tag(other.stat(), b""))
    assert len(tags) == 5
    assert all(tag.startswith(b'"') and tag.endswith(b'"') and b'"' not in tag[1:-1] for tag in tags)
