"""jxl: lossless pictures of 8-bit voxels, one channel (JPEG XL, ISO/IEC 18181)."""

from typing import Any

from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.chunks.picture import Header, empty_picture, from_picture, to_picture
from formats.errors import DecodeError
from formats.grid import Triple

_EFFORT = 3
"""The least effort at which it is a fifth smaller than png; 4 and more take much longer to save 1 %."""

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"

# 18181-1, SizeHeader: bits of an extent by its 2-bit selector, and width to height by the 3-bit ratio.
_EXTENT_BITS = (9, 13, 18, 30)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return voxels [x, y, z, 1], uint8, as lossless JPEG XL."""
    from imagecodecs import jpegxl_encode

    return bytes(jpegxl_encode(to_picture(voxels), effort=_EFFORT, lossless=True, numthreads=1))


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return voxels [x, y, z, 1]. Raises DecodeError for what is no JPEG XL of these voxels, or is cut off."""
    from imagecodecs import jpegxl_decode

    width, height = _size(_codestream(data))
    picture = empty_picture(Header(width, height, 1, 8), shape, chunk_format)
    try:
        jpegxl_decode(data, numthreads=1, out=picture)
    except (RuntimeError, ValueError) as error:
        raise DecodeError(f"jxl chunk of {len(data)} bytes is corrupt: {error}") from error
    return from_picture(picture, shape)


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may lie in a box of a container (18181-2)."""
    position = 0
    if data.startswith(_CONTAINER):
        while (kind := data[position + 4 : position + 8]) not in (b"jxlc", b"jxlp", b""):
            position += max(8, int.from_bytes(data[position : position + 4]))
        position += 12 if kind == b"jxlp" else 8
    codestream = data[position : position + 64]
    if not codestream.startswith(_CODESTREAM):
        raise DecodeError(f"jxl chunk of {len(data)} bytes begins with {data[:12].hex()}, expected a JPEG XL codestream")
    return codestream


def _size(codestream: bytes) -> tuple[int, int]:
    """Return width and height in pixels."""
    bits = int.from_bytes(codestream[2:16].ljust(14, b"\0"), "little")
    small, bits = bits & 1, bits >> 1
    height, bits = _extent(bits, small)
    ratio, bits = bits & 7, bits >> 3
    if ratio:
        numerator, denominator = _RATIOS[ratio]
        return height * numerator // denominator, height
    return _extent(bits, small)[0], height


def _extent(bits: int, small: int) -> tuple[int, int]:
    """Return one extent and the bits behind it."""
    if small:
        return 8 * ((bits & 31) + 1), bits >> 5
    length = _EXTENT_BITS[bits & 3]
    return (bits >> 2 & (1 << length) - 1) + 1, bits >> 2 + length
