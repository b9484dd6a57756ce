"""Who may write where: one run at a time in a dataset's folder, and nothing of anybody else's is replaced unasked.

A run writes into `.glassine/incoming`; what the viewer sees changes only when all of it is there.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import BusyError, DatasetError, DatasetExistsError
from converters.record import PRIVATE, Record, encode_record, read_record
from converters.storage.files import raise_if_full, write_file
from formats.errors import InfoError
from formats.info import parse_volume_info

_BEGUN = "begun.json"
_LOCK = "lock"


@dataclass(frozen=True)
class Request:
    """What is to be written: the source's absolute path, its fingerprint, and the options that change the result."""

    source: str
    fingerprint: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A dataset's folder while this run alone may write it."""

    dataset: Path

    @property
    def incoming(self) -> Path:
        """Where the new dataset is written."""
        return self.dataset / PRIVATE / "incoming"

    @property
    def spool(self) -> Path:
        """Where what is needed only during the run is written."""
        return self.dataset / PRIVATE / "spool"

    def publish(self, info: bytes, record: Record, thumbnail: bytes) -> None:
        """Put what was written in the place of what was there: the old `info` goes first, the new one comes last.

        All bytes are written before anything old goes, so that a full disk leaves the old dataset as it was.
        """
        private = self.dataset / PRIVATE
        arriving, outgoing = private / "arriving", private / "outgoing"
        outgoing.mkdir()
        write_file(arriving / "thumbnail.png", thumbnail)
        write_file(arriving / "record.json", encode_record(record))
        write_file(arriving / "info", info)
        old = _scale_folders(self.dataset)
        (self.dataset / "info").unlink(missing_ok=True)
        incoming = sorted(os.listdir(self.incoming))
        for name in sorted({*old, *incoming}):
            if (self.dataset / name).exists():
                os.replace(self.dataset / name, outgoing / name)
        for name in incoming:
            os.replace(self.incoming / name, self.dataset / name)
        for name in ("thumbnail.png", "record.json"):
            os.replace(arriving / name, private / name)
        os.replace(arriving / "info", self.dataset / "info")


def done_before(dataset: Path, request: Request) -> Record | None:
    """Return the record of the dataset if it holds just what is requested; a record that cannot be read tells nothing."""
    try:
        record = read_record(dataset) if (dataset / "info").is_file() else None
    except DatasetError:
        return None
    if record is None or Request(record.source, record.fingerprint, record.options) != request:
        return None
    return record


@contextmanager
def claim(dataset: Path, request: Request, *, overwrite: bool) -> Iterator[Claim]:
    """Hold a dataset's folder, made when missing, for this run alone.

    What a killed run left is cleared first, what this run leaves unpublished at the end. Raises DatasetExistsError when
    something else is there and overwrite is not given, BusyError when another run holds the folder, DiskFullError.
    """
    check_place(dataset, request, overwrite=overwrite)
    made = [folder for folder in (dataset, *dataset.parents) if not folder.exists()]
    private = dataset / PRIVATE
    try:
        private.mkdir(parents=True, exist_ok=True)
        with _locked(dataset):
            yield from _claimed(dataset, request)
    except OSError as error:
        raise_if_full(error, dataset)
        raise
    finally:
        _remove_empty(private, *made)


def _claimed(dataset: Path, request: Request) -> Iterator[Claim]:
    private, held = dataset / PRIVATE, Claim(dataset)
    _clear(private)
    try:
        write_file(private / _BEGUN, json.dumps({"source": request.source}).encode())
        held.incoming.mkdir()
        yield held
    finally:
        _clear(private)
        if not (dataset / "info").exists():
            (private / _LOCK).unlink(missing_ok=True)


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
    try:
        source = json.loads((dataset / PRIVATE / _BEGUN).read_bytes())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if source != request.source and not overwrite:
        with _locked(dataset):
            raise DatasetExistsError(
                f"{dataset}: a conversion of {source} was begun there and not finished; run it again, choose another path, "
                "or add --overwrite to replace it"
            )


@contextmanager
def _locked(dataset: Path) -> Iterator[None]:
    import fcntl

    path = dataset / PRIVATE / _LOCK
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
    try:
        info = parse_volume_info((dataset / "info").read_bytes())
    except FileNotFoundError:
        return set()
    except (OSError, InfoError) as error:
        raise DatasetError(f"{dataset / 'info'}: cannot be read as a volume ({error}), so it cannot be replaced") from error
    return {scale.key for scale in info.scales if scale.key and "/" not in scale.key and not scale.key.startswith(".")}


def _clear(private: Path) -> None:
    for name in ("incoming", "spool", "arriving", "outgoing"):
        shutil.rmtree(private / name, ignore_errors=True)
    (private / _BEGUN).unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    """Remove folders, each inside the next, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
