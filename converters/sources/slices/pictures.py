"""Slices that are PNG (PNG specification, third edition) or JPEG (T.81) pictures."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError
from converters.sources.tiff.pages import PALETTE, UNREADABLE, Extents, check_jpeg_end

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngImageFile

_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type of a PNG -> samples a pixel."""
_PNG_PALETTE = 3
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that begin a frame header (T.81, table B.1)."""


@dataclass(frozen=True)
class Picture:
    """What the header of a picture tells. shape, look: as of a page of TIFF. bits: a sample, in the file."""

    shape: Extents
    dtype: np.dtype[Any]
    bits: int
    look: int = 1


def picture_header(file: Path) -> Picture:
    """Return what the header of a PNG or JPEG file tells. Raises DamagedError for what is none."""
    with file.open("rb") as opened:
        begin = opened.read(8)
        try:
            if begin == b"\x89PNG\r\n\x1a\n":
                return _png_header(opened.read(18))
            if begin[:2] == b"\xff\xd8":
                return _jpeg_header(opened)
        except (struct.error, KeyError, ValueError) as error:
            raise DamagedError(f"{file}: its header is not sound ({error}): copy it again") from error
    raise DamagedError(f"{file}: not a PNG or JPEG file, whatever its name says")


def read_picture(file: Path, picture: Picture) -> NDArray[Any]:
    """Return the pixels of a picture, [1, 1, row, column, sample]; of a palette the numbers of the colours.

    picture: what its header told. Raises DamagedError.
    """
    try:
        pixels = _read_palette_numbers(file) if picture.look == PALETTE else _decode(file.read_bytes(), picture)
    except DamagedError as error:
        raise DamagedError(f"{file}: {error}") from error
    except (*UNREADABLE, OSError) as error:
        raise DamagedError(f"{file}: cannot be decoded ({str(error)[:200]}): copy it again") from error
    rows, columns, samples = picture.shape[2:]
    if pixels.size < rows * columns * samples or pixels.shape[:2] != (rows, columns) or pixels.dtype.kind != "u":
        raise DamagedError(f"{file}: {pixels.shape} pixels found, {rows} x {columns} expected from its header: copy it again")
    # A colour that stands for 'transparent' makes the decoder add a channel.
    pixels = pixels.reshape(rows, columns, -1)[:, :, :samples]
    return pixels.astype(picture.dtype, copy=False)[np.newaxis, np.newaxis]


def _png_header(header: bytes) -> Picture:
    _, kind, columns, rows, bits, colours = struct.unpack(">I4sIIBB", header)
    if kind != b"IHDR" or not (0 < columns < 1 << 31 and 0 < rows < 1 << 31) or bits not in (1, 2, 4, 8, 16):
        raise ValueError(f"{columns} x {rows} pixels of {bits} bits")
    dtype = np.dtype(np.uint16 if bits == 16 else bool if bits == 1 and colours == 0 else np.uint8)
    return Picture((1, 1, rows, columns, _PNG_SAMPLES[colours]), dtype, bits, PALETTE if colours == _PNG_PALETTE else 1)


def _jpeg_header(opened: BinaryIO) -> Picture:
    opened.seek(2)
    while True:
        marker = _marker(opened)
        if marker in _JPEG_FRAMES:
            _, bits, rows, columns, samples = struct.unpack(">HBHHB", opened.read(8))
            if not rows or not columns or samples not in (1, 3):
                raise ValueError(f"{columns} x {rows} pixels of {samples} samples, of which 1 (grey) and 3 (colour) are read")
            return Picture((1, 1, rows, columns, samples), np.dtype(np.uint8 if bits <= 8 else np.uint16), bits)
        (length,) = struct.unpack(">H", opened.read(2))
        opened.seek(max(length, 2) - 2, 1)


def _marker(opened: BinaryIO) -> int:
    """Return the next marker's code; any number of bytes 0xFF may fill the space before it."""
    first, code = struct.unpack("BB", opened.read(2))
    if first != 0xFF:
        raise ValueError("no marker where one must be")
    while code == 0xFF:
        (code,) = struct.unpack("B", opened.read(1))
    return int(code)


def _decode(data: bytes, picture: Picture) -> NDArray[Any]:
    if data[:2] == b"\xff\xd8":
        check_jpeg_end(data)
        jpeg: NDArray[Any] = imagecodecs.jpeg_decode(data)
        return jpeg
    png: NDArray[Any] = imagecodecs.png_decode(data)
    if picture.bits < 8:
        # The decoder stretches fewer bits over the whole range of 8.
        png = png // np.uint8(255 // (2**picture.bits - 1))
    return png


def _read_palette_numbers(file: Path) -> NDArray[Any]:
    with _palette_picture(file) as picture:
        return np.asarray(picture)


def palette_rises(file: Path) -> bool:
    """Tell whether a PNG's palette is a ramp from dark to light, which shows grey values and not labels. Raises DamagedError."""
    try:
        with _palette_picture(file) as picture:
            colours = np.array(picture.getpalette() or (), np.int64).reshape(-1, 3)
    except (*UNREADABLE, OSError) as error:
        raise DamagedError(f"{file}: its palette cannot be read ({str(error)[:200]}): copy it again") from error
    return bool(len(colours)) and bool((np.diff(colours, axis=0) >= 0).all())


def _palette_picture(file: Path) -> "PngImageFile":
    # Imported when it is needed; and not by Image.open, which refuses large pictures.
    from PIL.PngImagePlugin import PngImageFile

    return PngImageFile(file)
