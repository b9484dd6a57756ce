"""The colours of segments are those of the viewer."""

import numpy as np
from neuroglancer.segment_colors import hex_string_from_segment_id

from converters.labels.colours import viewer_colours


def test_colours_are_those_that_the_viewer_s_own_package_tells() -> None:
    ids = np.random.default_rng(1).integers(0, 1 << 64, 1000, np.uint64) >> np.arange(1000, dtype=np.uint64) % np.uint64(64)
    ids = ids[ids > 0]
    told = [hex_string_from_segment_id(0, segment)[1:] for segment in ids.tolist()]
    expected = np.array([list(bytes.fromhex(text)) for text in told])
    # Halves are rounded one way here and the other way there.
    assert np.abs(viewer_colours(ids) - expected).max() <= 1
    assert (viewer_colours(ids) == expected).mean() > 0.999


def test_no_segment_is_black() -> None:
    np.testing.assert_array_equal(viewer_colours(np.array([[0, 1]], np.uint32))[0, 0], (0, 0, 0))
