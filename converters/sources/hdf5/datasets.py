"""Which dataset of an HDF5 file is meant, and whether its voxels can be had."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from converters.errors import OptionError, SourceError
from converters.sources.axes import shape_text
from converters.sources.hdf5.metadata import Attributes, map_step
from converters.sources.hdf5.reader import UNREADABLE, open_file

_LISTED = 20
_NUMBERS = "biufc"
_LARGEST_ATTRIBUTE = 1 << 16
"""Bytes; one that tells something about voxels is far smaller."""

_KINDS = {
    "V": "records, arrays or opaque bytes as its elements; save one field as a dataset of its own",
    "S": "text",
    "U": "text",
    "O": "text, references or rows of unequal length; save numbers",
}


def choose_dataset(path: Path, file: Any, name: str | None) -> Any:
    """Return the h5py.Dataset that is meant: the one of that name, else the only one that can be a volume.

    Of a Chimera map's copies of the same array the finest is meant. Raises OptionError that lists the datasets where there are
    several or none of that name, SourceError where there is none that can be read.
    """
    if name is not None:
        return _named(path, file, name)
    volumes = _finest(file, _volumes(path, file))
    if not volumes:
        others = _listed([_described(dataset) for dataset in _datasets(path, file)])
        holds = f"; its datasets are {others}" if others else ""
        raise SourceError(f"{path}: holds no dataset of numbers with 2 to 5 axes{holds}")
    if len(volumes) > 1:
        raise OptionError(
            f"{path}: holds {len(volumes)} datasets, {_listed([_described(dataset) for dataset in volumes])}: "
            f"choose one with --array NAME, e.g. --array {_name(volumes[0])}"
        )
    return volumes[0]


def read_attributes(node: Any, names: tuple[str, ...]) -> Attributes:
    """Return those attributes of a group or dataset that are there, of a reasonable size and a type that can be read."""
    found = {}
    for name in names:
        try:
            if name in node.attrs and node.attrs.get_id(name).get_storage_size() <= _LARGEST_ATTRIBUTE:
                found[name] = node.attrs[name]
        except UNREADABLE:
            continue
    return found


def is_chimera_map(path: Path, file: Any) -> bool:
    """Tell whether a file is a map of Chimera or ChimeraX."""
    return path.name.lower().endswith(".cmap") or "Chimera" in file


def check_filters(path: Path, dataset: Any) -> None:
    """Raise SourceError that names the filter where a dataset is packed with one that is not installed."""
    plist = dataset.id.get_create_plist()
    for position in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(position)
        if not _can_unpack(code):
            raise SourceError(
                f"{path}: dataset {_name(dataset)} is packed with the filter {name.decode(errors='replace') or 'of no name'} "
                f"(number {code}), which is not installed here: pack it anew with `h5repack -f GZIP=4` where it is"
            )


def files_of(path: Path, dataset: Any) -> tuple[Path, ...]:
    """Return the file and, where the dataset is a virtual one, all those that it takes voxels from.

    Raises SourceError where one is missing or has no such dataset, for which the HDF5 library would give fill values.
    """
    path = Path(os.path.abspath(path))
    if not dataset.is_virtual:
        return (path,)
    return tuple(dict.fromkeys([path, *_source_files(path, dataset, {(path, dataset.name)})]))


def raw_file_of(path: Path, dataset: Any) -> tuple[Path, int]:
    """Return the file without a header in which a dataset with external storage lies, and the bytes before it.

    Raises SourceError where it is not one file or is not there.
    """
    if len(dataset.external) > 1:
        raise SourceError(
            f"{path}: dataset {_name(dataset)} lies in {len(dataset.external)} raw files, and one can be read: "
            "make it one with `h5repack -l CONTI`"
        )
    name, offset, _ = dataset.external[0]
    file = Path(os.path.abspath(path)).parent / name
    if not file.is_file():
        raise SourceError(
            f"{path}: dataset {_name(dataset)} lies in the file {file}, which is not there: copy it beside this one"
        )
    return file, offset


def chunk_of(path: Path, dataset: Any) -> tuple[int, ...]:
    """Return the extents that are read at one go, one an axis of the dataset; those of a virtual dataset's first source."""
    shape = dataset.shape
    chunks = dataset.chunks
    if dataset.is_virtual:
        chunks = _chunks_of_source(path, dataset.virtual_sources())
    whole = (1,) * len(shape) if chunks is None else ((1,) * len(shape) + tuple(chunks))[-len(shape) :]
    return tuple(min(chunk, extent) for chunk, extent in zip(whole, shape, strict=True))


def _chunks_of_source(path: Path, sources: list[Any]) -> tuple[int, ...] | None:
    if not sources or "%b" in sources[0].file_name + sources[0].dset_name:
        return None
    first = sources[0]
    file = path if first.file_name == "." else path.parent / first.file_name
    if not file.is_file():
        file = path.parent / file.name
    with open_file(file) as opened:
        chunks: tuple[int, ...] | None = opened[first.dset_name].chunks
    return chunks


def _named(path: Path, file: Any, name: str) -> Any:
    try:
        node = file[name]
    except UNREADABLE as error:
        listed = _listed([_described(dataset) for dataset in _volumes(path, file)])
        hint = f"it holds {listed}" if listed else "it holds none that can be a volume"
        raise OptionError(f"{path}: --array {name}: {_absence(file, name)}; {hint}") from error
    if not isinstance(node, h5py.Dataset):
        below = [dataset for dataset in _volumes(path, file) if dataset.name.startswith(f"{node.name.rstrip('/')}/")]
        raise OptionError(f"{path}: --array {name} is a group; the datasets in it are {_listed([_described(d) for d in below])}")
    if not _is_volume(node):
        raise OptionError(f"{path}: --array {name} is no volume: {_flaw(node)}; {_better(path, file)}")
    return node


def _absence(file: Any, name: str) -> str:
    """Say why there is nothing of that name in the file."""
    try:
        link = file.get(name, getlink=True)
    except UNREADABLE:
        return "there is no such dataset"
    if isinstance(link, h5py.ExternalLink):
        return f"leads to {link.path} in the file {link.filename}, which cannot be opened"
    if isinstance(link, h5py.SoftLink):
        return f"leads to {link.path}, which is not there"
    return "there is no such dataset" if link is None else "cannot be opened"


def _better(path: Path, file: Any) -> str:
    listed = _listed([_described(dataset) for dataset in _volumes(path, file)])
    return f"the others are {listed}" if listed else "nor is any other dataset of the file"


def _flaw(dataset: Any) -> str:
    dtype, shape = _dtype(dataset), dataset.shape
    if dtype is None or dtype.subdtype is not None or dtype.kind not in _NUMBERS:
        return f"it holds {_KINDS.get(dtype.kind if dtype is not None else '', 'no numbers')}"
    if not shape:
        return "it holds a single number" if shape == () else "it holds nothing"
    if 0 in shape:
        return f"it has no voxels ({shape_text(shape)})"
    return (
        f"it has {len(shape)} axes ({shape_text(shape)}), and 2 to 5 are read" if len(shape) > 1 else f"it is a row of {shape[0]}"
    )


def _volumes(path: Path, file: Any) -> list[Any]:
    return [dataset for dataset in _datasets(path, file) if _is_volume(dataset)]


def _is_volume(dataset: Any) -> bool:
    dtype = _dtype(dataset)
    if dtype is None or dtype.subdtype is not None or dtype.kind not in _NUMBERS:
        return False
    return dataset.shape is not None and 2 <= len(dataset.shape) <= 5 and 0 not in dataset.shape


def _datasets(path: Path, file: Any) -> list[Any]:
    found: list[Any] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(node)

    try:
        file.visititems(visit)
    except UNREADABLE as error:
        raise SourceError(f"{path}: its list of datasets is damaged ({_reason(error)}); copy the file again") from error
    return found


def _finest(file: Any, volumes: list[Any]) -> list[Any]:
    """Return the volumes without the coarser copies and those with other chunks that a Chimera map has of an array."""
    if not is_chimera_map(Path(file.filename), file):
        return volumes
    finest: dict[str, Any] = {}
    for dataset in volumes:
        if map_step(read_attributes(dataset, ("subsample_spacing",))) is None:
            finest.setdefault(dataset.parent.name, dataset)
    return list(finest.values())


def _dtype(dataset: Any) -> np.dtype[Any] | None:
    try:
        dtype: np.dtype[Any] = dataset.dtype
    except TypeError:  # a type that numpy has no equivalent for
        return None
    return dtype


def _described(dataset: Any) -> str:
    dtype = _dtype(dataset)
    named = "of no type of numpy" if dtype is None else "text" if dtype.kind in "SUO" else dtype.newbyteorder("=").name
    extents = "empty" if dataset.shape is None else shape_text(dataset.shape) if dataset.shape else "a single value"
    return f"{_name(dataset)} ({extents}, {named})"


def _name(dataset: Any) -> str:
    return str(dataset.name).lstrip("/")


def _listed(described: list[str]) -> str:
    more = f" and {len(described) - _LISTED} more" if len(described) > _LISTED else ""
    return ", ".join(described[:_LISTED]) + more


def _reason(error: Exception) -> str:
    return str(error).strip("'\"")


def _can_unpack(code: int) -> bool:
    if not h5py.h5z.filter_avail(code):
        return False
    return bool(h5py.h5z.get_filter_info(code) & h5py.h5z.FILTER_CONFIG_DECODE_ENABLED)


def _source_files(path: Path, dataset: Any, seen: set[tuple[Path, str]]) -> Iterator[Path]:
    """Yield the files that a virtual dataset is put together from, and those that these are put together from."""
    for source in dict.fromkeys((source.file_name, source.dset_name) for source in dataset.virtual_sources()):
        for file in _numbered(path, dataset, source[0]):
            yield file
            if "%b" in source[1] or (file, source[1]) in seen:
                continue
            seen.add((file, source[1]))
            yield from _checked_source(path, dataset, file, source[1], seen)


def _checked_source(path: Path, dataset: Any, file: Path, name: str, seen: set[tuple[Path, str]]) -> list[Path]:
    try:
        with open_file(file) as opened:
            source = opened[name]
            check_filters(file, source)
            return list(_source_files(file, source, seen)) if source.is_virtual else []
    except UNREADABLE as error:
        raise SourceError(
            f"{path}: the virtual dataset {_name(dataset)} takes voxels from the dataset {name} of {file}, "
            f"which cannot be read ({_reason(error)}): without it they would be fill values"
        ) from error


def _numbered(path: Path, dataset: Any, name: str) -> list[Path]:
    """Return the files that a name of a virtual dataset's source stands for: itself, or one a block where it has %b."""
    if name == ".":
        return [path]
    plain = name.replace("%%", "%")
    if "%b" not in name:
        return [_beside(path, dataset, plain)]
    before, _, behind = plain.partition("%b")
    folder, start = os.path.split(path.parent / before)
    numbers = [
        int(number)
        for entry in os.listdir(folder if os.path.isdir(folder) else path.parent)
        if entry.startswith(start)
        and entry.endswith(behind)
        and (number := entry[len(start) : len(entry) - len(behind)]).isdecimal()
    ]
    return [_beside(path, dataset, f"{before}{number}{behind}") for number in range(max(numbers, default=0) + 1)]


def _beside(path: Path, dataset: Any, name: str) -> Path:
    """Return where a virtual dataset's source lies: at its path or, as the library does when it was moved, beside the file."""
    for place in (path.parent / name, path.parent / Path(name).name):
        if place.is_file():
            return place
    raise SourceError(
        f"{path}: the virtual dataset {_name(dataset)} takes voxels from the file {name}, which is not there: "
        "copy it beside this one, without it they would be fill values"
    )
