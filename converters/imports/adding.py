"""Putting objects that are ready on the disk into a dataset, one by one, and telling of them last."""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from converters.children import child_name, record_path
from converters.claim import LOCK, locked
from converters.errors import DatasetExistsError
from converters.imports.target import STAGING, I, Target
from converters.properties.merging import merged, named, names_of
from converters.properties.stored import FOLDER as PROPERTIES
from converters.properties.stored import StoredProperties
from converters.record import PRIVATE
from converters.storage.files import raise_if_full, write_file
from formats.info import VolumeInfo, encode_volume_info
from formats.segment_properties import SegmentProperties, encode_segment_properties

_NAMED = 5
"""Segments that a message names."""


@dataclass(frozen=True)
class Addition(Generic[I]):
    """What is added. staging: a folder with a file of each new object. info: of the objects, old and new.

    segments: the file names of each, those that make it seen last. shards: names of files with objects of many. names: of
    segments. numbers: what else is told of them. record: what the record of a volume's objects is, when they are in their place.
    overwrite: whether objects and names that are there may go.
    """

    staging: Path
    info: I
    segments: Mapping[int, tuple[str, ...]]
    shards: tuple[str, ...]
    names: Mapping[int, str]
    numbers: SegmentProperties
    record: Callable[[], bytes]
    overwrite: bool

    @property
    def files(self) -> list[str]:
        """The names of all files, in the order in which they come into the dataset."""
        return [*(name for names in self.segments.values() for name in names), *self.shards]


@contextmanager
def staged(target: Target[Any]) -> Iterator[Path]:
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
                if set(os.listdir(private)) <= {LOCK}:
                    # Inside the lock, so that no other run can hold what is removed here.
                    shutil.rmtree(private, ignore_errors=True)
    except OSError as error:
        raise_if_full(error, target.dataset)
        raise
    finally:
        with suppress(OSError):
            for folder in made[1:]:
                folder.rmdir()


def publish(target: Target[I], addition: Addition[I]) -> tuple[str, ...]:
    """Move the objects into the dataset and tell of them in its infos, the volume's last; returns notes for the user.

    Objects that are there already with the same bytes are left. Raises DatasetExistsError, before anything is changed, for others
    of the same segments, unless they may be overwritten; DatasetError for segment properties that cannot be read.
    """
    _check_stray(target, addition)
    _check_conflicts(target, addition)
    stored = _stored_properties(target, addition)
    properties, notes = _properties(stored, addition)
    target.folder.mkdir(parents=True, exist_ok=True)
    for name in addition.files:
        os.replace(addition.staging / name, target.folder / name)
    member = stored.member
    if properties is not None:
        member = PROPERTIES
        (stored.owner / member).mkdir(exist_ok=True)
        _put(addition, stored.owner / member / "info", encode_segment_properties(properties))
    if target.volume is None:
        _put(addition, target.folder / "info", target.kind.encode(addition.info, member))
    else:
        _put(addition, target.folder / "info", target.kind.encode(addition.info, addition.info.segment_properties))
        _put(addition, record_path(target.dataset, target.kind.child.member), addition.record())
        volume = replace(_naming(target.volume, target), segment_properties=member)
        _put(addition, target.dataset / "info", encode_volume_info(volume))
    return notes


def _naming(volume: VolumeInfo, target: Target[Any]) -> VolumeInfo:
    member = target.kind.child.member
    changed: dict[str, Any] = {member: child_name(volume, member) or target.folder.name}
    return replace(volume, **changed)


def _check_stray(target: Target[I], addition: Addition[I]) -> None:
    """Raise DatasetExistsError for a folder of objects that the volume does not name, unless only what is added is in it."""
    child = target.kind.child
    if target.volume is None or child_name(target.volume, child.member) is not None or not target.folder.exists():
        return
    strange = sorted(set(os.listdir(target.folder)) - {*addition.files, "info"})
    if strange and not addition.overwrite:
        raise DatasetExistsError(
            f"{target.folder}: is there with {len(strange)} files ({strange[0]}, ...), and the volume's info does not name it: "
            f"its {child.noun} may be of other segments; remove the folder, or add --overwrite to keep them and add to them"
        )


def _check_conflicts(target: Target[I], addition: Addition[I]) -> None:
    if addition.overwrite or not target.folder.exists():
        return
    holds = target.kind.holder(target.folder, addition.info)
    taken = [segment for segment, names in addition.segments.items() if holds(segment) and not _same(target, addition, names)]
    if taken:
        raise DatasetExistsError(
            f"{target.folder}: {len(taken)} of {len(addition.segments)} segments have other {target.kind.child.noun} there "
            f"({_some(taken)}); add --overwrite to replace them"
        )


def _same(target: Target[I], addition: Addition[I], names: tuple[str, ...]) -> bool:
    files = [(addition.staging / name, target.folder / name) for name in names]
    return all(there.is_file() and filecmp.cmp(new, there, shallow=False) for new, there in files)


def _stored_properties(target: Target[I], addition: Addition[I]) -> StoredProperties:
    if target.volume is not None:
        return StoredProperties(target.dataset, target.volume.segment_properties)
    return StoredProperties(target.folder, addition.info.segment_properties)


def _properties(stored: StoredProperties, addition: Addition[Any]) -> tuple[SegmentProperties | None, tuple[str, ...]]:
    """Return the dataset's properties with what is added, None where nothing changes, and notes for the user."""
    if not addition.names and not addition.numbers.ids:
        return None, ()
    if stored.is_elsewhere:
        return None, (f"{stored.owner}: its segment properties lie at {stored.member}, so nothing was added to them",)
    there = stored.read()
    known = {} if addition.overwrite else names_of(there)
    others = sorted(segment for segment, name in addition.names.items() if known.get(segment, name) != name)
    names = {segment: name for segment, name in addition.names.items() if segment not in set(others)}
    found = merged(merged(there, named(names)), addition.numbers)
    notes = (
        f"{stored.owner}: {len(others)} segments have other names already ({_some(others)}), which were kept; add --overwrite to "
        "replace them",
    )
    return None if found == there else found, notes if others else ()


def _some(segments: list[int]) -> str:
    return ", ".join(map(str, segments[:_NAMED])) + (", ..." if len(segments) > _NAMED else "")


def _put(addition: Addition[Any], path: Path, data: bytes) -> None:
    """Put a file in its place from the staging folder, so that a run that is killed leaves no part of it anywhere else."""
    write_file(addition.staging / "info", data)
    os.replace(addition.staging / "info", path)
