"""Cutting surfaces at the planes of an octree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.octree import CutSurface, OctreeGrid, choose_grid, cut, finer
from formats.meshes.mesh import Mesh, boundary_edges
from tests.converters.meshes.solids import FLOAT_RESOLUTION, ball, box, marching_cubes, octahedron

STEPS, HALF = 1023, 512


def as_mesh(surface: CutSurface) -> Mesh:
    """Return a cut surface with equal vertices joined; its whole numbers are small enough for float32."""
    _, first, numbers = np.unique(surface.vertices, axis=0, return_index=True, return_inverse=True)
    return Mesh(surface.vertices[first].astype(np.float32), numbers.ravel()[surface.triangles].astype(np.uint32))


def crossing(surface: CutSurface, planes: list[int]) -> int:
    """Return how many triangles reach to both sides of one of the planes, across any axis."""
    corners = surface.vertices[surface.triangles]
    low, high = corners.min(axis=1), corners.max(axis=1)
    return sum(int(((low < plane) & (high > plane)).sum()) for plane in planes)


def one_triangle(*corners: tuple[int, int, int], octants: bool = False) -> CutSurface:
    return cut(np.array(corners, np.int32), np.array([[0, 1, 2]], np.uint32), 10, octants=octants)


def corners_of(surface: CutSurface) -> list[list[list[int]]]:
    return sorted(surface.vertices[surface.triangles].tolist())


def test_a_corner_alone_on_its_side_by_hand() -> None:
    """The other side is cut along its shorter diagonal."""
    found = one_triangle((1003, 0, 0), (1043, 0, 0), (1043, 40, 7))
    assert corners_of(found) == sorted(
        [
            [[1003, 0, 0], [1023, 0, 0], [1023, 20, 4]],
            [[1023, 0, 0], [1043, 0, 0], [1023, 20, 4]],
            [[1043, 0, 0], [1043, 40, 7], [1023, 20, 4]],
        ]
    )


def test_a_plane_through_a_corner_by_hand() -> None:
    found = one_triangle((1023, 100, 5), (1013, 0, 5), (1033, 0, 5))
    assert corners_of(found) == sorted(
        [[[1023, 100, 5], [1013, 0, 5], [1023, 0, 5]], [[1023, 100, 5], [1023, 0, 5], [1033, 0, 5]]]
    )


@pytest.mark.parametrize("x", [1023, 900])
def test_what_only_touches_a_plane_stays_whole(x: int) -> None:
    assert len(one_triangle((x, 0, 0), (1023, 9, 9), (1023, 0, 9)).triangles) == 1


def test_octants_are_cut_at_the_highest_bit() -> None:
    """At 512, which is half a step above the middle of 0 to 1023, and at 1023 + 512."""
    corners = (0, 0, 0), (2046, 0, 0), (2046, 40, 0)
    assert crossing(one_triangle(*corners), [1023]) == 0
    halves = one_triangle(*corners, octants=True)
    assert crossing(halves, [512, 1023, 1535]) == 0
    assert {512, 1023, 1535} <= set(halves.vertices[:, 0].tolist())


def test_triangles_that_quantizing_folded_are_left_out() -> None:
    vertices = np.array([[0, 0, 0], [9, 0, 0], [9, 0, 0], [0, 9, 0]], np.int32)
    found = cut(vertices, np.array([[0, 1, 2], [0, 1, 3], [2, 3, 1]], np.uint32), 10, octants=False)
    assert found.triangles.tolist() == [[0, 1, 3]]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([(10, 2000), (10, 9000), (16, 300_000)]), st.integers(1, 5))
def test_any_closed_surface_stays_closed(seed: int, octants: bool, size: tuple[int, int], count: int) -> None:
    """Tetrahedra of any size and place, which reach across many planes, joined by nothing but their own edges."""
    bits, most = size
    corners = np.random.default_rng(seed).integers(0, most, (count, 4, 3)).astype(np.int32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    triangles = (faces + 4 * np.arange(count)[:, None, None]).reshape(-1, 3).astype(np.uint32)
    found = cut(corners.reshape(-1, 3), triangles, bits, octants=octants)
    steps = (1 << bits) - 1
    ends = range(steps, most + steps, steps)
    halves = [end - steps + (1 << bits - 1) for end in ends] if octants else []
    assert crossing(found, [*ends, *halves]) == 0
    assert boundary_edges(as_mesh(found)) == 0
    whole = Mesh(corners.reshape(-1, 3).astype(np.float32), triangles)
    # Rounding moves a cut by at most half a step along each axis.
    area = 12 * count * most**2 * 4
    assert as_mesh(found).volume == pytest.approx(whole.volume, abs=area)
    assert (found.vertices[: 4 * count] == corners.reshape(-1, 3)).all()


def test_a_cut_lies_where_its_edge_is() -> None:
    """An edge of a large and of a small triangle, cut at many planes, has the same vertices in both."""
    vertices = np.array([[5, 3, 1], [9000, 7777, 333], [100, 9000, 5], [9999, 0, 9999]], np.int32)
    one = cut(vertices, np.array([[0, 1, 2]], np.uint32), 10, octants=True)
    other = cut(vertices, np.array([[1, 0, 3]], np.uint32), 10, octants=True)

    def on_edge(surface: CutSurface) -> set[tuple[int, ...]]:
        mesh = as_mesh(surface)
        edges = np.concatenate([mesh.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
        _, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
        assert (counts <= 2).all()
        offsets = mesh.vertices - vertices[0]
        along = (vertices[1] - vertices[0]) / np.linalg.norm(vertices[1] - vertices[0])
        near = np.linalg.norm(offsets - np.outer(offsets @ along, along), axis=1) < 1.5
        return {tuple(map(int, vertex)) for vertex in mesh.vertices[near]}

    assert len(on_edge(one)) > 20
    assert on_edge(one) == on_edge(other)


def test_fragments_hold_every_triangle_once() -> None:
    mesh = marching_cubes(ball(9), FLOAT_RESOLUTION, (-300.5, 0, 70))
    grid = choose_grid([mesh], 10, 100)
    surface = cut(grid.quantized(mesh.vertices, 0), mesh.triangles, 10, octants=False)
    fragments = list(surface.fragments())
    codes = [fragment.code for fragment in fragments]
    assert codes == sorted(set(codes))
    assert sum(len(fragment.triangles) for fragment in fragments) == len(surface.triangles)
    assert max(len(fragment.triangles) for fragment in fragments) == surface.largest_fragment()
    for fragment in fragments:
        assert fragment.vertices.min() >= 0
        assert fragment.vertices.max() <= STEPS
        assert sorted(set(fragment.triangles.ravel())) == list(range(len(fragment.vertices)))


@pytest.mark.parametrize(("x", "node", "octant"), [(0, 0, 0), (512, 0, 0), (513, 0, 1), (1023, 0, 1), (1024, 1, 2), (1535, 1, 2)])
def test_what_lies_in_a_plane_belongs_below(x: int, node: int, octant: int) -> None:
    surface = one_triangle((x, 0, 0), (x, 9, 0), (x, 0, 9), octants=True)
    # The Z-curve codes of x = 0 to 2 and y = z = 0.
    assert surface.node_codes.tolist() == [[0, 1, 8][node]]
    assert surface.octant_codes().tolist() == [[0, 1, 8][octant]]


def test_a_grid_is_no_finer_than_needed() -> None:
    mesh = marching_cubes(ball(12), (4, 4, 4), (0, 0, 0))
    whole = choose_grid([mesh, mesh], 16, len(mesh.triangles))
    low, high = mesh.box
    assert (whole.origin, whole.depth) == (tuple(low.tolist()), 0)
    assert whole.chunk_shape == tuple((high - low).tolist())
    assert choose_grid([mesh], 16, len(mesh.triangles) // 5).depth == 1
    # A coarse level that is no simpler than the finest one halves its own, twice as large boxes.
    assert choose_grid([mesh, mesh], 16, len(mesh.triangles) // 5).depth == 2


def test_flat_boxes_for_flat_objects() -> None:
    grid = choose_grid([box((0, 0, 0), (100, 60, 1))], 10, 1)
    deep = finer(OctreeGrid(grid.origin, grid.extent, 1, 10))
    assert deep is not None
    assert deep.chunk_shape == (25, 25, 1)
    flat = OctreeGrid((0.0, 0.0, 0.0), (8.0, 8.0, 0.0), 2, 10)
    assert flat.chunk_shape == (2, 2, 2)


def test_a_grid_holds_its_object() -> None:
    """Its lengths are float32, as in the manifest, and no vertex lies beyond it."""
    high = (0.1 + 0.2, 1e9 / 3, 1.0)
    grid = choose_grid([box((-1 / 3, 0, 0), high)], 16, 1000)
    assert all(length == np.float32(length) for length in (*grid.chunk_shape, *grid.origin))
    assert (np.array(grid.origin) + np.array(grid.chunk_shape) * 2**grid.depth >= np.float32(high)).all()


def test_bits_end() -> None:
    grid = OctreeGrid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 13, 16)
    last = finer(grid)
    assert last is not None
    assert finer(last) is None


def test_a_point_is_no_surface() -> None:
    with pytest.raises(ValueError, match=r"a surface of 0\.0 nm, expected one with an extent"):
        choose_grid([octahedron((1, 1, 1), (0, 0, 0))], 10, 100)
