"""Segmentations to make skeletons of, and what they are read back with."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.options import ConvertOptions
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.reading import open_skeletons
from converters.steps import Progress
from converters.volumes.conversion import convert
from formats.skeletons.skeleton import Skeleton

RESOLUTION = (32.0, 32.0, 32.0)


def quiet(progress: Progress) -> None:
    """Show nothing."""


def segmentation(folder: Path, labels: NDArray[Any], **given: Any) -> Path:
    """Return a dataset of labels [x, y, z] with voxels of 32 nm."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", np.asfortranarray(labels))
    chosen = {"resolution": RESOLUTION, "type": "segmentation", "axes": "xyz", "executor": "serial", **given}
    convert(folder / "labels.npy", folder / "dataset", ConvertOptions(**chosen), quiet)
    return folder / "dataset"


def options(**given: Any) -> SkeletonizeOptions:
    """Return options that suit the phantoms: neurites of few voxels, a cell body of 15."""
    suited = {
        "executor": "serial", "invalidation_scale": 1.5, "const": 300, "dust_threshold": 20, "soma_detection_threshold": 300,
        "soma_acceptance_threshold": 400, "soma_invalidation_scale": 1.2, "soma_invalidation_const": 100,
    }  # fmt: skip
    return SkeletonizeOptions(**{**suited, **given})


def skeletons(dataset: Path) -> dict[int, Skeleton]:
    """Return every skeleton of a dataset."""
    reader = open_skeletons(dataset / "skeletons")
    found = {segment: reader.read(segment) for segment in reader.segments()}
    return {segment: skeleton for segment, skeleton in found.items() if skeleton is not None}


def stored(dataset: Path) -> dict[str, bytes]:
    """Return every file of a dataset but those that tell of its own run."""
    names = (path for path in sorted(dataset.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(dataset)): path.read_bytes() for path in names}
