"""compresso: streams by hand, and the library as the other implementation."""

import struct
from typing import Any

import compresso
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError
from formats.grid import Triple


def header(
    shape: Triple, counts: tuple[int, int, int], *, width: int = 1, version: int = 0, steps: Triple = (4, 4, 1), links: int = 4
) -> bytes:
    """Return a header; counts: ids, values, locations; links: of the components, 4 in a slice or 6 in space."""
    return struct.pack("<4sBB3H3BQIQB", b"cpso", version, width, *shape, *steps, *counts, links)


# Behind the header: ids (1 byte), values (2), locations (1), windows (2; odd ones count windows of value 0).
BY_HAND: list[tuple[Triple, list[int], bytes]] = [
    # No outline: one component, one window, empty.
    ((2, 1, 1), [5, 5], header((2, 1, 1), (1, 1, 0)) + b"\x05" + b"\0\0" + b"" + b"\x03\0"),
    # Outline at x = 0, which has nothing to its left: its label, 5, is told as 5 + 7. The component is what remains, 9.
    ((2, 1, 1), [5, 9], header((2, 1, 1), (1, 1, 1)) + b"\x09" + b"\x01\0" + b"\x0c" + b"\x03\0"),
    # 250 + 7 needs more than a byte: a 6, then the label itself; the label is 6 in the next.
    ((2, 1, 1), [250, 9], header((2, 1, 1), (1, 1, 2)) + b"\x09" + b"\x01\0" + b"\x06\xfa" + b"\x03\0"),
    ((2, 1, 1), [6, 9], header((2, 1, 1), (1, 1, 2)) + b"\x09" + b"\x01\0" + b"\x06\x06" + b"\x03\0"),
    # Outline at x = 1, which takes the label to its left; x = 2 is a second component.
    ((3, 1, 1), [5, 5, 9], header((3, 1, 1), (2, 1, 0)) + b"\x05\x09" + b"\x02\0" + b"" + b"\x03\0"),
    # Two slices with a window each: the second's, number 1, is written 2. Its outline at x = 0 copies the label behind, code 1.
    ((2, 1, 2), [5, 5, 9, 9], header((2, 1, 2), (2, 2, 1)) + b"\x05\x09" + b"\0\0\x01\0" + b"\x01" + b"\x03\0\x02\0"),
]


@pytest.mark.parametrize(("shape", "labels", "data"), BY_HAND)
def test_streams_by_hand_are_read(shape: Triple, labels: list[int], data: bytes) -> None:
    assert decode_chunk(data, shape, ChunkFormat("compresso", "uint8")).ravel("F").tolist() == labels
    assert compresso.decompress(data).ravel("F").tolist() == labels


def ends(dtype: np.dtype[Any]) -> list[int]:
    """Labels at both ends of a type, where locations change their form."""
    most = int(np.iinfo(dtype).max)
    return [0, 1, 5, 6, 7, 8, most // 2, *range(most - 8, most + 1)]


@st.composite
def volumes(draw: st.DrawFn) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "uint32", "uint64"])))
    few = draw(st.lists(st.sampled_from(ends(dtype)), min_size=1, max_size=5))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=13))
    return draw(hnp.arrays(dtype, shape, elements=st.sampled_from(few)))


@settings(max_examples=120)
@given(
    volumes(),
    st.sampled_from([(4, 4, 1), (8, 8, 1), (2, 2, 2), (3, 5, 2), (1, 1, 1), (4, 4, 2), (64, 1, 1)]),
    st.sampled_from([4, 6]),
    st.booleans(),
)
def test_whatever_the_library_writes_is_read(labels: NDArray[Any], steps: Triple, links: int, index: bool) -> None:
    try:
        data = compresso.compress(labels, steps=steps, connectivity=links, random_access_z_index=index)
    except compresso.EncodeError:
        return
    x, y, z = labels.shape
    np.testing.assert_array_equal(decode_chunk(data, (x, y, z), ChunkFormat("compresso", labels.dtype.name))[..., 0], labels)


@settings(max_examples=60)
@given(volumes())
def test_the_library_reads_what_we_write(labels: NDArray[Any]) -> None:
    data = encode_chunk(labels[..., np.newaxis], ChunkFormat("compresso", labels.dtype.name))
    np.testing.assert_array_equal(compresso.decompress(data), labels)


def test_noise_takes_larger_windows() -> None:
    labels = np.random.default_rng(0).integers(0, 2**64 - 1, (256, 256, 4, 1), np.uint64)
    data = encode_chunk(labels, ChunkFormat("compresso", "uint64"))
    np.testing.assert_array_equal(decode_chunk(data, (256, 256, 4), ChunkFormat("compresso", "uint64")), labels)


TWO = (2, 1, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, expected at least 36 of header"),
        (b"cpso", "has 4 bytes, expected at least 36 of header"),
        (b"cpsx" + header(TWO, (1, 1, 0))[4:] + b"\x05\0\0\x03\0", "begins with b'cpsx', format 0, expected b'cpso'"),
        (header(TWO, (1, 1, 0), version=2) + b"\x05\0\0\x03\0", "format 2, expected b'cpso', format 0 or 1"),
        (
            header((65535, 65535, 65535), (1, 1, 0)) + b"\x05\0\0\x03\0",
            "has 65535 x 65535 x 65535 voxels of 1 bytes, expected 2 x",
        ),
        (header(TWO, (1, 1, 0), width=8) + b"\x05\0\0\x03\0", "has 2 x 1 x 1 voxels of 8 bytes, expected 2 x 1 x 1 of 1"),
        (header(TWO, (1, 1, 0), steps=(0, 4, 1)) + b"\x05\0\0\x03\0", r"windows of \[0, 4, 1\] and connectivity 4"),
        (header(TWO, (1, 1, 0), steps=(9, 9, 1)) + b"\x05\0\0\x03\0", r"windows of \[9, 9, 1\]"),
        (header(TWO, (1, 1, 0), links=5) + b"\x05\0\0\x03\0", "connectivity 5, expected 1 to 64 voxels a window and conn"),
        (header(TWO, (2**63, 1, 0)) + b"\x05\0\0\x03\0", "has 9223372036854775808 ids at 36, which end beyond it"),
        (header(TWO, (1, 2**32 - 1, 0)) + b"\x05\0\0\x03\0", "has 4294967295 values at 37, which end beyond it"),
        (header(TWO, (1, 1, 3)) + b"\x05\0\0\x03\0", "has 3 locations at 39, which end beyond it"),
        (header(TWO, (1, 1, 0)) + b"\x05\0\0\x03", "has 1 bytes of windows, expected a multiple of 2"),
        (header(TWO, (1, 1, 0), version=1) + b"\x05\0\0\x03", "has -1 bytes of windows"),
        (header(TWO, (1, 1, 0)) + b"\x05\0\0", "has 0 windows, expected 1 x 1 x 1"),
        (header(TWO, (1, 1, 0)) + b"\x05\0\0\xff\xff", "has 32767 windows, expected 1 x 1 x 1"),
        (header(TWO, (1, 1, 0)) + b"\x05\0\0\x08\0", "uses window 4, expected less than its 1 values"),
        (header(TWO, (1, 0, 0)) + b"\x05\x03\0", "uses window 0, expected less than its 0 values"),
        (header(TWO, (2, 1, 0)) + b"\x05\x06\0\0\x03\0", "has 2 ids, expected one for each of its 1 components"),
        (header(TWO, (0, 1, 1)) + b"\x01\0\x0c\x03\0", "has 0 ids, expected one for each of its 1 components"),
        (header(TWO, (1, 1, 0)) + b"\x09\x01\0\x03\0", "has 0 locations, expected 1"),
        (header(TWO, (1, 1, 2)) + b"\x09\x01\0\x0c\x0c\x03\0", "has 2 locations, expected 1"),
        (header(TWO, (1, 1, 1)) + b"\x09\x01\0\x06\x03\0", "ends its locations where a label has to follow"),
        *(
            (header(TWO, (1, 1, 1)) + b"\x09\x01\0" + bytes([code]) + b"\x03\0", "copies a label from outside of the chunk")
            for code in (0, 2, 3, 4, 5)
        ),
        # Both voxels are outline; the first copies from the second, which takes its label from the first.
        (header(TWO, (0, 1, 2)) + b"\x03\0\x01\x0c\x03\0", "has a location that copies a label before it is known"),
    ],
)
def test_a_stream_that_contradicts_itself_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match="compresso chunk .*" + message):
        decode_chunk(data, TWO, ChunkFormat("compresso", "uint8"))
