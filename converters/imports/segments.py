"""Which segment each file shows: one id for all, the files' names, or a table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import OptionError
from converters.tables import table_rows

_LARGEST = (1 << 64) - 1
_PACKED = ".gz"


@dataclass(frozen=True)
class SegmentFile:
    """A file, the segment that it shows, or a part of it, and the segment's name, "" where none is told."""

    path: Path
    segment: int
    name: str = ""


def segment_files(files: Sequence[Path], segment: int | None, table: Path | None) -> tuple[SegmentFile, ...]:
    """Return the segment of each file, in the order of the files; without files those of the table.

    segment: of all files. Without segment and table an id is what stands before the ending of the file's name: `123.stl`.
    Raises OptionError for a file whose segment is not told, or told twice.
    """
    if segment is not None and table is not None:
        raise OptionError("--id and --table are both given, expected one of them: --id is for all files, a table tells of each")
    if table is not None:
        found = _in_table(files, read_table(table), table)
    else:
        found = tuple(SegmentFile(path, _named(path) if segment is None else segment) for path in files)
    if not found:
        raise OptionError("no files are given, expected FILES and then the DATASET to write, or --table with a list of files")
    _check_once(found)
    return found


def read_table(table: Path) -> tuple[SegmentFile, ...]:
    """Return the rows of a table with a header `file,id` or `file,id,name`, its paths as seen from the table's folder.

    Raises OptionError, naming the line, for what is no such table.
    """
    rows = table_rows(table, ("file", "id"), "file and id, and name if there are names")
    return tuple(_row(table, number, cells) for number, cells in rows)


def _row(table: Path, number: int, cells: dict[str, str]) -> SegmentFile:
    if not cells["file"]:
        raise OptionError(f"{table}: line {number} names no file")
    try:
        return SegmentFile(table.parent / cells["file"], segment_id(cells["id"]), cells.get("name", ""))
    except OptionError as error:
        raise OptionError(f"{table}: line {number}: {error}") from None


def by_segment(files: Sequence[SegmentFile]) -> list[tuple[int, list[SegmentFile]]]:
    """Return the files of each segment, in ascending order of the ids."""
    groups: dict[int, list[SegmentFile]] = {}
    for file in files:
        groups.setdefault(file.segment, []).append(file)
    return sorted(groups.items())


def segment_id(text: str) -> int:
    """Return a segment's id. Raises OptionError for what is none; 0 is where no segment is."""
    if not re.fullmatch(r"[0-9]{1,20}", text) or not 0 < int(text) <= _LARGEST:
        raise OptionError(f"the id is {text[:40]!r}, expected a whole number from 1 to {_LARGEST}")
    return int(text)


def _named(path: Path) -> int:
    kind = "".join(path.suffixes[-2:]) if path.suffix.lower() == _PACKED else path.suffix
    try:
        return segment_id(path.name.removesuffix(kind))
    except OptionError:
        raise OptionError(
            f"{path}: its name tells no segment id, expected one such as 123{kind}; "
            "add --id N, or --table with the columns file and id"
        ) from None


def _in_table(files: Sequence[Path], rows: tuple[SegmentFile, ...], table: Path) -> tuple[SegmentFile, ...]:
    """Return the rows of the files that are given, all rows when none is."""
    if not files:
        return rows
    by_path = {row.path.resolve(): row for row in rows}
    by_name = {row.path.name: row for row in rows if row.path.parent == table.parent}
    found = [by_path.get(path.resolve()) or by_name.get(path.name) for path in files]
    missing = [path for path, row in zip(files, found, strict=True) if row is None]
    if missing:
        raise OptionError(f"{missing[0]}: is not in the table {table}; add a line with the file and its id")
    return tuple(SegmentFile(path, row.segment, row.name) for path, row in zip(files, found, strict=True) if row is not None)


def _check_once(files: tuple[SegmentFile, ...]) -> None:
    """Raise OptionError for a file that is there twice and for a segment with two names."""
    seen: dict[Path, SegmentFile] = {}
    names: dict[int, str] = {}
    for file in files:
        before = seen.setdefault(file.path.resolve(), file)
        if before is not file:
            raise OptionError(f"{file.path}: is there twice, for segments {before.segment} and {file.segment}; keep one of them")
        name = names.setdefault(file.segment, file.name)
        if name != file.name:
            raise OptionError(
                f"segment {file.segment} has the names {name!r} and {file.name!r}; give its files one name, or two ids"
            )
