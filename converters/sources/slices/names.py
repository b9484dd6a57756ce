"""Which files of a folder are the slices of a stack, and in which order."""

import glob
import os
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

from converters.errors import SourceError

KINDS = {
    ".tif": "TIFF", ".tiff": "TIFF", ".btf": "TIFF", ".tf8": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG",
}  # fmt: skip
"""Endings of slices -> their kind."""
_SIDE_FILES = (".txt", ".csv", ".tsv", ".xml", ".json", ".yml", ".yaml", ".ini", ".db", ".log", ".md")
"""Endings of what instruments, programs and people leave beside slices."""
_NAMED = 3


def slices_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the slices in a folder, sorted by the numbers in them. Raises SourceError."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return _checked(str(folder), [name for name in names if not name.lower().endswith(_SIDE_FILES)], f"{folder}/*.tif")


def slices_of(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the slices that a pattern matches, and their names in it, sorted by the numbers in them.

    Raises SourceError.
    """
    found = [Path(match) for match in glob.glob(str(pattern)) if Path(match).is_file()]
    if not found:
        raise SourceError(f"{pattern}: no file matches this pattern")
    folder = Path(*_common([file.parent.parts for file in found]))
    return folder, _checked(str(pattern), [file.relative_to(folder).as_posix() for file in found], str(pattern.parent / "z*.tif"))


def kind_of(name: str) -> str | None:
    """Return the kind of slice that a file's name tells, None for something else."""
    return KINDS.get(Path(name).suffix.lower())


def order_notes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes for the user on sorted names: gaps in their numbering, and names that may be of several stacks."""
    parts = [_parts(name) for name in names]
    texts = Counter(tuple(part[::2]) for part in parts)
    if len(texts) > 1:
        return (f"the slices are named in {len(texts)} ways ({names[0]} ... {names[-1]}): taken in the order of their names",)
    varying = [place for place in range(1, len(parts[0]), 2) if len({int(part[place]) for part in parts}) > 1]
    if len(varying) > 1:
        return (
            f"the slices' names differ in {len(varying)} numbers ({names[0]} ... {names[-1]}): sorted by the first, then the "
            "next; a pattern such as 'slices/*_c0.tif' takes one channel or time",
        )
    return _gap_notes(names, [int(part[varying[0]]) for part in parts]) if varying else ()


def _gap_notes(names: tuple[str, ...], numbers: list[int]) -> tuple[str, ...]:
    steps = [after - before for before, after in pairwise(numbers)]
    step = min((step for step in steps if step > 0), default=1)
    gaps = [place for place, width in enumerate(steps) if width > step]
    if not gaps:
        return ()
    missing = sum(steps[place] // step - 1 for place in gaps)
    told = ", ".join(f"between {names[place]} and {names[place + 1]}" for place in gaps[:_NAMED])
    more = f" and at {len(gaps) - _NAMED} more places" if len(gaps) > _NAMED else ""
    return (f"the slices' numbers leave out {missing}, {told}{more}: the slices there are taken as neighbours",)


def _checked(name: str, found: list[str], example: str) -> tuple[str, ...]:
    strangers = sorted(file for file in found if kind_of(file) is None)
    if not found or len(strangers) == len(found):
        what = f"only {_few(strangers)}" if strangers else "no files"
        raise SourceError(f"{name}: holds {what}, and no slices that are read: these are {', '.join(KINDS)}")
    if strangers:
        raise SourceError(
            f"{name}: besides slices it holds {_few(strangers)}: move that away, or name the slices by a pattern such as "
            f"{example!r}"
        )
    kinds = Counter(kind_of(file) for file in found)
    if len(kinds) > 1:
        told = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise SourceError(f"{name}: holds {told} files, and a stack is of one kind: name it by a pattern such as {example!r}")
    return tuple(sorted(found, key=_order))


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more files" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _parts(name: str) -> list[str]:
    """Return a name cut into text, digits, text, ..., text."""
    return re.split(r"([0-9]+)", name)


def _order(name: str) -> tuple[list[str | int], str]:
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(_parts(name))], name


def _common(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    shared = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)
