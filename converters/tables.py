"""Tables of text that a user gives, .csv or .tsv, with the names of their columns in the first line."""

import csv
from collections.abc import Iterator
from pathlib import Path

from converters.errors import OptionError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def table_rows(table: Path, needed: tuple[str, ...], columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row that is not empty: its line, and its cells by the names of their columns in small letters.

    needed: columns that have to be there. columns: what the table may have, for the message.
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
    header = [name.lower() for name in rows[0]] if rows else []
    if not set(needed) <= set(header) or len(set(header)) < len(header):
        found = ", ".join(rows[0])[:80] if rows else "nothing"
        raise OptionError(f"{table}: its first line has {found}, expected the columns {columns}")
    for number, row in enumerate(rows[1:], 2):
        if any(row):
            if len(row) != len(header):
                raise OptionError(f"{table}: line {number} has {len(row)} cells, expected {len(header)} as the first line has")
            yield number, dict(zip(header, row, strict=True))
