"""Which conversion is writing the dataset that a path belongs to."""

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from converters.record import PRIVATE

_BEGUN = "begun.json"
_LOCK = "lock"
_JOURNAL = "journal"
_RUN = "run-"
_LOCKS = Path("/proc/locks")
_LARGEST_REQUEST = 1 << 20
"""Bytes."""
_DEEPEST = 5
"""Folders between a dataset and a chunk of it, and one more."""


@dataclass(frozen=True)
class Run:
    """A conversion that is at work now. dataset: its real path. begun: its request as claim.py keeps it. folder: the run's."""

    dataset: str
    begun: bytes
    folder: str

    @property
    def incoming(self) -> str:
        """Where the dataset's files are written."""
        return f"{self.folder}/incoming"

    @property
    def spool(self) -> Path:
        """Where the source may be unpacked."""
        return Path(self.folder, "spool")

    @property
    def journal(self) -> Path:
        """What is done, a line a block."""
        return Path(self.dataset, PRIVATE, _JOURNAL)


def place_of_run(root: str, path: str) -> str | None:
    """Return the folder, below root, of the dataset that path belongs to if one is being written there for the first time.

    root: a real path. path: decoded, "/NAME/...". While a dataset is replaced the old one is served.
    """
    folder = path
    for _ in range(_DEEPEST):
        folder, _, _ = folder.rpartition("/")
        here = root + folder
        if os.path.exists(f"{here}/{PRIVATE}/{_BEGUN}"):
            return None if os.path.exists(f"{here}/info") else folder
        if not folder:
            break
    return None


def run_at(root: str, folder: str) -> Run | None:
    """Return the conversion that writes the dataset in a folder below root; None unless it is at work now.

    What a stranger's folder says is not believed, for the source that it names will be read: a process of this machine has to
    hold the folder's lock, and the request has to be of this process' own user, or the superuser.
    """
    dataset = os.path.realpath(root + folder)
    private = Path(dataset, PRIVATE)
    if not f"{dataset}/".startswith(f"{root}/") or not _is_locked(private / _LOCK):
        return None
    try:
        with (private / _BEGUN).open("rb") as file:
            begun = file.read(_LARGEST_REQUEST + 1)
            is_ours = os.fstat(file.fileno()).st_uid in (os.geteuid(), 0)
        folders = [
            entry.path for entry in os.scandir(private) if entry.name.startswith(_RUN) and entry.is_dir(follow_symlinks=False)
        ]
    except OSError:
        return None
    if not is_ours or len(begun) > _LARGEST_REQUEST or len(folders) != 1:
        return None
    return Run(dataset, begun, folders[0])


def _is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock (flock) of a file, without taking it; no where the system does not tell.

    A line of /proc/locks: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`. The device is left out: some file systems show
    another one here than stat does.
    """
    try:
        inode = path.stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        words = line.split()
        if "->" not in words and "FLOCK" in words and words[-3].rpartition(":")[2] == str(inode):
            return True
    return False


class Advance:
    """How far a run has come, as a number that grows with each doubling of the blocks that are done."""

    def __init__(self) -> None:
        self._read = 0
        self._done = 0
        self._lock = Lock()

    def generation(self, journal: Path) -> int:
        """Return the number; call it with the same journal each time."""
        with self._lock:
            lines = _lines(journal, self._read)
            self._read += len(lines)
            self._done += lines.count(b'"gave":')
            return self._done.bit_length()


def _lines(journal: Path, start: int) -> bytes:
    """Return the whole lines of a journal from a byte on."""
    try:
        with journal.open("rb") as file:
            file.seek(start)
            lines = file.read()
    except OSError:
        return b""
    return lines[: lines.rfind(b"\n") + 1]
