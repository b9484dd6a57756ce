"""The dataset that meshes are added to: a segmentation, a dataset of meshes alone, or one that is yet to be."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError, DatasetExistsError, OptionError
from converters.imports.placing import Place
from converters.meshes.reading import mesh_kind, read_mesh_info
from converters.meshes.record import FOLDER
from converters.record import PRIVATE, read_record
from converters.storage.files import read_file
from formats.errors import InfoError
from formats.info import VolumeInfo, parse_volume_info
from formats.meshes.info import MeshInfo, parse_mesh_info

STAGING = "importing"
"""The folder in a dataset's private one where an import prepares its objects."""


@dataclass(frozen=True)
class Target:
    """Where meshes go.

    dataset: the folder that was given. folder: that of the meshes. volume: None where there is none. info: of the meshes, None
    where there are none yet. bounds: nm, float64 [2, 3], of the volume.
    """

    dataset: Path
    folder: Path
    place: Place
    volume: VolumeInfo | None = None
    info: MeshInfo | None = None
    bounds: NDArray[np.float64] | None = None


def find_target(dataset: Path) -> Target:
    """Return where meshes for a dataset go.

    Raises OptionError for a volume that is no segmentation, DatasetExistsError where something else is, DatasetError for what
    cannot be read.
    """
    data = read_file(dataset / "info")
    if data is None:
        _check_free(dataset)
        return Target(dataset, dataset, Place())
    try:
        if mesh_kind(data) is not None:
            return Target(dataset, dataset, Place(), info=parse_mesh_info(data))
        return _volume_target(dataset, parse_volume_info(data))
    except InfoError as error:
        raise DatasetError(f"{dataset}: {error}") from error


def _volume_target(dataset: Path, volume: VolumeInfo) -> Target:
    if volume.type == "image":
        raise OptionError(
            f"{dataset}: is an image, and meshes belong to segments; choose a segmentation, or a new folder for meshes alone"
        )
    folder = dataset / (volume.mesh or FOLDER)
    if not folder.resolve().is_relative_to(dataset.resolve()) or ":" in (volume.mesh or ""):
        raise OptionError(f"{dataset}: its meshes lie elsewhere ({volume.mesh}); import into that folder")
    record = read_record(dataset)
    first = volume.scales[0]
    low = np.multiply(first.voxel_offset, first.resolution)
    return Target(
        dataset,
        folder,
        Place(first.resolution) if record is None else Place(first.resolution, record.transform, record.world),
        volume,
        None if volume.mesh is None else read_mesh_info(folder),
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
