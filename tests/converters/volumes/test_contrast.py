from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from converters.options import ConvertOptions
from converters.record import Contrast, encode_record, read_record
from converters.volumes.contrast import SAMPLE_VOXELS, contrast_of, sample_stride, sampled
from converters.volumes.conversion import Progress, convert
from formats.grid import Box

Triple = tuple[int, int, int]


def quiet(progress: Progress) -> None:
    """Report nothing."""


def recorded(folder: Path, voxels: NDArray[Any], **given: Any) -> tuple[Contrast, ...]:
    """Convert [x, y, z] or [x, y, z, channel] and return the contrast that its record tells; its PNG must have been made."""
    np.save(folder / "source.npy", np.asfortranarray(voxels))
    chosen = {"type": "image", "axes": "xyzc"[: voxels.ndim], "resolution": (8, 8, 8), "executor": "serial", **given}
    convert(folder / "source.npy", folder / "dataset", ConvertOptions.model_validate(chosen), quiet)
    record = read_record(folder / "dataset")
    assert record is not None
    assert b"NaN" not in encode_record(record)
    assert b"Infinity" not in encode_record(record)
    assert (folder / "dataset/.glassine/thumbnail.png").read_bytes()[:4] == b"\x89PNG"
    return record.contrast


def share_in_grey(voxels: NDArray[Any], contrast: Contrast) -> float:
    """Return the share of the voxels that are shown between 10 % and 90 % grey."""
    grey = (voxels.astype(np.float64) - contrast.low) / (contrast.high - contrast.low)
    return float(((grey > 0.1) & (grey < 0.9)).mean())


def uint16_of_a_camera(random: np.random.Generator) -> NDArray[Any]:
    return random.integers(200, 900, (70, 60, 50)).astype("uint16")


def uint16_with_a_hot_pixel(random: np.random.Generator) -> NDArray[Any]:
    voxels = uint16_of_a_camera(random)
    voxels[3, 4, 5] = 65535
    return voxels


def floats_near_one(random: np.random.Generator) -> NDArray[Any]:
    return random.normal(1, 1e-3, (70, 60, 50)).astype("float32")


def floats_with_nan(random: np.random.Generator) -> NDArray[Any]:
    voxels = random.normal(-5, 40, (70, 60, 50)).astype("float32")
    voxels[:, :, :10] = np.nan
    return voxels


def brain_on_black(random: np.random.Generator) -> NDArray[Any]:
    voxels = random.normal(300, 60, (70, 60, 50)).astype("float32")
    voxels[:30] = 0
    return voxels


def tomogram(random: np.random.Generator) -> NDArray[Any]:
    voxels = random.normal(40, 80, (70, 60, 50)).astype("int16")
    voxels[:30] = -1024
    return voxels


@pytest.mark.parametrize(
    "volume", [uint16_of_a_camera, uint16_with_a_hot_pixel, floats_near_one, floats_with_nan, brain_on_black, tomogram]
)
def test_a_third_of_the_voxels_are_neither_black_nor_white(volume: Any, tmp_path: Path) -> None:
    voxels = volume(np.random.default_rng(1))
    (contrast,) = recorded(tmp_path, voxels)
    assert share_in_grey(voxels, contrast) > 0.3
    assert np.nanmin(voxels) <= contrast.minimum <= contrast.low < contrast.high <= contrast.maximum <= np.nanmax(voxels)


@pytest.mark.parametrize(
    ("voxels", "black", "white"),
    [
        (np.zeros((5, 4, 3), "uint8"), 0, 1),
        (np.full((5, 4, 3), 7, "uint16"), 0, 7),
        (np.full((5, 4, 3), -7, "int16"), -7, 0),
        (np.full((5, 4, 3), 0.25, "float32"), 0, 0.25),
        (np.full((1, 1, 1), 255, "uint8"), 0, 255),
        (np.full((5, 4, 3), np.nan, "float32"), 0, 1),
        (np.full((5, 4, 3), np.inf, "float32"), 0, 1),
    ],
)
def test_one_grey_value(voxels: NDArray[Any], black: float, white: float, tmp_path: Path) -> None:
    (contrast,) = recorded(tmp_path, voxels)
    assert (contrast.low, contrast.high) == (black, white)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.999])
def test_a_mask_is_black_and_white(share: float, tmp_path: Path) -> None:
    voxels = np.where(np.random.default_rng(2).random((60, 50, 40)) < share, 255, 0).astype("uint8")
    (contrast,) = recorded(tmp_path, voxels)
    assert (contrast.low, contrast.high) == (0, 255)


def test_infinities_and_the_largest_floats(tmp_path: Path) -> None:
    largest = np.finfo(np.float32).max
    voxels = np.random.default_rng(3).choice(
        np.array([-np.inf, -largest, 0, 1, largest, np.inf, np.nan], "float32"), (20, 20, 20)
    )
    (contrast,) = recorded(tmp_path, voxels)
    assert (contrast.low, contrast.high) == (-largest, largest)


def test_each_channel_has_its_own(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    voxels = np.stack([random.integers(0, 100, (30, 30, 30)), random.integers(5000, 6000, (30, 30, 30))], axis=3).astype("uint16")
    first, second = recorded(tmp_path, voxels)
    assert 0 <= first.low < first.high < 100
    assert 5000 <= second.low < second.high < 6000


@pytest.mark.parametrize("voxel_offset", [(1, 1, 1), (-7, 3, -1)])
def test_a_thin_volume_gives_a_sample_wherever_it_begins(voxel_offset: Triple, tmp_path: Path) -> None:
    voxels = np.random.default_rng(5).integers(200, 900, (2200, 2200, 2), "uint16")
    assert sample_stride(voxels.size) > 1
    (contrast,) = recorded(tmp_path, voxels, voxel_offset=voxel_offset, scales=1)
    assert share_in_grey(voxels, contrast) > 0.3


@given(
    data=st.data(),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    cuts=st.tuples(*[st.integers(0, 12)] * 3),
    stride=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_tiles_together_give_the_sample_of_the_whole(data: st.DataObject, shape: Triple, cuts: Triple, stride: int) -> None:
    voxels = np.arange(np.prod(shape)).reshape((*shape, 1))
    pieces: list[NDArray[Any]] = []
    for corner in np.ndindex(2, 2, 2):
        ends = [(0, min(cut, n)) if low == 0 else (min(cut, n), n) for low, cut, n in zip(corner, cuts, shape, strict=True)]
        box = Box(*zip(*ends, strict=True))  # type: ignore[arg-type]
        pieces.append(sampled(voxels[box.slices()], box, stride))
    together = np.sort(np.concatenate(pieces).ravel())
    np.testing.assert_array_equal(together, np.sort(voxels[::stride, ::stride, ::stride].ravel()))


@pytest.mark.parametrize("voxels", [1, 1000, SAMPLE_VOXELS, 5 * SAMPLE_VOXELS, 512 * SAMPLE_VOXELS, 10**13])
def test_a_sample_is_near_a_million_voxels(voxels: int) -> None:
    assert min(voxels, SAMPLE_VOXELS / 4) <= voxels / sample_stride(voxels) ** 3 <= 4 * SAMPLE_VOXELS


@given(values=npst.arrays("float32", st.integers(1, 40), elements=st.floats(width=32)))
@settings(max_examples=150, deadline=None)
def test_black_lies_below_white_whatever_the_values(values: NDArray[Any]) -> None:
    (contrast,) = contrast_of([values.reshape(-1, 1)])
    assert contrast.low < contrast.high
    assert np.isfinite([contrast.low, contrast.high, contrast.minimum, contrast.maximum]).all()


def test_the_order_of_samples_changes_nothing() -> None:
    samples = [np.random.default_rng(seed).normal(0, 1, (100, 2)).astype("float32") for seed in range(5)]
    assert contrast_of(samples) == contrast_of(samples[::-1])
