"""Who may write where: one run at a time in a dataset's folder, and nothing of anybody else's is replaced unasked.

A run writes into a folder of its request below `.glassine`; what the viewer sees changes only when all of it is there. What a run
that was stopped left there stays, with its journal, and the same request goes on with it. Folders differ from request to request
because a cluster's worker may still be at a block when the run that gave it is gone.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.children import MEMBERS, child_name, record_path, run_path
from converters.errors import (
    BusyError,
    DamagedError,
    DatasetError,
    DatasetExistsError,
    OptionError,
    SourceError,
    ValueRefusedError,
)
from converters.journal import Journal, open_journal
from converters.record import PRIVATE, Record, encode_record, read_record
from converters.storage.files import raise_if_full, write_file
from formats.errors import InfoError
from formats.info import VolumeInfo, parse_volume_info

_BEGUN = "begun.json"
LOCK = "lock"
"""The file in a private folder that a run holds."""
_JOURNAL = "journal"
_RUN = "run-"
_TABLES = ("components.csv", "mask.png", "labels.png")
"""What some commands leave beside the record; it goes when another one replaces the dataset."""
_MOVES = "moves.json"
"""Which folders are put in the place of which; it is there when all bytes of the new dataset are."""


@dataclass(frozen=True)
class Request:
    """What is to be written, and by which version of glassine.

    source: an absolute path, or a URL. fingerprint: the source's. options: those that change the result.
    """

    glassine: str
    source: str
    fingerprint: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A dataset's folder while this run alone may write it."""

    dataset: Path
    folder: Path
    journal: Journal

    @property
    def incoming(self) -> Path:
        """Where the new dataset is written."""
        return self.folder / "incoming"

    @property
    def spool(self) -> Path:
        """Where what is needed only during the run is written."""
        return self.folder / "spool"

    @property
    def tables(self) -> Path:
        """Where the new dataset's tables are written, if it gets any."""
        return self.folder / "tables"

    def publish(self, info: bytes, record: Record, thumbnail: bytes) -> None:
        """Put what was written in the place of what was there: the old `info` goes first, the new one comes last.

        All bytes are written before anything old goes, so that a full disk leaves the old dataset as it was.
        """
        arriving = self.dataset / PRIVATE / "arriving"
        write_file(arriving / "thumbnail.png", thumbnail)
        write_file(arriving / "record.json", encode_record(record))
        write_file(arriving / "info", info)
        moves = {
            "folder": self.folder.name,
            "old": sorted(_scale_folders(self.dataset) | _child_folders(self.dataset)),
            "new": sorted(os.listdir(self.incoming)),
            "tables": [name for name in _TABLES if (self.tables / name).exists()],
        }
        write_file(arriving / _MOVES, json.dumps(moves).encode())
        _move(self.dataset)


def _move(dataset: Path) -> None:
    """Put what has arrived in its place; each move may have been made before.

    What belonged to the old volume goes with it: its children, their records, and what is left of runs that made them.
    """
    private = dataset / PRIVATE
    arriving, outgoing = private / "arriving", private / "outgoing"
    if not (arriving / "info").exists():
        # All has been moved. What is there now may have been made since.
        return
    moves = json.loads((arriving / _MOVES).read_bytes())
    incoming = private / moves["folder"] / "incoming"
    outgoing.mkdir(exist_ok=True)
    (dataset / "info").unlink(missing_ok=True)
    for name in sorted({*moves["old"], *moves["new"]}):
        is_there = name in moves["new"] and not (incoming / name).exists()
        if (dataset / name).exists() and not is_there:
            os.replace(dataset / name, outgoing / name)
    for name in moves["new"]:
        if (incoming / name).exists():
            os.replace(incoming / name, dataset / name)
    for member in MEMBERS:
        record_path(dataset, member).unlink(missing_ok=True)
        shutil.rmtree(run_path(dataset, member), ignore_errors=True)
    for name in _TABLES:
        if name not in moves.get("tables", ()):
            (private / name).unlink(missing_ok=True)
        elif (private / moves["folder"] / "tables" / name).exists():
            os.replace(private / moves["folder"] / "tables" / name, private / name)
    for name, place in (("thumbnail.png", private), ("record.json", private), ("info", dataset)):
        if (arriving / name).exists():
            os.replace(arriving / name, place / name)


def settle(dataset: Path) -> None:
    """Finish what a run was killed in while it put a new dataset in its place, so that the dataset is whole again.

    Raises BusyError when the run is still at it.
    """
    if (dataset / PRIVATE / "arriving" / _MOVES).is_file():
        with locked(dataset):
            if (dataset / PRIVATE / "arriving" / _MOVES).is_file():
                _move(dataset)
                _clear(dataset / PRIVATE)


def done_before(dataset: Path, request: Request) -> Record | None:
    """Return the record of the dataset if it holds just what is requested; a record that cannot be read tells nothing."""
    try:
        record = read_record(dataset) if (dataset / "info").is_file() else None
    except DatasetError:
        return None
    if record is None or (record.source, record.fingerprint, record.options) != (
        request.source,
        request.fingerprint,
        request.options,
    ):
        return None
    return record


@contextmanager
def claim(dataset: Path, request: Request, *, overwrite: bool) -> Iterator[Claim]:
    """Hold a dataset's folder, made when missing, for this run alone.

    What a run of the same request left is kept, with its journal; what another one left is cleared first. At the end nothing
    is left unpublished, unless the run was stopped by what the same request may get past: a kill, Ctrl-C, a full disk, a damaged
    part of the source.

    Raises DatasetExistsError when something else is there and overwrite is not given, BusyError when another run holds the
    folder, DiskFullError.
    """
    check_place(dataset, request, overwrite=overwrite)
    made = [folder for folder in (dataset, *dataset.parents) if not folder.exists()]
    private = dataset / PRIVATE
    try:
        private.mkdir(parents=True, exist_ok=True)
        with locked(dataset):
            yield from _claimed(dataset, request)
    except OSError as error:
        raise_if_full(error, dataset)
        raise
    finally:
        _remove_empty(private, *made)


def _claimed(dataset: Path, request: Request) -> Iterator[Claim]:
    private = dataset / PRIVATE
    folder = private / _folder_name(request)
    try:
        if _begun(private) == asdict(request):
            _remove_unfinished(private, folder)
        else:
            _clear(private)
            write_file(private / _BEGUN, json.dumps(asdict(request)).encode())
        held = Claim(dataset, folder, open_journal(private / _JOURNAL))
        held.incoming.mkdir(parents=True, exist_ok=True)
        yield held
    except BaseException as error:
        if not ((private / _JOURNAL).exists() and _may_go_on(error)):
            _give_up(dataset)
        raise
    else:
        _give_up(dataset)


def _may_go_on(error: BaseException) -> bool:
    """Tell whether the same request can get past an error; it cannot where the source or an option is what is wrong."""
    return isinstance(error, DamagedError) or not isinstance(error, ValueRefusedError | OptionError | SourceError)


def _give_up(dataset: Path) -> None:
    """Remove all that a run leaves in a dataset's private folder."""
    _clear(dataset / PRIVATE)
    if not (dataset / "info").exists():
        (dataset / PRIVATE / LOCK).unlink(missing_ok=True)


def _begun(private: Path) -> Any:
    """Return what the request was that a run left unfinished, None where there is none."""
    try:
        return json.loads((private / _BEGUN).read_bytes())
    except (OSError, ValueError):
        return None


def _folder_name(request: Request) -> str:
    told = json.dumps(asdict(request), sort_keys=True).encode()
    return _RUN + hashlib.sha256(told).hexdigest()[:16]


def _remove_unfinished(private: Path, folder: Path) -> None:
    """Remove the files that a killed run was writing, and what it had ready to put in its place."""
    shutil.rmtree(private / "arriving", ignore_errors=True)
    shutil.rmtree(private / "outgoing", ignore_errors=True)
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                Path(place, name).unlink(missing_ok=True)


def check_place(dataset: Path, request: Request, *, overwrite: bool) -> None:
    """Raise DatasetExistsError unless the request may be written to this path."""
    if not dataset.exists() or (dataset.is_dir() and not any(dataset.iterdir())):
        return
    if not dataset.is_dir():
        raise DatasetExistsError(f"{dataset}: a file is there, expected a folder for the dataset; choose another path")
    if (dataset / "info").is_file():
        _check_dataset(dataset, overwrite=overwrite)
    elif not (dataset / PRIVATE).is_dir():
        raise DatasetExistsError(f"{dataset}: the folder holds other files and no dataset; choose a new or an empty folder")
    else:
        _check_begun(dataset, request, overwrite=overwrite)


def _check_dataset(dataset: Path, *, overwrite: bool) -> None:
    if not overwrite:
        record = read_record(dataset)
        origin = f"made from {record.source}" if record else "not made by glassine"
        raise DatasetExistsError(
            f"{dataset}: another dataset is already there ({origin}, with other options or from an older version of it); "
            "choose another path, or add --overwrite to replace it"
        )
    _scale_folders(dataset)


def _check_begun(dataset: Path, request: Request, *, overwrite: bool) -> None:
    begun = _begun(dataset / PRIVATE)
    source = begun.get("source") if isinstance(begun, dict) else None
    if source not in (None, request.source) and not overwrite:
        with locked(dataset):
            raise DatasetExistsError(
                f"{dataset}: a conversion of {source} was begun there and not finished; run it again, choose another path, "
                "or add --overwrite to replace it"
            )


@contextmanager
def locked(dataset: Path) -> Iterator[None]:
    """Hold the lock of a dataset that has a private folder. Raises BusyError when another run holds it."""
    import fcntl

    path = dataset / PRIVATE / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        busy = BusyError(f"{dataset}: another run is writing this dataset; wait for it to end, or choose another path")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        if not _is_at(descriptor, path):
            # The run that held it removed it at its end: a lock on it would keep nobody out.
            raise busy
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _scale_folders(dataset: Path) -> set[str]:
    """Return the names of the folders that the dataset's present scales lie in."""
    info = _present_info(dataset)
    return set() if info is None else {scale.key for scale in info.scales if _is_inside(scale.key)}


def _child_folders(dataset: Path) -> set[str]:
    """Return the names of the folders of the present volume's children: those that it names, and those that were made for it."""
    info = _present_info(dataset)
    named = [child_name(info, member) for member in MEMBERS] if info is not None else []
    made = [m for m in MEMBERS if record_path(dataset, m).exists() or run_path(dataset, m).exists()]
    return {name for name in (*named, *made) if name is not None and _is_inside(name)}


def _present_info(dataset: Path) -> VolumeInfo | None:
    try:
        return parse_volume_info((dataset / "info").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, InfoError) as error:
        raise DatasetError(f"{dataset / 'info'}: cannot be read as a volume ({error}), so it cannot be replaced") from error


def _is_inside(name: str) -> bool:
    """Tell whether a name in an info is that of a folder which lies in the dataset's own one and is no private one."""
    return bool(name) and "/" not in name and not name.startswith(".")


def _clear(private: Path) -> None:
    # The journal first, because what it names is about to go; the moves last, because they tell what has to be settled.
    (private / _JOURNAL).unlink(missing_ok=True)
    for folder in (*private.glob(f"{_RUN}*"), private / "outgoing", private / "arriving"):
        shutil.rmtree(folder, ignore_errors=True)
    (private / _BEGUN).unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    """Remove folders, each inside the next, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
