from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.geometry import Affine, Geometry, pooled_box, unpooled_box
from formats.grid import Box

COORDINATES = st.tuples(*[st.integers(-10_000, 10_000)] * 3)
EXTENTS = st.tuples(*[st.integers(1, 300)] * 3)
FACTORS = st.tuples(*[st.integers(1, 4)] * 3)
SIZES = st.tuples(*[st.floats(0.5, 5e6)] * 3)
NUMBERS = st.floats(-1e7, 1e7)
ROWS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
AFFINES = st.tuples(ROWS, ROWS, ROWS)


def box(start, shape):
    return Box(start, tuple(a + n for a, n in zip(start, shape, strict=True)))


def centre_in_world(geometry, voxel):
    """World position of the centre of an array's voxel, by way of the dataset's nm."""
    dataset_nm = (np.array(voxel) + geometry.voxel_offset + 0.5) * geometry.resolution
    matrix = np.array(geometry.transform())
    return matrix[:, :3] @ dataset_nm + matrix[:, 3]


@given(AFFINES, SIZES, COORDINATES, COORDINATES)
def test_the_transform_takes_a_voxels_centre_where_the_affine_takes_its_index(affine: Affine, resolution, offset, voxel):
    geometry = Geometry(resolution, offset, affine, "RAS")
    expected = np.array(affine) @ (*voxel, 1)
    largest_term = np.abs(affine).max() * (np.abs(offset).max() + np.abs(voxel).max() + 1)
    np.testing.assert_allclose(centre_in_world(geometry, voxel), expected, rtol=0, atol=1e-13 * largest_term + 1e-13)


def test_the_transform_of_a_plain_volume_is_half_a_voxel_from_its_affine():
    geometry = Geometry((4.0, 5.0, 6.0), (0, 0, 0), ((4.0, 0, 0, 100.0), (0, 5.0, 0, 0), (0, 0, 6.0, 0)), "RAS")
    assert geometry.transform() == ((1, 0, 0, 98), (0, 1, 0, -2.5), (0, 0, 1, -3))


def test_the_voxel_offset_is_no_part_of_where_the_voxels_lie():
    affine = ((4.0, 0, 0, 100.0), (0, 5.0, 0, 0), (0, 0, 6.0, 0))
    geometry = Geometry((4.0, 5.0, 6.0), (10, -20, 30), affine, "RAS")
    assert geometry.transform() == ((1, 0, 0, 58), (0, 1, 0, 97.5), (0, 0, 1, -183))


def test_without_an_affine_there_is_no_transform():
    assert Geometry((4.0, 5.0, 6.0)).transform() is None


def test_the_box_of_a_source_begins_at_its_voxel_offset():
    assert Geometry((1.0, 1.0, 1.0), (5, -6, 7)).box((10, 20, 30)) == Box((5, -6, 7), (15, 14, 37))


@given(SIZES, FACTORS)
def test_a_scales_voxels_are_as_many_times_larger_as_it_is_coarser(resolution, factors):
    assert Geometry(resolution).scale_resolution(factors) == tuple(r * f for r, f in zip(resolution, factors, strict=True))


@given(COORDINATES, EXTENTS, FACTORS)
def test_a_pooled_box_is_the_smallest_whose_voxels_hold_the_box(start, shape, factors):
    fine = box(start, shape)
    coarse = pooled_box(fine, factors)
    assert unpooled_box(coarse, factors).union(fine) == unpooled_box(coarse, factors)
    for axis, end in product(range(3), (False, True)):
        edge = list(coarse.end if end else coarse.start)
        edge[axis] += -1 if end else 1
        smaller = Box(coarse.start, tuple(edge)) if end else Box(tuple(edge), coarse.end)
        assert unpooled_box(smaller, factors).intersection(fine) != fine


@given(COORDINATES, EXTENTS, FACTORS)
def test_pooling_takes_back_what_unpooling_made(start, shape, factors):
    coarse = box(start, shape)
    assert pooled_box(unpooled_box(coarse, factors), factors) == coarse


@given(COORDINATES, EXTENTS, FACTORS, FACTORS)
def test_pooling_twice_is_pooling_by_the_product(start, shape, first, second):
    together = tuple(a * b for a, b in zip(first, second, strict=True))
    assert pooled_box(pooled_box(box(start, shape), first), second) == pooled_box(box(start, shape), together)


@pytest.mark.parametrize(
    ("fine", "factors", "coarse"),
    [
        (Box((0, 0, 0), (8, 8, 8)), (2, 2, 2), Box((0, 0, 0), (4, 4, 4))),
        (Box((-3, 1, 5), (4, 2, 6)), (2, 2, 1), Box((-2, 0, 5), (2, 1, 6))),
        (Box((7, -1, 0), (9, 0, 1)), (4, 4, 4), Box((1, -1, 0), (3, 0, 1))),
    ],
)
def test_pooled_boxes_lie_on_the_global_grid(fine, factors, coarse):
    assert pooled_box(fine, factors) == coarse
