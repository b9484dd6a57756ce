import math
from itertools import pairwise, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.geometry import Geometry
from converters.volumes.blocks import fitted, fitted_stages, times_read, unpacking_unit
from converters.volumes.scales import plan_scales
from converters.volumes.stages import flat_stages, plan_stages

EXTENTS = st.tuples(*[st.integers(1, 40)] * 3)


def read_by_tiles(shape: tuple[int, int, int], block: tuple[int, int, int], tile: tuple[int, int, int]) -> float:
    """Count, tile by tile, the voxels of the blocks that each meets."""
    total = 0
    for corner in product(*(range(0, n, t) for n, t in zip(shape, tile, strict=True))):
        met = np.zeros(shape, bool)
        for axis_start in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
            part = tuple(slice(a, a + b) for a, b in zip(axis_start, block, strict=True))
            if all(a < c + t and c < a + b for a, b, c, t in zip(axis_start, block, corner, tile, strict=True)):
                met[part] = True
        total += int(met.sum())
    return total / math.prod(shape)


@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 12)] * 3))
@settings(max_examples=60, deadline=None)
def test_times_read_is_what_tiles_read(shape, block, tile):
    assert times_read(shape, block, tile) == read_by_tiles(shape, block, tile)


def first_stage(shape, chunk_size):
    return plan_stages(plan_scales(Geometry((8.0, 8.0, 8.0)), shape, chunk_size, None), 1 << 18)[0]


def test_tiles_grow_to_the_pages_of_a_stack():
    stage = first_stage((2000, 1500, 4000), (64, 64, 64))
    grown = fitted(stage, (2000, 1500, 1), 2000 * 1500 * 256, tiles=4)
    assert grown is not None
    assert times_read((2000, 1500, 4000), (2000, 1500, 1), grown.tile) < 1.5
    assert grown.tile[2] == stage.tile[2]
    # Whole chunks at each scale still.
    assert all(n % m == 0 for n, m in zip(grown.tile, stage.tile, strict=True))


def test_where_memory_does_not_hold_a_row_of_pages_there_are_no_such_tiles():
    stage = first_stage((20000, 15000, 4000), (64, 64, 64))
    assert fitted(stage, (20000, 15000, 1), 1 << 28, tiles=4) is None


def test_tiles_that_would_be_too_few_for_the_workers_do_not_grow():
    stage = first_stage((512, 512, 512), (64, 64, 64))
    assert fitted(stage, (512, 512, 512), 1 << 30, tiles=4) is None


def test_chunks_that_fit_change_nothing():
    stage = first_stage((1000, 1000, 1000), (64, 64, 64))
    assert fitted(stage, (64, 64, 32), 1 << 30, tiles=4) == stage


@given(shape=EXTENTS, block=EXTENTS, most=st.integers(1, 1 << 16))
@settings(max_examples=200)
def test_units_are_whole_blocks_within_the_memory(shape, block, most):
    unit = unpacking_unit(shape, block, most)
    assert all(n % b == 0 for n, b in zip(unit, block, strict=True))
    within = math.prod(min(n, u) for n, u in zip(shape, unit, strict=True))
    assert within <= max(most, math.prod(min(n, b) for n, b in zip(shape, block, strict=True)))


def test_flat_tiles_read_pages_once_where_cubes_read_them_twice():
    shape, block = (1024, 1024, 512), (1024, 1024, 1)
    scales = plan_scales(Geometry((8.0, 8.0, 8.0)), shape, (64, 64, 64), None)
    cubes, flat = plan_stages(scales, 1 << 24), flat_stages(scales, 1 << 24)
    assert [stage.scales[-1].key for stage in flat][-1] == scales[-1].key
    assert [stage.first for stage in flat] == [True] + [False] * (len(flat) - 1)
    assert all(a.scales[-1] == b.scales[0] for a, b in pairwise(flat))
    twice = fitted_stages((cubes,), block, 1 << 30, tiles=4)
    once = fitted_stages((cubes, flat), block, 1 << 30, tiles=4)
    assert twice is not None
    assert once is not None
    assert times_read(shape, block, twice[0].tile) == 2
    assert (once[0].tile, times_read(shape, block, once[0].tile)) == ((1024, 1024, 128), 1)
