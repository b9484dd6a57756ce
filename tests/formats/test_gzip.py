"""gzip against zlib of the standard library, which stands for every other reader."""

import gzip as stdlib
import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from formats import gzip
from formats.errors import DecodeError

# Made with the gzip command: printf glassine | gzip -n -6
BY_THE_COMMAND = bytes.fromhex("1f8b08000000000000034bcf492c2ececc4b0500993aea7608000000")


def test_what_the_gzip_command_wrote_is_read() -> None:
    assert gzip.decompress(BY_THE_COMMAND, 8) == b"glassine"


@given(st.binary(max_size=4000))
def test_the_standard_library_reads_what_we_write(data: bytes) -> None:
    assert stdlib.decompress(gzip.compress(data)) == data


@given(st.binary(max_size=4000), st.integers(0, 9))
def test_we_read_what_the_standard_library_writes(data: bytes, level: int) -> None:
    assert gzip.decompress(stdlib.compress(data, level), len(data)) == data


def test_the_header_is_gzip_without_time_or_name() -> None:
    """RFC 1952, 2.3: magic, deflate, no flags, no time."""
    assert gzip.compress(b"glassine")[:8] == bytes.fromhex("1f8b080000000000")
    assert gzip.compress(b"glassine" * 1000) == gzip.compress(memoryview(b"glassine" * 1000))


def test_large_data_goes_both_ways() -> None:
    data = os.urandom(3 << 20) + bytes(20 << 20)
    packed = gzip.compress(data)
    assert len(packed) < 4 << 20
    assert gzip.decompress(packed, len(data)) == data


@pytest.mark.parametrize("length", [(1 << 16) - 1, 1 << 16, 300_001])
def test_noise_takes_another_way_to_the_same_data(length: int) -> None:
    """Nothing repeats in it, yet it has far fewer than 8 bits a byte."""
    noise = np.random.default_rng(0).normal(128, 9, length).astype(np.uint8).tobytes()
    packed = gzip.compress(noise)
    assert stdlib.decompress(packed) == noise
    assert len(packed) < 1.01 * len(isal_zlib.compress(noise, 2, 31))


def test_what_only_looks_like_noise_in_its_middle_is_packed_too() -> None:
    data = bytes(100_000) + os.urandom(60_000) + b"glassine" * 12_000
    packed = gzip.compress(data)
    assert stdlib.decompress(packed) == data
    assert len(packed) < len(data) // 2


@pytest.mark.parametrize("missing", [1, 7, 8, 9, 15])
def test_data_cut_off_is_refused(missing: int) -> None:
    with pytest.raises(DecodeError, match=f"gzip data of {len(BY_THE_COMMAND) - missing} bytes is cut off after"):
        gzip.decompress(BY_THE_COMMAND[:-missing], 100)


@pytest.mark.parametrize("data", [b"", b"\x1f", BY_THE_COMMAND[:10]])
def test_data_without_content_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="is cut off after 0 unpacked bytes"):
        gzip.decompress(data, 100)


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(DecodeError, match="gzip data has 3 bytes behind its end"):
        gzip.decompress(BY_THE_COMMAND + b"abc", 100)
    with pytest.raises(DecodeError, match=f"gzip data has {len(BY_THE_COMMAND)} bytes behind its end"):
        gzip.decompress(BY_THE_COMMAND * 2, 100)


@pytest.mark.parametrize("place", [12, -8, -1])
def test_corrupt_data_is_refused(place: int) -> None:
    data = bytearray(BY_THE_COMMAND)
    data[place] ^= 0x10
    with pytest.raises(DecodeError, match="gzip data of 28 bytes is corrupt"):
        gzip.decompress(bytes(data), 100)


@pytest.mark.parametrize("data", [zlib.compress(b"glassine"), zlib.compress(b"glassine")[2:-4], b"plain text, no gzip"])
def test_what_is_no_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        gzip.decompress(data, 100)


def test_more_than_the_limit_is_refused() -> None:
    bomb = stdlib.compress(bytes(100 << 20))
    assert gzip.decompress(BY_THE_COMMAND, 8) == b"glassine"
    for data, limit in ((BY_THE_COMMAND, 7), (BY_THE_COMMAND, 0), (bomb, 1000)):
        with pytest.raises(DecodeError, match=f"unpacks to more than the {limit} bytes expected"):
            gzip.decompress(data, limit)
    assert gzip.decompress(stdlib.compress(b""), 0) == b""


@given(st.binary(min_size=1, max_size=200), st.data())
def test_mutations_are_refused_or_harmless(data: bytes, draw: st.DataObject) -> None:
    packed = bytearray(stdlib.compress(data))
    packed[draw.draw(st.integers(0, len(packed) - 1))] = draw.draw(st.integers(0, 255))
    try:
        unpacked = gzip.decompress(bytes(packed), len(data))
    except DecodeError:
        return
    assert unpacked == data
