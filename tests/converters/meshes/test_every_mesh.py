"""Every mesh of a volume, read by DracoPy with the format's formula and by cloud-volume, beside the volume's own labels.

GLASSINE_SLOW=1 GLASSINE_LABELS=FILE.npy takes labels of tissue in place of made ones, [x, y, z] with 16 x 16 x 40 nm a voxel.
"""

import json
import logging
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cc3d
import DracoPy
import fastremap
import numpy as np
import pytest
import zmesh
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter

from converters.meshes.conversion import make_meshes
from converters.meshes.multires_object import encode_object
from converters.options import ConvertOptions, MeshOptions
from converters.volumes.conversion import convert
from formats.meshes.mesh import Mesh, boundary_edges, distinct_rows
from tests.converters.meshes.measuring import nearest, sampled

RESOLUTION = (16.0, 16.0, 40.0)
MAX_ERROR, BITS = 40.0, 16
STEPS = (1 << BITS) - 1
FORMS = {"files": {"layout": "files"}, "sharded": {"layout": "sharded"}, "legacy": {"format": "legacy"}}
MEASURED, POINTS = 200, 2000
REAL = os.environ.get("GLASSINE_LABELS")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Volume:
    """Labels, the dataset that they are in, and how many segments to measure."""

    labels: NDArray[Any]
    dataset: Path
    measured: int
    executor: str

    @property
    def segments(self) -> list[int]:
        return [segment for segment in fastremap.unique(self.labels).tolist() if segment]


@dataclass(frozen=True)
class Level:
    """One level of detail as it is stored. fragments: node and bytes of each, in the manifest's order. shape, origin: nm."""

    fragments: list[tuple[tuple[int, ...], bytes]]
    lod: int
    shape: NDArray[np.float64]
    origin: NDArray[np.float64]

    def mesh(self, segment: int) -> Mesh:
        """The surface, nm, fragments rejoined where their whole numbers are the same; all is checked on the way."""
        assert all(before_on_z_curve(one, other) for (one, _), (other, _) in pairwise(self.fragments)), (segment, self.lod)
        vertices, triangles, count = [], [], 0
        for node, data in self.fragments:
            if data:
                mesh = DracoPy.decode(data)
                points = mesh.points.astype(np.int64)
                assert points.min() >= 0
                assert points.max() <= STEPS
                assert not self.lod or crossing(points[mesh.faces], 1 << BITS - 1) == 0, (segment, self.lod)
                vertices.append(points + np.array(node) * STEPS)
                triangles.append(mesh.faces.astype(np.int64) + count)
                count += len(points)
        whole, numbers = distinct_rows(np.concatenate(vertices))
        places = self.origin + self.shape * whole / STEPS
        return Mesh(places.astype(np.float32), numbers[np.concatenate(triangles)])


@dataclass(frozen=True)
class LegacyLevel:
    """The only level of detail of the legacy format."""

    fragments: list[bytes]

    def mesh(self, segment: int) -> Mesh:
        (data,) = self.fragments
        (count,) = struct.unpack_from("<I", data)
        vertices = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
        triangles = np.frombuffer(data, "<u4", -1, 4 + 12 * count).reshape(-1, 3)
        joined, numbers = distinct_rows(vertices)
        return Mesh(joined, numbers[triangles])


def made_labels() -> NDArray[np.uint32]:
    """Many objects of all sizes, some of which touch the faces."""
    field = gaussian_filter(np.random.default_rng(5).standard_normal((64, 56, 40)), (2.5, 2.5, 1.5))
    labels = cc3d.connected_components(np.abs(field) > 0.9 * field.std(), connectivity=6)
    return np.asfortranarray(labels, np.uint32)


@pytest.fixture(
    scope="module",
    params=[
        "made",
        pytest.param(
            "real",
            marks=[
                pytest.mark.skipif(
                    not (REAL and os.environ.get("GLASSINE_SLOW")),
                    reason="every mesh of a real volume takes many minutes; GLASSINE_SLOW=1 GLASSINE_LABELS=FILE.npy runs it",
                ),
                pytest.mark.timeout(7200),
            ],
        ),
    ],
)
def volume(request, tmp_path_factory) -> Volume:
    folder = tmp_path_factory.mktemp("volume")
    if request.param == "made":
        path, told = folder / "labels.npy", (12, "serial")
        np.save(path, made_labels())
    else:
        path, told = Path(REAL or ""), (MEASURED, "processes:2")
    options = ConvertOptions(axes="xyz", type="segmentation", resolution=RESOLUTION, layout="flat", executor=told[1])
    convert(path, folder / "dataset", options, lambda progress: None)
    return Volume(np.load(path), folder / "dataset", *told)


@pytest.mark.parametrize("form", FORMS)
def test_every_mesh_of_a_volume_is_closed_in_place_and_within_the_error(volume, form, monkeypatch):
    if volume.executor == "serial":
        # Made segments are small: their fragments are too, so that there are several.
        monkeypatch.setattr("converters.meshes.outputs.encode_object", partial(encode_object, most_triangles=300))
    options = MeshOptions(scale="16_16_40", max_error=MAX_ERROR, executor=volume.executor, overwrite=True, **FORMS[form])
    summary = make_meshes(volume.dataset, options, lambda progress: None)
    segments = volume.segments
    assert summary.record.meshes == len(segments)
    reader = cloud_volume_meshes(volume.dataset)
    triangles, fragments = np.zeros(len(summary.record.triangles), np.int64), 0
    for segment in segments:
        stored = list(READERS[form](volume.dataset, segment, reader))
        meshes = [level.mesh(segment) for level in stored]
        assert len(meshes) == len(triangles)
        for lod, mesh in enumerate(meshes):
            assert boundary_edges(mesh) == 0, (segment, lod)
            assert mesh.volume > 0, (segment, lod)
            triangles[lod] += len(mesh.triangles)
        check_cloud_volume(reader, segment, meshes, form)
        fragments += len(stored[0].fragments)
    assert form == "legacy" or fragments > len(segments)
    logger.info("%s: %d segments, %s triangles, %d fragments", form, len(segments), triangles.tolist(), fragments)
    away = np.concatenate(list(distances(volume, lambda segment: next(READERS[form](volume.dataset, segment, reader)))))
    logger.info("%s: of %d points 99 %% within %.1f nm, all within %.1f", form, len(away), np.quantile(away, 0.99), away.max())


def distances(volume: Volume, finest: Callable[[int], Any]) -> Iterator[NDArray[np.float64]]:
    """Measure some segments, of all sizes, each checked."""
    numbered, numbers = fastremap.renumber(volume.labels, in_place=False)
    boxes = find_objects(numbered.astype(np.int32))
    for segment in np.random.default_rng(0).permutation(volume.segments)[: volume.measured].tolist():
        mesh = finest(segment).mesh(segment)
        exact, found = marching_cubes(volume.labels, segment, boxes[numbers[segment] - 1]), (mesh.vertices, mesh.triangles)
        away = [nearest(sampled(*one, POINTS), *other) for one, other in ((exact, found), (found, exact))]
        assert np.quantile(away, 0.99) <= MAX_ERROR, segment
        assert np.max(away) <= 2 * MAX_ERROR, segment
        yield np.concatenate(away)


def marching_cubes(labels, segment: int, box: tuple[slice, ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The surface of a segment's voxels, nm; 0 is the corner of voxel 0, 0, 0."""
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(np.asfortranarray(np.pad(labels[box] == segment, 1).astype(np.uint8)))
    found = mesher.get(1)
    low = np.array([side.start for side in box])
    return (found.vertices + (low - 0.5)) * RESOLUTION, found.faces.astype(np.int64)


def file_levels(dataset: Path, segment: int, reader: Any) -> Iterator[Level]:
    yield from levels_of((dataset / f"mesh/{segment}.index").read_bytes(), (dataset / f"mesh/{segment}").read_bytes())


def shard_levels(dataset: Path, segment: int, reader: Any) -> Iterator[Level]:
    """Fragments lie before the manifest, which cloud-volume finds."""
    name, begin, _ = reader.reader.exists(segment, "mesh", return_byte_range=True)
    manifest = reader.reader.get_data(segment, "mesh")
    size = sum(len(data) for level in levels_of(manifest, None) for _, data in level.fragments)
    with open(dataset / name, "rb") as file:
        file.seek(begin - size)
        yield from levels_of(manifest, file.read(size))


def legacy_levels(dataset: Path, segment: int, reader: Any) -> Iterator[LegacyLevel]:
    assert json.loads((dataset / f"mesh/{segment}:0").read_bytes()) == {"fragments": [f"{segment}:0:0"]}
    yield LegacyLevel([(dataset / f"mesh/{segment}:0:0").read_bytes()])


READERS = {"files": file_levels, "sharded": shard_levels, "legacy": legacy_levels}


def levels_of(manifest: bytes, fragments: bytes | None) -> Iterator[Level]:
    """Take a manifest apart as meshes.md tells; without fragments their bytes are zeros."""
    floats, words = np.frombuffer(manifest, "<f4").astype(np.float64), np.frombuffer(manifest, "<u4").astype(np.int64)
    lods, first, begin = int(words[6]), 7 + 5 * int(words[6]), 0
    assert (np.diff(floats[7 : 7 + lods]) > 0).all()
    for lod, count in enumerate(words[7 + 4 * lods : first].tolist()):
        x, y, z, sizes = words[first : first + 4 * count].reshape(4, count)
        ends = begin + np.cumsum(sizes)
        data = [bytes(size) if fragments is None else fragments[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        nodes = [tuple(node) for node in np.column_stack([x, y, z]).tolist()]
        origin = floats[3:6] + floats[7 + lods + 3 * lod :][:3]
        yield Level(list(zip(nodes, data, strict=True)), lod, floats[:3] * 2**lod, origin)
        first, begin = first + 4 * count, int(ends[-1])
    assert first == len(words)
    assert fragments is None or begin == len(fragments)


def crossing(corners: NDArray[np.int64], half: int) -> int:
    """How many triangles reach to both sides of the middle of their fragment along any axis."""
    return int(((corners.min(axis=1) < half) & (corners.max(axis=1) > half)).any(axis=1).sum())


def before_on_z_curve(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    differences = [a ^ b for a, b in zip(one, other, strict=True)]
    axis = max(range(3), key=lambda n: (differences[n].bit_length(), n))
    return one[axis] < other[axis]


def cloud_volume_meshes(dataset: Path) -> Any:
    cloudvolume = pytest.importorskip("cloudvolume")
    return cloudvolume.CloudVolume(f"file://{dataset}", progress=False).mesh


def check_cloud_volume(reader: Any, segment: int, meshes: list[Mesh], form: str) -> None:
    """cloud-volume has the same triangles, in the same place."""
    for lod, mesh in enumerate(meshes):
        found = reader.get(segment, remove_duplicate_vertices=False) if form == "legacy" else reader.get(segment, lod)
        theirs = found if hasattr(found, "faces") else found[segment]
        assert len(theirs.faces) == len(mesh.triangles), (segment, lod)
        seen = Mesh(theirs.vertices.astype(np.float32), theirs.faces.astype(np.uint32))
        assert np.allclose(seen.box, mesh.box, atol=0.05), (segment, lod)
        assert abs(seen.volume / mesh.volume - 1) < 1e-3, (segment, lod)
