"""Where a file's coordinates lie in the dataset."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError
from converters.geometry import Affine, Lengths

Matrix = NDArray[np.float64]
Unit = Literal["nm", "um", "mm"]
Space = Literal["dataset", "world", "ras", "lps"]
_SPACES: tuple[Space, ...] = ("dataset", "world", "ras", "lps")

NM: dict[Unit, float] = {"nm": 1.0, "um": 1e3, "mm": 1e6}
_RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Place:
    """The space of the dataset that files are brought into.

    resolution: nm a voxel, None where there is no volume. transform: dataset nm -> world nm, None where they are the same.
    world: "RAS", or "" where the world's directions have no names.
    """

    resolution: Lengths | None = None
    transform: Affine | None = None
    world: str = ""


@dataclass(frozen=True)
class FileCoordinates:
    """What a file, or its format, tells of its coordinates.

    unit: nm of one, None where it tells none. space: None where it tells none. stored_in: the name that the file has for the
    space of its coordinates. matrices: float64 [4, 4] from the coordinates to other spaces, by their names.
    """

    unit: float | None = None
    space: Space | None = None
    stored_in: str = ""
    matrices: Mapping[str, Matrix] = field(default_factory=dict)


@dataclass(frozen=True)
class Coordinates:
    """What the user tells of the files' coordinates; None leaves it to the file, or to the defaults below.

    unit: nm where neither file nor format tells another. space: the dataset's own where the file tells none. affine: applied to
    the file's coordinates first, in the file's unit. gifti_space: which space of a GIfTI file to take. centred: 0 is the
    centre of the dataset's first voxel and not its corner.
    """

    unit: Unit | None = None
    space: Space | None = None
    affine: Matrix | None = None
    gifti_space: str | None = None
    centred: bool = False


def coordinates(unit: str, space: str, affine: str | None, *, centred: bool) -> Coordinates:
    """Return what options tell of the files' coordinates; unit, space: auto for what the files tell.

    Raises OptionError as parse_affine does.
    """
    return Coordinates(
        unit=next((name for name in NM if name == unit), None),
        space=next((name for name in _SPACES if name == space), None),
        affine=None if affine is None else parse_affine(affine),
        centred=centred,
    )


def to_dataset(file: FileCoordinates, place: Place, told: Coordinates, name: str) -> Matrix:
    """Return the float64 [4, 4] matrix from a file's coordinates to the dataset's nm.

    name: the file's, for messages. Raises OptionError when the file's space is not the dataset's and no way between is known.
    """
    unit = NM[told.unit] if told.unit is not None else file.unit or 1.0
    own = _gifti_matrix(file, told.gifti_space, name) if file.stored_in else np.eye(4)
    affine = np.eye(4) if told.affine is None else told.affine
    space = told.space or file.space or "dataset"
    return _from_space(space, place, told, name) @ np.diag([unit, unit, unit, 1.0]) @ affine @ own


def parse_affine(text: str) -> Matrix:
    """Return 12 or 16 numbers, row by row, as float64 [4, 4]: those in the text, else those in the file that it names.

    Raises OptionError for other numbers, a matrix that flattens space, or a last row that is not 0, 0, 0, 1.
    """
    words = _words(text)
    told = "" if _are_numbers(words) else f" in {text}"
    if told:
        try:
            words = _words(Path(text).read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise OptionError(
                f"--affine {text}: neither 12 or 16 numbers with commas between them nor a text file ({error})"
            ) from error
    if not _are_numbers(words) or len(words) not in (12, 16):
        count = f"{len(words)} numbers" if _are_numbers(words) else "other words than numbers"
        raise OptionError(f"--affine: found {count}{told}, expected 12 or 16, the matrix row by row")
    matrix = np.eye(4)
    matrix[: len(words) // 4] = np.array([float(word) for word in words]).reshape(-1, 4)
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise OptionError(f"--affine: the last row is {', '.join(f'{n:g}' for n in matrix[3])}{told}, expected 0, 0, 0, 1")
    if not abs(np.linalg.det(matrix[:3, :3])) > 0:
        raise OptionError(f"--affine: the matrix{told} flattens everything (its determinant is 0); check its rows")
    return matrix


def _from_space(space: Space, place: Place, told: Coordinates, name: str) -> Matrix:
    """Return the matrix from nm of a space to the dataset's nm."""
    if space == "dataset":
        return _from_centres(place) if told.centred else np.eye(4)
    if told.centred:
        raise OptionError(
            f"{name}: --voxel-centres is for coordinates of the dataset's own, and these are in {space}; leave it out"
        )
    turn = _RAS_OF_LPS if space == "lps" else np.eye(4)
    if place.resolution is None:
        return turn
    if space in ("ras", "lps") and place.world != "RAS":
        raise OptionError(
            f"{name}: its coordinates are in {space.upper()}, and the dataset does not tell where it lies in RAS; "
            "add --space dataset, and --affine if they are not the dataset's own"
        )
    return np.linalg.inv(_matrix(place.transform)) @ turn


def _from_centres(place: Place) -> Matrix:
    if place.resolution is None:
        raise OptionError("--voxel-centres needs a volume, whose voxels are known; use --affine for a dataset without one")
    matrix = np.eye(4)
    matrix[:3, 3] = np.array(place.resolution) / 2
    return matrix


def _matrix(transform: Affine | None) -> Matrix:
    return np.eye(4) if transform is None else np.array([*transform, (0.0, 0.0, 0.0, 1.0)])


def _gifti_matrix(file: FileCoordinates, chosen: str | None, name: str) -> Matrix:
    """Return the matrix from the coordinates that a GIfTI file stores to the space that is chosen."""
    if chosen is None and file.matrices:
        known = ", ".join(f"--gifti-space {space}" for space in sorted(file.matrices))
        raise OptionError(
            f"{name}: its coordinates are in a space of their own ({file.stored_in}), with a matrix to another; "
            f"add {known} to use it, or --gifti-space stored to take them as they stand"
        )
    if chosen in (None, "stored", file.stored_in):
        return np.eye(4)
    if chosen not in file.matrices:
        known = ", ".join(sorted({file.stored_in, *file.matrices}))
        raise OptionError(
            f"{name}: tells nothing of a space {chosen}; it knows {known}; "
            "--gifti-space stored takes the coordinates as they stand"
        )
    return file.matrices[chosen]


def _words(text: str) -> list[str]:
    return re.split(r"[\s,;]+", text.strip(" \t\r\n,;"))


def _are_numbers(words: list[str]) -> bool:
    try:
        return all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False
