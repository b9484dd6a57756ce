"""Zarr v2 and v3 (zarr-specs), a plain array or an image of OME-Zarr; tensorstore reads the voxels.

Where a store holds several images none is guessed: the message lists them. A path inside a store is opened as --array opens it.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.errors import OptionError, SourceError
from converters.sources.array import ArraySource
from converters.sources.axes import shape_text
from converters.sources.source import SourceOptions
from converters.sources.zarr.array_attributes import resolution_of, transform_axes
from converters.sources.zarr.choice import Choice, array_folder, choose, listed, name_below, subfolders
from converters.sources.zarr.chunk_store import StoredChunks, first_chunk, open_chunks
from converters.sources.zarr.json_metadata import numbers, objects, read_json, texts
from converters.sources.zarr.ome_zarr import Image, Level, images, ome_attributes, told_axes
from converters.sources.zarr.scaled_axes import ScaledAxes, array_source, letters_of

_KEYS_V2 = ("zarr_format", "shape", "chunks", "dtype", "compressor", "fill_value", "order", "filters", "dimension_separator")
_UNUSED_V3 = ("attributes", "dimension_names", "consolidated_metadata")
"""Change no voxel; what else is in a zarr.json tensorstore takes or refuses, as the specification asks."""
_LEVEL_DEPTH = 3
"""So many folders above its array an image's metadata is looked for; most writers need one."""
_DEPTH = 8
_DIM = re.compile(r"dim_\d+")
"""What xarray calls an axis without a name."""


@dataclass(frozen=True)
class _Node:
    """An array or a group.

    metadata: an array's, without attributes. names: of an array's axes. files: in which all that stands, the metadata's first.
    """

    folder: Path
    is_array: bool
    zarr_format: int
    metadata: dict[str, Any]
    attributes: dict[str, Any]
    names: tuple[str, ...]
    files: tuple[Path, ...]


def open_zarr(path: Path, options: SourceOptions) -> ArraySource:
    """Return the source of an array, the finest level of an image, or the array or level that options.array names below path.

    Raises SourceError for what is no Zarr or not sound, OptionError where a choice, the axes or the voxel size is needed.
    """
    folder = array_folder(path, options.array)
    if not folder.is_dir():
        found = listed(list(_below(path, path, _DEPTH))) or "no array"
        raise OptionError(f"{path}: --array {options.array} is not in it; it holds {found}")
    node = _node(folder)
    notes: tuple[str, ...] = ()
    for _ in range(_DEPTH):
        if node.is_array:
            return _open_array(path, node, options, notes)
        node, note = _next(path, node)
        notes += note
    raise SourceError(f"{path}: its groups name one another and no array; copy it again")


def _open_array(path: Path, node: _Node, options: SourceOptions, notes: tuple[str, ...]) -> ArraySource:
    image = _image_of(node)
    files = (*node.files, *(image.group.files if image is not None else ()))
    reader, more = open_chunks(_stored(node, files))
    rank = len(reader.shape)
    told = _told(node, rank) if image is None else told_axes(str(image.group.folder), image.image, image.level, rank)
    label = image is not None and image.image.label
    source = array_source(str(path), reader, told, options, label)
    return replace(source, notes=(*notes, *more, *source.notes))


@dataclass(frozen=True)
class _ImageLevel:
    """Which level of which image an array is."""

    group: _Node
    image: Image
    level: Level


def _image_of(node: _Node) -> _ImageLevel | None:
    """Return the image, in a group above an array, of which the array is a level."""
    array = node.folder.absolute()
    for folder in list(array.parents)[:_LEVEL_DEPTH]:
        group = _node(folder)
        if group.is_array:
            return None
        for image in images(str(folder), group.attributes):
            level = image.level(name_below(folder, array))
            if level is not None:
                return _ImageLevel(group, image, level)
    return None


def _node(folder: Path) -> _Node:
    """Return what a folder is; one without metadata is a group without attributes."""
    if (folder / "zarr.json").is_file():
        return _node_v3(folder)
    files = {name: folder / name for name in (".zarray", ".zgroup", ".zattrs") if (folder / name).is_file()}
    attributes = read_json(files[".zattrs"]) if ".zattrs" in files else {}
    metadata = read_json(files[".zarray"]) if ".zarray" in files else {}
    names = texts(attributes.get("_ARRAY_DIMENSIONS")) or ()
    return _Node(folder, ".zarray" in files, 2, metadata, attributes, names, tuple(files.values()))


def _node_v3(folder: Path) -> _Node:
    file = folder / "zarr.json"
    metadata = read_json(file)
    kind = metadata.get("node_type")
    if metadata.get("zarr_format") != 3 or kind not in ("array", "group"):
        raise SourceError(
            f"{file}: tells zarr_format {json.dumps(metadata.get('zarr_format'))} and node_type {json.dumps(kind)}, "
            "expected 3 and array or group; copy it again"
        )
    attributes = metadata.get("attributes")
    names = texts(metadata.get("dimension_names")) or ()
    stored = {key: value for key, value in metadata.items() if key not in _UNUSED_V3}
    return _Node(folder, kind == "array", 3, stored, attributes if isinstance(attributes, dict) else {}, names, (file,))


def _next(path: Path, group: _Node) -> tuple[_Node, tuple[str, ...]]:
    """Return the node on the way from a group to an array. Raises OptionError that lists them where there are several."""
    ome = ome_attributes(group.attributes)
    if "plate" in ome:
        raise _plate(path, group, ome["plate"])
    found = images(str(group.folder), group.attributes)
    if found:
        return _finest(path, group, found)
    choices, what = _choices(path, group, ome)
    return _node(path / choose(path, what, choices).name), ()


def _choices(path: Path, group: _Node, ome: dict[str, Any]) -> tuple[list[Choice], str]:
    """Return what a group without an image of its own holds, and what to call it."""
    if isinstance(ome.get("well"), dict):
        return _named(path, group, _paths(ome["well"].get("images"))), "fields of a well"
    if "bioformats2raw.layout" in ome:
        series = texts(ome_attributes(_node(group.folder / "OME").attributes).get("series"))
        numbered = tuple(folder.name for folder in subfolders(group.folder) if folder.name.isdigit())
        return _named(path, group, numbered if series is None else series), "images"
    labels = texts(ome.get("labels"))
    if labels is not None:
        return _named(path, group, labels), "label images"
    return list(_below(path, group.folder, _DEPTH)), "arrays"


def _finest(path: Path, group: _Node, found: tuple[Image, ...]) -> tuple[_Node, tuple[str, ...]]:
    level = found[0].levels[0]
    array = _node(group.folder / level.path)
    if not array.is_array:
        others = ", ".join(name_below(path, group.folder / other.path) for other in found[0].levels[1:])
        hint = f"copy it again, or take another of its levels with --array: {others}" if others else "copy it again"
        raise SourceError(f"{array.folder}: the array of the image's finest level has no metadata there; {hint}")
    if len(found) == 1:
        return array, ()
    return array, (f"{group.folder} tells {len(found)} images: the first, {level.path}, is taken; --array takes another",)


def _plate(path: Path, group: _Node, plate: object) -> OptionError:
    wells = _paths(plate.get("wells") if isinstance(plate, dict) else None)
    first = group.folder.joinpath(*wells[:1])
    well = ome_attributes(_node(first).attributes).get("well")
    fields = _paths(well.get("images") if isinstance(well, dict) else None) or ("0",)
    example = name_below(path, first / fields[0])
    choices = listed([Choice(well) for well in wells]) or "none"
    return OptionError(f"{path}: a plate of {len(wells)} wells, {choices}: add --array WELL/FIELD, e.g. --array {example}")


def _paths(listed_objects: object) -> tuple[str, ...]:
    """Return the paths of "wells" or "images", those that lead out of the group left out."""
    paths = [item.get("path") for item in objects(listed_objects) or ()]
    return tuple(path for path in paths if isinstance(path, str) and _leads_below(path))


def _leads_below(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")


def _named(path: Path, group: _Node, names: tuple[str, ...]) -> list[Choice]:
    folders = [group.folder / name for name in names if _leads_below(name)]
    return [Choice(name_below(path, folder)) for folder in folders if folder.is_dir()]


def _below(path: Path, folder: Path, depth: int) -> Iterator[Choice]:
    """Yield the arrays and images below a folder, an image as one, up to _DEPTH folders deep."""
    for child in subfolders(folder) if depth else ():
        node = _node(child)
        if node.is_array:
            yield Choice(name_below(path, child), _described(node))
        elif "multiscales" in ome_attributes(node.attributes):
            yield Choice(name_below(path, child), "image")
        else:
            yield from _below(path, child, depth - 1)


def _described(array: _Node) -> str:
    dtype = array.metadata.get("dtype", array.metadata.get("data_type"))
    shape = numbers(array.metadata.get("shape")) or ()
    return f"{dtype if isinstance(dtype, str) else 'records'}, {shape_text(tuple(int(n) for n in shape))}"


def _told(array: _Node, rank: int) -> ScaledAxes:
    """Return what an array that is no level of an image tells of its axes itself."""
    told = transform_axes(array.attributes, rank)
    if told is not None:
        return told
    sizes, units = resolution_of(array.attributes, rank) or ((None,) * rank, (None,) * rank)
    offset = numbers(array.attributes.get("offset"))
    places = (0.0,) * rank
    if offset is not None and len(offset) == rank:
        places = tuple(corner + (size or 0) / 2 for corner, size in zip(offset, sizes, strict=True)) if any(offset) else places
    names = array.names if len(array.names) == rank and not all(_DIM.fullmatch(name) for name in array.names) else ()
    letters = letters_of(names) if names else None
    return ScaledAxes(letters, sizes, units, places, names if letters is None else ())


def _stored(array: _Node, files: tuple[Path, ...]) -> StoredChunks:
    metadata = {key: _without_nan(value) for key, value in array.metadata.items()}
    if array.zarr_format == 3:
        return StoredChunks("zarr3", array.folder, metadata, files, *_key_v3(metadata.get("chunk_key_encoding")))
    metadata = {key: metadata[key] for key in _KEYS_V2 if key in metadata}
    metadata.setdefault("dimension_separator", _separator(array.folder))
    if metadata.get("dtype") == "|b1" and metadata.get("fill_value") in (0, 1):
        metadata["fill_value"] = bool(metadata["fill_value"])
    return StoredChunks("zarr", array.folder, metadata, files, "", str(metadata["dimension_separator"]))


def _key_v3(encoding: object) -> tuple[str, str]:
    """Return the prefix and separator of "chunk_key_encoding" (zarr-specs v3, "Chunk key encoding")."""
    told = encoding if isinstance(encoding, dict) else {}
    configuration = told.get("configuration")
    default = "." if told.get("name") == "v2" else "/"
    separator = configuration.get("separator", default) if isinstance(configuration, dict) else default
    return ("" if told.get("name") == "v2" else f"c{separator}"), str(separator)


def _separator(folder: Path) -> str:
    # Stores in nested folders from before 2021 tell no separator, and by the default, '.', all their chunks would be missing.
    chunk = first_chunk(folder)
    return "/" if chunk is not None and chunk.parent != folder else "."


def _without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
