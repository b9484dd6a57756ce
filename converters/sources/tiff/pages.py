"""Pages of TIFF files (TIFF 6.0, BigTIFF): where their strips and tiles lie, and the voxels of a part of one.

tifffile reads the headers and decodes one strip or tile; which of them are decoded is decided here, so that no more is held than
what was asked for and one strip or tile.
"""

import logging
import math
import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError

Extents = tuple[int, int, int, int, int]
"""Of a page: separate samples, depth, rows, columns, samples side by side, as tifffile has it (TiffPage.shaped)."""
Part = tuple[slice, slice, slice, slice, slice]
"""A part of a page, along the same axes, each slice with a start and a stop."""

_Decode = Callable[..., tuple[NDArray[Any] | None, Any, Any]]

PALETTE, WHITE_IS_ZERO = 3, 0
_OPEN_FILES = 64
_KNOWN_PAGES = 2048
_KNOWN_DECODERS = 32
_JPEG = 7
_GDAL_NODATA = 42113
_T4_OPTIONS = 292

UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError, SyntaxError, EOFError,
    ArithmeticError, MemoryError, struct.error,
)  # fmt: skip
"""What tifffile and imagecodecs raise when they are given something else than they expect."""

# tifffile tells by its logger what it makes of odd files. What matters of it is told here in other ways.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Page:
    """What must be known of a page to read any part of it.

    dtype: of its voxels, in native byte order. look: how numbers become grey (PhotometricInterpretation) where that is not from
    dark to light: 0 from light to dark, 3 by a palette; else 1. stored: the data type with the file's byte order where the voxels
    lie in the file as they are, in one run; else None. segment: depth, rows and columns of a strip or tile. offsets, byte_counts:
    of each, in bytes. decode: tifffile's (TiffPage.decode). ends_in_marker: each is a JPEG stream of its own. empty: the value of
    strips and tiles that GDAL leaves out; None where none may be.
    """

    file: Path
    shape: Extents
    dtype: np.dtype[Any]
    look: int
    stored: np.dtype[Any] | None
    segment: tuple[int, int, int]
    offsets: NDArray[np.int64]
    byte_counts: NDArray[np.int64]
    decode: _Decode
    ends_in_marker: bool
    empty: float | None

    @cached_property
    def grid(self) -> tuple[int, int, int, int]:
        """Number of strips or tiles along separate samples, depth, rows and columns."""
        depth, rows, columns = (-(-n // s) for n, s in zip(self.shape[1:4], self.segment, strict=True))
        return self.shape[0], depth, rows, columns

    @property
    def chunk(self) -> Extents:
        """Extents of what is read at one go; 1 where every voxel can be had by itself."""
        if self.stored is not None:
            return 1, 1, 1, 1, 1
        depth, rows, columns = (min(n, s) for n, s in zip(self.shape[1:4], self.segment, strict=True))
        return 1, depth, rows, columns, self.shape[4]


@contextmanager
def opened_tiff(file: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file for its headers. Raises SourceError for what is none, there or in the body."""
    try:
        with tifffile.TiffFile(file) as tif:
            if not tif.pages:
                raise SourceError(f"{file}: a TIFF file without a page: copy it again")
            yield tif
    except UNREADABLE as error:
        raise SourceError(f"{file}: not a TIFF file, or one whose header is not sound ({_short(error)})") from error


def make_page(file: Path, found: tifffile.TiffPage | tifffile.TiffFrame) -> Page:
    """Return a page that tifffile has read the header of. Raises SourceError for one whose voxels cannot be decoded."""
    keyframe = cast(tifffile.TiffPage, found.keyframe)
    dtype, shape = keyframe.dtype, cast(Extents, tuple(int(n) for n in keyframe.shaped))
    if dtype is None:
        raise SourceError(
            f"{file}: its samples of {keyframe.bitspersample} bits (SampleFormat {keyframe.sampleformat}) are no data type; "
            "save it as 8- or 16-bit integers or 32-bit floats"
        )
    if min(shape) < 1:
        raise SourceError(f"{file}: its header tells an image of {keyframe.imagewidth} x {keyframe.imagelength} pixels")
    segment = (keyframe.tiledepth if keyframe.is_tiled else 1, *_rows_and_columns(keyframe))
    if min(segment) < 1:
        raise SourceError(f"{file}: its header tells strips or tiles of {segment[2]} x {segment[1]} pixels")
    offsets, byte_counts = np.array(found.dataoffsets, np.int64), np.array(found.databytecounts, np.int64)
    stored = keyframe.is_final and bool((offsets[:-1] + byte_counts[: len(offsets) - 1] == offsets[1:]).all())
    return Page(
        file,
        shape,
        dtype.newbyteorder("="),
        int(keyframe.photometric) if keyframe.photometric in (WHITE_IS_ZERO, PALETTE) else 1,
        dtype.newbyteorder(cast(Any, keyframe.parent.byteorder)) if stored else None,
        segment,
        offsets,
        byte_counts,
        partial(_decoder(file, keyframe), jpegtables=found.jpegtables, jpegheader=keyframe.jpegheader),
        keyframe.compression == _JPEG and keyframe.jpegheader is None,
        keyframe.nodata if _GDAL_NODATA in keyframe.tags else None,
    )


def load_page(file: Path, directory: int, modified_ns: int) -> Page:
    """Return the page whose directory (IFD) lies at this byte of a file, 0 for the first; kept for the next time.

    modified_ns: the file's time of change. Raises DamagedError.
    """
    try:
        return _loaded_page(file, directory, modified_ns)
    except DamagedError:
        raise
    except (SourceError, OSError) as error:
        raise DamagedError(str(error)) from error


def is_stack(tif: tifffile.TiffFile) -> bool:
    """Tell whether a file holds more pages than one and its thumbnails and pyramid."""
    if tif.pages.first.imagedepth > 1 or (tif.imagej_metadata or {}).get("images", 1) > 1:
        return True
    # Not len(), which would walk through all pages.
    return tif.pages.is_multipage and not tif.pages[1].aspage().is_reduced


def read_page(page: Page, part: Part, out: NDArray[Any], data: NDArray[np.uint8]) -> None:
    """Write page[part] into out, which has its shape.

    data: the bytes of the page's file (see file_bytes). Raises DamagedError for strips or tiles that are missing, cut short or
    corrupt; its message names none of file and page.
    """
    if page.stored is not None:
        out[...] = _stored(page, page.stored, data)[part]
        return
    steps = zip(part, (1, *page.segment, 1), strict=True)
    for position in product(*(range(taken.start // step, -(-taken.stop // step)) for taken, step in list(steps)[:4])):
        _copy_segment(page, position, part, (out, data))


def file_bytes(file: Path, modified_ns: int) -> NDArray[np.uint8]:
    """Return a file's bytes, memory-mapped, and keep it open for the next time. Raises DamagedError."""
    try:
        return _mapped(file, modified_ns)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{file}: cannot be read ({error})") from error


@lru_cache(maxsize=_OPEN_FILES)
def _mapped(file: Path, modified_ns: int) -> NDArray[np.uint8]:
    with file.open("rb", buffering=0) as opened:
        if file.stat().st_mtime_ns != modified_ns:
            raise DamagedError(f"{file}: the file was changed while it was being read; start again")
        return np.frombuffer(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


@lru_cache(maxsize=_KNOWN_PAGES)
def _loaded_page(file: Path, directory: int, modified_ns: int) -> Page:
    with opened_tiff(file) as tif:
        if not directory and is_stack(tif):
            raise DamagedError(
                f"{file}: holds several pages, and each file of a stack is one slice: give the path of this file to convert it "
                "alone"
            )
        if directory in (0, tif.pages.first.offset):
            return make_page(file, tif.pages.first)
        tif.filehandle.seek(directory)
        return make_page(file, tifffile.TiffPage(tif, index=1))


def _rows_and_columns(page: tifffile.TiffPage) -> tuple[int, int]:
    return (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)


_decoders: dict[tuple[Any, ...], _Decode] = {}


def _decoder(file: Path, page: tifffile.TiffPage) -> _Decode:
    """Return tifffile's decoder of strips or tiles, one for all pages that need the same: it holds on to a whole page."""
    # Besides what tifffile compares (its hash), what its decoders look at.
    needs = (page.hash, page.is_jfif, page.is_subsampled, page.nodata, page.tags.valueof(_T4_OPTIONS))
    if needs not in _decoders:
        try:
            decode = page.decode
            decode(None, 0)
        except UNREADABLE as error:
            raise SourceError(f"{file}: its compression cannot be decoded ({_short(error)})") from error
        if len(_decoders) >= _KNOWN_DECODERS:
            _decoders.clear()
        _decoders[needs] = decode
    return _decoders[needs]


def _stored(page: Page, dtype: np.dtype[Any], data: NDArray[np.uint8]) -> NDArray[Any]:
    begin = int(page.offsets[0])
    end = begin + math.prod(page.shape) * dtype.itemsize
    if end > data.size:
        raise DamagedError(f"{data.size} bytes found, at least {end} expected from its header: cut short; copy it again")
    return np.ndarray(page.shape, dtype, cast(Any, data), begin)


def _copy_segment(page: Page, position: tuple[int, ...], part: Part, arrays: tuple[NDArray[Any], NDArray[np.uint8]]) -> None:
    """Decode one strip or tile and write what part takes of it; arrays: where to, the file's bytes."""
    out, data = arrays
    begins = [p * n for p, n in zip(position[1:], page.segment, strict=True)]
    taken, target = [], []
    for begin, extent, wanted, whole in zip(begins, page.segment, part[1:4], page.shape[1:4], strict=True):
        first, last = max(begin, wanted.start), min(begin + extent, wanted.stop, whole)
        taken.append(slice(first - begin, last - begin))
        target.append(slice(first - wanted.start, last - wanted.start))
    place = out[(position[0] - part[0].start, *target)]
    segment = _segment(page, int(np.ravel_multi_index(position, page.grid)), data)
    if segment is None:
        place[...] = page.empty
        return
    voxels = segment[(*taken, part[4])]
    if voxels.shape != place.shape:
        raise DamagedError(f"the strip or tile at {position[1:]} holds too few pixels: copy it again")
    place[...] = voxels != 0 if place.dtype == bool else voxels


def _segment(page: Page, number: int, data: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Return one strip or tile decoded, [depth, row, column, sample]; None for one that GDAL left out."""
    if number >= min(len(page.offsets), len(page.byte_counts)):
        raise DamagedError(f"strip or tile {number} has no place in the file: copy it again")
    begin, count = int(page.offsets[number]), int(page.byte_counts[number])
    if not count and page.empty is not None:
        return None
    if count < 1 or not 0 <= begin <= data.size - count:
        raise DamagedError(
            f"strip or tile {number} is said to be {count} bytes from byte {begin} of a file of {data.size}: copy it again"
        )
    packed = memoryview(cast(Any, data))[begin : begin + count]
    if page.ends_in_marker:
        check_jpeg_end(bytes(packed))
    try:
        decoded, _, _ = page.decode(packed, number)
    except UNREADABLE as error:
        raise DamagedError(f"strip or tile {number} cannot be decoded ({_short(error)}): copy it again") from error
    if decoded is None or not np.can_cast(decoded.dtype, page.dtype if page.dtype != bool else np.uint8, "same_kind"):
        raise DamagedError(f"strip or tile {number} does not hold the {page.dtype} that the header tells: copy it again")
    return decoded


def check_jpeg_end(data: bytes) -> None:
    """Raise DamagedError for a JPEG stream that is cut short, of which decoders make grey pixels without a word (T.81, B.1.1.3).

    Neither marker can occur within the packed pixels, so that the end of the image must come after the last start of a scan.
    """
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise DamagedError(f"the JPEG data are cut short ({len(data)} bytes found and no end marker): copy it again")


def _short(error: BaseException) -> str:
    return f"{error}"[:200] or type(error).__name__


def page_text(page: Page) -> str:
    """Return a page's extents and data type for a message."""
    return f"{extents_text(page.shape)} of {page.dtype}"


def extents_text(shape: Extents) -> str:
    """Return a page's extents for a message, `512 x 400 pixels`."""
    separate, depth, rows, columns, samples = shape
    more = [f" x {n} {what}" for n, what in ((depth, "deep"), (separate * samples, "samples")) if n > 1]
    return f"{columns} x {rows} pixels{''.join(more)}"
