from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import OptionError
from converters.sources.axes import arrange
from converters.sources.source import SourceOptions
from formats.grid import Box

EXTENTS = {"x": 3, "y": 4, "z": 5, "c": 2, "t": 6}
EVERY_ORDER = [
    "".join(order) for count in range(4) for more in combinations("zct", count) for order in permutations(("x", "y", *more))
]


def test_every_order_is_tested():
    assert len(EVERY_ORDER) == 2 + 3 * 6 + 3 * 24 + 120


def numbered(axes):
    """An array of whose every element the value tells the position: x + 10 y + 100 z + 1000 c + 10000 t."""
    digits = dict(zip("xyzct", (1, 10, 100, 1000, 10000), strict=True))
    indices = np.indices([EXTENTS[axis] for axis in axes])
    return sum(index * digits[axis] for index, axis in zip(indices, axes, strict=True))


@pytest.mark.parametrize("axes", EVERY_ORDER)
def test_every_order_of_axes_is_read_by_position(axes):
    array = numbered(axes)
    for channel in (None, 1) if "c" in axes else (None,):
        options = SourceOptions(channel=channel, time=4 if "t" in axes else None)
        arrangement = arrange("a", axes, array.shape, options)
        depth = 5 if "z" in axes else 1
        assert arrangement.voxels == (3, 4, depth)
        assert arrangement.num_channels == (2 if "c" in axes and channel is None else 1)
        box = Box((1, 2, depth - 1), (3, 3, depth))
        voxels = arrangement.view(array[arrangement.index(box)])
        assert voxels.shape == (2, 1, 1, arrangement.num_channels)
        assert np.shares_memory(voxels, array)
        for (i, j, k, c), found in np.ndenumerate(voxels):
            time = 4 if "t" in axes else 0
            assert found == (1 + i) + 10 * (2 + j) + 100 * (depth - 1 + k) + 1000 * (channel or c) + 10000 * time


def test_a_time_axis_of_one_point_needs_no_time():
    arrangement = arrange("a", "tzyx", (1, 5, 4, 3), SourceOptions())
    assert arrangement.view(np.zeros((1, 5, 4, 3))[arrangement.index(arrangement.box())]).shape == (3, 4, 5, 1)


@given(st.permutations("xyzct"), st.integers(0, 1) | st.none(), st.integers(0, 5))
def test_what_is_cut_out_is_read_as_it_was(order, channel, time):
    axes = "".join(order)
    array = numbered(axes)
    whole = arrange("a", axes, array.shape, SourceOptions(channel=channel, time=time))
    cut_index = tuple(whole.index(whole.box())[i] if axis in "ct" and i % 2 else slice(None) for i, axis in enumerate(axes))
    part = array[cut_index]
    cut = whole.cut(part.shape)
    box = Box((1, 0, 2), (3, 4, 5))
    np.testing.assert_array_equal(cut.view(part[cut.index(box)]), whole.view(array[whole.index(box)]))


@pytest.mark.parametrize(
    ("axes", "options", "sentence"),
    [
        ("zyx", {}, "a: --axes zyx names 3 axes, the array has 4 (2 x 3 x 4 x 5): one letter an axis"),
        ("zyxx", {}, "a: --axes zyxx cannot be: use each of x, y, z, c (channels), t (time) at most once, x and y always"),
        ("tzcx", {}, "a: --axes tzcx cannot be: use each of x, y, z, c (channels), t (time) at most once, x and y always"),
        ("azyx", {}, "a: --axes azyx cannot be: use each of x, y, z, c (channels), t (time) at most once, x and y always"),
        ("tzyx", {}, "a: its axis t has 2 points of time and a volume holds one: add --time N, N from 0 to 1"),
        ("tzyx", {"time": 2}, "a: --time 2 is not there: choose 0 to 1"),
        ("tzyx", {"time": -1}, "a: --time -1 is not there: choose 0 to 1"),
        ("czyx", {"channel": 2}, "a: --channel 2 is not there: choose 0 to 1"),
        ("czyx", {"time": 1}, "a: --time 1 is not there: the source has one point of time; leave --time out"),
        ("tzyx", {"time": 1, "channel": 1}, "a: --channel 1 is not there: the source has one channel; leave --channel out"),
    ],
)
def test_what_does_not_fit_is_refused(axes, options, sentence):
    with pytest.raises(OptionError) as refused:
        arrange("a", axes, (2, 3, 4, 5), SourceOptions(**options))
    assert str(refused.value) == sentence
