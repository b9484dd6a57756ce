"""The pyramid that the viewer is compared with, against windows written down one by one."""

import numpy as np
import pytest

from tests.converters.reference import average, mode, pooled
from tests.e2e.expected import pyramid


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("step", [(2, 2, 2), (2, 2, 1), (1, 2, 2), (1, 1, 2)])
def test_the_pyramid_is_what_the_plainest_computation_gives(step, labels: bool):
    voxels = np.random.default_rng(0).integers(0, 4 if labels else 255, (7, 6, 5), np.uint8)
    start = (-3, 4, 1)
    _, scale, _ = pyramid(voxels, start, [step, step], labels=labels)
    expected = pooled(voxels[..., None], start, step, mode if labels else average)[..., 0]
    np.testing.assert_array_equal(scale.voxels, expected)
    assert scale.offset == tuple(s // f for s, f in zip(start, step, strict=True))
