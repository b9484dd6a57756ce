"""Neuroglancer's precomputed volumes (docs/datasource/precomputed/volume.md), on disk or at a URL.

One scale of the volume is the source. Its voxel_offset is kept, so that what was made for the volume (links, meshes,
annotations) still fits; --voxel-offset names another coordinate for its first voxel, as it does for every source.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, DatasetError, OptionError, SourceError
from converters.geometry import Affine, Geometry, Lengths
from converters.record import Record, read_record
from converters.sources.axes import Arrangement, arrange
from converters.sources.fingerprints import files_fingerprint
from converters.sources.source import Report, Source, SourceOptions
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.reader import VolumeReader, chunk_limit, stored_name
from converters.storage.remote import SCHEMES, RefusedError, RemoteStorage, Url, split_url
from formats.chunks import check_chunk_format
from formats.errors import FormatError
from formats.grid import Box, Grid, Triple, morton_bits
from formats.info import Scale, VolumeInfo, parse_volume_info

_INFO = "info"
_LARGEST_INFO = 1 << 26
_AT_ONCE = 16
_AT_ONCE_BYTES = 1 << 26
"""Chunks, and the bytes that they may take encoded and decoded, that are on their way from a server at the same time."""
_PROBES = 4
"""Along each axis: so many chunks of a scale are looked for before it is read."""
_UNREADABLE = (".br", ".zst", ".zstd", ".xz", ".bz2", ".lz4")
"""Endings of chunks' files that are packed otherwise than with gzip."""
_NAMES_LOOKED_AT = 1000
_TAKEN_FOR_LABELS = ("uint32", "int32", "uint64")
"""What --type auto takes for labels."""

_Storage = AnyLayoutStorage | RemoteStorage


@dataclass(frozen=True)
class PrecomputedSource:
    """One scale of a volume; see converters.sources.source.Source.

    scale: with the one chunk size that is read. told: the info's fingerprint when it was opened.
    """

    name: str
    reader: VolumeReader
    scale: Scale
    arrangement: Arrangement
    geometry: Geometry
    notes: tuple[str, ...]
    told: dict[str, Any] = field(hash=False)

    @property
    def shape(self) -> Triple:
        """Voxels along x, y, z."""
        return self.scale.size

    @property
    def num_channels(self) -> int:
        """How many channels read returns."""
        return self.arrangement.num_channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns."""
        return np.dtype(self.reader.info.data_type)

    @property
    def label(self) -> bool:
        """Whether the info says that it is a segmentation."""
        return self.reader.info.type == "segmentation"

    @property
    def block(self) -> Triple:
        """The chunk size."""
        return self.scale.chunk_sizes[0]

    def fingerprint(self) -> dict[str, Any]:
        """Return the digest of the info, and on disk its size and time of change."""
        return self.told

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]; chunks that are absent are zeros, as the format says.

        Raises DamagedError for what cannot be decoded and for a server that does not answer.
        """
        try:
            voxels = self.reader.read(self.scale, box.shifted(self.scale.voxel_offset))
        except DatasetError as error:
            raise DamagedError(str(error)) from error
        return voxels[self.arrangement.index(Box((0, 0, 0), box.shape))]

    def spooled(self, directory: Path, report: Report) -> "PrecomputedSource":
        """Return itself: any box can be read."""
        return self


def open_precomputed(path: Path, options: SourceOptions) -> Source:
    """Return the source of a dataset's folder, in any layout: nested, flat, with `.gz` or without, sharded.

    options.array: a scale's key; the finest when there is none. Raises SourceError, OptionError.
    """
    file = path / _INFO
    if file.stat().st_size > _LARGEST_INFO:
        raise SourceError(f"{file}: has more than {_LARGEST_INFO} bytes, that is no volume's")
    data = file.read_bytes()
    told = files_fingerprint((file,))
    told[_INFO] |= {"sha256": hashlib.sha256(data).hexdigest()}
    opened = _opened(str(path), AnyLayoutStorage(path), data, options)
    _check_folder(path, opened)
    return replace(opened, told=told, geometry=_placed(opened.geometry, opened.scale, _record(path)))


def open_remote(url: str, options: SourceOptions) -> Source:
    """Return the source of a dataset at http://, https://, gs:// or s3://.

    Also written precomputed://URL, or URL|neuroglancer-precomputed: as the viewer has it; its query goes with every request.
    options.array: a scale's key; the finest when there is none. Raises SourceError, OptionError.
    """
    place = _dataset_url(url)
    if place.scheme == "file":
        return open_precomputed(Path(place.path), options)
    storage = RemoteStorage(place, anonymous=place.scheme in ("gs", "s3"))
    try:
        storage, data = _with_info(storage)
        if data is None:
            raise SourceError(f"{url}: there is no file info below it, so it is no dataset; see whether the URL is complete")
        opened = _opened(url, storage, data, options)
    except OSError as error:
        raise SourceError(f"{url}: cannot be read ({error})") from error
    return replace(opened, told={_INFO: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}})


def _with_info(storage: RemoteStorage) -> tuple[RemoteStorage, bytes | None]:
    """Return the info and the storage that it came from: with credentials only where a bucket is not public."""
    try:
        return storage, storage.get(_INFO)
    except RefusedError:
        if not storage.anonymous:
            raise
    known = replace(storage, anonymous=False)
    return known, known.get(_INFO)


def _dataset_url(url: str) -> Url:
    """Return the URL of a dataset's folder, a slash at its end, from one in any of the viewer's spellings."""
    place = split_url(url.removeprefix("precomputed://").removesuffix("/").removesuffix("|neuroglancer-precomputed:"))
    if place is None or place.scheme not in (*SCHEMES, "file") or bool(place.host) == (place.scheme == "file"):
        raise SourceError(
            f"{url}: not a place that is read: a precomputed volume at {', '.join(f'{name}://' for name in SCHEMES)} is, also "
            "written precomputed://URL or URL|neuroglancer-precomputed:; download anything else first"
        )
    return replace(place, path=place.path.rstrip("/").removesuffix(f"/{_INFO}").rstrip("/") + "/")


def _opened(name: str, storage: _Storage, data: bytes, options: SourceOptions) -> PrecomputedSource:
    try:
        info = parse_volume_info(data)
        scale = _scale(name, info, options)
        check_chunk_format(info.chunk_format(scale))
        if scale.sharding is not None:
            morton_bits(scale.grid().shape)
    except (FormatError, ValueError) as error:
        raise SourceError(f"{name}: {error}") from error
    arrangement = _arrangement(name, info, scale, options)
    scale, found = _present(storage, scale)
    storage = replace(storage, limit=chunk_limit(info, scale.chunk_sizes[0]))
    reader = VolumeReader(storage, info, _at_once(info, scale) if isinstance(storage, RemoteStorage) else 1)
    notes = tuple(_notes(info, scale, options, found))
    return PrecomputedSource(name, reader, scale, arrangement, _geometry(scale, options), notes, {})


def _scale(name: str, info: VolumeInfo, options: SourceOptions) -> Scale:
    if options.array is None:
        return info.scales[0]
    for scale in info.scales:
        if scale.key == options.array:
            return scale
    keys = ", ".join(scale.key for scale in info.scales)
    raise OptionError(f"{name}: --array {options.array} is no scale of it; its scales, the finest first, are {keys}")


def _arrangement(name: str, info: VolumeInfo, scale: Scale, options: SourceOptions) -> Arrangement:
    if options.axes not in (None, "xyz", "xyzc"):
        raise OptionError(
            f"{name}: --axes {options.axes} does not fit: a precomputed volume's axes are x, y, z; leave --axes out"
        )
    return arrange(name, "xyzc", (*scale.size, info.num_channels), options)


def _geometry(scale: Scale, options: SourceOptions) -> Geometry:
    # 0,0,0 is what the option is when nobody has given it.
    offset = scale.voxel_offset if options.voxel_offset is None else options.voxel_offset
    return Geometry(options.resolution or scale.resolution, offset)


def _present(storage: _Storage, scale: Scale) -> tuple[Scale, bool]:
    """Return the scale with the first of its chunk sizes of which chunks are there, and whether any are.

    Each chunk size is a whole copy of the scale, and of some only one was ever written.
    """
    for chunk_size in scale.chunk_sizes:
        grid = scale.grid(chunk_size)
        names = {stored_name(scale, grid, cell): None for cell in _spread(grid)}
        if any(storage.exists(name) for name in names):
            return replace(scale, chunk_sizes=(chunk_size,)), True
    return replace(scale, chunk_sizes=scale.chunk_sizes[:1]), False


def _at_once(info: VolumeInfo, scale: Scale) -> int:
    chunk = math.prod(scale.chunk_sizes[0]) * info.num_channels * np.dtype(info.data_type).itemsize
    return max(1, min(_AT_ONCE, _AT_ONCE_BYTES // (2 * chunk)))


def _spread(grid: Grid) -> Iterator[Triple]:
    """Yield a few grid positions all over the grid, those near its middle first."""
    yield from product(*(_places(n) for n in grid.shape))


def _places(count: int) -> list[int]:
    probes = min(count, _PROBES)
    places = [count * (2 * i + 1) // (2 * probes) for i in range(probes)]
    return sorted(places, key=lambda place: abs(2 * place - count))


def _notes(info: VolumeInfo, scale: Scale, options: SourceOptions, found: bool) -> Iterator[str]:
    if not found:
        yield f"scale {scale.key}: none of the chunks that were looked for is there; absent chunks are read as zeros"
    if any(scale.voxel_offset) and options.voxel_offset is None:
        told = ",".join(str(n) for n in scale.voxel_offset)
        yield f"the voxel_offset {told} of scale {scale.key} is kept; --voxel-offset names another"
    if info.type == "image" and info.data_type in _TAKEN_FOR_LABELS:
        yield f"its info says image, but {info.data_type} is taken for labels unless you say --type image"


def _check_folder(path: Path, opened: PrecomputedSource) -> None:
    """Raise SourceError where a scale's chunks are not there at all, or packed in a way that is not read."""
    folder = path / opened.scale.key
    if not folder.is_dir():
        raise SourceError(f"{path}: the folder {opened.scale.key} of its chunks is not there, only its info is: copy it whole")
    with os.scandir(folder) as entries:
        for entry in islice(entries, _NAMES_LOOKED_AT):
            if entry.name.endswith(_UNREADABLE):
                raise SourceError(
                    f"{entry.path}: packed as {Path(entry.name).suffix}, of which gzip alone is read: "
                    "write the dataset again with gzip, or give the URL of its server"
                )


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except (DatasetError, OSError):
        return None


def _placed(geometry: Geometry, scale: Scale, record: Record | None) -> Geometry:
    """Return the geometry with the place in the world that glassine's own record of the dataset tells.

    The record's transform takes the dataset's nm to the world's; another resolution stretches the voxels from the centre of
    the first one, as for every source.
    """
    if record is None or record.transform is None:
        return geometry
    first = tuple((o + 0.5) * r for o, r in zip(scale.voxel_offset, scale.resolution, strict=True))
    x, y, z = (_affine_row(row, first, geometry.resolution) for row in record.transform)
    affine: Affine = (x, y, z)
    return replace(geometry, affine=affine, world=record.world)


def _affine_row(
    row: tuple[float, float, float, float], first: tuple[float, ...], resolution: Lengths
) -> tuple[float, float, float, float]:
    a, b, c = (factor * length for factor, length in zip(row[:3], resolution, strict=True))
    return a, b, c, row[3] + sum(factor * place for factor, place in zip(row[:3], first, strict=True))
