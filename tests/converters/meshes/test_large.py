"""Segments that are larger than the memory of a worker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.budget import Budget
from converters.meshes.blocks import MeshSource, block_surfaces
from converters.meshes.conversion import make_meshes
from converters.meshes.dividing import divided, runs
from converters.meshes.pieces import PieceTask, Stretch, make_piece, open_vertices
from converters.meshes.plan import _PROCESS_BYTES, _TOLERATED, _TRIANGLE_BYTES, plan_groups, room_for_triangles
from converters.meshes.reading import open_meshes
from converters.meshes.simplification import Simplifier
from converters.meshes.spool import read_surfaces, write_part
from converters.meshes.surfaces import STEPS, joined
from converters.options import MeshOptions
from formats.grid import Box
from formats.meshes.mesh import Mesh, boundary_edges, welded
from formats.meshes.multires import decode_manifest
from tests.converters.meshes.measuring import Labels, blobs, distances, sampled, scale_of
from tests.converters.meshes.test_conversion import OFFSET, RESOLUTION, bytes_below, dataset_of, quiet

SHAPE = (60, 50, 40)
FORMS = [{"layout": "files"}, {"layout": "sharded"}, {"format": "legacy"}]
ROOM = 1500
MAX_ERROR = 20.0


@pytest.fixture
def small_memory(monkeypatch):
    """A worker's memory holds few triangles, and small blocks."""
    monkeypatch.setattr("converters.meshes.plan._LARGEST_BLOCK", (32, 32, 32))
    monkeypatch.setattr("converters.meshes.conversion.room_for_triangles", lambda budget: ROOM)


def options(**form) -> MeshOptions:
    return MeshOptions(executor="serial", memory="1GB", scale="11.24_11.24_28", max_error=MAX_ERROR, **form)


def dataset_below(tmp_path: Path) -> Path:
    tmp_path.mkdir(exist_ok=True)
    return dataset_of(tmp_path, blobs(SHAPE, 1), layout="flat")


def meshed(tmp_path: Path, **form):
    dataset = dataset_below(tmp_path)
    return dataset, make_meshes(dataset, options(**form), quiet)


def exact_surface(segment: int) -> Mesh:
    voxels = blobs(SHAPE, 1)
    surfaces = block_surfaces(MeshSource(Labels(voxels), scale_of(voxels), None, (segment,)), Box((0, 0, 0), SHAPE))
    places = (surfaces.vertices / STEPS + np.array(OFFSET) + 0.5) * RESOLUTION
    return Mesh(places.astype(np.float32), surfaces.triangles.astype(np.uint32))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_meshes_larger_than_the_memory_are_as_good_as_others(tmp_path, request, form):
    whole, whole_summary = meshed(tmp_path / "whole", **form)
    request.getfixturevalue("small_memory")
    pieces, summary = meshed(tmp_path / "pieces", **form)
    assert whole_summary.record.triangles[0] > 12 * ROOM
    one, other = open_meshes(whole), open_meshes(pieces)
    assert one.segments().tolist() == other.segments().tolist()
    total = np.zeros(len(summary.record.triangles), np.int64)
    for segment in one.segments().tolist():
        assert one.levels(segment) == other.levels(segment)
        for lod in range(other.levels(segment)):
            mesh = welded(other.read(segment, lod))
            assert boundary_edges(mesh) == 0
            assert mesh.volume == pytest.approx(one.read(segment, lod).volume, rel=0.02)
            total[lod] += len(mesh.triangles)
        # A flat part of no volume, which cloud-volume takes for a triangle that is there twice, is not to be looked for.
        told = {"remove_duplicate_vertices": False} if "format" in form else {}
        assert_read_alike_by_cloud_volume(pieces, segment, other.read(segment), told)
    # Cutting at the octree's planes adds some; pieces cost some more along their edges.
    assert (total >= summary.record.triangles).all()
    assert (np.array(summary.record.triangles) < 2 * np.array(whole_summary.record.triangles)).all()
    assert not (pieces / ".glassine/mesh-run").exists()


def assert_read_alike_by_cloud_volume(dataset: Path, segment: int, ours: Mesh, told: dict[str, bool]) -> None:
    cloudvolume = pytest.importorskip("cloudvolume")
    found = cloudvolume.CloudVolume(f"file://{dataset}", progress=False).mesh.get(segment, **told)
    mesh = found if hasattr(found, "faces") else found[segment]
    theirs = welded(Mesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32)))
    assert theirs.volume == pytest.approx(ours.volume, rel=1e-4)
    assert np.allclose(theirs.box, ours.box, atol=0.01)


def test_meshes_larger_than_the_memory_lie_within_the_largest_error(tmp_path, small_memory):
    dataset, _ = meshed(tmp_path, format="legacy")
    meshes = open_meshes(dataset)
    for segment in meshes.segments().tolist():
        exact, found = exact_surface(segment), meshes.read(segment)
        away = np.concatenate([
            distances(sampled(exact.vertices, exact.triangles, 2000), found.vertices, found.triangles, 2.0),
            distances(sampled(found.vertices, found.triangles, 2000), exact.vertices, exact.triangles, 2.0),
        ])  # fmt: skip
        assert np.quantile(away, 0.99) <= MAX_ERROR
        assert away.max() <= 2 * MAX_ERROR


def test_fragments_hold_as_many_triangles_as_they_should(tmp_path, small_memory, monkeypatch):
    monkeypatch.setattr("converters.meshes.large._AIMED_AT", 500)
    dataset, _ = meshed(tmp_path, layout="files")
    meshes = open_meshes(dataset)
    for segment in meshes.segments().tolist():
        manifest = decode_manifest((dataset / f"mesh/{segment}.index").read_bytes())
        assert len(manifest.levels[0].sizes) > 20
        for lod in range(3):
            assert boundary_edges(meshes.read(segment, lod)) == 0


@pytest.mark.parametrize("form", FORMS[1:], ids=str)
def test_killed_in_the_midst_of_a_large_segment_it_ends_with_the_same_bytes(tmp_path, small_memory, form):
    expected, _ = meshed(tmp_path / "expected", **form)
    dataset = dataset_below(tmp_path / "killed")
    told = options(**form).model_dump_json(exclude_none=True)
    for count in (60, 15):
        killed = subprocess.run(
            [sys.executable, "-m", "tests.converters.killed_child", "large-meshes", str(count), str(dataset), told],
            cwd=Path(__file__).parents[3], capture_output=True, check=False, env={**os.environ, "PYTHONWARNINGS": "error"},
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert make_meshes(dataset, MeshOptions.model_validate_json(told), quiet).kept > 8
    assert bytes_below(dataset / "mesh") == bytes_below(expected / "mesh")


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), max_error=st.sampled_from([8.0, 40.0, 200.0]))
def test_pieces_of_any_triangles_fit_at_each_level(tmp_path_factory, seed, count, max_error):
    random, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("pieces")
    voxels = np.array([0, 9, 9], np.uint32)[np.searchsorted([0, 7], blobs((24, 20, 16), seed, 2), side="right")]
    resolution = (11.24, 11.24, 28.0)
    whole = block_surfaces(MeshSource(Labels(voxels), scale_of(voxels, resolution), None), Box((0, 0, 0), voxels.shape))
    write_part(folder / "whole", whole)
    simplifiers = [Simplifier(resolution, _TOLERATED * error, error) for error in (max_error, 3 * max_error)]
    ends = np.sort(random.integers(0, len(whole.triangles), count - 1)).tolist()
    stretches = [Stretch(folder / "whole", *pair) for pair in zip([0, *ends], [*ends, len(whole.triangles)], strict=True)]
    # Each piece is made of what happens to lie in some stretches.
    of_piece = random.integers(0, 3, count)
    tasks = [
        PieceTask(9, tuple(s for s, p in zip(stretches, of_piece, strict=True) if p == n), *simplifiers,
                  folder / f"{n}", folder / f"{n}.next", (n,))
        for n in np.unique(of_piece).tolist()
    ]  # fmt: skip
    for task in tasks:
        make_piece(task)
    for paths in ([task.piece for task in tasks], [task.next_piece for task in tasks]):
        ((_, vertices, triangles),) = joined([read_surfaces(path, whole.segments) for path in paths]).parts()
        assert boundary_edges(Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))) == 0


def test_open_vertices_are_those_of_edges_with_one_side():
    voxels = np.zeros((9, 9, 9), np.uint8)
    voxels[2:6, 2:6, 2:] = 1
    closed = block_surfaces(MeshSource(Labels(voxels), scale_of(voxels), None), Box((0, 0, 0), (9, 9, 9)))
    assert not open_vertices(closed).any()
    half = block_surfaces(MeshSource(Labels(voxels), scale_of(voxels), None), Box((0, 0, 0), (9, 9, 4)))
    found = open_vertices(half)
    assert found.any()
    assert np.array_equal(found, half.vertices[:, 2] == half.vertices[:, 2].max())


@given(count=st.integers(0, 60), seed=st.integers(0, 10**6), most=st.integers(1, 400), largest=st.sampled_from([1, 100, 1000]))
def test_sets_of_neighbours_hold_each_thing_once_and_are_not_too_heavy(count, seed, most, largest):
    random = np.random.default_rng(seed)
    places, weights = random.integers(0, 5, (count, 3)).astype(float), random.integers(1, largest + 1, count)
    sets = divided(places, weights, most)
    assert sorted(np.concatenate([np.zeros(0, int), *sets]).tolist()) == list(range(count))
    assert all(len(some) == 1 or weights[some].sum() <= most for some in sets)
    slices = runs(weights, most)
    assert [n for run in slices for n in range(run.start, run.stop)] == list(range(count))
    assert all(run.stop - run.start == 1 or weights[run].sum() <= most for run in slices)


def test_a_segment_that_no_memory_holds_is_a_group_alone():
    room = 50_000
    budget = Budget(3 * _PROCESS_BYTES + 2 * room * _TRIANGLE_BYTES, 2)
    assert room_for_triangles(budget) == room
    groups = plan_groups(np.array([30_000, 15_000, room + 1, 10, 20, 40_000]), budget)
    assert slice(2, 3) in groups
    assert room_for_triangles(Budget(1000, 1)) == 1
