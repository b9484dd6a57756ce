"""Which of the images in a TIFF file is taken, and whether it is there whole."""

import os
from dataclasses import dataclass
from pathlib import Path

import tifffile

from converters.errors import OptionError, SourceError
from converters.sources.axes import shape_text
from converters.sources.source import SourceOptions
from converters.sources.tiff.metadata import ome_files, ome_master
from converters.sources.tiff.pages import make_page, page_text

_NAMED_IMAGES = 12

_Pages = tifffile.TiffPageSeries


@dataclass(frozen=True)
class TiffImage:
    """An image that was chosen from a file: number and level, its pages, and its array's axes without those of extent 1."""

    path: Path
    number: int
    level: int
    pages: _Pages
    axes: str
    shape: tuple[int, ...]
    notes: tuple[str, ...]


def choose_image(path: Path, tif: tifffile.TiffFile, options: SourceOptions) -> TiffImage:
    """Return the image that options.array names: `1` the second image, or of a single image the second level of its pyramid,
    `2/1` that of the third image; or an image's own name. Raises OptionError where there is none, SourceError.
    """
    number, level, notes = _named_image(path, tif.series, options.array)
    pages = tif.series[number].levels[level]
    if options.array is None:
        _check_alike(path, tif)
        notes = _others_note(tif)
    shape, axes = pages.get_shape(False), pages.get_axes(False)
    kept = [i for i in range(len(shape)) if shape[i] != 1 or axes[i] in "XY"]
    return TiffImage(path, number, level, pages, "".join(axes[i] for i in kept), tuple(int(shape[i]) for i in kept), notes)


def _named_image(path: Path, series: list[_Pages], array: str | None) -> tuple[int, int, tuple[str, ...]]:
    if array is None:
        return 0, 0, ()
    names = [pages.name for pages in series]
    if names.count(array) == 1:
        return names.index(array), 0, ()
    choices = {f"{number}/{level}": (number, level) for number, pages in enumerate(series) for level in range(len(pages.levels))}
    single = {str(level): (0, level) for level in range(len(series[0].levels))}
    choices |= single if len(series) == 1 else {str(number): (number, 0) for number in range(len(series))}
    if array not in choices:
        raise OptionError(f"{path}: --array {array} is not there: choose {_listed(series)}")
    return (*choices[array], ())


def _listed(series: list[_Pages]) -> str:
    """Return a list of all images and levels and how to name them."""
    told = []
    for number, pages in enumerate(series):
        for level, of_level in enumerate(pages.levels):
            name = str(level) if len(series) == 1 else f"{number}/{level}" if level else str(number)
            quoted = f" {pages.name!r}" if pages.name and not level else ""
            told.append(f"{name}{quoted} ({of_level.axes} {shape_text(of_level.shape)} {of_level.dtype})")
    more = f" and {len(told) - _NAMED_IMAGES} more" if len(told) > _NAMED_IMAGES else ""
    return ", ".join(told[:_NAMED_IMAGES]) + more


def _others_note(tif: tifffile.TiffFile) -> tuple[str, ...]:
    full = [pages for pages in tif.series if not pages.keyframe.is_reduced]
    if len(full) < 2:
        return ()
    return (f"holds {len(tif.series)} images and the first is taken; --array takes another: {_listed(tif.series)}",)


def _check_alike(path: Path, tif: tifffile.TiffFile) -> None:
    """Raise SourceError where pages without any metadata are of several kinds, so that none tells which are the slices."""
    full = [pages for pages in tif.series if not pages.keyframe.is_reduced]
    if len(full) < 2 or any(pages.kind != "generic" for pages in full):
        return
    first, other = (make_page(path, pages.keyframe) for pages in full[:2])
    number = full[1].keyframe.index
    raise SourceError(
        f"{path}: page {number} of {len(tif.pages)} has {page_text(other)}, page {full[0].keyframe.index} {page_text(first)}: "
        f"the slices of one volume are alike; --array takes those that are: {_listed(tif.series)}"
    )


def check_complete(tif: tifffile.TiffFile, image: TiffImage, messages: list[str], options: SourceOptions) -> None:
    """Raise SourceError for an image that its file, or the files that it names, do not hold whole.

    messages: what tifffile warned of. Raises OptionError for a part of an image whose metadata are in another file.
    """
    path = image.path
    _check_pages(tif, image)
    if options.axes is None:
        _check_ome_part(tif, path)
    for message in messages:
        if "failed to reshape" in message:
            pages = len(tif.pages)
            raise SourceError(f"{path}: its metadata tell another shape than its {pages} pages make up: cut short; copy it again")
        if "missing" in message:
            found = message.partition("> ")[2] or message
            raise SourceError(f"{path}: its metadata tell more than it holds ({found}): copy it, or all its files, again")
    planes = (tif.imagej_metadata or {}).get("images", 1)
    if image.pages.kind in ("uniform", "generic") and isinstance(planes, int) and planes > len(tif.pages):
        raise SourceError(
            f"{path}: ImageJ wrote {planes} images into it and {os.path.getsize(path)} bytes do not hold them: the file is cut "
            "short; copy it again"
        )
    if image.pages.transform is not None:
        raise SourceError(f"{path}: its grey values are stored as square roots, which is not read: save it again from Fiji")


def _check_pages(tif: tifffile.TiffFile, image: TiffImage) -> None:
    """Raise SourceError where pages are not there that the metadata name."""
    path = image.path
    if image.pages.dataoffset is not None:
        return
    told, held = len(image.pages), len(tif.pages)
    if image.pages.kind in ("shaped", "imagej", "lsm") and told > held:
        raise SourceError(f"{path}: its metadata tell {told} pages and it holds {held}: the file is cut short; copy it again")
    if all(page is not None for page in image.pages):
        return
    # A file that was renamed names itself by another name, which is no matter where its pages were found.
    absent = [name for name in ome_files(tif) if name != path.name and not (path.parent / name).is_file()]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise SourceError(
            f"{path}: its metadata name several files, and {absent[0]!r} is not beside it{more}: copy all of them there"
        )
    number = list(image.pages).index(None)
    raise SourceError(f"{path}: its metadata tell {told} pages, and page {number} is missing: copy the file, or all files, again")


def _check_ome_part(tif: tifffile.TiffFile, path: Path) -> None:
    master = ome_master(tif)
    if master is not None:
        raise OptionError(
            f"{path}: a part of an image whose metadata are in {master}: give that file if it is a TIFF, else say for this part "
            "alone what its axes are, e.g. --axes zyx"
        )
