"""png: lossless pictures of 8- and 16-bit voxels (volume.md, "png")."""

from typing import Any

from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.chunks.picture import Header, empty_picture, from_picture, to_picture
from formats.errors import DecodeError
from formats.grid import Triple

_LEVEL = 1
"""zlib's level; 6 takes twice the time to save 2 % on microscopy."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Colour type (PNG specification, 11.2.2) to samples a pixel; a palette is read as the colours that it names."""


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return voxels [x, y, z, channel], uint8 or uint16, as PNG: grey, grey + alpha, RGB or RGB + alpha."""
    from imagecodecs import png_encode

    return bytes(png_encode(to_picture(voxels), _LEVEL))


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return voxels [x, y, z, channel]. Raises DecodeError for what is no PNG of these voxels, or is cut off."""
    from imagecodecs import png_decode

    picture = empty_picture(_header(data), shape, chunk_format)
    try:
        png_decode(data, out=picture)
    except (RuntimeError, ValueError) as error:
        raise DecodeError(f"png chunk of {len(data)} bytes is corrupt: {error}") from error
    return from_picture(picture, shape)


def _header(data: bytes) -> Header:
    if not data.startswith(_SIGNATURE) or len(data) < 26 or data[25] not in _CHANNELS:
        raise DecodeError(f"png chunk of {len(data)} bytes begins with {data[:16].hex()}, expected the header of a PNG")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    return Header(width, height, _CHANNELS[data[25]], max(8, data[24]))
