"""compressed_segmentation: words by hand, and a decoder written straight from the format's description."""

import struct
from typing import Any

import compressed_segmentation
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError, EncodeError
from formats.grid import Triple


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def bits(width: int) -> int:
    return width << 24


# Channel offsets; for each block its table and bits a voxel, and where its values begin, both from the channel's start;
# values; tables. Labels are in the order x, y, z, channel.
BY_HAND: list[tuple[str, Triple, int, Triple, list[int], bytes]] = [
    ("uint32", (2, 1, 1), 1, (2, 1, 1), [7, 7], words(1, 2, 2, 7)),
    ("uint32", (2, 1, 1), 1, (2, 1, 1), [5, 9], words(1, 3 | bits(1), 2, 0b10, 5, 9)),
    ("uint64", (2, 1, 1), 1, (2, 1, 1), [5, 2**64 - 2], words(1, 3 | bits(1), 2, 0b10, 5, 0, 2**32 - 2, 2**32 - 1)),
    ("uint64", (1, 1, 1), 1, (8, 8, 8), [2**53 + 1], words(1, 2, 2, 1, 2**21)),
    # Three labels take two bits; the block's fourth voxel lies beyond the chunk.
    ("uint32", (3, 1, 1), 1, (4, 1, 1), [9, 5, 7], words(1, 3 | bits(2), 2, 0b01_00_10, 5, 7, 9)),
    # Two blocks along y that share a table.
    ("uint32", (2, 2, 1), 1, (2, 1, 1), [5, 9, 5, 9], words(1, 5 | bits(1), 4, 5 | bits(1), 7, 0b10, 5, 9, 0b10)),
    # Two channels, each with offsets from its own start.
    ("uint32", (1, 1, 1), 2, (8, 8, 8), [7, 8], words(2, 5, 2, 2, 7, 2, 2, 8)),
]


def format_of(data_type: str, channels: int, block_size: Triple) -> ChunkFormat:
    return ChunkFormat("compressed_segmentation", data_type, channels, block_size)


@pytest.mark.parametrize(("data_type", "shape", "channels", "block_size", "labels", "data"), BY_HAND)
def test_words_by_hand_are_read(
    data_type: str, shape: Triple, channels: int, block_size: Triple, labels: list[int], data: bytes
) -> None:
    decoded = decode_chunk(data, shape, format_of(data_type, channels, block_size))
    assert decoded.ravel("F").tolist() == labels
    assert decoded.dtype == data_type


@pytest.mark.parametrize(("data_type", "shape", "channels", "block_size", "labels", "data"), BY_HAND)
def test_words_by_hand_are_written(
    data_type: str, shape: Triple, channels: int, block_size: Triple, labels: list[int], data: bytes
) -> None:
    voxels = np.array(labels, data_type).reshape((*shape, channels), order="F")
    assert encode_chunk(voxels, format_of(data_type, channels, block_size)) == data


def plain_decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> list[int]:
    """Return labels x, y, z, channel, voxel by voxel, as the format's README describes. IndexError: outside of data."""
    numbers = [n for (n,) in struct.iter_unpack("<I", data)]
    bx, by, bz = chunk_format.block_size
    gx, gy = -(-shape[0] // bx), -(-shape[1] // by)
    entry = chunk_format.dtype.itemsize // 4
    labels = []
    for channel in range(chunk_format.num_channels):
        part = numbers[numbers[channel] :]
        for z, y, x in np.ndindex(shape[::-1]):
            block = x // bx + gx * (y // by + gy * (z // bz))
            header, start = part[2 * block], part[2 * block + 1]
            width = header >> 24
            position = width * (x % bx + bx * (y % by + by * (z % bz)))
            index = part[start + position // 32] >> position % 32 & (1 << width) - 1 if width else 0
            address = (header & 0xFFFFFF) + index * entry
            labels.append(sum(part[address + n] << 32 * n for n in range(entry)))
    return labels


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, Triple, ChunkFormat]:
    """Small headers that are nearly right, with a few words behind them."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    block_size = draw(st.sampled_from([(2, 2, 2), (4, 1, 1), (8, 8, 8), (3, 2, 1)]))
    chunk_format = format_of(draw(st.sampled_from(["uint32", "uint64"])), draw(st.integers(1, 2)), block_size)
    blocks = int(np.prod([-(-n // b) for n, b in zip(shape, block_size, strict=True)]))
    offset = st.integers(0, 2 * blocks + 12)
    header = st.builds(lambda table, width, start: [table | bits(width), start], offset, st.sampled_from([0, 1, 2, 4]), offset)
    headers = draw(st.lists(header, min_size=blocks, max_size=blocks))
    rest = draw(st.lists(st.integers(0, 2**32 - 1), max_size=14))
    starts = [chunk_format.num_channels] * chunk_format.num_channels
    return words(*starts, *(n for pair in headers for n in pair), *rest), shape, chunk_format


@settings(max_examples=300)
@given(streams())
@example((BY_HAND[5][5], (2, 2, 1), format_of("uint32", 1, (2, 1, 1))))
def test_offsets_are_followed_as_far_as_the_data_go(stream: tuple[bytes, Triple, ChunkFormat]) -> None:
    data, shape, chunk_format = stream
    try:
        expected = plain_decode(data, shape, chunk_format)
    except IndexError:
        with pytest.raises(DecodeError):
            decode_chunk(data, shape, chunk_format)
        return
    try:
        decoded = decode_chunk(data, shape, chunk_format)
    except DecodeError as error:
        # Stricter than the plain decoder in one thing: a block's values are there to its end, also beyond the chunk.
        assert "has its values in words" in str(error)  # noqa: PT017
        return
    assert decoded.ravel("F").tolist() == expected


def sample(shape: tuple[int, ...], data_type: str) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 9, shape).astype(data_type) * np.dtype(data_type).type(2**31 + 5)


@pytest.mark.parametrize("data_type", ["uint32", "uint64"])
@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 9, 3), (1, 1, 1), (8, 1, 25)])
def test_the_library_reads_each_channel(shape: Triple, data_type: str) -> None:
    voxels = sample((*shape, 3), data_type)
    data = encode_chunk(voxels, format_of(data_type, 3, (8, 8, 8)))
    np.testing.assert_array_equal(compressed_segmentation.decompress(data, voxels.shape, data_type, order="F"), voxels)
    assert plain_decode(data, shape, format_of(data_type, 3, (8, 8, 8))) == voxels.ravel("F").tolist()


TWO = (2, 1, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (words(1, 3 | bits(1), 2, 0b10, 5, 9) + b"\0", "has 25 bytes, expected a multiple of 4"),
        (b"", "has 0 bytes, expected a multiple of 4 and at least 4 for the offsets of 1 channel"),
        (words(7, 2, 2, 7), "channel has 0 words, expected 2 of block headers alone"),
        (words(2**32 - 1, 2, 2, 7), "channel has 0 words, expected 2 of block headers alone"),
        (words(1, 2), "channel has 1 words, expected 2 of block headers alone"),
        (words(1, 3 | bits(3), 2, 0b10, 5, 9), r"block has 3 bits a voxel, expected one of \(0, 1, 2, 4, 8, 16\)"),
        (words(1, 3 | bits(255), 2, 0b10, 5, 9), "block has 255 bits a voxel"),
        (words(1, 4 | bits(32), 2, 0, 1, 5, 9), "block has 32 bits a voxel"),
        (words(1, 3 | bits(1), 5, 0b10, 5, 9), "block has its values in words 5 to 6, expected all within the channel's 5"),
        (words(1, 3 | bits(1), 2**32 - 1, 0b10, 5, 9), "block has its values in words 4294967295 to 4294967296"),
        (words(1, 4 | bits(1), 2, 0b10, 5, 9), "voxel has its label before word 6, expected 5 at most"),
        (words(1, 0xFFFFFF, 2, 7), "voxel has its label before word 16777216, expected 3 at most"),
    ],
)
def test_offsets_that_lead_out_of_the_chunk_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match="compressed_segmentation .*" + message):
        decode_chunk(data, TWO, format_of("uint32", 1, TWO))


def test_a_label_of_two_words_is_there_as_a_whole() -> None:
    with pytest.raises(DecodeError, match="voxel has its label before word 4, expected 3 at most"):
        decode_chunk(words(1, 2, 2, 7), TWO, format_of("uint64", 1, TWO))


def test_what_lies_beyond_the_chunk_may_be_anything() -> None:
    """The third and fourth voxel of the block are padding: their index, 3, is in no table."""
    data = words(1, 3 | bits(2), 2, 0b11_11_01_00, 5, 9)
    assert decode_chunk(data, TWO, format_of("uint32", 1, (4, 1, 1))).ravel().tolist() == [5, 9]


# A block of 512 labels of its own has 256 words of values and 1,024 of table, so the table of the last of n blocks begins at
# word 2 * n + 1,280 * (n - 1) + 256 of the channel: 16,776,510 for 13,087 blocks, 16,777,792 for one more. 2**24 is 16,777,216.
LAST = 13_087


def test_tables_that_begin_just_before_64_mib_are_written() -> None:
    shape, chunk_format = (8, 8, 8 * LAST), format_of("uint64", 1, (8, 8, 8))
    labels = np.arange(512 * LAST, dtype=np.uint64).reshape((*shape, 1), order="F")
    np.testing.assert_array_equal(decode_chunk(encode_chunk(labels, chunk_format), shape, chunk_format), labels)


def test_tables_that_begin_beyond_64_mib_are_refused() -> None:
    labels = np.arange(512 * (LAST + 1), dtype=np.uint64).reshape((8, 8, -1, 1), order="F")
    with pytest.raises(EncodeError, match=r"chunk of \(8, 8, 104704\) with this many different labels.*use smaller chunks"):
        encode_chunk(labels, format_of("uint64", 1, (8, 8, 8)))
