"""Meshes come into a dataset at once: written beside it first, moved in whole, and named in its info last."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.claim import locked
from converters.errors import DatasetError, DatasetExistsError, OptionError
from converters.journal import Journal, open_journal
from converters.meshes.plan import read_volume_info
from converters.meshes.record import MeshRecord, encode_mesh_record, mesh_record_path, read_mesh_record
from converters.record import PRIVATE
from converters.storage.files import raise_if_full, write_file
from formats.info import VolumeInfo, encode_volume_info

FOLDER = "mesh"
"""The meshes' folder in a dataset, and what its info calls it."""

_RUN = "mesh-run"
_BEGUN, _JOURNAL, _READY = "begun.json", "journal", "ready.json"
"""_READY: the record; it is there when all bytes of the meshes are."""


@dataclass(frozen=True)
class MeshClaim:
    """A dataset while this run alone may write it."""

    dataset: Path
    journal: Journal

    @property
    def incoming(self) -> Path:
        """Where the meshes' folder is written."""
        return _run(self.dataset) / "incoming"

    @property
    def spool(self) -> Path:
        """Where what is needed only during the run is written."""
        return _run(self.dataset) / "spool"

    def write_info(self, info: bytes) -> None:
        """Write the info of the meshes."""
        write_file(self.incoming / FOLDER / "info", info)

    def publish(self, record: MeshRecord) -> None:
        """Put the meshes in the place of those that were there."""
        write_file(_run(self.dataset) / _READY, encode_mesh_record(record))
        _publish(self.dataset)


def finish_publishing(dataset: Path) -> None:
    """Finish what a run was killed in while it put meshes in their place. Raises BusyError when it is still at it."""
    if (_run(dataset) / _READY).is_file():
        with locked(dataset):
            if (_run(dataset) / _READY).is_file():
                _publish(dataset)
                shutil.rmtree(_run(dataset), ignore_errors=True)


def done_meshes(dataset: Path, request: dict[str, Any]) -> MeshRecord | None:
    """Return the record of the dataset's meshes if they are just what is requested."""
    with suppress(DatasetError):
        record = read_mesh_record(dataset) if (dataset / FOLDER / "info").is_file() else None
        told = record and {"glassine": record.glassine, "fingerprint": record.fingerprint, "options": record.options}
        if record is not None and told == request and read_volume_info(dataset).mesh == FOLDER:
            return record
    return None


def check_meshes(dataset: Path, info: VolumeInfo, *, overwrite: bool) -> None:
    """Raise DatasetExistsError where other meshes are and may not be replaced."""
    there = info.mesh or (FOLDER if (dataset / FOLDER).exists() else None)
    if there is not None and not overwrite:
        raise DatasetExistsError(
            f"{dataset}: it has other meshes already, in {there} (made with other options, of another volume, or by another "
            "tool); add --overwrite to replace them"
        )


@contextmanager
def claim_meshes(dataset: Path, request: dict[str, Any]) -> Iterator[MeshClaim]:
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
            held = MeshClaim(dataset, open_journal(run / _JOURNAL))
            for folder in (held.incoming / FOLDER, held.spool):
                folder.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(run)
            try:
                yield held
            except (OptionError, DatasetError):
                # The same request cannot get past it.
                shutil.rmtree(run, ignore_errors=True)
                raise
            shutil.rmtree(run, ignore_errors=True)
    except OSError as error:
        raise_if_full(error, dataset)
        raise


def _publish(dataset: Path) -> None:
    """Move the meshes in; each step may have been made before."""
    run, info = _run(dataset), read_volume_info(dataset)
    arrived = run / "incoming" / FOLDER
    if arrived.exists():
        if info.mesh is not None:
            # A viewer that asks meanwhile sees no meshes, never some of the old and some of the new.
            write_file(dataset / "info", encode_volume_info(replace(info, mesh=None)))
        if (dataset / FOLDER).exists():
            shutil.rmtree(run / "outgoing", ignore_errors=True)
            os.replace(dataset / FOLDER, run / "outgoing")
        os.replace(arrived, dataset / FOLDER)
    write_file(mesh_record_path(dataset), (run / _READY).read_bytes())
    write_file(dataset / "info", encode_volume_info(replace(info, mesh=FOLDER)))


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
