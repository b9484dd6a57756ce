"""Which triangles have three different corners, and where they lie, beside plain numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.octants import octant_codes, proper_triangles
from formats.meshes.multires import z_curve_codes


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), bits=st.sampled_from([2, 10, 16]))
def test_octants_are_those_of_the_middles_of_triangles_that_cross_no_plane(seed, bits):
    random, steps = np.random.default_rng(seed), (1 << bits) - 1
    half = 1 << (bits - 1)
    octants = random.integers(0, 8, (20, 3))
    low = octants // 2 * steps + octants % 2 * half
    high = (octants // 2 + octants % 2) * steps + (1 - octants % 2) * half
    corners = random.integers(low[:, None], high[:, None] + 1, (20, 3, 3))
    # Not all of a triangle in a plane at its box's lower end: the box below has that.
    corners[:, 0] = high
    triangles = np.arange(60, dtype=np.uint32).reshape(20, 3)
    found = octant_codes(corners.reshape(-1, 3).astype(np.int32), triangles, bits)
    assert found.tolist() == z_curve_codes(octants.astype(np.uint32)).tolist()


def test_triangles_with_two_corners_in_one_place_are_left_out():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], np.int32)
    triangles = np.array([[0, 1, 2], [0, 1, 3], [3, 1, 2], [2, 3, 0], [1, 1, 2]], np.uint32)
    assert proper_triangles(vertices, triangles).tolist() == [[0, 1, 2], [2, 3, 0]]
