from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.geometry import Geometry, unpooled_box
from converters.volumes.scales import PlannedScale, plan_scales
from converters.volumes.stages import Stage, plan_stages
from formats.grid import Box

Triple = tuple[int, int, int]


@st.composite
def _plans(draw: st.DrawFn) -> tuple[tuple[PlannedScale, ...], int]:
    """Draw scales of up to 6 chunks along each axis, of extents up to 300, and the voxels of a tile."""
    chunk_size = draw(st.tuples(*[st.integers(8, 64)] * 3))
    shape = tuple(draw(st.integers(1, min(300, 6 * edge))) for edge in chunk_size)
    voxel_offset = draw(st.tuples(*[st.integers(-50, 50)] * 3))
    resolution = draw(st.tuples(*[st.sampled_from([1.0, 4.0, 11.24, 28.0, 40.0, 500.0])] * 3))
    scales = plan_scales(Geometry(resolution, voxel_offset), (shape[0], shape[1], shape[2]), chunk_size, None)
    return scales, draw(st.sampled_from([0, 1000, 30_000, 200_000, 1_000_000, 10_000_000]))


@given(_plans())
@settings(max_examples=150, deadline=None)
def test_every_chunk_of_every_scale_belongs_to_exactly_one_tile(plan: tuple[tuple[PlannedScale, ...], int]) -> None:
    scales, tile_voxels = plan
    made: Counter[tuple[str, Triple]] = Counter()
    for stage in plan_stages(scales, tile_voxels):
        for tile in stage.tiles():
            for position in range(0 if stage.first else 1, len(stage.scales)):
                scale, owned = stage.scales[position], stage.owned(tile, position)
                for cell in scale.grid.cells_within(owned):
                    made[scale.key, cell] += 1
                    chunk = scale.grid.chunk_box(cell)
                    assert chunk.intersection(owned) == chunk
    assert made == Counter((scale.key, cell) for scale in scales for cell in scale.grid.cells())


@given(_plans())
@settings(max_examples=150, deadline=None)
def test_what_is_needed_holds_what_is_made_from_it(plan: tuple[tuple[PlannedScale, ...], int]) -> None:
    scales, tile_voxels = plan
    for stage in plan_stages(scales, tile_voxels):
        for tile in stage.tiles():
            needed = stage.needed(tile)
            assert len(needed) == len(stage.scales)
            for position, scale in enumerate(stage.scales):
                owned = stage.owned(tile, position)
                assert needed[position].intersection(scale.box) == needed[position]
                assert owned.voxels > 0
                assert owned.intersection(needed[position]) == owned
                if position:
                    finer = unpooled_box(needed[position], scale.step).intersection(stage.scales[position - 1].box)
                    assert finer.intersection(needed[position - 1]) == finer
            assert_halo_is_thin(stage, tile, needed[0])


def assert_halo_is_thin(stage: Stage, tile: Triple, needed: Box) -> None:
    """Only the lower faces have a halo, thinner than the coarsest scale's factor."""
    owned = stage.owned(tile, 0)
    for axis in range(3):
        factor = stage.scales[-1].factors[axis] // stage.scales[0].factors[axis]
        assert 0 <= owned.start[axis] - needed.start[axis] < factor
        assert owned.end[axis] == needed.end[axis]


@given(_plans())
@settings(max_examples=100, deadline=None)
def test_stages_follow_each_other_and_tiles_cover_each(plan: tuple[tuple[PlannedScale, ...], int]) -> None:
    scales, tile_voxels = plan
    stages = plan_stages(scales, tile_voxels)
    assert [stage.first for stage in stages] == [True] + [False] * (len(stages) - 1)
    assert (*(scale for stage in stages for scale in stage.scales[:-1]), scales[-1]) == scales
    assert all(before.scales[-1] == after.scales[0] for before, after in pairwise(stages))
    for stage in stages:
        for position, scale in enumerate(stage.scales):
            owned = [stage.owned(tile, position) for tile in stage.tiles()]
            assert sum(box.voxels for box in owned) == scale.box.voxels
        voxels = max(stage.owned(tile, 0).voxels for tile in stage.tiles())
        smallest = [
            c * b // a for c, a, b in zip(stage.scales[0].chunk_size, stage.scales[0].factors, _second(stage), strict=True)
        ]
        assert voxels <= max(tile_voxels, smallest[0] * smallest[1] * smallest[2])


def _second(stage: Stage) -> Triple:
    return stage.scales[min(1, len(stage.scales) - 1)].factors


def test_a_large_tile_makes_all_scales_in_one_stage() -> None:
    scales = plan_scales(Geometry((8.0, 8.0, 8.0)), (256, 256, 256), (64, 64, 64), None)
    (stage,) = plan_stages(scales, 1 << 24)
    assert (stage.tiles_shape, len(stage.scales)) == ((1, 1, 1), 3)


@pytest.mark.parametrize("tile_voxels", [1 << 19, 1 << 21])
def test_small_tiles_make_more_stages(tile_voxels: int) -> None:
    scales = plan_scales(Geometry((8.0, 8.0, 8.0)), (512, 512, 512), (64, 64, 64), None)
    stages = plan_stages(scales, tile_voxels)
    assert len(stages) > 1
    assert stages[0].tile[0] * stages[0].tile[1] * stages[0].tile[2] <= 1 << 21
