"""The made volumes: reproducible, the Voronoi diagram that they claim to be, in the files' right order."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.samples import grow_seeds, make_samples, nearest_labels, picture, samples_of, warped

SHAPE = (48, 40, 24)


def _silent(line: str) -> None:
    pass


def test_a_block_has_the_labels_of_the_seeds_nearest_of_all() -> None:
    seeds = grow_seeds(SHAPE)
    metric = np.array([1, 1, 18 / 8])
    places = (seeds.positions.reshape(-1, 3) * metric).astype(np.float64)
    points = warped((16, 16, 8), (16, 16, 8)) * metric
    nearest = np.array([np.linalg.norm(places - point, axis=1).argmin() for point in points])
    assert np.array_equal(nearest_labels(seeds, (16, 16, 8), (16, 16, 8)), seeds.labels.ravel()[nearest].reshape(16, 16, 8))


def test_seeds_are_the_same_each_time_and_share_labels() -> None:
    seeds, again = grow_seeds(SHAPE), grow_seeds(SHAPE)
    assert np.array_equal(seeds.positions, again.positions)
    assert np.array_equal(seeds.labels, again.labels)
    assert 1 < len(np.unique(seeds.labels)) < seeds.labels.size / 2


def test_borders_are_darker_than_cells() -> None:
    labels = np.ones((32, 32, 4), np.uint32)
    labels[16:] = 2
    image = picture(labels, 0)
    assert image[15:17].mean() < image[4:12].mean() - 15


def test_files_hold_what_was_made_and_are_made_once(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, SHAPE, _silent)
    labels, image = np.load(samples.labels), np.asanyarray(nibabel.load(samples.image).dataobj)
    assert labels.flags.f_contiguous
    assert image.dtype == np.uint8
    assert np.array_equal(labels[16:32, 16:32, 8:16], nearest_labels(grow_seeds(SHAPE), (16, 16, 8), (16, 16, 8)))
    assert np.array_equal(image[:, :, 8:16], picture(labels[:, :, 8:16], 8))
    told: list[str] = []
    make_samples(tmp_path, SHAPE, told.append)
    assert told == []


def test_labels_of_another_kind_are_refused_with_what_was_found(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.zeros((4, 4, 4), np.uint16))
    with pytest.raises(ValueError, match=r"labels.npy: uint16 \(4, 4, 4\), expected a 3-D uint32 array in Fortran order"):
        samples_of(tmp_path / "labels.npy", tmp_path, _silent)
