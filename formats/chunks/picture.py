"""Chunks as pictures, for jpeg, png and jxl: x wide, y * z high, channels interleaved (volume.md, "jpeg", "png").

Readers take any width and height whose product is the number of voxels; the order of the pixels is what counts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.errors import DecodeError
from formats.grid import Triple


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself: pixels, samples a pixel, bits a sample."""

    width: int
    height: int
    channels: int
    bits: int


def to_picture(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return voxels [x, y, z, channel] as a picture [y * z, x] or [y * z, x, channel], C order; no copy where none is needed."""
    x, y, z, channels = voxels.shape
    if channels == 1:
        return np.ascontiguousarray(voxels[..., 0].T.reshape(z * y, x))
    picture = np.empty((z, y, x, channels), voxels.dtype)
    # One channel at a time: numpy's copy of all at once, four axes turned round, takes five times as long.
    for channel in range(channels):
        picture[..., channel] = voxels[..., channel].T
    return picture.reshape(z * y, x, channels)


def empty_picture(header: Header, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return the memory into which a picture with this header is to be decoded.

    Raises DecodeError when it does not hold exactly the voxels of shape in chunk_format: nothing is allocated then.
    """
    x, y, z = shape
    bits = 8 * chunk_format.dtype.itemsize
    found = f"{header.width} x {header.height} pixels of {header.channels} x {header.bits} bits"
    if header.width * header.height != x * y * z or (header.channels, header.bits) != (chunk_format.num_channels, bits):
        raise DecodeError(
            f"{chunk_format.encoding} chunk has {found}, expected {x * y * z} pixels ({x} x {y} x {z} voxels) "
            f"of {chunk_format.num_channels} x {bits} bits"
        )
    channels = () if header.channels == 1 else (header.channels,)
    return np.empty((header.height, header.width, *channels), chunk_format.dtype)


def from_picture(picture: NDArray[Any], shape: Triple) -> NDArray[Any]:
    """Return the pixels of a picture as voxels [x, y, z, channel], Fortran order."""
    x, y, z = shape
    if picture.ndim == 2:
        return picture.reshape(1, z, y, x).T
    channels = picture.shape[2]
    voxels = np.empty((channels, z, y, x), picture.dtype)
    for channel in range(channels):
        voxels[channel] = picture[..., channel].reshape(z, y, x)
    return voxels.T
