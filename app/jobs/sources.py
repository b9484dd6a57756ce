"""What there is below the input folders that a source can open, by its names alone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from app.jobs.places import UPLOADS, Places
from converters.record import PRIVATE
from converters.sources.opening import FILE_ENDINGS, FOLDER_FILES, STORE_ENDINGS
from converters.sources.slices.names import KINDS

_DEPTH = 6
"""Folders below each input folder that are looked into, one in the other."""
_MOST = 5_000
"""Entries that are listed."""
_LOOKED_AT = 20_000
"""Folders that are looked into at all."""


class SourceEntry(BaseModel):
    """What a source can open. source: for a job's options. name: for the eye. bytes: of a file."""

    source: str
    name: str
    kind: str
    bytes: int | None
    modified: str
    uploaded: bool


class SourceList(BaseModel):
    """All sources, by name; complete is false when there are too many to list."""

    sources: list[SourceEntry]
    complete: bool


@dataclass
class _Search:
    """What has been found, and how many folders may still be looked into."""

    found: list[SourceEntry]
    left: int = _LOOKED_AT

    @property
    def is_full(self) -> bool:
        return len(self.found) >= _MOST or self.left <= 0


def find_sources(places: Places) -> SourceList:
    """Return the sources below a server's input folders; datasets of the served folder are none."""
    search = _Search([])
    uploads = places.root / UPLOADS
    for top, told, uploaded in (
        (uploads, UPLOADS, True),
        (places.root, "", False),
        *((folder, str(folder), False) for folder in places.inputs),
    ):
        for path, status in _below(top, search):
            name = path.relative_to(top).as_posix()
            search.found.append(_entry(path, status, f"{told}/{name}" if told else name, name if uploaded or not told else None))
            search.found[-1].uploaded = uploaded
    return SourceList(sources=sorted(search.found, key=lambda entry: entry.name), complete=not search.is_full)


def _entry(path: Path, status: os.stat_result, source: str, name: str | None) -> SourceEntry:
    is_file = not os.path.isdir(path)
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return SourceEntry(
        source=source,
        name=name or source,
        kind="file" if is_file else "folder",
        bytes=status.st_size if is_file else None,
        modified=modified,
        uploaded=False,
    )


def _below(top: Path, search: _Search) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what can be opened below a folder, the shallow first, links that lead out of it left out."""
    level = [top]
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            if search.is_full:
                return
            search.left -= 1
            for entry in _entries(folder, top):
                if entry.is_file():
                    if entry.name.lower().endswith(FILE_ENDINGS):
                        yield Path(entry.path), entry.stat()
                elif _is_source_folder(entry):
                    yield Path(entry.path), entry.stat()
                elif not _is_dataset(entry):
                    below.append(Path(entry.path))
        level = below


def _entries(folder: Path, top: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        return []  # not ours to read, so not ours to list
    return [entry for entry in entries if not entry.is_symlink() or _leads_below(entry, top)]


def _leads_below(entry: os.DirEntry[str], top: Path) -> bool:
    target = Path(os.path.realpath(entry.path))
    return target.is_relative_to(top) and target.exists()


def _is_dataset(entry: os.DirEntry[str]) -> bool:
    """Tell whether a folder is a dataset of glassine, or one that is being made."""
    return os.path.isdir(os.path.join(entry.path, PRIVATE))


def _is_source_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether a folder is a store of arrays, a dataset from elsewhere, or holds slices and nothing but files."""
    if entry.name.lower().endswith(STORE_ENDINGS):
        return True
    try:
        with os.scandir(entry.path) as found:
            names = [(inner.name, inner.is_dir()) for inner in found]
    except OSError:
        return False
    plain = {name for name, is_folder in names if not is_folder}
    if any(name in plain for name in FOLDER_FILES):
        return not _is_dataset(entry)
    slices = sum(name.lower().endswith(tuple(KINDS)) and not name.startswith(".") for name in plain)
    return slices > 1 and not any(is_folder for _, is_folder in names)
