"""Putting meshes that are ready on the disk into a dataset, object by object, and telling of them last."""

import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from converters.claim import locked
from converters.errors import DatasetExistsError
from converters.meshes.reading import MeshReader
from converters.meshes.record import MeshRecord, encode_mesh_record, mesh_record_path, read_mesh_record
from converters.meshes.target import STAGING, Target
from converters.record import PRIVATE
from converters.storage.files import raise_if_full, read_file, write_file
from formats.info import encode_volume_info
from formats.meshes.info import MeshInfo, encode_mesh_info
from formats.segment_properties import encode_labels

_PROPERTIES = "segment_properties"
_IMPORTED = {"command": "import-mesh"}
"""The options in the record of meshes that were all imported."""
SHOWN = 10
"""Segments that links select."""
_NAMED = 5
"""Segments that a message names."""


@dataclass(frozen=True)
class Addition:
    """What is added. staging: a folder with a file of each new object. info: of the meshes, old and new.

    segments: the file names of each, its manifest last. largest: ids of those with the most triangles. names: of segments.
    overwrite: whether meshes that are there may go.
    """

    staging: Path
    info: MeshInfo
    segments: Mapping[int, tuple[str, ...]]
    largest: tuple[int, ...]
    names: Mapping[int, str]
    overwrite: bool


@contextmanager
def staged(target: Target) -> Iterator[Path]:
    """Hold the dataset for this run and give an empty folder on its disk, which is removed at the end.

    Raises BusyError when another run holds the dataset, DiskFullError.
    """
    private = target.dataset / PRIVATE
    made = [folder for folder in (private, target.dataset, *target.dataset.parents) if not folder.exists()]
    staging = private / STAGING
    try:
        private.mkdir(parents=True, exist_ok=True)
        with locked(target.dataset):
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                if private in made and not mesh_record_path(target.dataset).exists():
                    # Inside the lock, so that no other run can hold what is removed here.
                    shutil.rmtree(private, ignore_errors=True)
    except OSError as error:
        raise_if_full(error, target.dataset)
        raise
    finally:
        with suppress(OSError):
            for folder in made[1:]:
                folder.rmdir()


def publish(target: Target, addition: Addition) -> tuple[str, ...]:
    """Move the objects into the dataset and tell of them in its infos, the volume's last; returns notes for the user.

    Objects that are there already with the same bytes are left. Raises DatasetExistsError, before anything is changed, for others
    of the same segments, unless they may be overwritten.
    """
    record = read_mesh_record(target.dataset)
    _check_stray(target, addition)
    _check_conflicts(target, addition)
    target.folder.mkdir(parents=True, exist_ok=True)
    for names in addition.segments.values():
        for name in names:
            os.replace(addition.staging / name, target.folder / name)
    owner = target.dataset if target.volume is not None else target.folder
    told = (target.volume or addition.info).segment_properties
    note = _write_names(owner, told, addition)
    properties = _PROPERTIES if addition.names and note is None else told
    if target.volume is None:
        _put(addition, target.folder, encode_mesh_info(replace(addition.info, segment_properties=properties)))
    else:
        _put(addition, target.folder, encode_mesh_info(addition.info))
        write_file(addition.staging / "record", encode_mesh_record(_record(target, addition, record)))
        os.replace(addition.staging / "record", mesh_record_path(target.dataset))
        volume = replace(target.volume, mesh=target.volume.mesh or target.folder.name, segment_properties=properties)
        _put(addition, target.dataset, encode_volume_info(volume))
    return () if note is None else (note,)


def _record(target: Target, addition: Addition, before: MeshRecord | None) -> MeshRecord:
    """Return what is known of a volume's meshes now; a first look shows what was added last.

    Where nothing was known, only what the folder tells is: triangles and error of other tools' meshes are not counted.
    """
    shown = dict.fromkeys((*addition.largest, *(before.largest if before else ())))
    largest = tuple(shown)[:SHOWN]
    if before is not None and before.options != _IMPORTED:
        return replace(before, largest=largest)
    sizes = [entry.stat().st_size for entry in os.scandir(target.folder) if entry.name != "info"]
    return MeshRecord(
        glassine=version("glassine"),
        fingerprint={},
        options=_IMPORTED,
        folder=target.folder.relative_to(target.dataset).as_posix(),
        scale="",
        max_error=0.0,
        meshes=len(MeshReader(target.folder, addition.info).segments()),
        triangles=(),
        stored_bytes=sum(sizes),
        largest=largest,
    )


def _check_stray(target: Target, addition: Addition) -> None:
    """Raise DatasetExistsError for a folder of meshes that the volume does not name, unless only what is added is in it."""
    if target.volume is None or target.volume.mesh is not None or not target.folder.exists():
        return
    ours = {name for names in addition.segments.values() for name in names}
    strange = sorted(set(os.listdir(target.folder)) - ours - {"info"})
    if strange and not addition.overwrite:
        raise DatasetExistsError(
            f"{target.folder}: is there with {len(strange)} files ({strange[0]}, ...), and the volume's info does not name it: "
            "its meshes may be of other segments; remove the folder, or add --overwrite to keep them and add to them"
        )


def _check_conflicts(target: Target, addition: Addition) -> None:
    if addition.overwrite or not target.folder.exists():
        return
    reader = MeshReader(target.folder, addition.info)
    taken = [
        segment for segment, names in addition.segments.items() if reader.holds(segment) and not _same(target, addition, names)
    ]
    if taken:
        named = ", ".join(map(str, taken[:_NAMED])) + (", ..." if len(taken) > _NAMED else "")
        raise DatasetExistsError(
            f"{target.folder}: {len(taken)} of {len(addition.segments)} segments have other meshes there ({named}); "
            "add --overwrite to replace them"
        )


def _same(target: Target, addition: Addition, names: tuple[str, ...]) -> bool:
    files = [(addition.staging / name, target.folder / name) for name in names]
    return all(there.is_file() and filecmp.cmp(new, there, shallow=False) for new, there in files)


def _write_names(owner: Path, told: str | None, addition: Addition) -> str | None:
    """Write the segments' names below owner, or return why not. told: the properties that its info names."""
    if not addition.names:
        return None
    folder = owner / _PROPERTIES
    data = encode_labels(addition.names)
    if told not in (None, _PROPERTIES) or (read_file(folder / "info") or data) != data:
        return f"{owner}: has segment properties already, so the {len(addition.names)} names of the table were not written"
    folder.mkdir(exist_ok=True)
    _put(addition, folder, data)
    return None


def _put(addition: Addition, folder: Path, info: bytes) -> None:
    """Put an info into a folder, from the staging folder, so that a run that is killed leaves no part of it anywhere else."""
    write_file(addition.staging / "info", info)
    os.replace(addition.staging / "info", folder / "info")
