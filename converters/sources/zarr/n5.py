"""N5 (github.com/saalfeldlab/n5, "File-system specification"); tensorstore reads the voxels.

Its first axis is x and varies fastest. What its attributes say of voxel sizes follows n5-viewer (pixelResolution,
downsamplingFactors, scales), Neuroglancer (axes, resolution, units), COSEM (transform) and Fiji (pixelWidth, ...).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.errors import OptionError, SourceError
from converters.sources.array import ArraySource
from converters.sources.axes import shape_text
from converters.sources.source import SourceOptions
from converters.sources.zarr.array_attributes import Scales, resolution_of, transform_axes
from converters.sources.zarr.choice import Choice, array_folder, choose, listed, name_below, subfolders
from converters.sources.zarr.chunk_store import StoredChunks, first_chunk, open_chunks
from converters.sources.zarr.json_metadata import numbers, objects, read_json, texts
from converters.sources.zarr.scaled_axes import ScaledAxes, array_source, letters_of

_NAME = "attributes.json"
_KEYS = ("dimensions", "blockSize", "dataType", "compression")
_LEVEL = re.compile(r"s([0-9]{1,3})", re.ASCII)
_DEPTH = 8
_INHERITED = 4
"""So many folders above an array may tell what holds for it."""
_IMAGEJ_COUNTS = {"c": "numChannels", "z": "numSlices", "t": "numFrames"}
_VARIABLE_LENGTH = b"\0\1"

_Attributes = dict[str, Any]


def open_n5(path: Path, options: SourceOptions) -> ArraySource:
    """Return the source of an array, the finest level of a pyramid s0, s1, ..., or what options.array names below path.

    Raises SourceError for what is no N5 or not sound, OptionError where a choice, the axes or the voxel size is needed.
    """
    folder = array_folder(path, options.array)
    if not folder.is_dir():
        found = listed(list(_below(path, path, _DEPTH))) or "no array"
        raise OptionError(f"{path}: --array {options.array} is not in it; it holds {found}")
    if not _is_array(folder):
        if not _levels(folder):
            folder = path / choose(path, "arrays", list(_below(path, folder, _DEPTH))).name
        folder = next(iter(_levels(folder)), folder)
    return _open_array(path, folder, options)


def _open_array(path: Path, folder: Path, options: SourceOptions) -> ArraySource:
    chain = _chain(folder)
    if chain[0].get("isLabelMultiset"):
        raise SourceError(f"{folder}: holds label multisets of Paintera and no voxels: export it from Paintera as uint64 first")
    reader, notes = open_chunks(_stored(folder, chain[0]))
    _check_mode(folder)
    source = array_source(str(path), reader, _told(folder, chain, len(reader.shape), options), options, label=False)
    return replace(source, notes=(*notes, *source.notes))


def _chain(folder: Path) -> list[_Attributes]:
    """Return the attributes of an array and of the groups above it, up to the root of its container, nearest first."""
    folder = folder.absolute()
    chain = [_attributes(folder)]
    for above in list(folder.parents)[:_INHERITED]:
        if "n5" in chain[-1] or folder.suffix == ".n5":
            break
        chain.append(_attributes(above))
        folder = above
    return chain


def _attributes(folder: Path) -> _Attributes:
    file = folder / _NAME
    return read_json(file) if file.is_file() else {}


def _is_array(folder: Path) -> bool:
    return "dimensions" in _attributes(folder)


def _levels(folder: Path) -> list[Path]:
    """Return the arrays s0, s1, ... of a group, finest first."""
    return [child for child in subfolders(folder) if _LEVEL.fullmatch(child.name) and _is_array(child)]


def _below(path: Path, folder: Path, depth: int) -> Iterator[Choice]:
    """Yield the arrays and pyramids below a folder, a pyramid as one, up to _DEPTH folders deep."""
    for child in subfolders(folder) if depth else ():
        attributes = _attributes(child)
        if "dimensions" in attributes:
            shape = shape_text(tuple(int(n) for n in numbers(attributes["dimensions"]) or ()))
            yield Choice(name_below(path, child), f"{attributes.get('dataType')}, {shape}")
        elif levels := _levels(child):
            yield Choice(name_below(path, child), f"pyramid of {len(levels)}")
        else:
            yield from _below(path, child, depth - 1)


def _stored(folder: Path, attributes: _Attributes) -> StoredChunks:
    metadata = {key: attributes[key] for key in _KEYS if key in attributes}
    if "compressionType" in attributes:
        # As it was spelled before version 2.
        metadata.setdefault("compression", {"type": attributes["compressionType"]})
    return StoredChunks("n5", folder, metadata, (folder / _NAME,), "", "/")


def _check_mode(folder: Path) -> None:
    chunk = first_chunk(folder)
    if chunk is None:
        return
    with chunk.open("rb") as file:
        mode = file.read(2)
    if mode == _VARIABLE_LENGTH:
        raise SourceError(f"{chunk}: a block of variable length (mode 1), only blocks of voxels (mode 0) are read")


def _told(folder: Path, chain: list[_Attributes], rank: int, options: SourceOptions) -> ScaledAxes:
    told = _transform(folder, chain, rank) or _imagej(chain[0], rank)
    if told is not None:
        return told
    names = next((names for names in (texts(own.get("axes")) for own in chain) if names and len(names) == rank), ())
    letters = letters_of(names) if names else None
    sizes, units = next((base for base in (_base(own, rank) for own in chain) if base), ((None,) * rank, (None,) * rank))
    factors = _factors(folder, chain, rank)
    if factors is None and any(sizes) and options.resolution is None:
        raise OptionError(
            f"{folder}: nothing tells the downsamplingFactors of this level, and so its voxel size: add --resolution X,Y,Z in nm"
        )
    scaled = tuple(size and size * n for size, n in zip(sizes, factors or (1,) * rank, strict=True))
    notes = ("its affineTransform is left out: the volume is placed by its voxel size alone",) if _has_affine(chain) else ()
    return ScaledAxes(letters, scaled, units, (0.0,) * rank, () if letters else names, notes)


def _transform(folder: Path, chain: list[_Attributes], rank: int) -> ScaledAxes | None:
    """Return what COSEM's transform tells, its own or the one in its group's "multiscales", x first.

    It is in C order, z first, unless its axes begin with x or "ordering" says F.
    """
    own = [
        chain[0],
        *(dataset for group in chain[1:2] for dataset in _datasets(group) if dataset.get("path") == folder.absolute().name),
    ]
    for attributes in own:
        told = transform_axes(attributes, rank)
        if told is None:
            continue
        letters, names = told.letters, told.names
        if attributes["transform"].get("ordering") == "F" or (letters or "").startswith("x"):
            return told
        return ScaledAxes(
            letters and letters[::-1], told.sizes[::-1], told.units[::-1], told.places[::-1], names[::-1], told.notes
        )
    return None


def _imagej(own: _Attributes, rank: int) -> ScaledAxes | None:
    """Return what Fiji's N5 export tells in ImageJ's words: the axes are x, y and those of c, z, t that are longer than 1."""
    more = "".join(axis for axis, key in _IMAGEJ_COUNTS.items() if own.get(key) not in (None, 1))
    sizes = numbers([own.get(key) for key in ("pixelWidth", "pixelHeight", "pixelDepth")])
    if sizes is None or len(more) + 2 != rank:
        return None
    told = dict(zip("xyz", sizes, strict=True))
    unit = own.get("unit", own.get("pixelUnit"))
    units = (unit if isinstance(unit, str) else None,) * rank
    letters = f"xy{more}"
    return ScaledAxes(letters, tuple(told.get(axis) for axis in letters), units, (0.0,) * rank)


def _datasets(group: _Attributes) -> tuple[_Attributes, ...]:
    return tuple(d for multiscale in objects(group.get("multiscales")) or () for d in objects(multiscale.get("datasets")) or ())


def _base(attributes: _Attributes, rank: int) -> Scales | None:
    """Return voxel size and units of the finest level, one an axis; of axes beyond x, y, z it may tell none."""
    told = attributes.get("pixelResolution")
    unit = told.get("unit") if isinstance(told, dict) else None
    sizes = numbers(told.get("dimensions") if isinstance(told, dict) else told)
    if sizes is None:
        return resolution_of(attributes, rank)
    more = rank - len(sizes)
    if more < 0 or (more and len(sizes) != 3):
        return None
    return (*sizes, *(None,) * more), (unit if isinstance(unit, str) else None,) * rank


def _factors(folder: Path, chain: list[_Attributes], rank: int) -> tuple[float, ...] | None:
    """Return how many of the finest level's voxels one of this level is along each axis, None where nothing tells."""
    own = numbers(chain[0].get("downsamplingFactors"))
    if own is not None:
        return own if len(own) == rank else None
    found = _LEVEL.fullmatch(folder.absolute().name)
    level = int(found[1]) if found else 0
    for group in chain[1:]:
        for key in ("downsamplingFactors", "scales"):
            all_levels = group.get(key)
            factors = numbers(all_levels[level]) if isinstance(all_levels, list) and level < len(all_levels) else None
            if factors is not None and len(factors) == rank:
                return factors
    return None if level else (1.0,) * rank


def _has_affine(chain: list[_Attributes]) -> bool:
    return any("affineTransform" in attributes for attributes in chain)
