"""What can be told of any surface."""

import numpy as np
import pytest

from formats.meshes.mesh import Mesh, boundary_edges, compacted, joined, welded

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.uint32)
TETRAHEDRON = Mesh(CORNERS, FACES)
NOTHING = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32))


def soup(mesh: Mesh) -> Mesh:
    """Return the mesh with three vertices of its own for each triangle."""
    return Mesh(mesh.vertices[mesh.triangles].reshape(-1, 3), np.arange(3 * len(mesh.triangles), dtype=np.uint32).reshape(-1, 3))


def test_box() -> None:
    low, high = Mesh(CORNERS * np.float32(4) - np.float32(1), FACES).box
    assert (low.tolist(), high.tolist()) == ([-1, -1, -1], [3, 3, 3])


def test_volume_is_that_inside_and_negative_inside_out() -> None:
    assert TETRAHEDRON.volume == pytest.approx(1 / 6)
    assert Mesh(CORNERS, FACES[:, ::-1]).volume == pytest.approx(-1 / 6)
    assert Mesh(CORNERS + np.float32(2**20), FACES).volume == pytest.approx(1 / 6)
    assert NOTHING.volume == 0


def test_equal_vertices_are_joined() -> None:
    assert boundary_edges(soup(TETRAHEDRON)) == 12
    whole = welded(soup(TETRAHEDRON))
    assert (len(whole.vertices), len(whole.triangles), boundary_edges(whole)) == (4, 4, 0)
    assert (whole.vertices.dtype, whole.triangles.dtype) == (np.float32, np.uint32)
    assert whole.volume == pytest.approx(1 / 6)


def test_zeros_of_both_signs_are_one_vertex() -> None:
    halves = soup(TETRAHEDRON)
    halves.vertices[:6][halves.vertices[:6] == 0] = -0.0
    assert len(welded(halves).vertices) == 4


def test_triangles_that_lost_an_edge_go() -> None:
    flat = Mesh(np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2], [1, 2, 3]], np.uint32))
    assert len(welded(flat).triangles) == 1


def test_nothing() -> None:
    assert boundary_edges(NOTHING) == 0
    assert len(welded(NOTHING).vertices) == len(joined([]).vertices) == 0


def test_compacted_keeps_the_order() -> None:
    one = compacted(Mesh(CORNERS, FACES[2:3]))
    assert one.vertices.tolist() == CORNERS[1:].tolist()
    assert one.triangles.tolist() == [[0, 1, 2]]


def test_joined_keeps_equal_vertices_apart() -> None:
    two = joined([TETRAHEDRON, TETRAHEDRON])
    assert (len(two.vertices), two.triangles.max(), boundary_edges(two)) == (8, 7, 0)


@pytest.mark.parametrize(("triangles", "edges"), [(FACES[1:], 3), (FACES[:1], 3), (np.concatenate([FACES, FACES[:, ::-1]]), 0)])
def test_boundary_edges(triangles: np.ndarray, edges: int) -> None:
    assert boundary_edges(Mesh(CORNERS, triangles)) == edges


def test_triangles_wound_against_each_other_are_open() -> None:
    turned = FACES.copy()
    turned[0] = turned[0, ::-1]
    assert boundary_edges(Mesh(CORNERS, turned)) == 6
