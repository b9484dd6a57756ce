"""jxl (not yet written)."""

from typing import Any

from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.grid import Triple


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return voxels [x, y, z, channel] as jxl."""
    raise NotImplementedError


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return voxels [x, y, z, channel]."""
    raise NotImplementedError
