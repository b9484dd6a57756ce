"""What a scale's chunks are: encoding, data type and channels, and which of these go together."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from formats.grid import Triple

DATA_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")

# encoding -> data types and numbers of channels, where no number means any: what the stock viewer decodes. It leaves jxl of
# several channels interleaved, so that is limited to one.
_ACCEPTED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "raw": (DATA_TYPES, ()),
    "jpeg": (("uint8",), (1, 3)),
    "png": (("uint8", "uint16"), (1, 2, 3, 4)),
    "jxl": (("uint8",), (1,)),
    "compressed_segmentation": (("uint32", "uint64"), ()),
    "compresso": (("uint8", "uint16", "uint32", "uint64"), (1,)),
}

ENCODINGS = tuple(_ACCEPTED)

_LONGEST_SIDE = {"jpeg": 65_500, "png": 1_000_000}
"""Pixels along a side of the picture, x wide and y * z high, as libjpeg and libpng have it."""

_LONGEST_AXIS = {"compresso": 65_535}
"""Voxels along an axis of the chunk."""

_LARGEST_BLOCK = 1 << 16
"""Voxels in a compressed_segmentation block; beyond this the library's table index no longer fits its 16 bits."""


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """How the chunks of one scale are encoded.

    encoding, data_type: the format's names, lower case. block_size: voxels x, y, z, of compressed_segmentation alone.
    jpeg_quality: 0 to 100, as libjpeg counts, of jpeg alone.
    """

    encoding: str
    data_type: str
    num_channels: int = 1
    block_size: Triple = (8, 8, 8)
    jpeg_quality: int = 85

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian numpy type of one voxel."""
        return np.dtype(self.data_type).newbyteorder("<")


def refusal(chunk_format: ChunkFormat) -> str | None:
    """Return why the stock viewer could not read such chunks, and what it could; None when it can."""
    encoding, data_type, channels = chunk_format.encoding, chunk_format.data_type, chunk_format.num_channels
    if data_type not in DATA_TYPES:
        return f"data type {data_type!r} is none of the viewer's: {', '.join(DATA_TYPES)}"
    if channels < 1:
        return f"{channels} channels, expected at least 1"
    usable = [name for name in _ACCEPTED if _fits(name, data_type, channels)]
    if encoding not in usable:
        return f"encoding {encoding} cannot hold {data_type} with {channels} channel(s) for the viewer; use {' or '.join(usable)}"
    if encoding == "jpeg" and not 0 <= chunk_format.jpeg_quality <= 100:
        return f"jpeg quality {chunk_format.jpeg_quality}, expected 0 to 100"
    if encoding == "compressed_segmentation":
        return _block_refusal(chunk_format.block_size)
    return None


def size_refusal(chunk_size: Triple, encoding: str) -> str | None:
    """Return why a chunk of this many voxels cannot be encoded; None when it can."""
    x, y, z = chunk_size
    size = f"encoding {encoding} cannot hold chunks of {x} x {y} x {z} voxels"
    side, axis = _LONGEST_SIDE.get(encoding), _LONGEST_AXIS.get(encoding)
    if side is not None and max(x, y * z) > side:
        return f"{size}: as pictures of {x} x {y * z} pixels they are longer than {side}; use smaller chunks"
    if axis is not None and max(chunk_size) > axis:
        return f"{size}: they have more than {axis} along an axis; use smaller chunks"
    return None


def _fits(encoding: str, data_type: str, channels: int) -> bool:
    data_types, counts = _ACCEPTED[encoding]
    return data_type in data_types and (not counts or channels in counts)


def _block_refusal(block_size: Triple) -> str | None:
    x, y, z = block_size
    if min(block_size) >= 1 and x * y * z <= _LARGEST_BLOCK:
        return None
    return f"compressed_segmentation block size {block_size}, expected 1 to {_LARGEST_BLOCK} voxels in all; 8,8,8 is usual"
