import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.geometry import Geometry
from converters.volumes.scales import PlannedScale, default_chunk_size, plan_scales

Triple = tuple[int, int, int]

RESOLUTIONS = st.tuples(*[st.sampled_from([1.0, 4.0, 4.5, 8.0, 11.24, 28.0, 40.0, 500.0, 1e6])] * 3)


def planned(shape: Triple, resolution: tuple[float, float, float], chunk_size: Triple = (64, 64, 64)) -> list[PlannedScale]:
    return list(plan_scales(Geometry(resolution), shape, chunk_size, None))


# By hand: an axis is halved while its voxels are less than 1.41 times as long as the shortest.
@pytest.mark.parametrize(
    ("resolution", "steps"),
    [
        ((4.0, 4.0, 40.0), [(2, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)]),
        ((8.0, 8.0, 8.0), [(2, 2, 2)] * 4),
        ((1e6, 1e6, 1e6), [(2, 2, 2)] * 4),
        ((11.24, 11.24, 28.0), [(2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((30.0, 6.0, 6.0), [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((4.0, 8.0, 16.0), [(2, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)]),
    ],
)
def test_factors_tend_to_isotropic_voxels(resolution: tuple[float, float, float], steps: list[Triple]) -> None:
    scales = planned((2000, 2000, 2000), resolution)
    assert [scale.step for scale in scales[1:5]] == steps


def test_axes_that_are_one_voxel_thin_do_not_hold_up_the_others() -> None:
    scales = planned((4096, 4096, 1), (8.0, 8.0, 1.0), (64, 64, 1))
    assert [scale.step for scale in scales[1:]] == [(2, 2, 1)] * 6
    assert scales[-1].box.shape == (64, 64, 1)


def test_the_last_scale_is_one_chunk() -> None:
    scales = planned((1000, 900, 300), (4.0, 4.0, 40.0))
    # x y z: 1000 900 300, 500 450 300, 250 225 300, 125 113 300, 63 57 150, 32 29 75, 16 15 38
    assert [scale.box.shape for scale in scales[-3:]] == [(63, 57, 150), (32, 29, 75), (16, 15, 38)]
    assert [scale.key for scale in scales[:5]] == ["4_4_40", "8_8_40", "16_16_40", "32_32_40", "64_64_80"]
    assert len(planned((64, 64, 64), (8.0, 8.0, 8.0))) == 1
    assert len(planned((65, 64, 64), (8.0, 8.0, 8.0))) == 2


def test_as_many_scales_as_asked_for() -> None:
    geometry = Geometry((8.0, 8.0, 8.0))
    assert len(plan_scales(geometry, (1000, 1000, 1000), (64, 64, 64), 2)) == 2
    assert [s.box.shape for s in plan_scales(geometry, (40, 3, 1), (64, 64, 64), 4)] == [
        (40, 3, 1),
        (20, 2, 1),
        (10, 1, 1),
        (5, 1, 1),
    ]
    # One voxel has no coarser scale.
    assert len(plan_scales(geometry, (4, 4, 4), (64, 64, 64), 32)) == 3


@pytest.mark.timeout(20)
def test_a_volume_across_zero_ends_where_the_grid_parts_it() -> None:
    # On the global grid the voxels -1 and 0 never share a window: with chunks of one voxel there is no scale of a single chunk.
    scales = plan_scales(Geometry((8.0, 8.0, 8.0), (-100, -100, -50)), (200, 200, 100), (512, 512, 1), None)
    assert scales[-1].box.shape == (2, 2, 2)
    assert len(plan_scales(Geometry((8.0, 8.0, 8.0), (-1, -1, -1)), (2, 2, 2), (1, 1, 1), 32)) == 1


def _can_shrink(start: int, end: int) -> bool:
    return end - start > 1 and (start, end) != (-1, 1)


@given(
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    voxel_offset=st.tuples(*[st.integers(-50, 50)] * 3),
    chunk_size=st.tuples(*[st.integers(8, 64)] * 3),
    resolution=RESOLUTIONS,
)
@settings(max_examples=200, deadline=None)
def test_every_plan(shape: Triple, voxel_offset: Triple, chunk_size: Triple, resolution: tuple[float, float, float]) -> None:
    scales = plan_scales(Geometry(resolution, voxel_offset), shape, chunk_size, None)
    assert len({scale.key for scale in scales}) == len(scales)
    assert math.prod(scales[-1].grid.shape) == 1
    assert all(math.prod(scale.grid.shape) > 1 for scale in scales[:-1])
    for scale in scales:
        for axis in range(3):
            factor, first = scale.factors[axis], voxel_offset[axis]
            assert scale.box.start[axis] == math.floor(first / factor)
            assert scale.box.end[axis] == math.ceil((first + shape[axis]) / factor)
            assert scale.resolution[axis] == resolution[axis] * factor
        assert scale.chunk_size == chunk_size
    for finer, coarser in pairwise(scales):
        assert set(coarser.step) <= {1, 2}
        assert coarser.factors == tuple(f * s for f, s in zip(finer.factors, coarser.step, strict=True))
        # Among axes that have voxels left to pool, shapes never grow longer than 2 : 1 or than they were.
        left = [axis for axis in range(3) if _can_shrink(finer.box.start[axis], finer.box.end[axis])]
        before, after = ([scale.resolution[axis] for axis in left] for scale in (finer, coarser))
        assert max(after) / min(after) <= max(2, max(before) / min(before)) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("shape", "chunk_size"),
    [
        ((1024, 1024, 512), (64, 64, 64)),
        ((64, 64, 64), (64, 64, 64)),
        ((100_000, 100_000, 1), (512, 512, 1)),
        ((5000, 6000, 3), (256, 256, 4)),
        ((5000, 6000, 20), (128, 64, 32)),
        ((5000, 20, 6000), (128, 32, 64)),
        ((181, 217, 181), (64, 64, 64)),
        ((9, 2000, 2000), (16, 128, 128)),
        ((10, 10, 10), (16, 16, 16)),
        ((1, 1, 1), (1, 1, 1)),
    ],
)
def test_default_chunk_size(shape: Triple, chunk_size: Triple) -> None:
    assert default_chunk_size(shape) == chunk_size


@given(shape=st.tuples(*[st.integers(1, 5000)] * 3))
@settings(max_examples=200, deadline=None)
def test_default_chunks_are_near_a_quarter_of_a_million_voxels(shape: Triple) -> None:
    edges = default_chunk_size(shape)
    assert math.prod(edges) <= 1 << 18
    assert all(edge.bit_count() == 1 and edge <= 512 for edge in edges)
    # Smaller only where the volume has nothing more to give.
    if math.prod(edges) < 1 << 18:
        assert all(edge >= min(n, 512) for edge, n in zip(edges, shape, strict=True))
