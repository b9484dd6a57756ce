"""The table of what was traced, largest first, lengths in the unit that was asked for."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.errors import DatasetError
from converters.geometry import Lengths
from converters.storage.files import new_file
from formats.skeletons.skeleton import Skeleton

_AXES = "xyz"


@dataclass(frozen=True)
class Counts:
    """What a component's skeleton has. cable: nm."""

    cable: float = 0.0
    branch_points: int = 0
    end_points: int = 0


@dataclass(frozen=True)
class Scaling:
    """How voxels and nm become lengths of the table. unit: its name. nanometres: of one unit. resolution: nm a voxel."""

    unit: str
    nanometres: float
    resolution: Lengths


def counts_of(skeleton: Skeleton) -> Counts:
    """Return what is told of a skeleton."""
    degrees = skeleton.degrees
    return Counts(skeleton.cable_length, int((degrees > 2).sum()), int((degrees == 1).sum()))


def write_table(path: Path, components: Path, counts: Mapping[int, Counts], scaling: Scaling) -> None:
    """Write a CSV file of components and their skeletons.

    components: the table that labelling left. counts: of each id that has a skeleton. Raises DatasetError, DiskFullError.
    """
    with new_file(path) as file:
        file.write(f"{','.join(_columns(scaling.unit))}\n".encode())
        for row in _rows(components):
            file.write(f"{','.join(_line(row, counts.get(int(row['label']), Counts()), scaling))}\n".encode())


def _columns(unit: str) -> list[str]:
    boxes = [f"{axis}_{end}" for end in ("begin", "end") for axis in _AXES]
    return [
        *("id", "voxels", f"volume_{unit}3"),
        *boxes,
        *(f"{axis}_centre_{unit}" for axis in _AXES),
        *(f"cable_{unit}", "branch_points", "end_points"),
    ]


def _rows(components: Path) -> Iterator[dict[str, str]]:
    try:
        with components.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{components}: cannot be read ({error}); label the volume again with --overwrite") from error


def _line(row: Mapping[str, str], counts: Counts, scaling: Scaling) -> list[str]:
    volume = float(row["volume_nm3"]) / scaling.nanometres**3
    centre = [
        float(row[f"{axis}_centre"]) * length / scaling.nanometres for axis, length in zip(_AXES, scaling.resolution, strict=True)
    ]
    return [
        *(row["label"], row["voxels"], f"{volume:.9g}"),
        *(row[f"{axis}_{end}"] for end in ("begin", "end") for axis in _AXES),
        *(f"{length:.9g}" for length in centre),
        *(f"{counts.cable / scaling.nanometres:.9g}", str(counts.branch_points), str(counts.end_points)),
    ]
