import os
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from converters.pooling.average import average_pooling
from tests.converters.reference import average, pooled, pooled_average

Triple = tuple[int, int, int]

FACTORS = list(product((1, 2), repeat=3))
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64"]
_MANY = 4096
"""Voxels from which a mean is worth looking at."""


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Return values of the whole range of an integer type, its extremes often."""
    bounds = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    values = random.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)
    return np.asfortranarray(
        np.where(random.random(shape) < 0.3, random.choice(np.array([bounds.min, bounds.max], dtype), shape), values)
    )


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("factors", FACTORS)
def test_integers_equal_the_exact_means(dtype: str, factors: Triple) -> None:
    voxels, start = noise((7, 6, 5, 2), dtype), (-3, 2, -1)
    found = average_pooling(voxels, start, factors)
    assert found.dtype == dtype
    assert found.flags.f_contiguous
    np.testing.assert_array_equal(found, pooled(voxels, start, factors, average))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_size_and_start(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(INTEGERS))
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 3)))
    start = data.draw(st.tuples(*[st.integers(-9, 9)] * 3))
    factors = data.draw(st.sampled_from(FACTORS))
    order = data.draw(st.sampled_from("CF"))
    voxels = np.array(data.draw(npst.arrays(dtype, shape)), order=order)  # type: ignore[call-overload]
    np.testing.assert_array_equal(average_pooling(voxels, start, factors), pooled(voxels, start, factors, average))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_all_voxels_at_an_extreme_stay_there(dtype: str) -> None:
    for extreme in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        voxels = np.full((4, 4, 4, 1), extreme, dtype)
        assert (average_pooling(voxels, (0, 0, 0), (2, 2, 2)) == extreme).all()


@pytest.mark.parametrize(
    ("values", "mean"),
    [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((3, 4), 4), ((-1, 0), 0), ((-2, -1), -2), ((-3, -2), -2), ((-128, 127), 0)],
)
def test_halves_go_to_the_even_neighbour(values: tuple[int, int], mean: int) -> None:
    voxels = np.array(values, "int8").reshape(2, 1, 1, 1)
    assert average_pooling(voxels, (0, 0, 0), (2, 1, 1)).item() == mean


def test_a_slab_ends_nowhere_within_a_window() -> None:
    # Large enough for several slabs of the kernel, along z with and without factor.
    voxels = noise((128, 130, 70, 1), "uint16", 1)
    for factors in ((2, 2, 2), (2, 2, 1), (1, 1, 2)):
        np.testing.assert_array_equal(average_pooling(voxels, (1, -1, 3), factors), pooled_average(voxels, (1, -1, 3), factors))


def test_the_two_references_agree() -> None:
    voxels = noise((5, 4, 3, 2), "int16", 2)
    for factors in FACTORS:
        np.testing.assert_array_equal(pooled_average(voxels, (-5, 1, 2), factors), pooled(voxels, (-5, 1, 2), factors, average))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_floats(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 2)))
    start = data.draw(st.tuples(*[st.integers(-9, 9)] * 3))
    factors = data.draw(st.sampled_from(FACTORS))
    finite = st.floats(width=32, allow_infinity=False, allow_nan=True)
    voxels = data.draw(npst.arrays("float32", shape, elements=finite))
    found, expected = average_pooling(voxels, start, factors), pooled(voxels, start, factors, average)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    # The reference sums exactly, the kernel in float64: they may differ where a sum cancels or a mean lies between two float32.
    size = np.abs(np.nan_to_num(voxels.astype(np.float64))).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=max(size * 1e-15, 1e-45))


def test_nan_stays_where_it_is_and_infinity_too() -> None:
    voxels = np.ones((4, 2, 2, 1), "float32")
    voxels[0, 0, 0], voxels[2, 0, 0] = np.nan, np.inf
    np.testing.assert_array_equal(average_pooling(voxels, (0, 0, 0), (2, 2, 2)).ravel(), [np.nan, np.inf])
    voxels[3, 0, 0] = -np.inf
    np.testing.assert_array_equal(average_pooling(voxels, (0, 0, 0), (2, 2, 2)).ravel(), [np.nan, np.nan])


def test_float_sums_do_not_overflow() -> None:
    largest = np.finfo(np.float32).max
    assert (average_pooling(np.full((2, 2, 2, 1), largest), (0, 0, 0), (2, 2, 2)) == largest).all()


def test_a_memory_map_is_not_written_to(tmp_path: Any) -> None:
    voxels = noise((6, 6, 6, 1), "uint8")
    np.save(tmp_path / "a.npy", voxels)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(average_pooling(mapped, (0, 0, 0), (2, 2, 2)), pooled_average(voxels, (0, 0, 0), (2, 2, 2)))


@pytest.mark.parametrize("factors", [(3, 1, 1), (2, 4, 2), (0, 1, 1)])
def test_other_factors_are_refused(factors: Triple) -> None:
    with pytest.raises(ValueError, match="each axis takes 1 or 2"):
        average_pooling(np.zeros((4, 4, 4, 1), "uint8"), (0, 0, 0), factors)


def drifts(voxels: NDArray[Any], factors: Triple) -> Iterator[float]:
    """Yield, at every scale of 4,096 voxels or more, how far the mean has moved from the source's."""
    mean = voxels.mean(dtype=np.float64)
    while voxels.size // np.prod(factors) >= _MANY:
        voxels = average_pooling(voxels, (0, 0, 0), factors)
        yield float(voxels.mean(dtype=np.float64) - mean)


@pytest.mark.parametrize("factors", [(2, 2, 1), (2, 2, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_no_scale_is_darker_or_brighter(dtype: str, factors: Triple) -> None:
    voxels = np.random.default_rng(3).integers(0, 256, (256, 256, 128, 1), "uint8").astype(dtype)
    found = list(drifts(np.asfortranarray(voxels), factors))
    assert len(found) >= 3
    assert max(map(abs, found)) < 0.1


@pytest.mark.skipif(os.environ.get("GLASSINE_SLOW") != "1", reason="slow: takes 1 GB and some seconds; set GLASSINE_SLOW=1")
@pytest.mark.parametrize(
    ("factors", "values"),
    [
        ((2, 2, 2), 256),
        ((2, 2, 2), 255),
        ((2, 2, 1), 255),
        pytest.param(
            (2, 2, 1),
            256,
            # From 127.5 on, once the noise is narrower than a grey level, every window is a tie, and all of them go to 128.
            marks=pytest.mark.xfail(
                reason="the mean is half a grey level: the eighth scale (4 x 4 x 512) moves by 0.2", strict=True
            ),
        ),
    ],
)
def test_no_scale_is_darker_or_brighter_in_half_a_gigabyte(factors: Triple, values: int) -> None:
    flat = np.random.default_rng(4).integers(0, values, 1024 * 1024 * 512, "uint8")
    found = list(drifts(flat.reshape((1024, 1024, 512, 1), order="F"), factors))
    assert max(map(abs, found)) < 0.1
