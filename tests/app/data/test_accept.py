"""Accept-Encoding by a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.accept import accepts


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"gzip", True),
        (b"gzip, deflate, br, zstd", True),
        (b"deflate, gzip;q=1.0, *;q=0.5", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"*", True),
        (b"gzip;q=0.001", True),
        (b"br;q=1, gzip;q=0.2", True),
        (b"gzip ; q=0.5", True),
        (b"identity;q=0.5, gzip", True),
        (b"identity;q=0, gzip;q=0.1", True),
        (b"*;q=0, gzip", True),
        (b"gzip;level=9", True),
        (b"", False),
        (b"identity", False),
        (b"br", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"gzip; q=0, *", False),
        (b"identity;q=1, *;q=0", False),
        (b"identity, gzip;q=0.5", False),
        (b"gzip;q=x", False),
        (b"gzip;q=nan", False),
        (b"gzip;q=2", False),
        (b"gzip;q=-1", False),
        (b"gzipped", False),
        (b"not gzip", False),
    ],
)
def test_table(header: bytes, expected: bool) -> None:
    assert accepts(header, b"gzip") is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"gzip, deflate, br, zstd", True),
        (b"BR", True),
        (b"*", True),
        (b"br;q=0.5, gzip", True),
        (b"", False),
        (b"gzip, deflate", False),
        (b"br;q=0, *", False),
        (b"x-br", False),
        (b"identity, br;q=0.5", False),
    ],
)
def test_table_of_brotli(header: bytes, expected: bool) -> None:
    assert accepts(header, b"br") is expected


@given(st.binary(max_size=40))
def test_any_header_has_an_answer(header: bytes) -> None:
    assert accepts(header, b"gzip") in (True, False)
