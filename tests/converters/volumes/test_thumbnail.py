import io
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from converters.geometry import Affine
from converters.options import ConvertOptions
from converters.record import Contrast
from converters.storage.flat import FlatStorage
from converters.storage.reader import VolumeReader
from converters.volumes.conversion import Progress, convert
from converters.volumes.thumbnail import EDGE, thumbnail
from formats.grid import chunk_name
from formats.info import Scale, VolumeInfo

GREY = (Contrast(0, 255, 0, 255),)


def quiet(progress: Progress) -> None:
    """Report nothing."""


def shown(png: bytes) -> NDArray[Any]:
    """Return [row, column, rgb] of a PNG, which must be whole."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def pictured(
    folder: Path,
    voxels: NDArray[Any],
    contrast: tuple[Contrast, ...] = GREY,
    transform: Affine | None = None,
    resolution: tuple[float, float, float] = (8.0, 8.0, 8.0),
) -> NDArray[Any]:
    """Return the picture of a volume [x, y, z, channel] of one raw chunk."""
    x, y, z, channels = voxels.shape
    scale = Scale("s", (x, y, z), resolution, ((x, y, z),), "raw")
    storage = FlatStorage(folder)
    storage.put(f"s/{chunk_name(scale.grid().box)}", voxels.tobytes("F"), compressible=True)
    info = VolumeInfo("image", voxels.dtype.name, channels, (scale,))
    return shown(thumbnail(VolumeReader(storage, info), contrast, transform))


def test_without_a_world_x_runs_right_and_y_runs_down(tmp_path: Path) -> None:
    voxels = np.zeros((4, 2, 3, 1), "uint8")
    voxels[3, 0, 1] = 255
    picture = pictured(tmp_path, voxels)
    assert picture.shape == (EDGE // 2, EDGE, 3)
    assert picture[: EDGE // 4, EDGE * 3 // 4 :].min() == 255
    assert picture.sum() == 3 * 255 * (EDGE // 4) ** 2


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_right_is_left_and_front_is_up_for_every_permutation_and_flip(
    axes: tuple[int, int, int], flips: tuple[int, int, int], tmp_path: Path
) -> None:
    # In the world: 8 along right, 6 along front, 5 along up; marked is the last third to the right, the last third to the front.
    world = np.zeros((8, 6, 5), "uint8")
    world[6:, 4:, 2] = 255
    voxels = world.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
    # Voxel axis a runs along world axis axes[a], back to front where flips[a] is -1.
    rows = [[0.0] * 4 for _ in range(3)]
    for a in range(3):
        rows[axes[a]][a] = float(flips[a])
    transform: Affine = tuple(tuple(row) for row in rows)  # type: ignore[assignment]
    picture = pictured(tmp_path, np.asfortranarray(voxels)[..., np.newaxis], transform=transform)
    assert picture.shape == (192, 256, 3)
    assert picture[:63, :63].min() == 255
    assert picture[66:].max() == picture[:, 66:].max() == 0


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (-1, -1)])
def test_upright_from_the_affine_of_a_nifti_file(flips: tuple[int, int], tmp_path: Path) -> None:
    import nibabel

    voxels = np.full((40, 30, 20), 50, "uint8")
    # Bright where the world is right and to the front.
    x, y = (slice(30, 40) if flips[0] > 0 else slice(0, 10)), (slice(20, 30) if flips[1] > 0 else slice(0, 10))
    voxels[x, y] = 200
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([flips[0], flips[1], 1.0, 1.0])), tmp_path / "a.nii")
    convert(tmp_path / "a.nii", tmp_path / "dataset", ConvertOptions(executor="serial"), quiet)
    picture = shown((tmp_path / "dataset/.glassine/thumbnail.png").read_bytes())[..., 0]
    assert picture.shape == (192, 256)
    assert picture[:60, :56].min() > picture[70:].max()
    assert picture[:60, :56].min() > picture[:, 76:].max()


def test_long_voxels_are_shown_long(tmp_path: Path) -> None:
    # 10 voxels of 40 nm are as long as 50 of 8 nm.
    assert pictured(tmp_path, np.zeros((10, 50, 3, 1), "uint8"), resolution=(40.0, 8.0, 8.0)).shape == (256, 256, 3)
    assert pictured(tmp_path, np.zeros((10, 50, 3, 1), "uint8"), resolution=(8.0, 8.0, 8.0)).shape == (256, 51, 3)
    assert pictured(tmp_path, np.zeros((1, 2000, 3, 1), "uint8")).shape == (256, 1, 3)


def test_grey_follows_the_contrast(tmp_path: Path) -> None:
    voxels = np.array([0, 100, 150, 200, 300], "float32").reshape(5, 1, 1, 1)
    picture = pictured(tmp_path, voxels, (Contrast(100, 200, 0, 300),))
    assert [picture[0, round((n + 0.5) * EDGE / 5), 0] for n in range(5)] == [0, 0, 127, 255, 255]


def test_nan_is_black_and_infinity_white(tmp_path: Path) -> None:
    voxels = np.array([np.nan, -np.inf, np.inf], "float32").reshape(3, 1, 1, 1)
    picture = pictured(tmp_path, voxels, (Contrast(0, 1, 0, 1),))
    assert [picture[0, round((n + 0.5) * EDGE / 3), 0] for n in range(3)] == [0, 0, 255]


def test_three_channels_are_red_green_and_blue(tmp_path: Path) -> None:
    voxels = np.array([10, 20, 30], "uint8").reshape(1, 1, 1, 3)
    picture = pictured(tmp_path, voxels, (Contrast(0, 10, 0, 10), Contrast(0, 40, 0, 40), Contrast(30, 60, 30, 60)))
    assert picture[0, 0].tolist() == [255, 127, 0]


def test_labels_differ_in_colour_and_zero_is_black(tmp_path: Path) -> None:
    ids = [0, 1, 2, 3, 2**32, 2**53 + 1, 2**64 - 1]
    picture = pictured(tmp_path, np.array(ids, "uint64").reshape(-1, 1, 1, 1), contrast=())
    colours = [tuple(picture[0, round((n + 0.5) * EDGE / len(ids))]) for n in range(len(ids))]
    assert colours[0] == (0, 0, 0)
    assert len(set(colours)) == len(ids)
    assert min(min(colour) for colour in colours[1:]) >= 64


def test_a_missing_chunk_is_black(tmp_path: Path) -> None:
    scale = Scale("s", (8, 8, 8), (8.0, 8.0, 8.0), ((8, 8, 8),), "raw")
    info = VolumeInfo("image", "uint8", 1, (scale,))
    assert shown(thumbnail(VolumeReader(FlatStorage(tmp_path), info), GREY, None)).max() == 0
