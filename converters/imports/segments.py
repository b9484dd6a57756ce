"""Which segment each file shows: one id for all, the files' names, or a table."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import OptionError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COLUMNS = ("file", "id", "name")
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
    delimiter = _DELIMITERS.get(table.suffix.lower())
    if delimiter is None:
        raise OptionError(f"{table}: is no table by its name, expected one that ends in .csv or .tsv")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, delimiter=delimiter, strict=True)]
    except FileNotFoundError:
        raise OptionError(f"{table}: there is no such table") from None
    except (OSError, ValueError, csv.Error) as error:
        raise OptionError(f"{table}: cannot be read as a table in UTF-8 ({error})") from error
    return tuple(_row(table, number, row) for number, row in _below_header(table, rows))


def _below_header(table: Path, rows: list[list[str]]) -> Iterable[tuple[int, list[str]]]:
    """Yield each row as file, id and name, with its line."""
    header = [name.lower() for name in rows[0]] if rows else []
    if not {"file", "id"} <= set(header) or len(set(header)) < len(header):
        found = ", ".join(rows[0]) if rows else "nothing"
        raise OptionError(
            f"{table}: its first line has {found[:80]}, expected the columns file and id, and name if there are names"
        )
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise OptionError(f"{table}: line {number} has {len(row)} cells, expected {len(header)} as the first line has")
        cells = dict(zip(header, row, strict=True))
        yield number, [cells.get(column, "") for column in _COLUMNS]


def _row(table: Path, number: int, row: list[str]) -> SegmentFile:
    file, told, name = row
    if not file:
        raise OptionError(f"{table}: line {number} names no file")
    try:
        return SegmentFile(table.parent / file, segment_id(told), name)
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
