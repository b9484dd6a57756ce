"""jpeg: lossy pictures of 8-bit voxels, baseline, as libjpeg writes them (volume.md, "jpeg")."""

from typing import Any

from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.chunks.picture import Header, empty_picture, from_picture, to_picture
from formats.errors import DecodeError
from formats.grid import Triple

# ITU-T T.81, table B.1: the markers of frames (SOF0 to SOF15, with DHT, JPG and DAC among them), of a scan and of the end.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return voxels [x, y, z, channel], uint8, as JPEG: grey or, for 3 channels, YCbCr with colour at half resolution.

    These are libjpeg's defaults, which tensorstore uses too.
    """
    from imagecodecs import jpeg8_encode

    return bytes(jpeg8_encode(to_picture(voxels), chunk_format.jpeg_quality))


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return voxels [x, y, z, channel]. Raises DecodeError for what is no JPEG of these voxels, or is cut off."""
    from imagecodecs import jpeg8_decode

    header, scan = _header(data)
    picture = empty_picture(header, shape, chunk_format)
    if data.find(_END_OF_IMAGE, scan) < 0:
        raise DecodeError(f"jpeg chunk of {len(data)} bytes is cut off: it has no end of image")
    try:
        jpeg8_decode(data, out=picture)
    except (RuntimeError, ValueError) as error:
        raise DecodeError(f"jpeg chunk of {len(data)} bytes is corrupt: {error}") from error
    return from_picture(picture, shape)


def _header(data: bytes) -> tuple[Header, int]:
    """Return what the frame header tells, and where the first scan begins."""
    header = None
    position = 2 if data[:2] == b"\xff\xd8" else len(data)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker == _START_OF_SCAN and header is not None:
            return header, position
        if marker in _START_OF_FRAME and header is None:
            frame = data[position + 4 : position + 10]
            if len(frame) == 6:
                header = Header(int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3]), frame[5], frame[0])
        position += 2 + length
    raise DecodeError(f"jpeg chunk of {len(data)} bytes begins with {data[:8].hex()}, expected the headers of a JPEG")
