"""What is decided before: parameters, the scale, blocks within the memory."""

import inspect
import math
from pathlib import Path

import kimimaro
import kimimaro.intake
import kimimaro.trace
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from converters.budget import Budget
from converters.errors import OptionError
from converters.geometry import Lengths
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.parameters import parameters_of
from converters.skeletons.plan import _block, _scale, _segments
from formats.grid import Triple
from formats.info import Scale, VolumeInfo


def test_what_is_left_open_follows_the_voxels() -> None:
    fine, light = (parameters_of(SkeletonizeOptions(), (edge, edge, edge)) for edge in (32.0, 320.0))
    assert (fine.const, light.const) == (480, 4800)
    assert (fine.tick_threshold, light.tick_threshold) == (480, 4800)
    # A cell body is as large as it is, but some voxels make no ball.
    assert (fine.soma_acceptance_threshold, light.soma_acceptance_threshold) == (3500, 3800)
    assert (fine.soma_detection_threshold, light.soma_detection_threshold) == (750, 960)


def test_what_is_given_is_taken() -> None:
    given = {"const": 1.0, "soma_detection_threshold": 2.0, "soma_acceptance_threshold": 3.0, "soma_invalidation_const": 4.0}
    more = {"tick_threshold": 0.0, "max_paths": 7, "pdrf_exponent": 8, "pdrf_scale": 9.0, "soma_invalidation_scale": 10.0}
    found = vars(parameters_of(SkeletonizeOptions(**given, **more, invalidation_scale=11), (32.0, 32.0, 40.0)))
    assert {name: found[name] for name in (*given, *more)} == {**given, **more}
    assert found["scale"] == 11


def test_the_tick_threshold_is_const_when_it_is_left_out() -> None:
    assert parameters_of(SkeletonizeOptions(const=77), (32.0, 32.0, 40.0)).tick_threshold == 77


def test_kimimaro_is_told_all_that_it_takes() -> None:
    ours = set(parameters_of(SkeletonizeOptions(), (32.0, 32.0, 40.0)).teasar())
    theirs = set(inspect.signature(kimimaro.trace.trace).parameters)
    own = {"labels", "DBF", "anisotropy", "fix_branching", "manual_targets_before", "manual_targets_after", "root", "voxel_graph"}
    assert ours == theirs - own - {"max_paths"}


OURS = {
    "all_labels": "DATASET", "teasar_params": "test_kimimaro_is_told_all_that_it_takes", "anisotropy": "the voxels of --scale",
    "object_ids": "segments", "dust_threshold": "dust_threshold", "fix_branching": "no_fix_branching",
    "extra_targets_before": "targets_before", "extra_targets_after": "targets_after", "fill_holes": "fill_holes",
    "fix_avocados": "fix_avocados",
    # Blocks do not join without it.
    "fix_borders": "always",
    # How kimimaro runs; glassine runs it in blocks of its own, on --executor.
    "progress": "", "in_place": "", "parallel": "", "parallel_chunk_size": "",
    # An array of the volume's size that no file format holds.
    "voxel_graph": "",
}  # fmt: skip
"""Each parameter of kimimaro.skeletonize, and the option that it has."""


def test_every_parameter_of_kimimaro_has_its_option() -> None:
    assert set(inspect.signature(kimimaro.skeletonize).parameters) == set(OURS)
    options = set(SkeletonizeOptions.model_fields)
    assert {name for name in OURS.values() if name in options} == {name for name in OURS.values() if name and name.islower()} - {
        "always",
        "the voxels of --scale",
        "test_kimimaro_is_told_all_that_it_takes",
    }
    assert set(kimimaro.intake.DEFAULT_TEASAR_PARAMS) | {"max_paths"} <= options | {"scale"}


@pytest.mark.parametrize("given", [{"const": -1}, {"pdrf_exponent": 0}, {"max_paths": 1}, {"segments": "a"}, {"budget": 0}])
def test_options_have_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SkeletonizeOptions(**given)


def info(*edges: float) -> VolumeInfo:
    scales = [Scale(f"{n}", (8, 8, 8), (edge, edge, max(edge, 40.0)), ((8, 8, 8),), "raw") for n, edge in enumerate(edges)]
    return VolumeInfo("segmentation", "uint32", 1, tuple(scales))


@pytest.mark.parametrize(
    ("edges", "expected"), [((4, 8, 16, 32, 64), 3), ((16, 32), 1), ((190, 380), 0), ((8,), 0), ((20, 40), 1), ((12, 24, 48), 1)]
)
def test_the_scale_that_is_nearest_to_32_nm(edges: tuple[float, ...], expected: int) -> None:
    volume = info(*edges)
    assert _scale(Path("d"), volume, SkeletonizeOptions()) is volume.scales[expected]


def test_a_scale_by_its_key() -> None:
    volume = info(4, 8)
    assert _scale(Path("d"), volume, SkeletonizeOptions(scale="0")) is volume.scales[0]
    with pytest.raises(OptionError, match="--scale 9: d has the scales 0, 1"):
        _scale(Path("d"), volume, SkeletonizeOptions(scale="9"))


def test_segments_are_sorted_and_in_range() -> None:
    assert _segments(" 9,3 , 18446744073709551615") == (3, 9, 2**64 - 1)
    assert _segments(None) is None
    for text in ("0", "18446744073709551616"):
        with pytest.raises(OptionError, match=f"--segments {text}: expected ids from 1 to 18446744073709551615"):
            _segments(text)


def blocks(size: tuple[int, int, int], budget: Budget, resolution: tuple[float, float, float] = (32, 32, 32)) -> Triple:
    return _block(Scale("s", size, resolution, ((64, 64, 64),), "raw"), budget)


sizes = st.tuples(*[st.integers(1, 5000)] * 3)
resolutions = st.sampled_from([(32.0, 32.0, 32.0), (4.0, 4.0, 40.0), (500.0, 190.0, 190.0)])


@given(sizes, resolutions, st.integers(10**9, 10**11), st.integers(1, 64))
def test_blocks_fit_the_memory(size: tuple[int, int, int], resolution: Lengths, memory: int, workers: int) -> None:
    try:
        block = blocks(size, Budget(memory, workers), resolution)
    except OptionError:
        assert memory / workers < 330e6
        return
    assert 80 * math.prod(n + 1 for n in block) + 3e8 <= memory / workers
    assert all(1 <= n <= whole for n, whole in zip(block, size, strict=True))
    assert all(n >= min(33, whole) for n, whole in zip(block, size, strict=True))


def test_a_volume_that_fits_is_cut_for_the_workers_alone() -> None:
    assert blocks((256, 256, 250), Budget(10**10, 1)) == (256, 256, 250)
    assert blocks((256, 256, 250), Budget(32 * 10**9, 2)) == (128, 128, 250)
    assert blocks((100, 100, 100), Budget(10**10, 8)) == (100, 100, 100)


def test_blocks_are_cut_where_they_are_longest_in_nm() -> None:
    assert blocks((256, 256, 256), Budget(10**10, 2), (32, 32, 40)) == (128, 256, 128)
    assert blocks((512, 512, 256), Budget(10**10, 2), (4, 4, 40)) == (256, 512, 128)


def test_blocks_are_no_larger_than_is_of_use() -> None:
    assert blocks((2048, 2048, 2048), Budget(10**12, 1)) == (256, 256, 256)
    assert blocks((4096, 4096, 100), Budget(10**12, 1)) == (256, 512, 100)


def test_too_little_memory_is_told() -> None:
    with pytest.raises(OptionError) as refused:
        blocks((512, 512, 512), Budget(400_000_000, 4))
    assert str(refused.value) == (
        "400 MB of memory for 4 workers are too few, skeletons need 1288 MB; give more with --memory, or fewer workers with "
        "--executor processes:N"
    )
