"""Converted volumes in the real viewer: what it decodes, where it shows it, how it looks."""

from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.e2e.volumes import assert_every_scale


@pytest.fixture(scope="module")
def server(serving: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A served folder and its URL."""
    root = tmp_path_factory.mktemp("served")
    with serving(root) as url:
        yield root, url


@pytest.fixture
def served(glassine: Callable[..., str], server: tuple[Path, str]) -> Callable[..., str]:
    """Convert a source with options into the served folder and return its link."""
    root, url = server

    def link(source: Path, *options: str) -> str:
        dataset = root / "lab one" / source.name.split(".")[0]
        glassine("convert", source, dataset, *options)
        return glassine("link", dataset, "--root", root, "--url", url).strip()

    return link


def test_labels_beyond_what_javascript_counts_to(viewer, served: Callable[..., str], tmp_path: Path):
    random = np.random.default_rng(1)
    labels = np.kron(random.integers(0, 4, (9, 7, 8)), np.ones((11, 12, 10), int)).astype(np.uint64)
    labels[random.random(labels.shape) < 0.2] = 0
    ids = np.array([0, 5, 2**53 + 1, 2**64 - 1], np.uint64)
    np.save(tmp_path / "cells.npy", ids[labels.astype(int)])
    link = served(tmp_path / "cells.npy", "--axes", "xyz", "--resolution", "8,8,20", "--chunk-size", "32,32,32")
    viewer.open(link)
    viewer.wait()
    viewer.assert_panels_filled()
    assert_every_scale(viewer, "cells", ids[labels.astype(int)], (0, 0, 0), labels=True)
    assert {str(2**53 + 1), str(2**64 - 1)} <= set(viewer.values("cells", 0, np.argwhere(labels > 1)[:200]))
    viewer.assert_clean()


@pytest.mark.parametrize("layout", ["nested", "sharded"])
def test_odd_sizes_and_a_negative_voxel_offset(viewer, served: Callable[..., str], tmp_path: Path, layout: str):
    voxels = np.random.default_rng(2).integers(0, 2**16, (133, 97, 61), np.uint16)
    voxels[20:60, 20:60, 10:40] //= 8
    np.save(tmp_path / f"{layout}.npy", np.ascontiguousarray(voxels.T))
    offset = (-37, 5, -101)
    options = ("--resolution", "4,4,9", "--chunk-size", "16,16,8", "--voxel-offset", "-37,5,-101", "--layout", layout)
    link = served(tmp_path / f"{layout}.npy", "--axes", "zyx", *options)
    viewer.open(link)
    viewer.wait()
    assert viewer.view()["position"] == [offset[i] + voxels.shape[i] // 2 + 0.5 for i in range(3)]
    viewer.assert_panels_filled()
    assert_every_scale(viewer, layout, voxels, offset, labels=False)
    viewer.assert_clean()


def affines() -> list[NDArray[np.float64]]:
    """All 48 permutations and flips of anisotropic voxels, and two oblique and sheared ones; mm.

    Each takes the marker near to WORLD, where one look at the slices sees it in all of them.
    """
    found = []
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = np.zeros((4, 4))
        for column, (axis, sign, length) in enumerate(zip(axes, signs, (0.7, 1.1, 1.9), strict=True)):
            affine[axis, column] = sign * length
        found.append(affine)
    for a, b, shear in ((0.4, 0.9, 0), (2.0, -0.7, 0.15)):
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        affine = np.eye(4)
        affine[:3, :3] = turn @ tilt @ np.array([[0.7, shear, 0], [0, 1.1, shear], [0, 0, 1.9]])
        found.append(affine)
    for number, affine in enumerate(found):
        affine[3, 3] = 1
        affine[:3, 3] = np.array(WORLD) + 0.01 * number - affine[:3, :3] @ MARKER
    return found


WORLD = (31.3, -52.1, 10.9)
MARKER = (2, 4, 1)
MARKED = 201
FACES = np.concatenate([np.eye(3), -np.eye(3)])


def test_a_marker_lies_where_the_affine_says_in_every_orientation(
    viewer, glassine: Callable[..., str], server: tuple[Path, str], tmp_path: Path
):
    root, url = server
    voxels = np.full((6, 7, 5), 1, np.uint8)
    voxels[MARKER] = MARKED
    for number, affine in enumerate(affines()):
        image = nibabel.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, tmp_path / f"m{number}.nii")
    names = [f"m{number}" for number in range(len(affines()))]
    convert_all(tmp_path, root, names)
    # All in one view, so that each layer's own voxel size has to be brought to the view's unit.
    viewer.open(glassine("link", *(root / name for name in names), "--url", url).strip())
    viewer.wait(layers=len(names))
    unit = np.array([scale for _, scale in viewer.view()["dimensions"]]) * 1e3  # mm
    viewer.move(WORLD / unit, layers=len(names))
    for name, affine in zip(names, affines(), strict=True):
        # The voxel's centre, just inside of each of its faces, and just beyond them.
        reach = np.concatenate([np.zeros((1, 3)), 0.49 * FACES, 0.51 * FACES])
        positions = nibabel.affines.apply_affine(affine, np.array(MARKER) + reach) / unit
        assert viewer.values_at(name, positions) == [str(MARKED)] * 7 + ["1"] * 6, f"{name}: {affine.tolist()}"
    viewer.assert_clean()


def convert_all(sources: Path, root: Path, names: list[str]) -> None:
    """Convert many small files in this process."""
    from converters.options import ConvertOptions
    from converters.volumes.conversion import convert

    for name in names:
        convert(sources / f"{name}.nii", root / name, ConvertOptions(executor="serial"), lambda progress: None)


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "float32"), (2, "uint16"), (3, "uint8"), (4, "uint8"), (9, "int16")]
)  # fmt: skip
def test_every_shader_of_the_links_draws(viewer, served: Callable[..., str], tmp_path: Path, channels: int, dtype: str):
    x, y, z, c = np.indices((40, 30, 20, channels))
    source = tmp_path / f"wave{channels}.npy"
    np.save(source, (100 * (1 + np.sin(x / 4 + c) * np.cos(y / 3) * np.sin(z / 2))).astype(dtype))
    link = served(source, "--axes", "xyzc", "--resolution", "10,10,10")
    viewer.open(link)
    viewer.wait()
    viewer.assert_panels_filled()
    viewer.assert_clean()
