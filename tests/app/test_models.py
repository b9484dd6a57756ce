"""Datasets of meshes or skeletons alone: what of them is seen first, and what `glassine link` prints."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import trimesh

from app.cli import run
from app.links import Layer, ModelLayer
from app.models import read_layer, read_model
from converters.errors import DatasetError
from converters.meshes.importing import import_meshes
from converters.options import ConvertOptions, ImportMeshOptions
from converters.volumes.conversion import convert
from formats.skeletons.encoded import encode_skeleton
from formats.skeletons.skeleton import Skeleton


def nuclei(folder: Path, count: int, **options: Any) -> Path:
    """Import boxes of 4 x 6 x 8 nm, the nth at 100 n on x, as a dataset of meshes alone."""
    for segment in range(1, count + 1):
        trimesh.creation.box((4, 6, 8)).apply_translation((100 * segment, 0, 0)).export(folder / f"{segment}.stl")
    files = [folder / f"{segment}.stl" for segment in range(1, count + 1)]
    import_meshes(files, folder / "nuclei", ImportMeshOptions.model_validate({"unit": "nm", **options}))
    return folder / "nuclei"


@pytest.mark.parametrize("options", [{"format": "legacy"}, {"layout": "files"}, {"layout": "sharded"}], ids=str)
def test_some_segments_are_selected_and_the_box_is_theirs(options: dict[str, str], tmp_path: Path) -> None:
    layer = read_model(nuclei(tmp_path, 12, **options), "lab/nuclei")
    assert layer is not None
    assert (layer.name, layer.selected) == ("lab/nuclei", tuple(range(1, 11)))
    np.testing.assert_allclose([layer.low, layer.high], [(98, -3, -4), (1002, 3, 4)], atol=0.01)


def test_skeletons_alone_lie_where_their_transform_says(tmp_path: Path) -> None:
    members = {"@type": "neuroglancer_skeletons", "transform": [2, 0, 0, 5, 0, 2, 0, 6, 0, 0, 2, 7], "vertex_attributes": []}
    (tmp_path / "info").write_text(json.dumps(members))
    points = np.array([[0, 0, 0], [10, 20, 30]], np.float32)
    (tmp_path / "9").write_bytes(encode_skeleton(Skeleton(points, np.array([[0, 1]], np.uint32), {}), ()))
    layer = read_model(tmp_path, "s")
    assert layer is not None
    assert (layer.selected, layer.low, layer.high) == ((9,), (5, 6, 7), (25, 46, 67))


def test_the_link_of_meshes_alone_selects_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = nuclei(tmp_path, 2)
    assert run(["link", str(dataset), "--url", "http://h:1"]) == 0
    out, err = capsys.readouterr()
    state = json.loads(unquote(out.split("#!")[1]))
    assert err == ""
    assert state["layers"][0]["source"] == {"url": "precomputed://http://h:1/data/nuclei"}
    assert state["layers"][0]["segments"] == ["1", "2"]
    assert state["position"] == [150, 0, 0]


def test_what_is_no_model_is_left_to_others(tmp_path: Path) -> None:
    assert read_model(tmp_path, "nothing") is None
    (tmp_path / "info").write_text('{"type": "image"}')
    assert read_model(tmp_path, "volume") is None


def test_a_layer_is_made_of_whatever_a_dataset_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.zeros((4, 5, 6), np.uint8))
    options = ConvertOptions(axes="xyz", resolution=(8, 8, 8), executor="serial")
    convert(tmp_path / "grey.npy", tmp_path / "grey", options, lambda progress: None)
    volume, model = read_layer(tmp_path / "grey", "lab/grey"), read_layer(nuclei(tmp_path, 1), "lab/nuclei")
    assert isinstance(volume, Layer)
    assert isinstance(model, ModelLayer)
    assert (volume.name, volume.info.scales[0].size, model.name, model.selected) == ("lab/grey", (4, 5, 6), "lab/nuclei", (1,))
    with pytest.raises(DatasetError, match="no dataset, there is no file `info` in it"):
        read_layer(tmp_path, "nothing")


def test_a_dataset_that_holds_nothing_or_is_damaged_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    with pytest.raises(DatasetError, match=f"{tmp_path}: holds no mesh or skeleton that could be shown"):
        read_model(tmp_path, "empty")
    (tmp_path / "info").write_text('{"@type": "neuroglancer_multilod_draco"}')
    assert run(["link", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"glassine: {tmp_path}: info: ")
    assert err.count("\n") == 1
