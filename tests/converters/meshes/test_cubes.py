"""Marching cubes beside zmesh's, label by label."""

import numpy as np
import zmesh
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.cubes import raw_surfaces


def turned(corners):
    """Triangles, [m, 3, 3], each from its lowest corner on, in order."""
    rows = [[tuple(corner) for corner in triangle] for triangle in corners.tolist()]
    return sorted(tuple(row[(k := row.index(min(row))) :] + row[:k]) for row in rows)


@settings(max_examples=40)
@given(shape=st.tuples(*[st.integers(2, 7)] * 3), seed=st.integers(0, 10**6), labels=st.integers(2, 6))
def test_the_triangles_of_every_label_are_those_of_zmesh(shape, seed, labels):
    voxels = np.asfortranarray(np.random.default_rng(seed).integers(0, labels, shape).astype(np.int32))
    raw = raw_surfaces(voxels, labels)
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(voxels.astype(np.uint32, order="F"))
    for label in range(1, labels):
        vertices = slice(*raw.vertex_ends[label - 1 : label + 1])
        triangles = raw.triangles[slice(*raw.triangle_ends[label - 1 : label + 1])]
        if label not in mesher.ids():
            assert len(triangles) == 0
            continue
        mesh = mesher.get(label)
        assert turned(raw.vertices[triangles]) == turned((2 * mesh.vertices).astype(int)[mesh.faces])
        # Each vertex is there once, and used.
        places = raw.vertices[vertices]
        assert len(np.unique(places, axis=0)) == len(places)
        assert set(triangles.ravel()) == set(range(vertices.start, vertices.stop))


@settings(max_examples=15)
@given(shape=st.tuples(*[st.integers(2, 7)] * 3), seed=st.integers(0, 10**6))
def test_normals_are_the_sums_of_those_of_the_triangles_and_rims_lie_outermost(shape, seed):
    voxels = np.asfortranarray(np.random.default_rng(seed).integers(0, 4, shape).astype(np.int32))
    raw = raw_surfaces(voxels, 4)
    a, b, c = raw.vertices[raw.triangles].astype(int).transpose(1, 0, 2)
    normals = np.zeros(raw.vertices.shape, int)
    for corner in range(3):
        np.add.at(normals, raw.triangles[:, corner], np.cross(b - a, c - a))
    assert raw.normals.tolist() == normals.tolist()
    last = 2 * (np.array(shape) - 1)
    assert raw.rims.tolist() == ((raw.vertices == 0) | (raw.vertices == last)).any(axis=1).tolist()


def test_a_block_of_one_label_has_no_surface():
    raw = raw_surfaces(np.ones((3, 4, 5), np.int32, order="F"), 2)
    assert (len(raw.vertices), len(raw.triangles)) == (0, 0)
    assert raw.triangle_ends.tolist() == [0, 0]
