"""raw: the voxels themselves, little endian, x fastest and channel slowest (volume.md, "raw")."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.errors import DecodeError
from formats.grid import Triple


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return the bytes of voxels [x, y, z, channel]."""
    return voxels.tobytes("F")


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return voxels [x, y, z, channel]. Raises DecodeError unless data is exactly as long as the shape tells."""
    x, y, z = shape
    dtype, channels = chunk_format.dtype, chunk_format.num_channels
    expected = x * y * z * channels * dtype.itemsize
    if len(data) != expected:
        raise DecodeError(
            f"raw chunk has {len(data)} bytes, expected {expected} for {x} x {y} x {z} voxels of {channels} x {dtype.name}"
        )
    return np.frombuffer(data, dtype).reshape(channels, z, y, x).copy().T
