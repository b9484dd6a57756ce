from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.blocks import MeshSource, block_surfaces
from converters.meshes.joining import whole_surfaces
from converters.meshes.plan import _TOLERATED
from converters.meshes.simplification import Simplifier
from converters.meshes.surfaces import STEPS, Surfaces
from formats.grid import Box, Grid
from formats.meshes.mesh import Mesh, boundary_edges
from tests.converters.meshes.measuring import Labels, blobs, distances, sampled, scale_of


def meshed(voxels, block, *, resolution=(16.0, 16.0, 40.0), offset=(0, 0, 0), max_error=60.0, segments=None) -> Surfaces:
    simplifier = None if max_error is None else Simplifier(resolution, _TOLERATED * max_error, max_error)
    source = MeshSource(Labels(voxels), scale_of(voxels, resolution, offset), simplifier, segments)
    grid = Grid((0, 0, 0), voxels.shape, block)
    boxes = [grid.chunk_box(cell) for cell in grid.cells()]
    return whole_surfaces(source, boxes, [block_surfaces(source, box) for box in boxes])


def as_sets(surfaces: Surfaces) -> dict[int, list]:
    """Each segment's triangles by the places of their corners, in an order that does not depend on blocks."""
    found = {}
    for segment, vertices, triangles in surfaces.parts():
        first = np.array([min(range(3), key=lambda k, row=row: tuple(vertices[row[k]])) for row in triangles], int).reshape(-1)
        turned = [np.roll(row, -k) for row, k in zip(triangles, first, strict=True)]
        found[segment] = sorted(tuple(map(tuple, vertices[row].tolist())) for row in turned)
    return found


def assert_closed(surfaces: Surfaces) -> None:
    for segment, vertices, triangles in surfaces.parts():
        assert boundary_edges(Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))) == 0, segment
    assert (surfaces.volumes() > 0).all()


lengths = st.floats(3, 60).map(lambda length: round(length, 2))


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    block=st.tuples(*[st.integers(1, 32)] * 3),
    offset=st.tuples(*[st.integers(-50, 50)] * 3),
    resolution=st.tuples(lengths, lengths, lengths) | st.just((11.24, 11.24, 28.0)),
    seed=st.integers(0, 1000),
    max_error=st.sampled_from([None, 8.0, 40.0, 200.0]),
)
def test_blocks_of_any_size_fit_without_a_seam(shape, block, offset, resolution, seed, max_error):
    voxels = blobs(shape, seed, 1.5)
    # As many blocks as the volume has, but not thousands.
    block = tuple(max(edge, -(-size // 4)) for edge, size in zip(block, shape, strict=True))
    told = {"resolution": resolution, "offset": offset, "max_error": max_error}
    parts = meshed(voxels, block, **told)
    assert_closed(parts)
    assert set(parts.segments.tolist()) == set(np.unique(voxels).tolist()) - {0}
    if max_error is None:
        assert as_sets(parts) == as_sets(meshed(voxels, (64, 64, 64), **told))


@settings(max_examples=10)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 10**6), ids=st.integers(2, 30))
def test_every_label_of_noise_is_kept_and_closed(shape, seed, ids):
    voxels = np.random.default_rng(seed).integers(0, ids, shape).astype(np.uint64) * (2**64 // ids - 1)
    surfaces = meshed(voxels, (8, 8, 8), max_error=100.0)
    assert_closed(surfaces)
    assert surfaces.segments.tolist() == sorted(set(np.unique(voxels).tolist()) - {0})


@pytest.mark.parametrize(
    "extent", [(1, 1, 1), (1, 1, 30), (30, 1, 1), (1, 17, 1), (20, 1, 20), (1, 20, 20), (20, 20, 1), (2, 2, 2)]
)
def test_a_voxel_a_line_and_a_plane_are_kept_wherever_they_lie(extent):
    for start in product((0, 3, 8), repeat=3):
        voxels = np.zeros((40, 40, 40), np.uint8)
        voxels[tuple(slice(a, a + n) for a, n in zip(start, extent, strict=True))] = 5
        surfaces = meshed(voxels, (16, 16, 16), max_error=100.0)
        assert_closed(surfaces)
        ((_, vertices, _),) = surfaces.parts()
        centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2 / STEPS
        assert np.abs(centre - (np.array(start) + np.array(extent) / 2 - 0.5)).max() <= 0.5


def test_marching_cubes_lies_half_a_voxel_around_the_centres_and_is_wound_outward():
    voxels = np.zeros((5, 6, 7), np.uint8)
    voxels[1:3, 2:5, 6] = 9
    surfaces = meshed(voxels, (64, 64, 64), max_error=None)
    assert surfaces.segments.tolist() == [9]
    assert surfaces.vertices.min(axis=0).tolist() == [STEPS // 2, STEPS * 3 // 2, STEPS * 11 // 2]
    assert surfaces.vertices.max(axis=0).tolist() == [STEPS * 5 // 2, STEPS * 9 // 2, STEPS * 13 // 2]
    assert surfaces.volumes()[0] > 0


@pytest.mark.parametrize("max_error", [16.0, 40.0, 100.0])
def test_the_distance_between_the_surfaces_is_within_the_largest_error(max_error):
    voxels = blobs((44, 44, 30), 4, 4)
    unit = np.array([16, 16, 40]) / STEPS
    exact = meshed(voxels, (64, 64, 64), max_error=None)
    simple = meshed(voxels, (32, 32, 20), max_error=max_error)
    assert len(simple.triangles) < 0.6 * len(exact.triangles)
    for (_, v, t), (_, w, u) in zip(exact.parts(), simple.parts(), strict=True):
        one, other = (v * unit, t), (w * unit, u)
        fine = 5.0
        away = np.concatenate([
            distances(sampled(*one, 1000), *other, fine), distances(sampled(*other, 1000), *one, fine)
        ])  # fmt: skip
        assert np.quantile(away, 0.99) <= max_error
        assert away.max() <= 2 * max_error


def test_volumes_are_kept_where_the_error_is_half_a_voxel():
    voxels = blobs((60, 60, 60), 2, 5)
    told = {"resolution": (10.0, 10.0, 10.0)}
    exact = meshed(voxels, (64, 64, 64), max_error=None, **told)
    simple = meshed(voxels, (64, 64, 64), max_error=5.0, **told)
    assert np.abs(simple.volumes() / exact.volumes() - 1).max() < 0.02


@pytest.mark.parametrize("block", [(64, 64, 64), (16, 13, 7)])
def test_volumes_of_small_objects_are_kept_where_the_error_is_half_a_voxel(block):
    voxels = np.zeros((40, 40, 40), np.uint16)
    random = np.random.default_rng(0)
    places = np.indices((9, 9, 9)) - 4
    for number, corner in enumerate(product(range(0, 40, 10), repeat=3), 1):
        radii = random.uniform(0.6, 4, 3)
        part = voxels[tuple(slice(begin, begin + 9) for begin in corner)]
        part[((places / radii[:, None, None, None]) ** 2).sum(axis=0) <= 1] = number
    told = {"resolution": (10.0, 10.0, 10.0)}
    exact, simple = (meshed(voxels, block, max_error=error, **told) for error in (None, 5.0))
    assert len(simple.triangles) < len(exact.triangles)
    assert np.abs(simple.volumes() / exact.volumes() - 1).max() < 0.02


def test_only_the_segments_that_are_asked_for():
    voxels = blobs((30, 30, 30), 3)
    some = meshed(voxels, (16, 16, 16), segments=(8, 2**32 - 1))
    assert as_sets(some) == {key: rows for key, rows in as_sets(meshed(voxels, (16, 16, 16))).items() if key in (8, 2**32 - 1)}


def test_a_block_without_labels_gives_nothing():
    assert (
        len(
            block_surfaces(
                MeshSource(Labels(np.zeros((9, 9, 9), np.uint8)), scale_of(np.zeros((9, 9, 9))), None), Box((0, 0, 0), (9, 9, 9))
            ).segments
        )
        == 0
    )
