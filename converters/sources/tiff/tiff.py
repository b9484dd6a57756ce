"""Images in TIFF files: plain pages, BigTIFF, OME-TIFF, ImageJ's hyperstacks, LSM, MetaMorph, Micro-Manager."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile

from converters.errors import OptionError
from converters.geometry import Geometry, Lengths
from converters.sources.array import ArraySource
from converters.sources.axes import Arrangement, arrange, check_axes, shape_text
from converters.sources.mapped import MappedSource
from converters.sources.source import SourceOptions
from converters.sources.tiff.images import TiffImage, check_complete, choose_image
from converters.sources.tiff.metadata import VoxelSize, look, voxel_size
from converters.sources.tiff.pages import opened_tiff
from converters.sources.tiff.reader import make_reader, stored_array
from converters.sources.units import told_resolution


def open_tiff(path: Path, options: SourceOptions) -> MappedSource | ArraySource:
    """Return the source of a TIFF file's image: that which options.array names (see choose_image), else the first.

    Raises SourceError for what is no TIFF, is cut short, lacks pages or holds pages that differ, OptionError where --array,
    --axes, --time or --resolution is needed.
    """
    with _heard() as messages, opened_tiff(path) as tif:
        image = choose_image(path, tif, options)
        check_complete(tif, image, messages, options)
        axes, axes_notes = _axes(image, options)
        arrangement = arrange(str(path), axes, image.shape, options)
        size = voxel_size(tif, image.number, len(tif.series))
        resolution = _resolution(image, size.coarser(_factors(tif, image)), axes, options)
        label, look_notes = look(tif, image.pages.keyframe)
        told = size.notes if options.resolution is None else ()
        notes = (*image.notes, *axes_notes, *look_notes, *told, *_ome_notes(messages))
        geometry = Geometry(resolution, options.offset)
        stored = stored_array(path, tif, image)
        if stored is not None:
            stored.check_size()
            reverse = Arrangement(arrangement.axes[::-1], arrangement.shape[::-1], arrangement.channel, arrangement.time)
            return MappedSource(path, stored, reverse, geometry, label=label, notes=notes)
        return ArraySource(str(path), make_reader(path, tif, image), arrangement, geometry, label, notes)


def _axes(image: TiffImage, options: SourceOptions) -> tuple[str, tuple[str, ...]]:
    """Return one of the letters x, y, z, c, t an axis, and notes. Raises OptionError where --axes must tell."""
    if options.axes is not None:
        check_axes(str(image.path), options.axes, image.shape)
        return options.axes, ()
    letters = image.axes if "C" in image.axes else image.axes.replace("S", "C")
    notes: tuple[str, ...] = ()
    sequence = [letter for letter in letters if letter in "IQ"]
    if "Z" not in letters and len(sequence) == 1:
        letters = letters.replace(sequence[0], "Z")
        notes = (f"nothing tells what its {image.shape[letters.index('Z')]} pages are: taken as z; --axes says otherwise",)
    if not set(letters) <= set("XYZCT") or len(set(letters)) < len(letters):
        raise OptionError(
            f"{image.path}: its axes are {image.axes} ({shape_text(image.shape)}), and a volume's are x, y, z and channels: "
            "say with --axes what each is, one letter an axis (x, y, z, c channels, t what --time N chooses from), e.g. "
            f"--axes {_example(len(letters))}"
        )
    if "T" in letters and "Z" not in letters and options.time is None:
        times = image.shape[letters.index("T")]
        as_z = letters.replace("T", "Z").lower()
        raise OptionError(
            f"{image.path}: its {times} pages are called points of time: add --time N, N from 0 to {times - 1}, or where they "
            f"are slices --axes {as_z}"
        )
    return letters.lower(), notes


def _example(axes: int) -> str:
    return {3: "zyx", 4: "tzyx"}.get(axes, "tczyx")


def _resolution(image: TiffImage, size: VoxelSize, axes: str, options: SourceOptions) -> Lengths:
    """Return nm a voxel along x, y, z: what the file tells of its own X, Y, Z goes where axes put these."""
    sizes, units = size.placed(image.axes, axes)
    return told_resolution(str(image.path), sizes, units, options)


def _factors(tif: tifffile.TiffFile, image: TiffImage) -> dict[str, float]:
    """Return how many times coarser a level of the pyramid is along X, Y, Z than the image itself."""
    whole = tif.series[image.number]
    finest = dict(zip(whole.get_axes(False), whole.get_shape(False), strict=True))
    return {axis: _factor(finest[axis], extent) for axis, extent in zip(image.axes, image.shape, strict=True) if axis in "XYZ"}


def _factor(fine: int, coarse: int) -> float:
    # 1025 pixels halved are 512 or 513, of pixels twice as wide.
    whole = round(fine / coarse)
    return float(whole) if coarse in (fine // whole, -(-fine // whole)) else fine / coarse


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what tifffile warns of meanwhile."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def _ome_notes(messages: list[str]) -> tuple[str, ...]:
    told = (message.partition("OME series ")[2] for message in messages)
    return tuple(f"of its OME metadata: {text}" for text in dict.fromkeys(told) if text)
