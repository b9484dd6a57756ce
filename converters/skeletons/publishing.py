"""Skeletons come into a dataset at once: written beside it first, moved in whole, and named in its info last."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.claim import locked
from converters.errors import DatasetError, DatasetExistsError
from converters.journal import Journal, open_journal
from converters.record import PRIVATE
from converters.skeletons.plan import read_volume_info
from converters.skeletons.record import SkeletonRecord, encode_skeleton_record, read_skeleton_record, skeleton_record_path
from converters.storage.files import raise_if_full, write_file
from formats.info import VolumeInfo, encode_volume_info

FOLDER = "skeletons"
"""The skeletons' folder in a dataset, and what its info calls it."""

_RUN = "skeletons-run"
_BEGUN, _JOURNAL, _READY = "begun.json", "journal", "ready.json"
"""_READY: the record; it is there when all bytes of the skeletons are."""


@dataclass(frozen=True)
class SkeletonClaim:
    """A dataset while this run alone may write it."""

    dataset: Path
    request: dict[str, Any]
    journal: Journal

    @property
    def incoming(self) -> Path:
        """Where the skeletons are written."""
        return _run(self.dataset) / "incoming"

    @property
    def spool(self) -> Path:
        """Where what is needed only during the run is written."""
        return _run(self.dataset) / "spool"

    def publish(self, info: bytes, record: SkeletonRecord) -> None:
        """Put the skeletons in the place of those that were there. info: of the skeletons."""
        write_file(self.incoming / "info", info)
        write_file(_run(self.dataset) / _READY, encode_skeleton_record(record))
        _publish(self.dataset)


def finish_publishing(dataset: Path) -> None:
    """Finish what a run was killed in while it put skeletons in their place. Raises BusyError when it is still at it."""
    if (_run(dataset) / _READY).is_file():
        with locked(dataset):
            if (_run(dataset) / _READY).is_file():
                _publish(dataset)
                shutil.rmtree(_run(dataset), ignore_errors=True)


def done_skeletons(dataset: Path, request: dict[str, Any]) -> SkeletonRecord | None:
    """Return the record of the dataset's skeletons if they are just what is requested."""
    with suppress(DatasetError):
        record = read_skeleton_record(dataset) if (dataset / FOLDER / "info").is_file() else None
        if record is not None and record.request == request and read_volume_info(dataset).skeletons == FOLDER:
            return record
    return None


def check_skeletons(dataset: Path, info: VolumeInfo, *, overwrite: bool) -> None:
    """Raise DatasetExistsError where other skeletons are and may not be replaced."""
    there = info.skeletons or (FOLDER if (dataset / FOLDER).exists() else None)
    if there is not None and not overwrite:
        raise DatasetExistsError(
            f"{dataset}: it has other skeletons already, in {there} (made with other options, of another volume, or by another "
            "tool); add --overwrite to replace them"
        )


@contextmanager
def claim_skeletons(dataset: Path, request: dict[str, Any]) -> Iterator[SkeletonClaim]:
    """Hold a dataset for this run alone; what a run of the same request left is kept, with its journal.

    Raises BusyError when another run holds the dataset, DiskFullError.
    """
    run = _run(dataset)
    try:
        run.parent.mkdir(exist_ok=True)
        with locked(dataset):
            if _begun(run) != request:
                shutil.rmtree(run, ignore_errors=True)
                write_file(run / _BEGUN, json.dumps(request).encode())
            held = SkeletonClaim(dataset, request, open_journal(run / _JOURNAL))
            held.incoming.mkdir(parents=True, exist_ok=True)
            held.spool.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(run)
            yield held
            shutil.rmtree(run, ignore_errors=True)
    except OSError as error:
        raise_if_full(error, dataset)
        raise


def _publish(dataset: Path) -> None:
    """Move the skeletons in; each step may have been made before."""
    run, info = _run(dataset), read_volume_info(dataset)
    for path in (dataset / "info", skeleton_record_path(dataset)):
        for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
            unfinished.unlink(missing_ok=True)
    arrived = run / "incoming"
    if arrived.exists():
        if info.skeletons is not None:
            # A viewer that asks meanwhile sees no skeletons, never some of the old and some of the new.
            write_file(dataset / "info", encode_volume_info(replace(info, skeletons=None)))
        if (dataset / FOLDER).exists():
            shutil.rmtree(run / "outgoing", ignore_errors=True)
            os.replace(dataset / FOLDER, run / "outgoing")
        os.replace(arrived, dataset / FOLDER)
    write_file(skeleton_record_path(dataset), (run / _READY).read_bytes())
    write_file(dataset / "info", encode_volume_info(replace(info, skeletons=FOLDER)))


def _run(dataset: Path) -> Path:
    return dataset / PRIVATE / _RUN


def _begun(run: Path) -> Any:
    """Return what the request was that a run left unfinished, None where there is none."""
    try:
        return json.loads((run / _BEGUN).read_bytes())
    except (OSError, ValueError):
        return None


def _remove_unfinished(run: Path) -> None:
    for place, _, names in os.walk(run):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                Path(place, name).unlink(missing_ok=True)
