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
from converters.storage.files import write_file
from formats.errors import InfoError
from formats.info import parse_volume_info

_BEGUN = "begun.json"


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
        """Put what was written in the place of what was there: the old `info` goes first, the new one comes last."""
        outgoing = self.dataset / PRIVATE / "outgoing"
        outgoing.mkdir(exist_ok=True)
        old = _scale_folders(self.dataset)
        (self.dataset / "info").unlink(missing_ok=True)
        incoming = sorted(os.listdir(self.incoming))
        for name in sorted({*old, *incoming}):
            if (self.dataset / name).exists():
                os.replace(self.dataset / name, outgoing / name)
        for name in incoming:
            os.replace(self.incoming / name, self.dataset / name)
        write_file(self.dataset / PRIVATE / "thumbnail.png", thumbnail)
        write_file(self.dataset / PRIVATE / "record.json", encode_record(record))
        write_file(self.dataset / "info", info)


def is_done(dataset: Path, request: Request) -> bool:
    """Tell whether the dataset holds just what is requested. Raises DatasetError for a record that cannot be read."""
    record = read_record(dataset) if (dataset / "info").is_file() else None
    return record is not None and Request(record.source, record.fingerprint, record.options) == request


@contextmanager
def claim(dataset: Path, request: Request, *, overwrite: bool) -> Iterator[Claim]:
    """Hold a dataset's folder, made when missing, for this run alone.

    What a killed run left is cleared first, what this run leaves unpublished at the end. Raises DatasetExistsError when
    something else is there and overwrite is not given, BusyError when another run holds the folder.
    """
    check_place(dataset, request, overwrite=overwrite)
    made = not dataset.exists()
    private = dataset / PRIVATE
    private.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(private / "lock", dataset):
            _clear(private)
            write_file(private / _BEGUN, json.dumps({"source": request.source}).encode())
            held = Claim(dataset)
            held.incoming.mkdir()
            try:
                yield held
            finally:
                _clear(private)
    finally:
        if made and not (dataset / "info").exists():
            _remove_empty(dataset)


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
    record = read_record(dataset)
    if not overwrite:
        origin = f"made from {record.source}" if record else "not made by glassine"
        raise DatasetExistsError(
            f"{dataset}: another dataset is already there ({origin}, with other options or from an older version of it); "
            "choose another path, or add --overwrite to replace it"
        )


def _check_begun(dataset: Path, request: Request, *, overwrite: bool) -> None:
    try:
        source = json.loads((dataset / PRIVATE / _BEGUN).read_bytes())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if source != request.source and not overwrite:
        raise DatasetExistsError(
            f"{dataset}: a conversion of {source} was begun there and not finished; run it again, choose another path, "
            "or add --overwrite to replace it"
        )


@contextmanager
def _locked(path: Path, dataset: Path) -> Iterator[None]:
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{dataset}: another run is writing this dataset; wait for it to end, or choose another path"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _scale_folders(dataset: Path) -> set[str]:
    """Return the names of the folders that the dataset's present scales lie in."""
    try:
        info = parse_volume_info((dataset / "info").read_bytes())
    except FileNotFoundError:
        return set()
    except (OSError, InfoError) as error:
        raise DatasetError(f"{dataset / 'info'}: cannot be read as a volume ({error}), so it cannot be replaced") from error
    return {scale.key for scale in info.scales if "/" not in scale.key and not scale.key.startswith(".")}


def _clear(private: Path) -> None:
    for name in ("incoming", "spool", "outgoing"):
        shutil.rmtree(private / name, ignore_errors=True)
    (private / _BEGUN).unlink(missing_ok=True)


def _remove_empty(dataset: Path) -> None:
    (dataset / PRIVATE / "lock").unlink(missing_ok=True)
    with suppress(OSError):
        (dataset / PRIVATE).rmdir()
        dataset.rmdir()
