from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from converters.data_types import LayerType
from converters.pooling.average import average_pooling
from converters.pooling.choice import Pooling, pooling_for
from converters.pooling.mode import mode_pooling, quick_mode_pooling
from tests.converters.reference import mode, pooled, windows

Triple = tuple[int, int, int]

FACTORS = list(product((1, 2), repeat=3))
POOLS = pytest.mark.parametrize("pool", [mode_pooling, quick_mode_pooling])
LABELS = [0, 1, 2, 2**32 - 1, 2**53 + 1, 2**64 - 1]


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("factors", FACTORS)
@POOLS
def test_the_most_frequent_and_on_a_tie_the_first(pool: Pooling, dtype: str, factors: Triple) -> None:
    # Few labels: nearly every window has a tie.
    labels = np.array([0, 5, 7, np.iinfo(dtype).max], dtype)
    voxels = np.random.default_rng(5).choice(labels, (9, 8, 7, 2))
    start = (-5, 4, 3)
    found = pool(np.asfortranarray(voxels), start, factors)
    assert found.dtype == dtype
    assert found.flags.f_contiguous
    np.testing.assert_array_equal(found, pooled(voxels, start, factors, mode))


@POOLS
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_size_and_start(pool: Pooling, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 2)))
    start = data.draw(st.tuples(*[st.integers(-9, 9)] * 3))
    factors = data.draw(st.sampled_from(FACTORS))
    drawn = data.draw(npst.arrays("uint64", shape, elements=st.sampled_from(LABELS)))
    voxels = np.array(drawn, order=data.draw(st.sampled_from("CF")))  # type: ignore[call-overload]
    np.testing.assert_array_equal(pool(voxels, start, factors), pooled(voxels, start, factors, mode))


@POOLS
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_label_is_invented(pool: Pooling, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    start = data.draw(st.tuples(*[st.integers(-9, 9)] * 3))
    factors = data.draw(st.sampled_from(FACTORS))
    voxels = data.draw(npst.arrays("uint64", (*shape, 1)))
    found = pool(voxels, start, factors)
    for cell, window in windows(shape, start, factors):
        assert found[cell] in voxels[window]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 1),
        ([1, 2, 2, 1, 0, 0, 3, 4], 1),
        ([9, 2, 2, 1, 1, 0, 0, 4], 2),
        ([9, 8, 7, 6, 5, 4, 1, 1], 1),
        ([0, 0, 0, 0, 1, 1, 1, 1], 0),
        ([1, 0, 0, 0, 1, 1, 1, 0], 1),
    ],
)
@POOLS
def test_windows_of_eight_by_hand(pool: Pooling, window: list[int], expected: int) -> None:
    labels = np.array(window, "uint64").reshape((2, 2, 2, 1), order="F")
    assert pool(labels, (0, 0, 0), (2, 2, 2)).item() == expected


@POOLS
def test_a_slab_ends_nowhere_within_a_window(pool: Pooling) -> None:
    labels = np.random.default_rng(6).integers(0, 3, (100, 100, 6, 1)).astype("uint64", order="F")
    for factors in ((2, 2, 2), (2, 2, 1), (2, 1, 2), (1, 2, 2)):
        np.testing.assert_array_equal(pool(labels, (0, 1, 1), factors), pooled(labels, (0, 1, 1), factors, mode))


@pytest.mark.parametrize("factors", FACTORS)
@POOLS
def test_a_memory_map_is_read(pool: Pooling, factors: Triple, tmp_path: Any) -> None:
    labels = np.random.default_rng(7).integers(0, 3, (6, 4, 8, 1)).astype("uint64", order="F")
    np.save(tmp_path / "a.npy", labels)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(pool(mapped, (0, 0, 0), factors), pooled(labels, (0, 0, 0), factors, mode))


@POOLS
def test_other_factors_are_refused(pool: Pooling) -> None:
    with pytest.raises(ValueError, match="each axis takes 1 or 2"):
        pool(np.zeros((4, 4, 4, 1), "uint64"), (0, 0, 0), (4, 2, 2))


# By a kernel ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("factors", FACTORS)
def test_a_kernel_takes_every_data_type(dtype: str, factors: Triple) -> None:
    rng = np.random.default_rng(8)
    for different in (2, 4, 9, 200):
        labels = rng.integers(0, np.iinfo(dtype).max, different, dtype, endpoint=True)
        voxels = np.asfortranarray(rng.choice(labels, (67, 8, 7, 2)))
        found = quick_mode_pooling(voxels, (-5, 4, 3), factors)
        assert found.dtype == dtype
        assert found.flags.f_contiguous
        np.testing.assert_array_equal(found, pooled(voxels, (-5, 4, 3), factors, mode))


@pytest.mark.usefixtures("nothing_is_kept")
@pytest.mark.parametrize(
    ("layer", "voxels", "expected"),
    [
        ("segmentation", 1 << 28, quick_mode_pooling),
        ("segmentation", (1 << 28) - 1, mode_pooling),
        ("image", 1 << 30, average_pooling),
    ],
)
def test_a_kernel_is_compiled_where_it_has_enough_to_do(layer: LayerType, voxels: int, expected: Any) -> None:
    assert pooling_for(layer, np.dtype("uint32"), voxels) is expected
