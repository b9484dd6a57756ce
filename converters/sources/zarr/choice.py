"""Which of the arrays in a folder is meant: the only one, or the one that --array names."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import OptionError, SourceError

_SHOWN = 20
"""So many choices are listed in a message."""


@dataclass(frozen=True)
class Choice:
    """Something that can be opened: its path below the folder that was given, and what it is in a few words."""

    name: str
    told: str = ""


def array_folder(path: Path, array: str | None) -> Path:
    """Return the folder that --array names below path, path itself where there is none. Raises OptionError for one elsewhere."""
    if array is None:
        return path
    parts = array.strip("/").split("/")
    if array.startswith("/") or not {"", ".", ".."}.isdisjoint(parts):
        raise OptionError(f"{path}: --array {array} is no name of an array in it: give a path below it such as a/b")
    return path.joinpath(*parts)


def choose(path: Path, what: str, choices: Sequence[Choice]) -> Choice:
    """Return the only choice.

    path: as given. what: for the message, "arrays". Raises SourceError where there is none, OptionError that lists several.
    """
    if not choices:
        raise SourceError(f"{path}: holds no {what}; give the path of the store itself, or copy it again")
    if len(choices) > 1:
        raise OptionError(
            f"{path}: holds {len(choices)} {what}, {listed(choices)}: add --array NAME, e.g. --array {choices[0].name}"
        )
    return choices[0]


def listed(choices: Sequence[Choice]) -> str:
    """Return choices for a message: the first of them, and how many more there are."""
    shown = [f"{choice.name} ({choice.told})" if choice.told else choice.name for choice in choices[:_SHOWN]]
    more = len(choices) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, hidden ones left out, s2 before s10."""
    with os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    return sorted(
        found, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(path.name)]
    )


_DIGITS = re.compile(r"([0-9]+)")


def name_below(path: Path, folder: Path) -> str:
    """Return how --array names a folder below path."""
    return folder.relative_to(path).as_posix()
