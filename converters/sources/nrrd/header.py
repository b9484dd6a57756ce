"""The header of an NRRD file (teem.sourceforge.net/nrrd/format.html): lines `field: text` and `key:=text`, then an empty one."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from converters.errors import SourceError

_MAGIC = re.compile(rb"NRRD000[1-6]\r?\n")
_MOST_BYTES = 1 << 24
"""A header is longer only where it lists files by the hundred thousand."""
_LARGEST = 2**62
_LIST = "LIST"
_LINE = re.compile(r"([^:]*):(=?)\s*(.*)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_VECTOR = re.compile(r"none|\(([^()]*)\)", re.IGNORECASE)

Vector = tuple[float, ...]


@dataclass(frozen=True)
class NrrdHeader:
    """What the header of path tells, as text.

    fields: by name in lower case without spaces ("spacedirections"). keys: the key/value pairs. listed: names of files, where
    the data file is LIST. end: bytes of the file that the header takes.
    """

    path: Path
    fields: dict[str, str]
    keys: dict[str, str]
    listed: tuple[str, ...]
    end: int

    def text(self, field: str) -> str:
        """Return a field's text. Raises SourceError where the header has none."""
        if field not in self.fields:
            raise SourceError(f"{self.path}: its header has no field {field}, which every NRRD file needs: it is damaged")
        return self.fields[field]

    def integers(self, field: str) -> tuple[int, ...]:
        """Return a field of whole numbers. Raises SourceError where the header has none."""
        try:
            numbers = tuple(int(number) for number in self.text(field).split())
        except ValueError:
            raise self.unsound(field, "whole numbers") from None
        if any(abs(number) > _LARGEST for number in numbers):
            raise self.unsound(field, f"whole numbers up to {_LARGEST}")
        return numbers

    def integer(self, field: str, default: int) -> int:
        """Return a field of one whole number, default where the header has none."""
        if field not in self.fields:
            return default
        numbers = self.integers(field)
        if len(numbers) != 1:
            raise self.unsound(field, "one whole number")
        return numbers[0]

    def numbers(self, field: str) -> Vector | None:
        """Return a field of numbers, NaN among them where there is none; None where the header has not the field."""
        if field not in self.fields:
            return None
        try:
            return tuple(float(number) for number in self.fields[field].split())
        except ValueError:
            raise self.unsound(field, "numbers") from None

    def words(self, field: str) -> tuple[str, ...] | None:
        """Return a field of words, which may be quoted; None where the header has not the field."""
        if field not in self.fields:
            return None
        return tuple(quoted or plain for quoted, plain in _QUOTED.findall(self.fields[field]))

    def vectors(self, field: str) -> tuple[Vector | None, ...] | None:
        """Return a field of vectors, None for `none` or NaN; None where the header has not the field."""
        if field not in self.fields:
            return None
        try:
            return tuple(_vector(found.group(1)) for found in _VECTOR.finditer(self.fields[field]))
        except ValueError:
            raise self.unsound(field, "vectors such as (1,0,0)") from None

    def unsound(self, field: str, expected: str) -> SourceError:
        """Return the error for a field whose text is not what is expected."""
        return SourceError(
            f"{self.path}: its header tells `{field}: {self.fields[field][:80]}`, expected {expected}: it is damaged"
        )


def read_header(path: Path) -> NrrdHeader:
    """Return the header at a file's beginning. Raises SourceError for what is no NRRD file and for a header that is not sound."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as file:
        if not _MAGIC.fullmatch(file.readline(16)):
            raise SourceError(f"{path}: not an NRRD file: it does not begin with NRRD0001 to NRRD0006")
        lists = False
        while not lists and (line := _line(path, file.readline(_MOST_BYTES), file.tell())):
            if line.startswith("#"):
                continue
            name, is_key, text = _parsed(path, line)
            if is_key:
                keys[name] = text
                continue
            field = re.sub(r"\s+", "", name).lower()
            if field in fields:
                raise SourceError(f"{path}: its header has the field {field} twice: it is damaged")
            fields[field] = text
            lists = field == "datafile" and text.split(maxsplit=1)[:1] == [_LIST]
        listed = []
        while lists and (line := _line(path, file.readline(_MOST_BYTES), file.tell())):
            listed.append(line)
        return NrrdHeader(path, fields, keys, tuple(listed), file.tell())


def _line(path: Path, data: bytes, position: int) -> str:
    """Return a line's text without its end; empty at the header's end."""
    if position > _MOST_BYTES:
        raise SourceError(f"{path}: its header does not end within {_MOST_BYTES} bytes: no NRRD file, or one that is damaged")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # What programs on Windows make of µm.
        text = data.decode("latin-1")
    return text.rstrip()


def _parsed(path: Path, line: str) -> tuple[str, bool, str]:
    """Return name, whether it is a key's, and text."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise SourceError(f"{path}: its header has the line `{line[:80]}`, expected `field: text`: it is damaged")
    return found.group(1).strip(), bool(found.group(2)), found.group(3)


def _vector(text: str | None) -> Vector | None:
    vector = tuple(float(number) for number in text.split(",")) if text is not None else ()
    return vector if vector and all(map(math.isfinite, vector)) else None
