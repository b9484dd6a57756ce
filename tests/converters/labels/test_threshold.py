"""Grey values, their histogram and Otsu's threshold, against the formulas written out and against scipy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from converters.errors import ValueRefusedError
from converters.labels.tasks import GreySource
from converters.labels.threshold import above, grey_values, halo, histogram, level_counts, otsu
from converters.sources.npy.npy import open_npy
from converters.sources.source import SourceOptions
from formats.grid import Box


def by_hand(values: NDArray[Any]) -> float:
    """Return the grey value that parts values best: the sum of squares within the two classes is smallest, the first on a tie."""
    best, found = math.inf, 0.0
    for threshold in np.unique(values)[:-1]:
        classes = values[values <= threshold].astype(float), values[values > threshold].astype(float)
        within = sum(float(((c - c.mean()) ** 2).sum()) for c in classes)
        if within < best * (1 - 1e-9):
            best, found = within, float(threshold)
    return found


def counted(*parts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([level_counts(part) for part in parts])


@settings(max_examples=60)
@given(st.sampled_from(["u1", "i1", ">u2", "i2"]), st.integers(0, 1 << 32), st.integers(1, 60))
def test_otsu_of_small_integers_is_exact(dtype: str, seed: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(20, 1 + spread / 9, 60), rng.normal(20 + spread, 2, 40)]).round()
    grey = grey_values(values.reshape(5, 5, 4).clip(0, 120).astype(dtype), None)
    if grey.min() == grey.max():
        return
    found = otsu(histogram(counted(grey[:2], grey[2:]), grey.dtype))
    low, high = (sum(spread_of(grey, t)) for t in (found, by_hand(grey)))
    assert low == pytest.approx(high, rel=1e-9)


def spread_of(values: NDArray[Any], threshold: float) -> tuple[float, float]:
    below, beyond = values[values <= threshold].astype(float), values[values > threshold].astype(float)
    return float(((below - below.mean()) ** 2).sum()), float(((beyond - beyond.mean()) ** 2).sum())


def test_otsu_of_a_table_made_by_hand() -> None:
    # The variance between the classes, after 0: 3 * 3 * (0 - 22/3)**2 = 484; after 1: 4 * 2 * (1/4 - 10.5)**2 = 840.5;
    # after 10: 5 * 1 * (11/5 - 11)**2 = 387.2.
    grey = np.array([0, 0, 0, 1, 10, 11], np.uint8).reshape(6, 1, 1)
    assert otsu(histogram(level_counts(grey), grey.dtype)) == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u8"])
def test_otsu_of_wide_values_is_near(dtype: str) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(1000, 3, 500), rng.normal(1030, 3, 300)]).astype(dtype).reshape(20, 10, 4)
    found = otsu(histogram(counted(values[:7], values[7:]), values.dtype))
    assert found == pytest.approx(by_hand(values), rel=1 / 1024)
    assert (values > found).sum() == 300


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_a_larger_value_never_has_a_lower_level_and_none_lies_above_its_own(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    finite = np.sort(values[np.isfinite(values)])
    rows = level_counts(values.reshape(-1, 1, 1))
    assert rows[:, 1].sum() == len(finite)
    counts = histogram(rows, values.dtype)
    assert (np.diff(counts.tops) > 0).all()
    held = np.repeat(counts.tops, counts.counts)
    assert (finite <= held).all()
    normal = np.abs(finite) > 1e-30
    assert (held - finite <= np.abs(finite) / 1024)[normal].all()


def test_what_is_no_number_has_no_level() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e300, 2.5, -0.0, 0.0]).reshape(7, 1, 1)
    counts = histogram(level_counts(values), values.dtype)
    assert counts.counts.tolist() == [2, 1]


@settings(max_examples=25)
@given(st.integers(0, 1 << 32), st.floats(0.3, 2.2), st.sampled_from(["u1", "i4", "f4", "f8", "f2", ">i2"]))
def test_smoothed_blocks_are_those_of_the_whole(seed: int, sigma: float, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 24, 3))
    voxels = rng.integers(0, 100, shape).astype(dtype)
    start = [int(rng.integers(0, n)) for n in shape]
    end = [int(rng.integers(s + 1, n + 1)) for s, n in zip(start, shape, strict=True)]
    box = Box((start[0], start[1], start[2]), (end[0], end[1], end[2]))
    wide = "f8" if dtype in ("i4", "f8") else "f4"
    expected = gaussian_filter(voxels.astype(wide), sigma, truncate=4)[box.slices()]

    class Whole:
        name, dtype = "whole", voxels.dtype

        def __init__(self) -> None:
            self.shape = shape

        def read(self, box: Box) -> NDArray[Any]:
            return voxels[box.slices()][..., np.newaxis]

    np.testing.assert_array_equal(GreySource(Whole(), sigma).read(box), expected)  # type: ignore[arg-type]


def test_the_halo_is_what_scipy_takes() -> None:
    line = np.zeros((101, 1, 1), np.float32)
    line[50] = 1e6
    for sigma in (0.5, 1.0, 2.3):
        touched = np.flatnonzero(gaussian_filter(line, sigma, truncate=4))
        assert touched.min() == 50 - halo(sigma)


def test_smoothing_refuses_nan(tmp_path: Any) -> None:
    values = np.ones((4, 4, 4), np.float32)
    values[1, 2, 3] = np.nan
    np.save(tmp_path / "a.npy", values)
    source = open_npy(tmp_path / "a.npy", SourceOptions(resolution=(1, 1, 1)))
    with pytest.raises(ValueRefusedError, match="NaN or infinite, which --smooth would spread"):
        GreySource(source, 1.0).read(Box((0, 0, 0), (4, 4, 4)))


def test_integers_are_compared_exactly() -> None:
    values = np.array([2**53, 2**53 + 1, 2**64 - 1], np.uint64)
    assert above(values, float(2**53)).tolist() == [False, True, True]
    assert above(np.array([3, 4], np.uint8), 3.5).tolist() == [False, True]
    assert above(np.array([0, 255], np.uint8), -1).tolist() == [True, True]
    assert above(np.array([0, 255], np.uint8), 1e30).tolist() == [False, False]


def test_nan_is_above_nothing_and_infinity_above_all() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    assert above(values, 0.5).tolist() == [False, True, False, False]
    assert above(values, 1e300).tolist() == [False, False, False, False]


def test_a_bool_of_any_byte_is_one() -> None:
    stored = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    assert grey_values(stored.reshape(4, 1, 1), None).ravel().tolist() == [0, 1, 1, 1]
