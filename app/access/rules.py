"""Which datasets are public: ROOT/.glassine/access.json, `{"default": "private", "datasets": {"lab/brain": "public"}}`.

The longest path that is named decides for all below it, the default where none is. Without the file, and with one that cannot be
read, everything is private.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.access.watched import Watched
from app.jobs.locks import locked
from converters.errors import ConverterError, OptionError
from converters.record import PRIVATE
from converters.storage.files import read_file, write_file

Level = Literal["public", "private"]

_FILE = f"{PRIVATE}/access.json"
_LOCK = f"{PRIVATE}/access.lock"
_MOST_KEPT = 1000
_LONGEST_KEPT = 500
"""Places whose answer is kept, and characters of one: names come from strangers."""
_LONGEST_NAME = 1000


class RulesError(ConverterError):
    """The file of the rules cannot be understood."""


@dataclass(frozen=True)
class Table:
    """What the file says. datasets: paths below the served folder, without slashes at their ends."""

    default: Level = "private"
    datasets: Mapping[str, Level] = field(default_factory=dict)


def read_table(root: Path) -> Table:
    """Return the rules of a served folder. Raises RulesError for a file that is not understood, OSError."""
    path = root / _FILE
    data = read_file(path)
    if data is None:
        return Table()
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RulesError(f"{path}: is no JSON ({error}); mend it or remove it, until then every dataset is private") from None
    return _table(found, path)


def write_level(root: Path, name: str, level: Level) -> Table:
    """Make a dataset and all below it public or private, and return the rules; the name "" stands for all that is not named.

    Raises OptionError for what is no name, RulesError, OSError.
    """
    name = checked_name(name)
    (root / PRIVATE).mkdir(parents=True, exist_ok=True)
    with locked(root / _LOCK):
        before = read_table(root)
        datasets = {**before.datasets, name: level} if name else before.datasets
        table = Table(before.default if name else level, dict(sorted(datasets.items())))
        text = json.dumps({"default": table.default, "datasets": table.datasets}, indent=1, ensure_ascii=False)
        write_file(root / _FILE, f"{text}\n".encode())
    return table


def checked_name(name: str) -> str:
    """Return a dataset's path below the served folder without slashes at its ends. Raises OptionError for what is none."""
    parts = name.strip("/").split("/")
    if any(part.startswith(".") or (not part and len(parts) > 1) for part in parts) or set(name) & {"\0", "\\"}:
        raise OptionError(f"{name!r}: expected the path of a dataset below the served folder, such as lab/brain")
    if len(name) > _LONGEST_NAME or not _is_text(name):
        raise OptionError(f"a dataset's name has at most {_LONGEST_NAME} characters of text")
    return name.strip("/")


class Rules:
    """The rules of a served folder, read again when their file changes; all is private while it cannot be read."""

    def __init__(self, root: Path) -> None:
        self._known = Watched(root / _FILE, lambda: _Known(read_table(root)), lambda: _Known(Table()))

    @property
    def table(self) -> Table:
        """The rules as they are now."""
        return self._known.get().table

    def is_public(self, path: str) -> bool:
        """Tell whether everybody may read what lies at a path, decoded, "/NAME/...": as its folder's rules say, or its own."""
        known = self._known.get()
        folder, _, name = path.rpartition("/")
        place = path if _folded_part(name) in known.last_parts else folder
        public = known.places.get(place)
        return known.decide(place) if public is None else public

    def level(self, name: str) -> Level:
        """Return whether the dataset NAME is public."""
        return "public" if self.is_public(f"/{name.strip('/')}/") else "private"

    def look_again(self) -> None:
        """Look at the file when the rules are asked for next."""
        self._known.look_again()


class _Known:
    """Rules, and what they say of the places that were asked for, which are folders but for those that have a rule."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.last_parts = {_folded_part(name.rpartition("/")[2]) for name in table.datasets}
        self.places: dict[str, bool] = {}
        self._hidden = {_folded(name) for name, level in table.datasets.items() if level == "private"}

    def decide(self, place: str) -> bool:
        public = _level(self.table, self._hidden, place.strip("/")) == "public"
        if len(place) <= _LONGEST_KEPT:
            if len(self.places) >= _MOST_KEPT:
                self.places.clear()
            self.places[place] = public
        return public


def _level(table: Table, hidden: set[str], name: str) -> Level:
    """Return what the longest path says that is named. hidden: names that are private, folded.

    On a disk that takes `LAB` for `lab` a private name in another spelling is private too.
    """
    while True:
        if name in table.datasets:
            return table.datasets[name]
        if not name:
            return table.default
        if _folded(name) in hidden:
            return "private"
        name = name.rpartition("/")[0]


def _folded(name: str) -> str:
    """Return what all spellings of a name have in common that a disk may take for the same."""
    return "/".join([_folded_part(part) for part in name.split("/")])


def _folded_part(part: str) -> str:
    plain = part.lower() if part.isascii() else unicodedata.normalize("NFKC", part).casefold()
    return plain.rstrip(". ")


def _table(found: Any, path: Path) -> Table:
    if not isinstance(found, dict) or not isinstance(found.get("datasets", {}), dict) or set(found) - {"default", "datasets"}:
        raise RulesError(f'{path}: expected {{"default": "private", "datasets": {{"NAME": "public"}}}}')
    levels = {"the default": found.get("default", "private"), **found.get("datasets", {})}
    for name, level in levels.items():
        if level not in ("public", "private"):
            raise RulesError(f"{path}: {name} is {json.dumps(level)}, expected public or private")
    return Table(found.get("default", "private"), {name.strip("/"): level for name, level in found.get("datasets", {}).items()})


def _is_text(name: str) -> bool:
    try:
        return name.encode().decode().isprintable()
    except UnicodeEncodeError:
        return False
