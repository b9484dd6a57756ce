"""Which datasets lie below a folder, and what there is to say about each."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from converters.errors import DatasetError
from converters.meshes.record import read_mesh_record
from converters.record import PRIVATE, Record, read_record
from converters.skeletons.record import read_skeleton_record
from formats.errors import FormatError
from formats.info import VOLUME, VolumeInfo, parse_volume_info

_DEPTH = 6
"""Folders below the root that are looked into, one in the other."""
_FOLDERS = 10_000
"""Folders that are looked into at all: a store of chunks that is no dataset of ours may have millions."""
_LARGEST_INFO = 1 << 24
"""Bytes; the `info` of a volume has some thousand."""


@dataclass(frozen=True)
class Dataset:
    """A volume that the viewer can open.

    name: its path below the served root. selected: ids of segments with meshes or skeletons that a first look shows.
    """

    name: str
    path: Path
    info: VolumeInfo
    record: Record | None
    selected: tuple[int, ...] = ()


@dataclass(frozen=True)
class BrokenDataset:
    """A folder whose `info` or record cannot be read. error: why, one sentence."""

    name: str
    error: str


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, by name; complete is False when there were too many folders to look into."""

    datasets: tuple[Dataset | BrokenDataset, ...]
    complete: bool


def read_dataset(path: Path, name: str) -> Dataset:
    """Return the volume in a folder. Raises DatasetError with one sentence when there is none that the viewer can open."""
    try:
        return _read(path, name)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


def find_datasets(root: Path) -> Listing:
    """Return the volumes below root, root itself included; broken ones with their error, folders inside a dataset left out."""
    found: list[Dataset | BrokenDataset] = []
    looked = 0
    for looked, folder in enumerate(_folders(root), 1):
        dataset = _dataset(folder, root)
        if dataset is not None:
            found.append(dataset)
        if looked == _FOLDERS:
            break
    return Listing(tuple(sorted(found, key=lambda dataset: dataset.name)), complete=looked < _FOLDERS)


def dataset_path(root: Path, name: str) -> Path | None:
    """Return the folder of the dataset of this name; None unless it holds an `info` and lies below root, links followed."""
    if "\0" in name or "\\" in name or any(part in ("..", PRIVATE) for part in name.split("/")):
        return None
    top = root.resolve()
    path = (top / name.strip("/")).resolve()
    return path if path.is_relative_to(top) and (path / "info").is_file() else None


class DiskSizes:
    """Bytes on disk of datasets, counted one after the other beside whatever asks, once for each version of a dataset."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Path, int], int | None] = {}
        self._one_at_a_time = Lock()

    def get(self, dataset: Dataset) -> int | None:
        """Return the bytes, None while they are still being counted (ask again later)."""
        if dataset.record is not None and "stored_bytes" in dataset.record.counts:
            return dataset.record.counts["stored_bytes"]
        try:
            version = (dataset.path, (dataset.path / "info").stat().st_mtime_ns)
        except OSError:
            return None
        if version not in self._counts:
            self._counts[version] = None
            # A daemon: millions of files take minutes, and a server that stops does not wait for their sum.
            Thread(target=self._count, args=(version,), name="disk-sizes", daemon=True).start()
        return self._counts[version]

    def _count(self, version: tuple[Path, int]) -> None:
        with self._one_at_a_time:
            self._counts[version] = bytes_on_disk(version[0])


def bytes_on_disk(folder: Path) -> int:
    """Return the bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def _folders(root: Path) -> Iterator[Path]:
    """Yield root and the folders below it, the shallow ones first, none inside a dataset and none that leads out of root."""
    top = root.resolve()
    level = [root]
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            yield folder
            if not (folder / "info").is_file():
                below += _subfolders(folder, top)
        level = below


def _subfolders(folder: Path, top: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            folders = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []  # not ours to read, so not ours to list
    inside = [entry for entry in folders if not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(top)]
    return [folder / entry.name for entry in sorted(inside, key=lambda entry: entry.name)]


def _dataset(folder: Path, root: Path) -> Dataset | BrokenDataset | None:
    """Return the volume in a folder, with an error if it is broken; None where there is no `info`, or that of something else."""
    if not (folder / "info").is_file():
        return None
    name = folder.relative_to(root).as_posix().removeprefix(".")
    try:
        return None if _is_other_kind(_info_bytes(folder)) else _read(folder, name)
    except DatasetError as error:
        return BrokenDataset(name, str(error))
    except OSError as error:
        return BrokenDataset(name, f"its info cannot be read ({error.strerror or error})")


def _read(path: Path, name: str) -> Dataset:
    """Return the volume in a folder. Raises DatasetError, a sentence without the path, when it cannot be opened."""
    try:
        info = parse_volume_info(_info_bytes(path))
        return Dataset(name, path, info, read_record(path), _first_look(path, info))
    except FileNotFoundError:
        raise DatasetError("no dataset, there is no file `info` in it; convert a volume into it first") from None
    except FormatError as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        raise DatasetError(f"its info cannot be read ({error.strerror or error})") from error


def _first_look(path: Path, info: VolumeInfo) -> tuple[int, ...]:
    """Return the segments that a first look shows: those with the largest meshes, where there are none the longest skeletons."""
    meshes = read_mesh_record(path) if info.mesh is not None else None
    if meshes is not None:
        return meshes.largest
    skeletons = read_skeleton_record(path) if info.skeletons is not None else None
    return skeletons.largest if skeletons is not None else ()


def _is_other_kind(data: bytes) -> bool:
    """Tell whether an info is that of meshes, skeletons, annotations or properties, which belong to a volume or stand alone."""
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(members, dict) and members.get("@type", VOLUME) != VOLUME and "scales" not in members


def _info_bytes(folder: Path) -> bytes:
    with (folder / "info").open("rb") as file:
        data = file.read(_LARGEST_INFO + 1)
    if len(data) > _LARGEST_INFO:
        raise DatasetError(f"its info has more than {_LARGEST_INFO} bytes, that is no volume's")
    return data
