"""The spot check finds a wrong voxel in every layout, and none where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.large_samples import Volume
from benchmarks.spot_check import WrongVoxelError, check_voxels, pooled_voxel
from converters.options import ConvertOptions
from converters.volumes.conversion import convert

SHAPE = (150, 71, 40)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return Volume(SHAPE, np.random.default_rng(5).integers(0, 256, (4, 32, 64), np.uint8))


@pytest.fixture(scope="module")
def source(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "volume.npy"
    np.save(path, np.concatenate([planes for _, planes in volume.planes(8)]))
    return path


def converted(source: Path, dataset: Path, layout: str) -> Path:
    told = {"layout": layout, "resolution": "8,8,8", "chunk_size": "32,32,32", "executor": "serial"}
    convert(source, dataset, ConvertOptions.model_validate(told), lambda progress: None)
    return dataset


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
def test_a_good_dataset_passes_and_one_of_other_voxels_does_not(
    volume: Volume, source: Path, layout: str, tmp_path: Path
) -> None:
    dataset = converted(source, tmp_path / "dataset", layout)
    scales = len(json.loads((dataset / "info").read_bytes())["scales"])
    assert check_voxels(dataset, volume, tmp_path / "unpacked", 20) == 20 * scales > 40
    other = Volume(SHAPE, 255 - volume.texture)
    with pytest.raises(WrongVoxelError, match=r"scale 8_8_8, voxel \[0, 0, 0\]: \d+, expected \d+"):
        check_voxels(dataset, other, tmp_path / "others", 20)


def test_a_wrong_coarse_scale_is_found(volume: Volume, source: Path, tmp_path: Path) -> None:
    dataset = converted(source, tmp_path / "dataset", "flat")
    for chunk in (dataset / "32_32_32").iterdir():
        chunk.write_bytes(bytes(n ^ 1 for n in chunk.read_bytes()))
    with pytest.raises(WrongVoxelError, match=r"scale 32_32_32, voxel \[0, 0, 0\]"):
        check_voxels(dataset, volume, tmp_path / "unpacked", 20)


def test_a_dataset_of_another_size_is_refused(source: Path, volume: Volume, tmp_path: Path) -> None:
    dataset = converted(source, tmp_path / "dataset", "flat")
    with pytest.raises(WrongVoxelError, match=r"scale 8_8_8 has \[150, 71, 40\] voxels, expected \(150, 71, 41\)"):
        check_voxels(dataset, Volume((150, 71, 41), volume.texture), tmp_path / "unpacked", 20)


def test_halves_go_to_the_even_neighbour_scale_by_scale() -> None:
    texture = np.array([[[1, 2, 2, 3, 9]]], np.uint8)
    volume = Volume((5, 1, 1), texture)
    once = [pooled_voxel(volume, (x, 0, 0), [(2, 1, 1)]) for x in range(3)]
    assert once == [2, 2, 9]  # 1.5, 2.5, and 9 alone at the end
    assert pooled_voxel(volume, (0, 0, 0), [(2, 2, 2), (2, 2, 2)]) == 2
    assert pooled_voxel(volume, (1, 0, 0), [(2, 2, 2), (2, 2, 2)]) == 9
