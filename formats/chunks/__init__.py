"""Chunks: bytes to voxels [x, y, z, channel] and back, one module an encoding (volume.md, "chunk encoding").

The codec libraries are imported when they are first used: a worker that writes raw loads none.
"""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from formats.chunks import compressed_segmentation, compresso, jpeg, jxl, png, raw
from formats.chunks.chunk_format import ChunkFormat, refusal, size_refusal
from formats.errors import DecodeError, EncodeError
from formats.grid import Triple

__all__ = ["GZIPPED", "ChunkFormat", "check_chunk_format", "check_chunk_size", "decode_chunk", "encode_chunk"]

GZIPPED = frozenset({"raw", "compressed_segmentation", "compresso"})
"""The encodings whose chunks gzip makes smaller."""

_ENCODERS: dict[str, Callable[[NDArray[Any], ChunkFormat], bytes]] = {
    "raw": raw.encode,
    "jpeg": jpeg.encode,
    "png": png.encode,
    "jxl": jxl.encode,
    "compressed_segmentation": compressed_segmentation.encode,
    "compresso": compresso.encode,
}

_DECODERS: dict[str, Callable[[bytes, Triple, ChunkFormat], NDArray[Any]]] = {
    "raw": raw.decode,
    "jpeg": jpeg.decode,
    "png": png.decode,
    "jxl": jxl.decode,
    "compressed_segmentation": compressed_segmentation.decode,
    "compresso": compresso.decode,
}


def check_chunk_format(chunk_format: ChunkFormat) -> None:
    """Raise EncodeError, naming the encodings that would do, unless the stock viewer reads such chunks."""
    reason = refusal(chunk_format)
    if reason is not None:
        raise EncodeError(reason)


def check_chunk_size(chunk_size: Triple, chunk_format: ChunkFormat) -> None:
    """Raise EncodeError when chunks of chunk_size voxels, x, y, z, are more than the encoding holds."""
    reason = size_refusal(chunk_size, chunk_format.encoding)
    if reason is not None:
        raise EncodeError(reason)


def encode_chunk(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return the bytes of one chunk.

    voxels: [x, y, z, channel] of the format's data type, in any memory order; fastest when x is contiguous.
    Raises EncodeError for a format that the viewer cannot read, and for voxels that do not fit the format.
    """
    check_chunk_format(chunk_format)
    if voxels.dtype != chunk_format.dtype:
        raise EncodeError(f"voxels are {voxels.dtype}, expected {chunk_format.data_type}")
    if voxels.ndim != 4 or voxels.shape[3] != chunk_format.num_channels or voxels.size == 0:
        raise EncodeError(f"voxels have shape {voxels.shape}, expected [x, y, z, {chunk_format.num_channels}], none of them 0")
    x, y, z, _ = voxels.shape
    check_chunk_size((x, y, z), chunk_format)
    return _ENCODERS[chunk_format.encoding](voxels, chunk_format)


def decode_chunk(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return the voxels of one chunk, [x, y, z, channel], Fortran order, of the format's data type.

    shape: voxels along x, y, z that the chunk must hold. No byte of data is trusted: nothing larger than shape tells is made.
    Raises DecodeError for data that is no such chunk.
    """
    reason = refusal(chunk_format)
    if reason is not None:
        raise DecodeError(reason)
    return _DECODERS[chunk_format.encoding](data, shape, chunk_format)
