"""The sources, mesh files and stores that converters read, as targets: valid files are those of each format's own library."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import trimesh

from converters.errors import ConverterError
from converters.meshes.files.opening import read_surface
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.test_every_format import FORMATS, written
from tests.security.mutations import Mutation, any_of, of_bytes, of_json, of_png, of_text, of_words, packed_by_gzip
from tests.security.target import Target

_LARGEST_READ = 64
"""Voxels along an axis that are read of a source that claims to be larger."""
_OF_LIBRARIES = ("hdf5", "cmap", "pieces by a pattern", "tiff of strips, lzw, predictor")
"""libhdf5 loops for ever over some wrong files, and the LZW decoder of imagecodecs crashes: such files are read in processes that
can be ended or may die, never in the server's."""
_BINARY = any_of(of_bytes, of_words)


def _read_source(path: Path, options: SourceOptions) -> None:
    """Open a source and read a box of it, no larger than valid files are."""
    source = open_source(path, options)
    shape = tuple(min(n, _LARGEST_READ) for n in source.shape)
    voxels = source.read(Box((0, 0, 0), (shape[0], shape[1], shape[2])))
    assert voxels.shape == (*shape, source.num_channels), voxels.shape
    assert voxels.dtype == source.dtype, voxels.dtype
    assert np.isfinite(source.geometry.resolution).all()
    assert min(source.geometry.resolution) > 0
    source.geometry.transform()


@cache
def _copy(name: str) -> tuple[Path, Path, SourceOptions]:
    """Return a folder with a source of a format, what is to be opened in it, and how."""
    folder = Path(tempfile.mkdtemp(prefix="glassine-fuzz-"))
    place, options = written(name, folder)
    return folder, place, options


def _files(name: str) -> list[Path]:
    """Return the files of a source that are made wrong, the largest one of chunks for all."""
    folder, place, _ = _copy(name)
    if place.is_file() and not any(place.with_suffix(other).exists() for other in (".hdr",)):
        return [place]
    found = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    told = [
        path for path in found if path.suffix in (".json", ".hdr", ".nhdr") or path.name.startswith(".z") or path.name == "info"
    ]
    if name == "pieces by a list":
        return told
    return [*told, *(path for path in found if path not in told)][: len(told) + 1]


def _mutation(path: Path) -> Mutation:
    if path.suffix == ".json" or path.name.startswith(".z") or path.name == "info":
        return of_json
    if path.suffix == ".gz":
        return packed_by_gzip(_BINARY)
    if path.suffix == ".png":
        return any_of(of_png, _BINARY)
    return any_of(of_text, _BINARY) if path.suffix in (".nhdr", ".nrrd", ".obj", ".ply", ".vtk", ".gii", ".HEAD") else _BINARY


def _reader(name: str, path: Path) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        _, place, options = _copy(name)
        # Another file each time, as a stranger's would be: what is kept of files that were open is kept by name and time.
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        _read_source(place, options)

    return read


def _source_targets() -> list[Target]:
    targets = []
    for name in FORMATS:
        if name.startswith(_OF_LIBRARIES):
            continue
        for path in _files(name):
            valid = path.read_bytes()
            called = name if len(_files(name)) == 1 else f"{name}: {path.name}"
            targets.append(Target(called, lambda valid=valid: [valid], _reader(name, path), _mutation(path), (ConverterError,)))
    return targets


def _surface_files() -> dict[str, bytes]:
    box = trimesh.creation.box((2, 3, 4))
    points, faces = np.asarray(box.vertices, np.float32), np.asarray(box.faces, np.int32)
    arrays = [
        nibabel.gifti.GiftiDataArray(points, "NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(faces, "NIFTI_INTENT_TRIANGLE"),
    ]
    vtk = "# vtk DataFile Version 3.0\nbox\nASCII\nDATASET POLYDATA\nPOINTS 4 float\n0 0 0 1 0 0 0 1 0 0 0 1\n"
    vtk += "POLYGONS 4 16\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"
    return {
        "a.stl": box.export(file_type="stl"),
        "b.stl": box.export(file_type="stl_ascii").encode(),
        "a.obj": box.export(file_type="obj").encode(),
        "a.ply": box.export(file_type="ply"),
        "b.ply": box.export(file_type="ply", encoding="ascii"),
        "a.vtk": vtk.encode(),
        "a.gii": nibabel.gifti.GiftiImage(darrays=arrays).to_bytes(),
    }


def _surface_reader(name: str) -> Callable[[bytes], None]:
    folder = cache(lambda: Path(tempfile.mkdtemp(prefix="glassine-fuzz-")))

    def read(data: bytes) -> None:
        (folder() / name).write_bytes(data)
        surface = read_surface(folder() / name)
        assert not surface.triangles.size or int(surface.triangles.max()) < len(surface.points)

    return read


def _surface_targets() -> list[Target]:
    return [
        Target(
            f"mesh file {name}",
            lambda data=data: [data],
            _surface_reader(name),
            any_of(of_text, _BINARY),
            (ConverterError,),
        )
        for name, data in _surface_files().items()
    ]


TARGETS = (*_source_targets(), *_surface_targets())
