"""compressed_segmentation: blocks of labels, each a small table and an index a voxel (compressed_segmentation/README.md).

The library follows every offset that it is told, also out of its memory, so all are checked before it decodes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.errors import DecodeError, EncodeError
from formats.grid import Triple

_Words = NDArray[np.uint32]

_WIDTHS = (0, 1, 2, 4, 8, 16)
"""Bits a voxel. The format also knows 32, but no block of at most 65,536 voxels needs them and the library cannot read them."""


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return labels [x, y, z, channel], uint32 or uint64, as compressed_segmentation.

    Raises EncodeError when a channel needs tables beyond the first 64 MiB, where the format's 24-bit offsets end.
    """
    return joined([_encode_channel(voxels[..., c], chunk_format.block_size) for c in range(chunk_format.num_channels)])


def joined(channels: Sequence[bytes]) -> bytes:
    """Return the chunk of these channels, each whole words, as they are behind the header that tells where each begins."""
    sizes = [len(channels), *(len(channel) // 4 for channel in channels[:-1])]
    return b"".join([np.cumsum(sizes).astype("<u4").tobytes(), *channels])


def too_many_labels(shape: Sequence[int]) -> EncodeError:
    """Return the error of a chunk of shape whose tables would begin where no offset leads."""
    return EncodeError(
        f"compressed_segmentation cannot hold a chunk of {tuple(shape)} with this many different labels: "
        "its tables would begin beyond 64 MiB; use smaller chunks"
    )


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return labels [x, y, z, channel]. Raises DecodeError for offsets, bit widths or indices that lead out of data."""
    from compressed_segmentation import decompress

    count = chunk_format.num_channels
    if len(data) % 4 or len(data) < 4 * count:
        raise DecodeError(
            f"compressed_segmentation chunk has {len(data)} bytes, expected a multiple of 4 and at least {4 * count} "
            f"for the offsets of {count} channel(s)"
        )
    words = np.frombuffer(data, "<u4")
    for start in words[:count].tolist():
        _check_channel(words[start:], shape, chunk_format)
    labels: NDArray[Any] = decompress(data, (*shape, count), chunk_format.dtype, chunk_format.block_size, "F")
    return labels


def _encode_channel(labels: NDArray[Any], block_size: Triple) -> bytes:
    """Return one channel without the header that tells where it begins."""
    from compressed_segmentation import compress

    # The library walks Fortran order without looking at strides, and wants memory that it might write to. It is given
    # one channel at a time because it reads the stride between channels from beyond its own array.
    labels = np.require(labels, requirements=["F", "W"])
    try:
        data: bytes = compress(labels, block_size, "F")
    except OverflowError as error:
        raise too_many_labels(labels.shape) from error
    return data[4:]


def _check_channel(words: _Words, shape: Triple, chunk_format: ChunkFormat) -> None:
    """Raise DecodeError unless each voxel of a channel that begins with words has its index and its label inside words."""
    bx, by, bz = chunk_format.block_size
    gx, gy, gz = (-(-n // b) for n, b in zip(shape, chunk_format.block_size, strict=True))
    blocks = gx * gy * gz
    if words.size < 2 * blocks:
        raise DecodeError(f"compressed_segmentation channel has {words.size} words, expected {2 * blocks} of block headers alone")
    headers = words[: 2 * blocks].reshape(blocks, 2).astype(np.int64)
    tables, widths, values = headers[:, 0] & 0xFFFFFF, headers[:, 0] >> 24, headers[:, 1]
    entry = chunk_format.dtype.itemsize // 4
    for width in np.unique(widths).tolist():
        chosen = np.flatnonzero(widths == width)
        _check_values(words, values[chosen], width, bx * by * bz)
        # Only a table near the end of words can have less room than its indices could ask for: read those indices.
        chosen = chosen[tables[chosen] + (entry << width) > words.size]
        if chosen.size:
            indices = _indices(words, values[chosen], width, bx * by * bz)
            inside = _inside(chosen, (gx, gy, gz), shape, chunk_format.block_size)
            _check_labels(words, tables[chosen], np.where(inside, indices, 0).max(1) * entry + entry)


def _check_values(words: _Words, starts: NDArray[np.int64], width: int, voxels: int) -> None:
    """Raise DecodeError unless blocks with their values at starts have a width that can be, and their values inside words."""
    if width not in _WIDTHS:
        raise DecodeError(f"compressed_segmentation block has {width} bits a voxel, expected one of {_WIDTHS}")
    length = -(-width * voxels // 32)
    if width and starts.max() + length > words.size:
        raise DecodeError(
            f"compressed_segmentation block has its values in words {starts.max()} to {starts.max() + length}, "
            f"expected all within the channel's {words.size}"
        )


def _check_labels(words: _Words, tables: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Raise DecodeError unless tables that are used up to lengths lie inside words."""
    end = (tables + lengths).max()
    if end > words.size:
        raise DecodeError(f"compressed_segmentation voxel has its label before word {end}, expected {words.size} at most")


def _indices(words: _Words, starts: NDArray[np.int64], width: int, voxels: int) -> NDArray[np.int64]:
    """Return the table index of each voxel, [block, voxel], of blocks with values at starts, width bits a voxel."""
    if width == 0:
        return np.zeros((starts.size, voxels), np.int64)
    packed = words[starts[:, np.newaxis] + np.arange(-(-width * voxels // 32))]
    indices: NDArray[np.uint32] = packed[:, :, np.newaxis] >> np.arange(0, 32, width, dtype=np.uint32) & np.uint32(
        (1 << width) - 1
    )
    return indices.reshape(starts.size, -1)[:, :voxels].astype(np.int64)


def _inside(blocks: NDArray[np.int64], grid: Triple, shape: Triple, block_size: Triple) -> NDArray[np.bool]:
    """Return which voxels of the numbered blocks, [block, voxel], are not beyond the upper end of shape."""
    corners = np.unravel_index(blocks, grid, order="F")
    local = np.unravel_index(np.arange(math.prod(block_size)), block_size, order="F")
    inside = np.ones((blocks.size, 1), np.bool)
    for corner, place, extent, size in zip(corners, local, shape, block_size, strict=True):
        inside = inside & (corner[:, np.newaxis] * size + place < extent)
    return inside
