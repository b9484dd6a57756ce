"""SWC files as the skeletons of a segmentation's segments, or as a dataset of skeletons alone."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from converters.children import SHOWN
from converters.errors import DamagedError, OptionError, SourceError
from converters.imports.adding import Addition, publish, staged
from converters.imports.doubts import Doubts
from converters.imports.placing import Coordinates, FileCoordinates, coordinates, to_dataset
from converters.imports.segments import SegmentFile, by_segment, segment_files
from converters.imports.target import Kind, Target, find_target
from converters.options import ImportSkeletonOptions
from converters.publishing import finish_publishing
from converters.shards import new_part, segment_sharding, shard_from_parts
from converters.skeletons.groups import ATTRIBUTES, SegmentCounts
from converters.skeletons.properties import skeleton_numbers
from converters.skeletons.reading import SkeletonReader, parse_alone, read_skeleton_info
from converters.skeletons.record import SKELETONS, SkeletonRecord, encode_skeleton_record, longest, read_skeleton_record
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.files import write_file
from formats.errors import DecodeError
from formats.gzip import compress
from formats.info import Sharding
from formats.members import IDENTITY
from formats.sharding.ids import shard_name
from formats.skeletons.encoded import encode_skeleton
from formats.skeletons.info import DRAWN, SkeletonInfo, VertexAttribute, encode_skeleton_info
from formats.skeletons.skeleton import Skeleton
from formats.skeletons.swc import parse_swc

_IMPORTED = {"command": "import-skeleton"}
"""What was asked for, in the record of skeletons that were all imported."""
_MICRON = 1e3
"""nm of one unit of files that tell none: what most programs mean."""
_PART = "part"
"""What is to go into shards, in the staging folder."""

Report = Callable[[int, int], None]
"""Called with how many files are done and how many there are."""


@dataclass(frozen=True)
class Imported:
    """What an import gave. folder: where the skeletons lie. cable_length: nm, of all. notes: what the user should know."""

    dataset: Path
    folder: Path
    files: int
    segments: int
    vertices: int
    trees: int
    cable_length: float
    stored_bytes: int
    sharded: bool
    notes: tuple[str, ...]


def import_skeletons(
    files: Sequence[Path], dataset: Path, options: ImportSkeletonOptions, report: Report = lambda done, total: None
) -> Imported:
    """Write the trees in SWC files as skeletons of a dataset, several files of one segment as one skeleton.

    dataset: a segmentation, whose info then names the skeletons; a dataset of skeletons alone; or a new folder that becomes one.
    Nothing of the dataset is changed before all files are read.

    Raises OptionError for what is missing or does not fit, SourceError and DamagedError for files, DatasetExistsError where other
    skeletons are, DatasetError, BusyError, DiskFullError.
    """
    chosen = segment_files(files, options.id, Path(options.table) if options.table else None)
    told = coordinates(options.unit, options.space, options.affine, centred=options.voxel_centres)
    finish_publishing(dataset, SKELETONS.member)
    target = find_target(dataset, _KIND)
    groups = by_segment(chosen)
    info = _info(target, options, len(groups))
    before = read_skeleton_record(dataset)
    with staged(target) as staging:
        run = _Run(target, told, info, staging, Doubts(target.bounds))
        for segment, group in groups:
            run.add(segment, group)
            report(run.doubts.files, len(chosen))
        names = {file.segment: file.name for file in chosen if file.name}
        addition = run.addition(names, lambda: encode_skeleton_record(_record(run, before)), overwrite=options.overwrite)
        stored = sum((staging / name).stat().st_size for name in addition.files)
        notes = publish(target, addition)
    return _imported(run, stored, notes)


@dataclass
class _Run:
    """What is done so far; each skeleton is a file in staging, by its segment's id."""

    target: Target[SkeletonInfo]
    told: Coordinates
    info: SkeletonInfo
    staging: Path
    doubts: Doubts
    counted: list[SegmentCounts] = field(default_factory=list)

    def add(self, segment: int, files: Sequence[SegmentFile]) -> None:
        """Read the files of one segment and prepare its skeleton."""
        skeleton = _together([self._read(file.path) for file in files])
        write_file(self.staging / str(segment), encode_skeleton(skeleton, self.info.vertex_attributes))
        self.counted.append(_counts(segment, skeleton))

    def addition(self, names: Mapping[int, str], record: Callable[[], bytes], *, overwrite: bool) -> Addition[SkeletonInfo]:
        """Return what comes into the dataset, put into shards where it goes into such."""
        sharding = self.info.sharding
        files = {one.segment: (str(one.segment),) for one in self.counted}
        return Addition(
            staging=self.staging,
            info=self.info,
            segments={} if sharding else files,
            shards=_shards(self, sharding) if sharding else (),
            names=names,
            numbers=skeleton_numbers(self.counted),
            record=record,
            overwrite=overwrite,
        )

    def _read(self, path: Path) -> Skeleton:
        try:
            tracing = parse_swc(_text(path))
            matrix = to_dataset(FileCoordinates(tracing.unit or _MICRON), self.target.place, self.told, str(path))
            skeleton = tracing.placed(matrix)
        except DecodeError as error:
            raise DamagedError(f"{path}: {error}") from error
        self.doubts.look(path, skeleton.vertices, has_unit=self.told.unit is not None or tracing.unit is not None)
        return skeleton


def _imported(run: _Run, stored_bytes: int, notes: Sequence[str]) -> Imported:
    return Imported(
        dataset=run.target.dataset,
        folder=run.target.folder,
        files=run.doubts.files,
        segments=len(run.counted),
        vertices=sum(one.vertices for one in run.counted),
        trees=sum(one.trees for one in run.counted),
        cable_length=sum(one.cable_length for one in run.counted),
        stored_bytes=stored_bytes,
        sharded=run.info.sharding is not None,
        notes=(*run.doubts.notes("um"), *notes),
    )


def _text(path: Path) -> str:
    """Return a file's text; comments may be in any encoding. Raises SourceError."""
    try:
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error


def _together(skeletons: Sequence[Skeleton]) -> Skeleton:
    """Return skeletons as one; they stay pieces of their own."""
    starts = np.cumsum([0, *(len(skeleton.vertices) for skeleton in skeletons[:-1])])
    return Skeleton(
        np.concatenate([skeleton.vertices for skeleton in skeletons]),
        np.concatenate([skeleton.edges + np.uint32(start) for skeleton, start in zip(skeletons, starts, strict=True)]),
        {name: np.concatenate([skeleton.attributes[name] for skeleton in skeletons]) for name in skeletons[0].attributes},
    )


def _counts(segment: int, skeleton: Skeleton) -> SegmentCounts:
    degrees = skeleton.degrees
    return SegmentCounts(
        segment,
        vertices=len(skeleton.vertices),
        cable_length=round(skeleton.cable_length, 3),
        trees=len(skeleton.vertices) - len(skeleton.edges),
        end_points=int((degrees == 1).sum()),
        branch_points=int((degrees > 2).sum()),
    )


def _shards(run: _Run, sharding: Sharding) -> tuple[str, ...]:
    """Put the skeletons in staging into shards there, and return their names."""
    part, names = run.staging / _PART, []
    with new_part(part) as objects:
        for one in run.counted:
            objects.put(one.segment, compress((run.staging / str(one.segment)).read_bytes()))
    for number in range(1 << sharding.shard_bits):
        name = shard_name(number, sharding)
        if shard_from_parts(run.staging / name, [part], sharding, number):
            names.append(name)
    return tuple(names)


def _info(target: Target[SkeletonInfo], options: ImportSkeletonOptions, segments: int) -> SkeletonInfo:
    """Return the info of the skeletons that are there, or of new ones. Raises OptionError where new ones cannot be added."""
    there = target.info
    if there is None:
        return SkeletonInfo(ATTRIBUTES, sharding=segment_sharding(options.layout, segments, gzipped=True))
    if there.sharding is not None:
        anew = (
            "" if target.volume is None else ", or remove this one, and the member skeletons of the volume's info, to begin anew"
        )
        raise OptionError(
            f"{target.folder}: its skeletons lie in shards, which nothing is added to; import into a new folder{anew}"
        )
    if options.layout == "sharded":
        raise OptionError(f"{target.folder}: its skeletons are files of their own; leave out --layout sharded to add to them")
    if there.transform != IDENTITY:
        raise OptionError(f"{target.folder}: its skeletons are moved by a transform, so none is added; import into a new folder")
    _check_attributes(target.folder, there.vertex_attributes)
    return there


def _check_attributes(folder: Path, attributes: Sequence[VertexAttribute]) -> None:
    known = {attribute.id for attribute in ATTRIBUTES}
    for one in attributes:
        if one.data_type != DRAWN:
            raise OptionError(
                f"{folder}: its skeletons have the attribute {one.id} of {one.data_type}, and the viewer refuses any that is not "
                f"{DRAWN}; import into a new folder"
            )
        if one.id not in known or one.num_components != 1:
            raise OptionError(
                f"{folder}: its skeletons have the attribute {one.id} ({one.num_components} x {one.data_type}), which SWC "
                "files do not tell; import into a new folder"
            )


def _record(run: _Run, before: SkeletonRecord | None) -> SkeletonRecord:
    """Return what is known of a volume's skeletons now; a first look shows what was added last.

    Where nothing was known, only what the folder tells is.
    """
    folder = run.target.folder
    ours = longest({one.segment: one.cable_length for one in run.counted})
    largest = tuple(dict.fromkeys((*ours, *(before.largest if before else ()))))[:SHOWN]
    if before is not None and before.request != _IMPORTED:
        return replace(before, largest=largest)
    counts = {
        "skeletons": len(SkeletonReader(folder, run.info).segments()),
        "stored_bytes": sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name != "info"),
    }
    return SkeletonRecord(_IMPORTED, "", {}, counts, 0.0, largest=largest)


def _encoded_info(info: SkeletonInfo, properties: str | None) -> bytes:
    return encode_skeleton_info(replace(info, segment_properties=properties))


def _holder(folder: Path, info: SkeletonInfo) -> Callable[[int], bool]:
    storage = AnyLayoutStorage(folder)
    return lambda segment: storage.exists(str(segment))


_KIND = Kind(SKELETONS, read_skeleton_info, parse_alone, _encoded_info, _holder)
