"""Stacks of slices, one file each: a folder or a pattern of TIFF, PNG or JPEG files, and single pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, OptionError
from converters.geometry import Geometry
from converters.sources.array import ArraySource
from converters.sources.axes import arrange, check_axes
from converters.sources.slices.names import kind_of, order_notes, slices_in, slices_of
from converters.sources.slices.pictures import Picture, palette_rises, picture_header, read_picture
from converters.sources.source import SourceOptions
from converters.sources.tiff.metadata import VoxelSize, look, ome_files, voxel_size
from converters.sources.tiff.pages import PALETTE, Page, Part, extents_text, file_bytes, load_page, opened_tiff, read_page
from converters.sources.tiff.stacking import Stacking
from converters.sources.units import told_resolution

_SAMPLED_SLICES = 16


@dataclass(frozen=True)
class SliceReader:
    """A stack of slices, one file each, as an array [slice, row, column] or [slice, row, column, colour].

    See converters.sources.array.ArrayReader. names: of the files in folder. look: as of a page of TIFF, of every slice.
    """

    folder: Path
    names: tuple[str, ...]
    stacking: Stacking
    dtype: np.dtype[Any]
    look: int
    chunk: tuple[int, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All slices."""
        return tuple(self.folder / name for name in self.names)

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index]. Raises DamagedError for a slice that is cut short, corrupt or not like the first, naming it."""
        return self.stacking.read(index, self.dtype, self._read_slice)

    def check(self, found: Page | Picture, file: Path) -> None:
        """Raise DamagedError unless a slice is like the first."""
        if (found.shape, found.dtype) != (self.stacking.page, self.dtype):
            raise DamagedError(
                f"{file}: {extents_text(found.shape)} of {found.dtype}, and the first slice, {self.names[0]}, has "
                f"{extents_text(self.stacking.page)} of {self.dtype}: the slices of one volume are alike"
            )
        if found.look != self.look:
            raise DamagedError(
                f"{file}: its numbers become grey in another way than those of the first slice, {self.names[0]} (a palette, or 0 "
                "is white): save all slices in the same way"
            )

    def _read_slice(self, number: int, part: Part, out: NDArray[Any]) -> None:
        file = self.folder / self.names[number]
        found = _header(file)
        self.check(found, file)
        if isinstance(found, Picture):
            out[...] = read_picture(file, found)[part]
            return
        try:
            read_page(found, part, out, file_bytes(file, file.stat().st_mtime_ns))
        except DamagedError as error:
            raise DamagedError(f"{file}: {error}") from error


def open_folder(folder: Path, options: SourceOptions) -> ArraySource:
    """Return the source of the slices in a folder, in the order of the numbers in their names.

    Raises SourceError for a folder that holds something else, and for slices that are not alike, OptionError where --axes or
    --resolution is needed.
    """
    return _open_stack(folder, folder, slices_in(folder), options)


def open_pattern(pattern: Path, options: SourceOptions) -> ArraySource:
    """Return the source of the slices that a pattern such as `slices/*.tif` matches; raises what open_folder does."""
    folder, names = slices_of(pattern)
    return _open_stack(pattern, folder, names, options)


def open_slice(file: Path, options: SourceOptions) -> ArraySource:
    """Return the source of a single picture, one voxel thick; raises what open_folder does."""
    return _open_stack(file, file.parent, (file.name,), options)


def _open_stack(path: Path, folder: Path, names: tuple[str, ...], options: SourceOptions) -> ArraySource:
    first = folder / names[0]
    header = _header(first)
    reader = _reader(folder, names, header)
    for number in sorted({int(n) for n in np.linspace(0, len(names) - 1, _SAMPLED_SLICES)}):
        reader.check(_header(folder / names[number]), folder / names[number])
    size, label, look_notes = _metadata(path, first, header)
    axes, axes_notes = _axes(path, reader, options)
    arrangement = arrange(str(path), axes, reader.stacking.shape, options)
    sizes, units = size.placed("ZYXC"[: len(axes)], axes)
    resolution = told_resolution(str(path), sizes, units, options)
    notes = (*axes_notes, *order_notes(names), *look_notes)
    return ArraySource(str(path), reader, arrangement, Geometry(resolution, options.offset), label, notes)


def _header(file: Path) -> Page | Picture:
    """Return what the header of a slice tells. Raises DamagedError."""
    try:
        if kind_of(file.name) == "TIFF":
            return load_page(file, 0, file.stat().st_mtime_ns)
        return picture_header(file)
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror or error})") from error


def _reader(folder: Path, names: tuple[str, ...], first: Page | Picture) -> SliceReader:
    separate, _, rows, columns, samples = first.shape
    # Colours lie side by side, or as planes of their own.
    colours = (samples,) if samples > 1 else (separate,) if separate > 1 else ()
    within = (2, 3, *((4,) if samples > 1 else (0,) if separate > 1 else ()))
    stacking = Stacking((len(names), rows, columns, *colours), first.shape, within)
    page_chunk = first.shape if isinstance(first, Picture) else first.chunk
    return SliceReader(folder, names, stacking, first.dtype, first.look, stacking.chunk(page_chunk))


def _axes(path: Path, reader: SliceReader, options: SourceOptions) -> tuple[str, tuple[str, ...]]:
    """Return the array's axes, with the colours' c where the options leave it out, and a note where they tell nothing."""
    shape = reader.stacking.shape
    if options.axes is None:
        notes = (f"the {shape[0]} slices are taken along z; --axes says otherwise (yzx: along y, xzy: along x)",)
        return "zyxc"[: len(shape)], notes if shape[0] > 1 else ()
    axes = options.axes + "c" if len(options.axes) == 3 < len(shape) and "c" not in options.axes else options.axes
    check_axes(str(path), axes, shape)
    return axes, ()


def _metadata(path: Path, first: Path, header: Page | Picture) -> tuple[VoxelSize, bool, tuple[str, ...]]:
    """Return the voxel size that the first slice tells, whether it holds labels, and notes on its look."""
    if isinstance(header, Picture):
        label = header.look == PALETTE and not palette_rises(first)
        note = "a palette gives its voxels colours: the numbers of the colours are taken, as labels; --type image says otherwise"
        return VoxelSize(), label, (note,) if label else ()
    with opened_tiff(first) as tif:
        together = ome_files(tif)
        if len(together) > 1:
            raise OptionError(
                f"{path}: the OME metadata of its files make one image of {len(together)} of them: give one file, e.g. {first}"
            )
        return voxel_size(tif, 0, 1), *look(tif, tif.pages.first)
