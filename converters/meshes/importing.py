"""Mesh files as the meshes of a segmentation's segments, or as a dataset of meshes alone."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from converters.children import SHOWN
from converters.errors import OptionError
from converters.imports.absent import absent_note
from converters.imports.adding import Addition, publish, staged
from converters.imports.doubts import Doubts
from converters.imports.placing import Coordinates, coordinates
from converters.imports.segments import SegmentFile, by_segment, segment_files
from converters.imports.target import Kind, Target, find_target
from converters.meshes.files.opening import read_surface
from converters.meshes.files.placing import placed
from converters.meshes.levels import levels_of
from converters.meshes.prepared import Prepared, prepared
from converters.meshes.reading import MeshReader, mesh_kind, read_mesh_info
from converters.meshes.record import MESHES, MeshRecord, encode_mesh_record, read_mesh_record
from converters.options import ImportMeshOptions
from converters.publishing import finish_publishing
from converters.shards import segment_sharding
from formats.info import Sharding
from formats.members import IDENTITY
from formats.meshes.info import LegacyMeshInfo, MeshInfo, MultiresMeshInfo, encode_mesh_info, parse_mesh_info
from formats.meshes.mesh import Mesh, joined, welded
from formats.segment_properties import SegmentProperties

_BITS = 16
"""Of a coordinate inside a fragment: what a file tells is kept to a 65,000th of one."""

_LODS = 8
"""Levels of detail of a large surface, at most, when nothing is said."""
_IMPORTED = {"command": "import-mesh"}
"""The options in the record of meshes that were all imported."""

Report = Callable[[int, int], None]
"""Called with how many files are done and how many there are."""


@dataclass(frozen=True)
class Imported:
    """What an import gave. folder: where the meshes lie. notes: what the user should know."""

    dataset: Path
    folder: Path
    format: str
    files: int
    segments: int
    triangles: int
    stored_bytes: int
    notes: tuple[str, ...]


def import_meshes(
    files: Sequence[Path], dataset: Path, options: ImportMeshOptions, report: Report = lambda done, total: None
) -> Imported:
    """Write the surfaces in files as meshes of a dataset, several files of one segment as one mesh.

    dataset: a segmentation, whose info then names the meshes; a dataset of meshes alone; or a new folder that becomes one.
    Nothing of the dataset is changed before all files are read.

    Raises OptionError for what is missing or does not fit, SourceError and DamagedError for files, DatasetExistsError where other
    meshes are, DatasetError, BusyError, DiskFullError.
    """
    chosen = segment_files(files, options.id, Path(options.table) if options.table else None)
    told = _coordinates(options)
    finish_publishing(dataset, MESHES.member)
    target = find_target(dataset, _KIND)
    groups = by_segment(chosen)
    info = _mesh_info(target, options, len(groups))
    before = read_mesh_record(dataset)
    with staged(target) as staging:
        with prepared(staging, info) as meshes:
            run = _Run(target, told, info, options.lods or _LODS, meshes, Doubts(target.bounds))
            for segment, group in groups:
                run.add(segment, group)
                report(run.doubts.files, len(chosen))
        names = {file.segment: file.name for file in chosen if file.name}

        def record() -> bytes:
            return encode_mesh_record(_record(run, before))

        addition = Addition(
            staging, info, meshes.files, meshes.shards, names, SegmentProperties(), record, overwrite=options.overwrite
        )
        notes = publish(target, addition)
    absent = absent_note(dataset, target.volume, meshes.files) if target.volume is not None else ()
    return Imported(
        dataset,
        target.folder,
        options.format,
        run.doubts.files,
        len(groups),
        sum(run.triangles.values()),
        meshes.stored_bytes,
        (*run.doubts.notes("nm"), *absent, *notes),
    )


@dataclass
class _Run:
    """What is done so far. lods: levels of detail, at most. triangles: of each segment's finest one."""

    target: Target[MeshInfo]
    told: Coordinates
    info: MeshInfo
    lods: int
    meshes: Prepared
    doubts: Doubts
    triangles: dict[int, int] = field(default_factory=dict)

    def add(self, segment: int, files: Sequence[SegmentFile]) -> None:
        """Read the files of one segment and prepare its mesh."""
        meshes = [self._read(file.path) for file in files]
        mesh = meshes[0] if len(meshes) == 1 else welded(joined(meshes))
        self.meshes.put(segment, levels_of(mesh, self.lods))
        self.triangles[segment] = len(mesh.triangles)

    def largest(self) -> tuple[int, ...]:
        """Return the ids of the segments with the most triangles."""
        return tuple(sorted(self.triangles, key=lambda segment: -self.triangles[segment])[:SHOWN])

    def _read(self, path: Path) -> Mesh:
        surface = read_surface(path)
        mesh = placed(surface, self.target.place, self.told, str(path))
        self.doubts.look(path, mesh.vertices, has_unit=self.told.unit is not None or surface.unit is not None)
        return mesh


def _coordinates(options: ImportMeshOptions) -> Coordinates:
    told = coordinates(options.unit, options.space, options.affine, centred=options.voxel_centres)
    return replace(told, gifti_space=None if options.gifti_space == "auto" else options.gifti_space)


def _mesh_info(target: Target[MeshInfo], options: ImportMeshOptions, segments: int) -> MeshInfo:
    """Return the info of the meshes that are there, or of new ones. Raises OptionError where new ones cannot be added."""
    if options.format == "legacy":
        _check_legacy(options)
    if target.info is None:
        if options.format == "legacy":
            return LegacyMeshInfo()
        return MultiresMeshInfo(_BITS, sharding=_sharding(target.folder, options, segments))
    there = "multires" if isinstance(target.info, MultiresMeshInfo) else "legacy"
    if there != options.format:
        raise OptionError(
            f"{target.folder}: holds {there} meshes; add --format {there} to add to them, or import into a new folder"
        )
    if isinstance(target.info, MultiresMeshInfo):
        _check_addable(target.folder, target.info, options)
    return target.info


def _check_legacy(options: ImportMeshOptions) -> None:
    if (options.lods or 1) > 1:
        raise OptionError(
            f"--lods {options.lods}: the legacy format has one level of detail; leave --lods or --format legacy out"
        )
    if options.layout == "sharded":
        raise OptionError("--layout sharded: the legacy format has no shards; leave one of --layout and --format out")


def _check_addable(folder: Path, info: MultiresMeshInfo, options: ImportMeshOptions) -> None:
    if info.sharding is not None:
        raise OptionError(f"{folder}: its meshes lie in shards, which nothing is added to; import into a new folder")
    if options.layout == "sharded":
        raise OptionError(
            f"{folder}: its meshes are files of their own; leave --layout out to add to them, or import into a new folder"
        )
    if info.transform != IDENTITY:
        raise OptionError(f"{folder}: its meshes are moved by a transform, so none is added; import into a new folder")


def _sharding(folder: Path, options: ImportMeshOptions, segments: int) -> Sharding | None:
    """Return how new meshes lie in shards, None for files of their own, as where such are in the folder already."""
    has_files = any(folder.glob("*.index*"))
    if options.layout == "sharded" and has_files:
        raise OptionError(f"{folder}: is there with meshes in files of their own; leave --layout out, or remove the folder first")
    return None if has_files else segment_sharding(options.layout, segments, gzipped=False)


def _record(run: _Run, before: MeshRecord | None) -> MeshRecord:
    """Return what is known of a volume's meshes now; a first look shows what was added last.

    Where nothing was known, only what the folder tells is: triangles and error of other tools' meshes are not counted.
    """
    folder = run.target.folder
    shown = dict.fromkeys((*run.largest(), *(before.largest if before else ())))
    largest = tuple(shown)[:SHOWN]
    if before is not None and before.options != _IMPORTED:
        return replace(before, largest=largest)
    return MeshRecord(
        glassine=version("glassine"),
        fingerprint={},
        options=_IMPORTED,
        folder=folder.relative_to(run.target.dataset).as_posix(),
        scale="",
        max_error=0.0,
        meshes=len(MeshReader(folder, run.info).segments()),
        triangles=(),
        stored_bytes=sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name != "info"),
        largest=largest,
    )


def _parsed(data: bytes) -> MeshInfo | None:
    return None if mesh_kind(data) is None else parse_mesh_info(data)


def _encoded_info(info: MeshInfo, properties: str | None) -> bytes:
    return encode_mesh_info(replace(info, segment_properties=properties))


_KIND = Kind(MESHES, read_mesh_info, _parsed, _encoded_info, lambda folder, info: MeshReader(folder, info).holds)
