"""What simplifies and measures surfaces, beside plain numpy and trimesh."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.cells import Part, clustered
from converters.meshes.collapsing import Rule, collapsed, rings_of
from converters.meshes.cubes import raw_surfaces
from converters.meshes.measuring import squared_distance, strays, volume_inside
from converters.meshes.quadrics import (
    SUMS,
    TOWARDS_THE_START,
    add_plane,
    add_triangles,
    nearest_place,
    of_both,
    of_row,
    squared_error,
)
from formats.meshes.mesh import Mesh, boundary_edges
from tests.converters.meshes.measuring import blobs

seeds = st.integers(0, 10**6)


def surface_of(seed: int, shape=(24, 20, 16)) -> Part:
    """The surface of one of some smooth objects, open at the faces of the block."""
    voxels = np.asfortranarray((blobs(shape, seed) == 7).astype(np.int32))
    voxels[12, 10, 8] = 1
    raw = raw_surfaces(voxels, 2)
    return Part(raw.vertices, raw.normals, raw.rims, raw.triangles, np.array([0.5, 0.5, 1.25]))


def directed_edges(triangles):
    """Edges with how many more triangles run along them one way than the other, those with none left out."""
    found: dict[tuple[int, int], int] = {}
    for a, b in np.concatenate([triangles, np.roll(triangles, -1, axis=1)], axis=0).reshape(2, -1).T.tolist():
        key, way = ((a, b), 1) if a < b else ((b, a), -1)
        found[key] = found.get(key, 0) + way
    return {key: count for key, count in found.items() if count}


@given(seed=seeds, planes=st.integers(1, 8))
def test_the_nearest_place_is_that_of_least_squares(seed, planes):
    random = np.random.default_rng(seed)
    normals = random.standard_normal((planes, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distances, areas, start, place = random.random(planes), random.random(planes) + 0.1, random.random(3), random.random(3)
    sums = np.zeros((1, SUMS))
    for normal, distance, area in zip(normals, distances, areas, strict=True):
        add_plane(sums, 0, (tuple(normal), distance), area)
    expected = (areas * (normals @ place - distances) ** 2).sum()
    numbers = of_row(sums, 0)
    assert numbers == tuple(sums[0])
    assert of_both(sums, 0, 0) == tuple(2 * sums[0])
    assert squared_error(numbers, tuple(place)) == pytest.approx(expected, abs=1e-9)
    stiff = np.sqrt(TOWARDS_THE_START * areas.sum())
    rows = np.concatenate([normals * np.sqrt(areas)[:, None], stiff * np.eye(3)])
    right = np.concatenate([distances * np.sqrt(areas), stiff * start])
    assert np.allclose(nearest_place(numbers, tuple(start)), np.linalg.lstsq(rows, right, rcond=None)[0], atol=1e-6)


@given(seed=seeds)
def test_planes_of_triangles_go_through_their_corners(seed):
    places = np.random.default_rng(seed).random((4, 3)) * 5
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    sums = np.zeros((4, SUMS))
    add_triangles(places, triangles, sums)
    areas = np.linalg.norm(np.cross(places[[1, 2]] - places[0], places[[2, 3]] - places[0]), axis=1) / 2
    assert np.allclose(sums[:, SUMS - 1] * 3, [areas.sum(), areas[0], areas.sum(), areas[1]])
    for corner in (0, 2):
        assert squared_error(of_row(sums, corner), tuple(places[corner])) == pytest.approx(0, abs=1e-9)


@settings(max_examples=10)
@given(seed=seeds, tolerance=st.sampled_from([0.05, 0.3, 1.0]))
def test_cells_and_edges_leave_the_rims_and_open_nothing(seed, tolerance):
    part = surface_of(seed)
    before = directed_edges(part.triangles)
    some = clustered(part, np.array([2, 2, 1]), tolerance)
    triangles, became = collapsed(some.places, some.sums, some.fixed, some.triangles, Rule(tolerance, 0.72))
    final = became[some.numbers]
    places = part.vertices * part.unit
    assert np.array_equal(some.places[final[part.rims]], places[part.rims])
    # What edges there were without a triangle on their other side are there still, and no others.
    assert directed_edges(triangles) == {
        (min(pair), max(pair)): count if pair[0] < pair[1] else -count
        for (a, b), count in before.items()
        for pair in [(int(final[a]), int(final[b]))]
    }
    assert len(triangles) < len(part.triangles)
    a, b, c = triangles.T
    assert ((a != b) & (b != c) & (c != a)).all()


@pytest.mark.parametrize("tolerance", [0.1, 0.4])
def test_what_is_flat_loses_nearly_all_triangles_and_nothing_of_its_volume(tolerance):
    voxels = np.zeros((26, 26, 26), np.int32, order="F")
    voxels[2:22, 3:23, 4:24] = 1
    raw = raw_surfaces(voxels, 2)
    part = Part(raw.vertices, raw.normals, raw.rims, raw.triangles, np.full(3, 0.5))
    some = clustered(part, np.array([2, 2, 2]), tolerance)
    triangles, _ = collapsed(some.places, some.sums, some.fixed, some.triangles, Rule(tolerance, 0.72))
    assert len(triangles) < len(part.triangles) / 10
    mesh = Mesh(some.places.astype(np.float32), triangles.astype(np.uint32))
    assert boundary_edges(mesh) == 0
    assert mesh.volume == pytest.approx(20**3, rel=0.02)


def test_rings_tell_the_triangles_around_each_vertex():
    rings = rings_of(np.array([[0, 1, 2], [2, 1, 4]], np.int32), 5, 3)
    assert rings.begins.tolist() == [0, 1, 3, 5, 5]
    assert rings.sizes.tolist() == [1, 2, 2, 0, 1]
    assert rings.triangles[:6].tolist() == [0, 0, 1, 0, 1, 1]
    assert len(rings.triangles) == 9


@given(seed=seeds, flat=st.booleans())
def test_distances_from_a_triangle_are_those_of_trimesh(seed, flat):
    random = np.random.default_rng(seed)
    corners, point = random.standard_normal((3, 3)), 2 * random.standard_normal(3)
    if flat:
        corners[2] = (corners[0] + corners[1]) / 2
    nearest = trimesh.triangles.closest_point(corners[None], point[None])[0]
    expected = ((nearest - point) ** 2).sum()
    assert squared_distance(tuple(point), *map(tuple, corners)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=10)
@given(seed=seeds, far=st.floats(0.2, 6))
def test_a_vertex_strays_where_trimesh_finds_it_farther_away(seed, far):
    part = surface_of(seed)
    some = clustered(part, np.array([2, 2, 1]), 0.3)
    triangles, became = collapsed(some.places, some.sums, some.fixed, some.triangles, Rule(0.3, 0.72))
    points = np.array([[30.0, 30.0, 30.0]]) + np.array([[far, 0, 0]])
    apart = np.linalg.norm(
        trimesh.proximity.closest_point_naive(trimesh.Trimesh(some.places, triangles, process=False), points)[0] - points
    )
    whole = np.rint(points * 2).astype(np.int32)
    for bound, expected in ((apart * 0.97, True), (apart * 1.03, False)):
        found = strays((whole, np.full(3, 0.5)), became[some.numbers][:1], (some.places, triangles), (bound, bound))
        assert found is expected or abs(np.linalg.norm(whole / 2 - points)) > 0.02 * apart


def test_few_vertices_may_lie_between_the_bounds_and_none_beyond_both():
    places = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])
    triangles = np.array([[0, 1, 2]], np.int32)
    points = np.ones((1000, 3), np.int32) * np.array([1, 1, 0], np.int32)
    became = np.zeros(1000, np.int32)

    def found(heights) -> bool:
        points[: len(heights), 2] = heights
        return strays((points, np.ones(3)), became, (places, triangles), (2.0, 4.0))

    assert not found([3, 3, 3])
    assert found([5])
    points[:, 2] = 0
    assert found([3] * 10)


def test_the_volume_inside():
    part = surface_of(3)
    voxels = np.zeros((6, 6, 6), np.int32, order="F")
    voxels[2:4, 2:5, 2:3] = 1
    raw = raw_surfaces(voxels, 2)
    expected = Mesh(raw.vertices.astype(np.float32), raw.triangles.astype(np.uint32)).volume
    assert volume_inside(raw.vertices, raw.triangles) == pytest.approx(expected)
    assert volume_inside(raw.vertices, np.ascontiguousarray(raw.triangles[:, ::-1])) == pytest.approx(-expected)
    assert volume_inside(part.vertices, part.triangles[:0]) == 0
