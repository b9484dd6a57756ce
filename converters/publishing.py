"""A child of a volume comes into its dataset at once: written beside it first, moved in whole, and named in its info last."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic

from pydantic import BaseModel

from converters.children import Child, R, child_name, read_volume_info, record_path, run_path
from converters.claim import locked
from converters.errors import DatasetError, DatasetExistsError, OptionError
from converters.journal import Journal, open_journal
from converters.properties.merging import with_columns
from converters.properties.stored import FOLDER as PROPERTIES
from converters.properties.stored import StoredProperties
from converters.record import read_record
from converters.storage.files import raise_if_full, read_file, write_file
from formats.info import VolumeInfo, encode_volume_info
from formats.segment_properties import SegmentProperties, encode_segment_properties, parse_segment_properties

_BEGUN, _JOURNAL, _READY, _COLUMNS = "begun.json", "journal", "ready.json", "columns.json"
"""_READY: the record; it is there when all bytes of the child are."""
_OPTIONS_OF_THE_RUN = {"memory", "executor", "overwrite"}
"""Options that change how a run goes and not what it gives."""


@dataclass(frozen=True)
class ChildClaim(Generic[R]):
    """A dataset while this run alone may write it. request: what is made."""

    dataset: Path
    child: Child[R]
    request: dict[str, Any]
    journal: Journal

    @property
    def incoming(self) -> Path:
        """What stands for the dataset during the run: the child's folder is written below it."""
        return run_path(self.dataset, self.child.member) / "incoming"

    @property
    def folder(self) -> Path:
        """Where the child's files are written."""
        return self.incoming / self.child.member

    @property
    def spool(self) -> Path:
        """Where what is needed only during the run is written."""
        return run_path(self.dataset, self.child.member) / "spool"

    def publish(self, info: bytes, record: R, columns: SegmentProperties | None = None) -> None:
        """Put the child in the place of the one that was there. info: the child's.

        columns: what it tells of segments, which goes among the dataset's segment properties.
        """
        run = run_path(self.dataset, self.child.member)
        write_file(self.folder / "info", info)
        if columns is not None:
            write_file(run / _COLUMNS, encode_segment_properties(columns))
        write_file(run / _READY, self.child.encode(record))
        _publish(self.dataset, self.child.member)


def request_for(dataset: Path, info: VolumeInfo, options: BaseModel) -> dict[str, Any]:
    """Return what is asked for, JSON-able: the version that makes it, which volume it is of, and the options.

    The fingerprint tells this volume from another one in the same place by its scales and by where it came from.
    """
    record = read_record(dataset)
    scales = hashlib.sha256(repr((info.data_type, info.scales)).encode()).hexdigest()
    source = {} if record is None else {"source": record.source, "files": record.fingerprint, "options": record.options}
    return {
        "glassine": version("glassine"),
        "fingerprint": {"scales": scales, **source},
        "options": options.model_dump(mode="json", exclude=_OPTIONS_OF_THE_RUN),
    }


def finish_publishing(dataset: Path, member: str) -> None:
    """Finish what a run was killed in while it put a child in its place. Raises BusyError when it is still at it."""
    run = run_path(dataset, member)
    if (run / _READY).is_file():
        with locked(dataset):
            if (run / _READY).is_file():
                _publish(dataset, member)
                shutil.rmtree(run, ignore_errors=True)


def done_before(dataset: Path, child: Child[R], request: dict[str, Any]) -> R | None:
    """Return the record of the dataset's child if it is just what is requested."""
    with suppress(DatasetError):
        record = child.read(dataset) if (dataset / child.member / "info").is_file() else None
        named = child_name(read_volume_info(dataset), child.member)
        if record is not None and record.request == request and named == child.member:
            return record
    return None


def check_replaceable(dataset: Path, info: VolumeInfo, child: Child[Any], *, overwrite: bool) -> None:
    """Raise DatasetExistsError where another child of the kind is and may not be replaced."""
    there = child_name(info, child.member) or (child.member if (dataset / child.member).exists() else None)
    if there is not None and not overwrite:
        raise DatasetExistsError(
            f"{dataset}: it has other {child.noun} already, in {there} (made with other options, of another volume, or by "
            "another tool); add --overwrite to replace them"
        )


def check_extendable(dataset: Path, info: VolumeInfo) -> None:
    """Raise DatasetError where there are segment properties that nothing can be added to, before there is work to lose."""
    stored = StoredProperties(dataset, info.segment_properties)
    if not stored.is_elsewhere:
        stored.read()


@contextmanager
def claim_child(dataset: Path, child: Child[R], request: dict[str, Any]) -> Iterator[ChildClaim[R]]:
    """Hold a dataset for this run alone; what a run of the same request left is kept, with its journal.

    Nothing is kept of a run that the same request cannot get past: one that ends with an option or a dataset that is wrong.
    Raises BusyError when another run holds the dataset, DiskFullError.
    """
    run = run_path(dataset, child.member)
    try:
        run.parent.mkdir(exist_ok=True)
        with locked(dataset):
            if _begun(run) != request:
                shutil.rmtree(run, ignore_errors=True)
                write_file(run / _BEGUN, json.dumps(request).encode())
            held = ChildClaim(dataset, child, request, open_journal(run / _JOURNAL))
            for folder in (held.folder, held.spool):
                folder.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(run)
            try:
                yield held
            except (OptionError, DatasetError):
                shutil.rmtree(run, ignore_errors=True)
                raise
            shutil.rmtree(run, ignore_errors=True)
    except OSError as error:
        raise_if_full(error, dataset)
        raise


def _publish(dataset: Path, member: str) -> None:
    """Move the child in; each step may have been made before."""
    run, info, place = run_path(dataset, member), read_volume_info(dataset), dataset / member
    properties = _properties(dataset, info, run)
    _remove_unfinished_beside(dataset / "info", record_path(dataset, member), dataset / PROPERTIES / "info")
    arrived = run / "incoming" / member
    if arrived.exists():
        if child_name(info, member) is not None:
            # A viewer that asks meanwhile sees no child, never some of the old one and some of the new one.
            write_file(dataset / "info", encode_volume_info(_naming(info, member, None)))
        if place.exists():
            shutil.rmtree(run / "outgoing", ignore_errors=True)
            os.replace(place, run / "outgoing")
        os.replace(arrived, place)
    write_file(record_path(dataset, member), (run / _READY).read_bytes())
    if properties is not None:
        info = replace(info, segment_properties=StoredProperties(dataset, info.segment_properties).write(properties))
    write_file(dataset / "info", encode_volume_info(_naming(info, member, member)))


def _properties(dataset: Path, info: VolumeInfo, run: Path) -> SegmentProperties | None:
    """Return the segment properties with what the run tells of segments, None where they are not to be changed."""
    stored, columns = StoredProperties(dataset, info.segment_properties), read_file(run / _COLUMNS)
    if columns is None or stored.is_elsewhere:
        return None
    found = with_columns(stored.read(), parse_segment_properties(columns))
    return found if found.ids else None


def _naming(info: VolumeInfo, member: str, folder: str | None) -> VolumeInfo:
    changed: dict[str, Any] = {member: folder}
    return replace(info, **changed)


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


def _remove_unfinished_beside(*paths: Path) -> None:
    for path in paths:
        for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
            unfinished.unlink(missing_ok=True)
