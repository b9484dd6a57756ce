"""The folder of SWC files, pictures and tables: whose it is, what of it is done, and its files."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import DatasetExistsError, OptionError
from converters.labels.conversion import LABELS, MASK, TABLE
from converters.storage.files import raise_if_full, write_file

RECORD = "trace.json"
"""What was asked for and what came of it; `done` is true when all the other files are there."""
SWC = "swc"
"""The folder of ID.swc; the other files are called as in a labelled dataset."""

_SWC_FILE = re.compile(r"\d+\.swc", re.ASCII)
_UNFINISHED = re.compile(r"\..*\.tmp", re.ASCII)


@dataclass(frozen=True)
class Results:
    """The folder of one request's results."""

    folder: Path
    request: dict[str, Any]

    def check(self, *, overwrite: bool) -> None:
        """Raise DatasetExistsError where something else is, OptionError where no folder can be."""
        if self.folder.exists() and not self.folder.is_dir():
            raise OptionError(f"--results {self.folder}: a file is there, expected a folder or nothing; choose another path")
        if not self.folder.is_dir() or not any(self.folder.iterdir()) or self._told().get("request") == self.request:
            return
        if not (self.folder / RECORD).is_file():
            raise DatasetExistsError(
                f"{self.folder}: the folder holds other files and no results of a trace; choose another one with --results"
            )
        if not overwrite:
            raise DatasetExistsError(
                f"{self.folder}: the results of another trace are already there (of another source, or with other options); "
                "choose another folder with --results, or add --overwrite to replace them"
            )

    def done(self) -> dict[str, Any] | None:
        """Return what came of the same request if all its files are there."""
        told = self._told()
        if told.get("request") != self.request or told.get("done") is not True:
            return None
        files = sum(1 for _ in (self.folder / SWC).glob("*.swc"))
        there = all((self.folder / name).is_file() for name in (TABLE, MASK, LABELS))
        return told if there and told.get("swc_files") == files else None

    def begin(self) -> None:
        """Make the folder this request's; what another one left there goes. Raises DiskFullError, OptionError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self.folder / RECORD, _encoded({"request": self.request, "done": False}))
            for path in [*self.folder.iterdir(), *(self.folder / SWC).glob("*")]:
                if _UNFINISHED.fullmatch(path.name) or (path.parent.name == SWC and _SWC_FILE.fullmatch(path.name)):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise_if_full(error, self.folder)
            raise OptionError(f"--results {self.folder}: cannot be written to ({error.strerror or error})") from error

    def finish(self, told: dict[str, Any]) -> None:
        """Say that all files are there, and what came of it (JSON-able). Raises DiskFullError."""
        write_file(self.folder / RECORD, _encoded({"request": self.request, "done": True, **told}))

    def _told(self) -> dict[str, Any]:
        try:
            members = json.loads((self.folder / RECORD).read_bytes())
        except (OSError, ValueError):
            return {}
        return members if isinstance(members, dict) else {}


def _encoded(members: dict[str, Any]) -> bytes:
    return json.dumps(members, indent=1, sort_keys=True).encode() + b"\n"
