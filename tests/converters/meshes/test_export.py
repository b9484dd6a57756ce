"""Meshes of a dataset as PLY, OBJ and STL files, read by trimesh, and back into a dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from converters.errors import DatasetError, OptionError
from converters.meshes.export import Export, encode_mesh_file, export_meshes
from converters.meshes.importing import import_meshes
from converters.meshes.reading import open_meshes
from converters.options import ImportMeshOptions
from formats.meshes.mesh import Mesh

BALL = trimesh.creation.icosphere(subdivisions=2, radius=3e4)
AT = (1.5e6, -2.25e5, 4e3)
LARGEST = (1 << 64) - 1


@pytest.fixture(params=["multires", "legacy"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two balls, segments 7 and the largest id there is."""
    for segment, factor in ((7, 1.0), (LARGEST, 2.0)):
        BALL.copy().apply_scale(factor).apply_translation(AT).export(tmp_path / f"{segment}.ply")
    files = [tmp_path / "7.ply", tmp_path / f"{LARGEST}.ply"]
    import_meshes(files, tmp_path / "meshes", ImportMeshOptions(format=request.param))
    return tmp_path / "meshes"


@pytest.mark.parametrize("form", ["ply", "obj", "stl"])
@pytest.mark.parametrize(("unit", "nm"), [("nm", 1.0), ("um", 1e3), ("mm", 1e6)])
def test_trimesh_reads_what_is_exported(form: Any, unit: Any, nm: float, dataset: Path, tmp_path: Path):
    files = export_meshes(dataset, [LARGEST, 7], Export(tmp_path / "out", form, unit))
    assert files == (tmp_path / "out" / f"{LARGEST}.{form}", tmp_path / "out" / f"7.{form}")
    found = trimesh.load_mesh(files[1])
    assert found.is_watertight
    np.testing.assert_allclose(found.bounds * nm, BALL.bounds + AT, atol=1)
    assert found.volume * nm**3 == pytest.approx(BALL.volume, rel=1e-3)
    stored = open_meshes(dataset).read(7)
    plain = trimesh.load_mesh(files[1], process=False)
    corners, expected = plain.vertices[plain.faces] * nm, stored.vertices[stored.triangles]
    np.testing.assert_allclose(corners, expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["ply", "obj", "stl"])
def test_what_is_exported_can_be_imported_again(form: Any, dataset: Path, tmp_path: Path):
    (file,) = export_meshes(dataset, [7], Export(tmp_path / "out", form))
    import_meshes([file], tmp_path / "again", ImportMeshOptions(format="legacy"))
    before, after = open_meshes(dataset).read(7), open_meshes(tmp_path / "again").read(7)
    np.testing.assert_array_equal(after.vertices[after.triangles], before.vertices[before.triangles])


@pytest.mark.parametrize("form", ["ply", "obj", "stl"])
def test_the_same_mesh_gives_the_same_bytes(form: Any, dataset: Path, tmp_path: Path):
    (first,) = export_meshes(dataset, [7], Export(tmp_path / "a", form))
    (second,) = export_meshes(dataset, [7], Export(tmp_path / "b", form))
    assert first.read_bytes() == second.read_bytes()


def test_an_obj_file_keeps_what_float32_holds():
    mesh = Mesh(np.array([[1.1e8, 3e-3, 0], [1.1e8 + 8, 0, 0], [1.1e8, 16, 0.1]], np.float32), np.array([[0, 1, 2]], np.uint32))
    text = encode_mesh_file(mesh, "obj", "mm").decode()
    rows = [[float(word) * 1e6 for word in line.split()[1:]] for line in text.splitlines() if line.startswith("v ")]
    np.testing.assert_allclose(rows, mesh.vertices, atol=1e-3)
    assert text.startswith("# unit mm\n")


def test_segments_without_a_mesh_are_told_before_anything_is_written(dataset: Path, tmp_path: Path):
    with pytest.raises(OptionError) as caught:
        export_meshes(dataset, [7, 1, 2, 3, 4, 5, 6, 7], Export(tmp_path / "out"))
    assert str(caught.value) == f"{dataset}: 6 of 7 segments have no mesh there (1, 2, 3, 4, 5, ...); leave them out"
    assert not (tmp_path / "out").exists()


def test_a_mesh_that_cannot_be_read(dataset: Path, tmp_path: Path):
    for name in ("7", "7:0:0"):
        if (dataset / name).exists():
            (dataset / name).write_bytes(b"123")
    with pytest.raises(DatasetError, match="meshes: segment 7: "):
        export_meshes(dataset, [7], Export(tmp_path / "out"))


def test_a_dataset_without_meshes(tmp_path: Path):
    with pytest.raises(DatasetError, match="is no dataset, there is no file `info` in it"):
        export_meshes(tmp_path, [7], Export(tmp_path / "out"))


def test_all_segments_are_exported_when_none_is_named(dataset: Path, tmp_path: Path):
    (dataset / "9:0").write_text('{"fragments": []}')
    seen = []
    files = export_meshes(dataset, None, Export(tmp_path / "out"), lambda done, total: seen.append((done, total)))
    assert [path.name for path in files] == ["7.ply", f"{LARGEST}.ply"]
    assert seen == [(1, 2), (2, 2)]


def test_a_dataset_of_empty_meshes(tmp_path: Path):
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    (tmp_path / "9:0").write_text('{"fragments": []}')
    with pytest.raises(DatasetError, match="holds no mesh that could be exported"):
        export_meshes(tmp_path, None, Export(tmp_path / "out"))
