"""Where the pieces of a volume lie: by the numbers in their names, or as a JSON file tells.

A pattern such as `x{1}y{1}z{1}.h5` or `x{0000}/y{0000}/z{0000}.h5`: braces stand for whole numbers that count from the one in
them, written with at least as many digits; the letter before them names the axis along which they count.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converters.errors import SourceError
from formats.grid import Triple

_BRACES = re.compile(r"\{(\d{1,9})\}")
_LARGEST_LAYOUT = 1 << 26
"""Bytes of a JSON file; hundreds of thousands of pieces fit in."""

_EXAMPLE = '{"pieces": [{"file": "a.h5", "start": [0, 0, 0]}, {"file": "b.h5", "start": [1024, 0, 0]}]}'

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Coordinate = Annotated[int, Field(ge=0, lt=1 << 40)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ListedPiece(_Model):
    """A piece of a layout. file: relative to the layout's folder. start: voxels x, y, z before it in the whole volume."""

    file: str = Field(min_length=1)
    array: str | None = Field(None, min_length=1)
    start: tuple[_Coordinate, _Coordinate, _Coordinate]


class Layout(_Model):
    """A JSON file that tells of which pieces a volume is made. resolution: nm. missing: what voxels are that no piece holds."""

    pieces: tuple[ListedPiece, ...] = Field(min_length=1)
    resolution: tuple[_Length, _Length, _Length] | None = None
    missing: str = Field("error", pattern="^(error|zeros)$")


@dataclass(frozen=True)
class _Number:
    """Braces of a pattern. axis: 0, 1, 2 for x, y, z."""

    axis: int
    first: int
    digits: int

    def text(self, position: int) -> str:
        """Return what stands for the braces in the name of the piece at position, counted from 0."""
        return f"{self.first + position:0{self.digits}d}"

    def position(self, text: str) -> int | None:
        """Return the position that a text stands for, None where it is not what this number would be written as."""
        position = int(text) - self.first
        return position if position >= 0 and self.text(position) == text else None


@dataclass(frozen=True)
class _Part:
    """A name in a path: texts, and a number between each and the next."""

    texts: tuple[str, ...]
    numbers: tuple[_Number, ...]

    def name(self, cell: Triple) -> str:
        """Return the name for the piece at cell."""
        numbers = (number.text(cell[number.axis]) for number in self.numbers)
        return self.texts[0] + "".join(number + text for number, text in zip(numbers, self.texts[1:], strict=True))

    def match(self, name: str) -> dict[int, int] | None:
        """Return axis -> position that a name tells, None where it is not of this form or contradicts itself."""
        found = re.fullmatch(r"(\d{1,18})".join(re.escape(text) for text in self.texts), name, re.ASCII)
        positions: dict[int, int] = {}
        for number, text in zip(self.numbers, found.groups() if found else (), strict=bool(found)):
            position = number.position(text)
            if position is None or positions.setdefault(number.axis, position) != position:
                return None
        return positions if found else None


def pieces_of_pattern(pattern: Path) -> dict[Triple, Path]:
    """Return the pieces that a pattern of names stands for: position along x, y, z, counted from 0, -> file.

    Every position up to the last one is there. Raises SourceError for what is no pattern, for no file, and for one that is
    missing among the others.
    """
    parts = _parts(pattern)
    found = dict(_found(Path(), parts, {}))
    if not found:
        first = _path(parts, (0, 0, 0))
        raise SourceError(f"{pattern}: there is no such file; the first would be {first}")
    xs, ys, zs = (range(max(cell[axis] for cell in found) + 1) for axis in range(3))
    # Not by itertools.product, which first makes tuples of the ranges, however long a number in a name has made them.
    for cell in ((x, y, z) for x in xs for y in ys for z in zs):
        if cell not in found:
            raise SourceError(
                f"{pattern}: the piece {_path(parts, cell)} is missing, and {len(found)} others are there: copy it too, or list "
                'the pieces in a JSON file with "missing": "zeros"'
            )
    return found


def read_layout(path: Path) -> Layout:
    """Return the layout that a JSON file tells. Raises SourceError that says what is wrong in it."""
    size = path.stat().st_size
    if size > _LARGEST_LAYOUT:
        raise SourceError(f"{path}: {size} bytes are no list of pieces, which has {_LARGEST_LAYOUT} at most")
    try:
        return Layout.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise SourceError(f"{path}: {what}; expected is a list of pieces such as {_EXAMPLE}") from error


def _parts(pattern: Path) -> list[_Part]:
    parts = []
    letters = ""
    for name in pattern.parts:
        pieces = _BRACES.split(name)
        numbers = []
        for text, digits in zip(pieces[::2], pieces[1::2], strict=False):
            letters = "".join(letter for letter in letters + text if letter.isalpha())
            if letters[-1:].lower() not in ("x", "y", "z"):
                raise SourceError(
                    f"{pattern}: no axis is named before {{{digits}}}: write x, y or z before each number, "
                    "e.g. x{1}y{1}z{1}.h5"
                )
            numbers.append(_Number("xyz".index(letters[-1].lower()), int(digits), len(digits)))
            letters = ""
        letters += pieces[-1]
        if any("{" in text or "}" in text for text in pieces[::2]):
            raise SourceError(
                f"{pattern}: there is no such file, and as a pattern of names it has braces without a whole number in them: "
                "write the first number there, e.g. x{1}y{1}z{1}.h5 or x{0000}/y{0000}.h5"
            )
        parts.append(_Part(tuple(pieces[::2]), tuple(numbers)))
    return parts


def _found(folder: Path, parts: list[_Part], positions: dict[int, int]) -> Iterator[tuple[Triple, Path]]:
    """Yield the cell and file of each piece below folder that the remaining parts stand for."""
    if not parts:
        if folder.exists():
            yield (positions.get(0, 0), positions.get(1, 0), positions.get(2, 0)), folder
        return
    part, further = parts[0], parts[1:]
    if not part.numbers:
        yield from _found(folder / part.texts[0], further, positions)
        return
    for name in os.listdir(folder) if folder.is_dir() else ():
        matched = part.match(name)
        if matched is not None and all(positions.get(axis, position) == position for axis, position in matched.items()):
            yield from _found(folder / name, further, positions | matched)


def _path(parts: list[_Part], cell: Triple) -> Path:
    return Path(*(part.name(cell) for part in parts))
