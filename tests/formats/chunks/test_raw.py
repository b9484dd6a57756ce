"""raw: bytes by hand."""

import numpy as np
import pytest

from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError


def test_x_is_fastest_and_channel_slowest() -> None:
    x, y, z, c = np.indices((3, 2, 2, 2))
    voxels = (x + 10 * y + 50 * z + 100 * c).astype(np.uint8)
    data = bytes([0, 1, 2, 10, 11, 12, 50, 51, 52, 60, 61, 62, 100, 101, 102, 110, 111, 112, 150, 151, 152, 160, 161, 162])
    assert encode_chunk(voxels, ChunkFormat("raw", "uint8", 2)) == data
    np.testing.assert_array_equal(decode_chunk(data, (3, 2, 2), ChunkFormat("raw", "uint8", 2)), voxels)


@pytest.mark.parametrize(
    ("data_type", "value", "data"),
    [
        ("uint8", 0xFE, "fe"),
        ("int8", -2, "fe"),
        ("uint16", 0x1234, "3412"),
        ("int16", -2, "feff"),
        ("uint32", 0x12345678, "78563412"),
        ("int32", -2, "feffffff"),
        ("uint64", 2**53 + 1, "0100000000002000"),
        ("uint64", 2**64 - 1, "ffffffffffffffff"),
        ("float32", 1.5, "0000c03f"),
    ],
)
def test_numbers_are_little_endian(data_type: str, value: float, data: str) -> None:
    voxel = np.full((1, 1, 1, 1), value, data_type)
    assert encode_chunk(voxel, ChunkFormat("raw", data_type)).hex() == data
    assert decode_chunk(bytes.fromhex(data), (1, 1, 1), ChunkFormat("raw", data_type)) == voxel


@pytest.mark.parametrize("length", [0, 1, 23, 25, 48])
def test_a_wrong_length_is_told(length: int) -> None:
    with pytest.raises(DecodeError, match=f"raw chunk has {length} bytes, expected 24 for 2 x 3 x 1 voxels of 2 x uint16"):
        decode_chunk(bytes(length), (2, 3, 1), ChunkFormat("raw", "uint16", 2))
