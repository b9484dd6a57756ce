"""Imported surfaces in the real viewer: what it decoded of them, and that they lie on the voxels that they belong to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import nilearn.datasets
import numpy as np
import pytest

from converters.record import read_record

SURFACES = Path(nilearn.datasets.__file__).parent / "data" / "fsaverage5"
HEMISPHERES = {11: "pial_left.gii.gz", 12: "pial_right.gii.gz"}
OBLIQUE = np.array([[-1.9, 0.3, 0.2, 88], [0.4, 2.1, -0.1, -130], [0.1, 0.3, 2.4, -75], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def server(serving: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A served folder and its URL."""
    root = tmp_path_factory.mktemp("served")
    with serving(root) as url:
        yield root, url


def points(hemisphere: str) -> Any:
    """Return the points of a surface, RAS in mm, as nibabel reads them."""
    return nibabel.load(SURFACES / hemisphere).darrays[0].data


def nearest_voxel(place: Any) -> tuple[int, ...]:
    """Return the voxel that holds a place, RAS in mm."""
    return tuple(np.rint(nibabel.affines.apply_affine(np.linalg.inv(OBLIQUE), place)).astype(int).tolist())


def voxels() -> Any:
    """Return labels that are a hemisphere's segment where points of its surface are."""
    found = np.zeros((95, 95, 80), np.uint8)
    for segment, hemisphere in HEMISPHERES.items():
        for place in points(hemisphere):
            found[nearest_voxel(place)] = segment
    return found


@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_both_hemispheres_lie_on_their_voxels(
    viewer, glassine: Callable[..., str], server: tuple[Path, str], form: str, tmp_path: Path
):
    root, url = server
    dataset = root / form
    labels = voxels()
    image = nibabel.Nifti1Image(labels, OBLIQUE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "labels.nii.gz")
    glassine("convert", tmp_path / "labels.nii.gz", dataset, "--type", "segmentation")
    (tmp_path / "table.csv").write_text(
        "file,id,name\n" + "".join(f"{SURFACES / h},{n},{h[:-7]}\n" for n, h in HEMISPHERES.items())
    )
    glassine("import-mesh", dataset, "--table", tmp_path / "table.csv", "--format", form)
    # The link selects what was imported.
    viewer.open(glassine("link", dataset, "--root", root, "--url", url).strip())
    viewer.wait()
    meshes = viewer.meshes(form)
    record = read_record(dataset)
    assert record is not None
    assert record.transform is not None
    transform = np.array([*record.transform, (0, 0, 0, 1)])
    assert sorted(meshes) == sorted(HEMISPHERES)
    for segment, hemisphere in HEMISPHERES.items():
        expected = nibabel.affines.apply_affine(np.linalg.inv(transform), points(hemisphere).astype(float) * 1e6)
        mesh = meshes[segment]
        assert mesh.vertices >= len(expected)
        assert mesh.triangles >= 20480
        # A hundredth of a voxel; half a voxel would be 100 times as far.
        np.testing.assert_allclose([mesh.low, mesh.high], [expected.min(axis=0), expected.max(axis=0)], atol=2e4)
        unit = np.array([scale for _, scale in viewer.view()["dimensions"]]) * 1e3
        own = [place for place in points(hemisphere).astype(float) if labels[nearest_voxel(place)] == segment]
        for place in own[:: len(own) // 3]:
            viewer.move(place / unit)
            assert viewer.values_at(form, [place / unit]) == [str(segment)]
    viewer.assert_clean()


def test_meshes_alone_are_seen_without_a_click(viewer, glassine: Callable[..., str], server: tuple[Path, str], tmp_path: Path):
    root, url = server
    (tmp_path / "table.csv").write_text("file,id\n" + "".join(f"{SURFACES / h},{n}\n" for n, h in HEMISPHERES.items()))
    glassine("import-mesh", root / "alone", "--table", tmp_path / "table.csv", "--space", "dataset")
    viewer.open(glassine("link", root / "alone", "--root", root, "--url", url).strip())
    viewer.wait()
    shown = viewer.meshes("alone")
    assert sorted(shown) == sorted(HEMISPHERES)
    for segment, hemisphere in HEMISPHERES.items():
        expected = points(hemisphere) * 1e6
        np.testing.assert_allclose(
            [shown[segment].low, shown[segment].high], [expected.min(axis=0), expected.max(axis=0)], atol=1e3
        )
    ((kind, picture),) = viewer.panels()
    assert kind == "3d"
    background = np.isin(picture, (0, 255)).all(axis=2) | (picture == picture[:, :, :1]).all(axis=2)
    assert 0.1 < (~background).mean() < 0.9
    viewer.assert_clean()
