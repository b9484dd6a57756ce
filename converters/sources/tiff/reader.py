"""The voxels of one image of a TIFF file, read page by page."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.sources.axes import shape_text
from converters.sources.mapped import StoredArray
from converters.sources.tiff.images import TiffImage
from converters.sources.tiff.pages import (
    Page,
    Part,
    extents_text,
    file_bytes,
    load_page,
    make_page,
    opened_tiff,
    page_text,
    read_page,
)
from converters.sources.tiff.stacking import Stacking, stacking

_WHOLE_FILE = ("lsm", "mmstack", "ndtiff", "scanimage", "ndpi", "eer")
"""Kinds of files whose pages tifffile corrects or finds by more than their own directories."""
_CHECKED_PAGES = 1024
"""So many pages are looked at when a file is opened, the others when they are read."""


@dataclass(frozen=True)
class TiffReader:
    """One image of a TIFF file, or of several that its metadata name; see converters.sources.array.ArrayReader.

    image, level: which one of the file and of its pyramid. places: of each page, which of files it lies in and where in it its
    directory begins; None where only the file as a whole tells. modified_ns: times of change of files.
    """

    path: Path
    image: int
    level: int
    stacking: Stacking
    dtype: np.dtype[Any]
    look: int
    chunk: tuple[int, ...]
    files: tuple[Path, ...]
    modified_ns: tuple[int, ...]
    places: tuple[tuple[int, int], ...] | None

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index]. Raises DamagedError for a page that is cut short or corrupt, naming file and page."""
        return self.stacking.read(index, self.dtype, self._read_page)

    def check_page(self, number: int) -> None:
        """Raise DamagedError for a page that is not like the first."""
        page = self._page(number)
        if (page.shape, page.dtype, page.look) != (self.stacking.page, self.dtype, self.look):
            raise DamagedError(
                f"{page.file}: page {number} of {self.stacking.pages} has {page_text(page)}, the first "
                f"{extents_text(self.stacking.page)} of {self.dtype}: the slices of one volume are alike"
            )

    def _read_page(self, number: int, part: Part, out: NDArray[Any]) -> None:
        self.check_page(number)
        page = self._page(number)
        data = file_bytes(page.file, self.modified_ns[self._file(number)])
        try:
            read_page(page, part, out, data)
        except DamagedError as error:
            raise DamagedError(f"{page.file}: page {number} of {self.stacking.pages}: {error}") from error

    def _page(self, number: int) -> Page:
        if self.places is None:
            return _all_pages(self.path, self.image, self.level, self.modified_ns[0])[number]
        file, directory = self.places[number]
        try:
            return load_page(self.files[file], directory, self.modified_ns[file])
        except DamagedError as error:
            raise DamagedError(f"{error} (page {number} of {self.stacking.pages})") from error

    def _file(self, number: int) -> int:
        return self.files.index(self._page(number).file) if self.places is None else self.places[number][0]


def stored_array(path: Path, tif: tifffile.TiffFile, image: TiffImage) -> StoredArray | None:
    """Return where the voxels lie, if that is in one run, as they are and in this file."""
    offset = None if image.pages.is_multifile else image.pages.dataoffset
    if offset is None:
        return None
    dtype = image.pages.dtype.newbyteorder(cast(Any, tif.byteorder))
    return StoredArray(path, offset, image.shape[::-1], dtype, path.stat().st_mtime_ns)


def make_reader(path: Path, tif: tifffile.TiffFile, image: TiffImage) -> TiffReader:
    found = [cast(tifffile.TiffPage | tifffile.TiffFrame, page) for page in image.pages]
    page = make_page(path, image.pages.keyframe)
    made_of = stacking(image.shape, page.shape)
    if made_of is None or made_of.pages != len(found):
        raise SourceError(
            f"{path}: its metadata tell {shape_text(image.shape)} ({image.axes}) and it holds {len(found)} pages of "
            f"{extents_text(page.shape)}: cut short, or its metadata are not its own; copy it again"
        )
    # Of a page of another file tifffile knows the path from the root, of this one's it is the path as given.
    names = {file.parent.filehandle.path: None for file in found}
    files = tuple(path if name == tif.filehandle.path else Path(name) for name in names)
    places = None
    if image.pages.kind not in _WHOLE_FILE:
        numbers = {name: number for number, name in enumerate(names)}
        places = tuple((numbers[each.parent.filehandle.path], each.offset) for each in found)
    modified_ns = tuple(file.stat().st_mtime_ns for file in files)
    chunk = made_of.chunk(page.chunk)
    reader = TiffReader(path, image.number, image.level, made_of, page.dtype, page.look, chunk, files, modified_ns, places)
    _check_samples(reader)
    return reader


def _check_samples(reader: TiffReader) -> None:
    """Raise DamagedError where one of many pages, the first and the last among them, is not like the first."""
    for number in sorted({int(n) for n in np.linspace(0, reader.stacking.pages - 1, _CHECKED_PAGES)}):
        reader.check_page(number)


@lru_cache(maxsize=2)
def _all_pages(path: Path, image: int, level: int, modified_ns: int) -> tuple[Page, ...]:
    """Return the pages of an image that only the file as a whole tells; kept for the next time, as the file was then."""
    with opened_tiff(path) as tif:
        own = tif.filehandle.path
        found = [cast(tifffile.TiffPage, page) for page in tif.series[image].levels[level]]
        files = (page.parent.filehandle.path for page in found)
        return tuple(make_page(path if file == own else Path(file), page) for file, page in zip(files, found, strict=True))
