"""The dataset that something is added to: a segmentation, a dataset of its kind alone, or one that is yet to be."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from converters.children import Child, child_name
from converters.errors import DatasetError, DatasetExistsError, OptionError
from converters.imports.placing import Place
from converters.record import PRIVATE, read_record
from converters.storage.files import read_file
from formats.errors import InfoError
from formats.info import VolumeInfo, parse_volume_info

STAGING = "importing"
"""The folder in a dataset's private one where an import prepares its objects."""


class ChildInfo(Protocol):
    """The info of meshes or of skeletons."""

    @property
    def segment_properties(self) -> str | None: ...


I = TypeVar("I", bound=ChildInfo)  # noqa: E741


@dataclass(frozen=True)
class Kind(Generic[I]):
    """What is added.

    child: of a volume. read: the info of a folder that a volume names; parse: of a dataset alone, None for one of another kind;
    both raise InfoError. encode: an info, with the name of its segment properties. holder: for a folder with this info, what
    tells whether a segment has an object there.
    """

    child: Child[Any]
    read: Callable[[Path], I]
    parse: Callable[[bytes], I | None]
    encode: Callable[[I, str | None], bytes]
    holder: Callable[[Path, I], Callable[[int], bool]]


@dataclass(frozen=True)
class Target(Generic[I]):
    """Where objects go.

    dataset: the folder that was given. folder: that of the objects. volume: None where there is none. info: of the objects, None
    where there are none yet. bounds: nm, float64 [2, 3], of the volume.
    """

    kind: Kind[I]
    dataset: Path
    folder: Path
    place: Place
    volume: VolumeInfo | None = None
    info: I | None = None
    bounds: NDArray[np.float64] | None = None


def find_target(dataset: Path, kind: Kind[I]) -> Target[I]:
    """Return where objects for a dataset go.

    Raises OptionError for a volume that is no segmentation, DatasetExistsError where something else is, DatasetError for what
    cannot be read.
    """
    data = read_file(dataset / "info")
    if data is None:
        _check_free(dataset)
        return Target(kind, dataset, dataset, Place())
    try:
        alone = kind.parse(data)
        if alone is not None:
            return Target(kind, dataset, dataset, Place(), info=alone)
        return _volume_target(dataset, parse_volume_info(data), kind)
    except InfoError as error:
        raise DatasetError(f"{dataset}: {error}") from error


def _volume_target(dataset: Path, volume: VolumeInfo, kind: Kind[I]) -> Target[I]:
    noun = kind.child.noun
    if volume.type == "image":
        raise OptionError(
            f"{dataset}: is an image, and {noun} belong to segments; choose a segmentation, or a new folder for {noun} alone"
        )
    name = child_name(volume, kind.child.member)
    folder = dataset / (name or kind.child.member)
    if not folder.resolve().is_relative_to(dataset.resolve()) or ":" in (name or ""):
        raise OptionError(f"{dataset}: its {noun} lie elsewhere ({name}); import into that folder")
    record = read_record(dataset)
    first = volume.scales[0]
    low = np.multiply(first.voxel_offset, first.resolution)
    return Target(
        kind,
        dataset,
        folder,
        Place(first.resolution) if record is None else Place(first.resolution, record.transform, record.world),
        volume,
        None if name is None else kind.read(folder),
        np.array([low, low + np.multiply(first.size, first.resolution)]),
    )


def _check_free(dataset: Path) -> None:
    """Raise DatasetExistsError unless nothing is in the folder."""
    if not dataset.exists():
        return
    if not dataset.is_dir():
        raise DatasetExistsError(f"{dataset}: a file is there, expected a folder for the dataset; choose another path")
    names = os.listdir(dataset)
    if (dataset / PRIVATE / STAGING).is_dir():
        return  # an import that was killed; its objects are replaced by the same
    if PRIVATE in names:
        raise DatasetExistsError(
            f"{dataset}: a conversion was begun there and not finished; finish it first, or choose another path"
        )
    if names:
        raise DatasetExistsError(f"{dataset}: the folder holds other files and no dataset; choose a new or an empty folder")
