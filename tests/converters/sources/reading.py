"""How the tests of all sources open, read and compare."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.sources.opening import open_source
from converters.sources.source import Source, SourceOptions
from formats.grid import Box


def opened(path: Any, **options: Any) -> Any:
    """Open a source with nothing said but options."""
    return open_source(path, SourceOptions(**options))


def refusal(error: type[Exception], path: Any, **options: Any) -> str:
    """Return the sentence with which a source is refused."""
    with pytest.raises(error) as refused:
        opened(path, **options)
    return str(refused.value)


def whole(source: Source) -> NDArray[Any]:
    """Return all voxels."""
    return source.read(Box((0, 0, 0), source.shape))


@st.composite
def boxes(draw: Any, shape: tuple[int, int, int]) -> Box:
    """Boxes of one voxel or more within a shape."""
    edges = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in shape]
    return Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))


def voxels(dtype: Any, *shape: int) -> NDArray[Any]:
    """Return voxels that use the data type's whole range."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.random(shape) > 0.5
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def assert_reads(source: Source, expected: NDArray[Any]) -> None:
    """Read all of a source and some boxes. expected: [z, y, x] or [z, y, x, channel]."""
    wanted = (expected if expected.ndim == 4 else expected[..., np.newaxis]).transpose(2, 1, 0, 3)
    assert (*source.shape, source.num_channels) == wanted.shape
    assert source.dtype == wanted.dtype
    got = whole(source)
    assert got.dtype == source.dtype
    np.testing.assert_array_equal(got, wanted)

    @settings(max_examples=6)
    @given(box=boxes(source.shape))
    def reads_any_box(box: Box) -> None:
        np.testing.assert_array_equal(source.read(box), wanted[box.slices()])

    reads_any_box()
