"""Coarser levels of surfaces that come as they are: how many, how far from the finest, closed or open as it is."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel
import nilearn.datasets
import numpy as np
import pytest
import trimesh

from converters.meshes.levels import levels_of
from formats.meshes.mesh import Mesh, boundary_edges
from tests.converters.meshes.measuring import distances, sampled

PIAL = Path(nilearn.datasets.__file__).parent / "data" / "fsaverage5" / "pial_left.gii.gz"


def mesh_of(vertices: Any, triangles: Any) -> Mesh:
    return Mesh(np.asarray(vertices, np.float32), np.asarray(triangles, np.uint32))


def brain() -> Mesh:
    """A folded surface of 20,480 triangles, 3 mm an edge."""
    points, triangles = (array.data for array in nibabel.load(PIAL).darrays)
    return mesh_of(points * np.float32(1e6), triangles)


def ring() -> Mesh:
    """Triangles that are long and thin, far from 0."""
    torus = trimesh.creation.torus(9e4, 1e4, major_sections=500, minor_sections=40)
    return mesh_of(torus.vertices + np.array([3e6, -2e6, 5e5]), torus.faces)


def ball() -> Mesh:
    """A surface that fewer triangles tell as well."""
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=1000)
    return mesh_of(sphere.vertices, sphere.faces)


@pytest.mark.parametrize("made", [brain, ring, ball])
def test_each_level_is_closed_and_as_near_as_a_detail(made: Any) -> None:
    mesh = made()
    levels = levels_of(mesh, 8)
    assert levels.meshes[0] is mesh
    counts = [len(level.triangles) for level in levels.meshes]
    assert len(counts) > 2
    assert all(after <= before / 2 for before, after in pairwise(counts))
    assert counts[-1] <= 500
    assert list(levels.scales) == sorted(levels.scales)
    for level, detail in zip(levels.meshes[1:], levels.scales[1:], strict=True):
        assert boundary_edges(level) == 0
        assert 0 < level.volume < 1.1 * mesh.volume
        there = distances(sampled(level.vertices, level.triangles, 5000), mesh.vertices, mesh.triangles, detail / 10)
        back = distances(sampled(mesh.vertices, mesh.triangles, 5000), level.vertices, level.triangles, detail / 10)
        apart = np.concatenate([there, back])
        assert np.percentile(apart, 99) <= detail
        assert apart.max() <= 2 * detail


def test_what_is_small_has_one_level() -> None:
    box = trimesh.creation.box((3, 4, 5)).subdivide().subdivide()
    assert len(box.faces) == 192
    mesh = mesh_of(box.vertices, box.faces)
    assert levels_of(mesh, 8).meshes == (mesh,)


def test_no_more_levels_are_made_than_are_wanted() -> None:
    assert [len(levels_of(ball(), most).meshes) for most in (1, 2)] == [1, 2]


def test_an_open_sheet_stays_open() -> None:
    x, y = np.meshgrid(np.arange(60.0), np.arange(50.0), indexing="ij")
    corners = np.arange(3000).reshape(60, 50)
    a, b, c, d = (part.ravel() for part in (corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    mesh = mesh_of(np.stack([x.ravel(), y.ravel(), np.sin(x / 9).ravel()], 1), faces)
    levels = levels_of(mesh, 8)
    assert len(levels.meshes) > 1
    coarse = levels.meshes[-1]
    assert 4 <= boundary_edges(coarse) < boundary_edges(mesh) / 2
    np.testing.assert_allclose(coarse.box, mesh.box, atol=levels.scales[-1])


def test_the_same_surface_has_the_same_levels_wherever_it_lies() -> None:
    mesh, by = ball(), np.array([4096, -8192, 1 << 20], np.float32)
    rounded = Mesh(np.rint(mesh.vertices * 4) / np.float32(4), mesh.triangles)
    here, there = levels_of(rounded, 8), levels_of(Mesh(rounded.vertices + by, mesh.triangles), 8)
    np.testing.assert_allclose(here.scales, there.scales, rtol=1e-3)
    for one, other in zip(here.meshes, there.meshes, strict=True):
        np.testing.assert_array_equal(one.triangles, other.triangles)
        np.testing.assert_allclose(one.vertices + by, other.vertices, atol=0.07)
