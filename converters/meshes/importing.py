"""Mesh files as the meshes of a segmentation's segments, or as a dataset of meshes alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from converters.errors import OptionError
from converters.imports.placing import Coordinates, parse_affine
from converters.imports.segments import SegmentFile, segment_files
from converters.meshes.adding import SHOWN, Addition, publish, staged
from converters.meshes.files.opening import read_surface
from converters.meshes.files.placing import placed
from converters.meshes.multires_object import encode_object
from converters.meshes.record import MESHES
from converters.meshes.target import Target, find_target
from converters.options import ImportMeshOptions
from converters.publishing import finish_publishing
from converters.storage.files import write_file
from formats.members import IDENTITY
from formats.meshes import legacy, multires
from formats.meshes.info import LegacyMeshInfo, MeshInfo, MultiresMeshInfo
from formats.meshes.mesh import Mesh, joined, welded

_BITS = 16
"""Of a coordinate inside a fragment: what a file tells is kept to a 65,000th of one."""

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
    target = find_target(dataset)
    info = _mesh_info(target, options)
    with staged(target) as staging:
        run = _Run(target, told, info, staging)
        for segment, group in _by_segment(chosen):
            run.add(segment, group)
            report(run.files, len(chosen))
        names = {file.segment: file.name for file in chosen if file.name}
        notes = publish(target, Addition(staging, info, run.objects, run.largest(), names, options.overwrite))
    return Imported(
        dataset,
        target.folder,
        options.format,
        run.files,
        len(run.objects),
        sum(run.triangles.values()),
        run.stored_bytes,
        (*_notes(run), *notes),
    )


@dataclass
class _Run:
    """What is done so far. objects: the names of each segment's files, its manifest last."""

    target: Target
    told: Coordinates
    info: MeshInfo
    staging: Path
    files: int = 0
    triangles: dict[int, int] = field(default_factory=dict)
    stored_bytes: int = 0
    objects: dict[int, tuple[str, ...]] = field(default_factory=dict)
    without_unit: list[Path] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def add(self, segment: int, files: Sequence[SegmentFile]) -> None:
        """Read the files of one segment and prepare its object."""
        meshes = [self._read(file.path) for file in files]
        mesh = meshes[0] if len(meshes) == 1 else welded(joined(meshes))
        stored = _encoded(segment, mesh, self.info)
        for name, data in stored.items():
            write_file(self.staging / name, data)
        self.objects[segment] = tuple(stored)
        self.files += len(files)
        self.triangles[segment] = len(mesh.triangles)
        self.stored_bytes += sum(map(len, stored.values()))

    def largest(self) -> tuple[int, ...]:
        """Return the ids of the segments with the most triangles."""
        return tuple(sorted(self.triangles, key=lambda segment: -self.triangles[segment])[:SHOWN])

    def _read(self, path: Path) -> Mesh:
        surface = read_surface(path)
        mesh = placed(surface, self.target.place, self.told, str(path))
        if self.told.unit is None and surface.unit is None:
            self.without_unit.append(path)
        low, high = (corner.astype(np.float64) for corner in mesh.box)
        if self.target.bounds is not None and ((high < self.target.bounds[0]).any() or (low > self.target.bounds[1]).any()):
            self.outside.append(f"{path} from {_place(low)} to {_place(high)}")
        return mesh


def _by_segment(files: Sequence[SegmentFile]) -> list[tuple[int, list[SegmentFile]]]:
    """Return the files of each segment, in ascending order of the ids."""
    groups: dict[int, list[SegmentFile]] = {}
    for file in files:
        groups.setdefault(file.segment, []).append(file)
    return sorted(groups.items())


def _coordinates(options: ImportMeshOptions) -> Coordinates:
    return Coordinates(
        unit=None if options.unit == "auto" else options.unit,
        space=None if options.space == "auto" else options.space,
        affine=None if options.affine is None else parse_affine(options.affine),
        gifti_space=None if options.gifti_space == "auto" else options.gifti_space,
        centred=options.voxel_centres,
    )


def _mesh_info(target: Target, options: ImportMeshOptions) -> MeshInfo:
    """Return the info of the meshes that are there, or of new ones. Raises OptionError where new ones cannot be added."""
    if target.info is None:
        return MultiresMeshInfo(vertex_quantization_bits=_BITS) if options.format == "multires" else LegacyMeshInfo()
    there = "multires" if isinstance(target.info, MultiresMeshInfo) else "legacy"
    if there != options.format:
        raise OptionError(
            f"{target.folder}: holds {there} meshes; add --format {there} to add to them, or import into a new folder"
        )
    if isinstance(target.info, MultiresMeshInfo):
        if target.info.sharding is not None:
            raise OptionError(f"{target.folder}: its meshes lie in shards, which nothing is added to; import into a new folder")
        if target.info.transform != IDENTITY:
            raise OptionError(f"{target.folder}: its meshes are moved by a transform, so none is added; import into a new folder")
    return target.info


def _encoded(segment: int, mesh: Mesh, info: MeshInfo) -> dict[str, bytes]:
    """Return the files of an object by their names, the manifest last."""
    if isinstance(info, MultiresMeshInfo):
        encoded = encode_object([mesh], [1.0], info.vertex_quantization_bits)
        return {multires.fragments_name(segment): encoded.fragments, multires.manifest_name(segment): encoded.manifest}
    name = legacy.fragment_name(segment, 0)
    return {name: legacy.encode_fragment(mesh), legacy.manifest_name(segment): legacy.encode_manifest([name])}


def _notes(run: _Run) -> list[str]:
    notes = []
    if run.without_unit:
        others = f" and {len(run.without_unit) - 1} more" if len(run.without_unit) > 1 else ""
        notes.append(f"{run.without_unit[0]}{others}: no unit is told, taken for nm; add --unit um or --unit mm if that is wrong")
    if run.outside and run.target.bounds is not None:
        low, high = run.target.bounds
        notes.append(
            f"{len(run.outside)} of {run.files} surfaces lie outside the volume, which goes from {_place(low)} to {_place(high)} "
            f"nm (such as {run.outside[0]}); check --unit, --space and --affine"
        )
    return notes


def _place(corner: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return ", ".join(f"{length:.6g}" for length in corner)
