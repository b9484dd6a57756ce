"""Viewer links. Rotations and positions are computed here with numpy, or written down by hand."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import Layer, ModelLayer, dataset_name, viewer_link, viewer_state
from converters.errors import OptionError
from converters.record import Contrast, Record
from formats.info import Scale, VolumeInfo

BASE = "http://127.0.0.1:8080"
EM = VolumeInfo("image", "uint8", 1, (Scale("8_8_40", (1000, 800, 100), (8, 8, 40), ((64, 64, 64),), "raw", (-100, 50, 7)),))
LABELS = replace(EM, type="segmentation", data_type="uint64")
RECORD = Record("0", "source", {}, {}, (8, 8, 40), contrast=(Contrast(10, 200, 0, 255),))
BRAIN = VolumeInfo("image", "uint8", 1, (Scale("1mm", (197, 233, 189), (1e6, 1e6, 1e6), ((64, 64, 64),), "raw"),))
BRAIN_RECORD = Record(
    "0", "source", {}, {}, (1e6, 1e6, 1e6), world="RAS",
    transform=((1, 0, 0, -98.5e6), (0, 1, 0, -134.5e6), (0, 0, 1, -72.5e6)),
)  # fmt: skip


def state_of(link: str) -> dict:
    address, fragment = link.split("#!")
    assert address == f"{BASE}/v/glassine/"
    assert not set(fragment) & set(" \"'<>{}()|\\^`"), "a terminal or a chat would cut the link there"
    return json.loads(unquote(fragment))


def rotation(quaternion: list[float]) -> np.ndarray:
    """The matrix of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion
    assert x * x + y * y + z * z + w * w == pytest.approx(1, abs=1e-5)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def test_the_link_of_a_plain_image_counts_in_voxels_and_begins_in_its_middle():
    state = state_of(viewer_link([Layer("lab/em stack", EM, RECORD)], BASE + "/"))
    assert state["dimensions"] == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
    assert state["position"] == [400.5, 450.5, 57.5]
    assert state["layout"] == "4panel"
    (layer,) = state["layers"]
    assert layer["name"] == "em stack"
    assert layer["type"] == "image"
    assert layer["source"] == {"url": f"precomputed://{BASE}/data/lab/em%20stack"}
    assert "emitGrayscale(normalized())" in layer["shader"]
    assert layer["shaderControls"] == {"normalized": {"range": [10, 200], "window": [0, 255]}}


def test_the_whole_volume_is_in_view():
    state = viewer_state([Layer("em", EM)], BASE)
    # 8000 x 6400 x 4000 nm: the highest panel shows x and y, its 6400 nm must fit a panel of a small window.
    nm_a_pixel = state["crossSectionScale"] * 8
    assert 280 < 6400 / nm_a_pixel < 360
    assert 8000 / nm_a_pixel < 600
    assert state["projectionScale"] * 8 > 8000


def test_the_link_of_a_brain_counts_in_its_voxels_from_the_worlds_origin():
    state = state_of(viewer_link([Layer("t1", BRAIN, BRAIN_RECORD)], BASE))
    assert state["dimensions"] == {axis: [1e-3, "m"] for axis in "xyz"}
    assert state["position"] == [0, -18, 22]
    assert state["layers"][0]["source"] == {
        "url": f"precomputed://{BASE}/data/t1",
        "transform": {
            "matrix": [[1, 0, 0, -98.5e6], [0, 1, 0, -134.5e6], [0, 0, 1, -72.5e6]],
            "outputDimensions": {axis: [1e-9, "m"] for axis in "xyz"},
        },
    }


def test_brains_are_upright_in_all_panels():
    turn = rotation(viewer_state([Layer("t1", BRAIN, BRAIN_RECORD)], BASE)["crossSectionOrientation"])
    # The viewer's panels, as right and down in its own axes: xy, xz and (z to the right) yz.
    right, down, depth = turn[:, 0], turn[:, 1], turn[:, 2]
    left_superior = np.round([right, down], 5).tolist()
    assert left_superior == [[-1, 0, 0], [0, 0, -1]], "first panel: left to the right, inferior down"
    assert np.round(depth, 5).tolist() == [0, -1, 0], "second panel: posterior down"


def test_only_a_known_world_turns_the_view():
    assert viewer_state([Layer("em", EM, RECORD)], BASE)["crossSectionOrientation"] == [0, 0, 0, 1]
    elsewhere = replace(BRAIN_RECORD, world="")
    assert viewer_state([Layer("t1", BRAIN, elsewhere)], BASE)["crossSectionOrientation"] == [0, 0, 0, 1]


@pytest.mark.parametrize(("info", "record"), [(EM, RECORD), (BRAIN, BRAIN_RECORD)])
def test_the_3d_view_looks_from_above_and_aside(info: VolumeInfo, record: Record):
    state = viewer_state([Layer("a", info, record)], BASE)
    tilt = rotation(state["crossSectionOrientation"]).T @ rotation(state["projectionOrientation"])
    into_the_screen = tilt[:, 2]
    assert into_the_screen[2] > 0.7, "the first panel's slice is seen from its front"
    assert abs(into_the_screen[0]) > 0.2
    assert into_the_screen[1] > 0.2, "down is positive: the view goes down"


def test_images_come_before_segmentations_and_equal_last_names_are_told_apart():
    layers = [Layer("a/cells", LABELS), Layer("b/cells", EM, RECORD)]
    state = viewer_state(layers, BASE)
    assert [(layer["type"], layer["name"]) for layer in state["layers"]] == [("image", "b/cells"), ("segmentation", "a/cells")]
    assert set(state["layers"][1]) == {"type", "source", "name", "selectedAlpha"}
    assert state["layers"][1]["selectedAlpha"] < 0.5, "the image is seen below the labels"


def test_labels_alone_are_shown_as_the_viewer_shows_them():
    (layer,) = viewer_state([Layer("cells", LABELS, RECORD)], BASE)["layers"]
    assert set(layer) == {"type", "source", "name"}


def test_a_served_folder_that_is_a_dataset_itself_has_no_name():
    (layer,) = viewer_state([Layer("", EM)], BASE)["layers"]
    assert layer["source"]["url"] == f"precomputed://{BASE}/data"
    assert layer["name"] == "dataset"


@pytest.mark.parametrize(
    ("data_type", "contrast", "shown"),
    [
        ("uint16", Contrast(199.6, 900.2, 3, 4000), [[199, 901], [3, 4000]]),
        ("int16", Contrast(-5.5, 7.5, -100, 100), [[-6, 8], [-100, 100]]),
        ("uint8", Contrast(255, 255, 255, 255), [[254, 255], [254, 255]]),
        ("uint8", Contrast(0, 0, 0, 0), [[0, 1], [0, 1]]),
        ("int8", Contrast(-128, -128, -128, -128), [[-128, -127], [-128, -127]]),
        ("float32", Contrast(0.25, 0.5, -1, 1), [[0.25, 0.5], [-1, 1]]),
        ("float32", Contrast(3.5, 3.5, 3.5, 3.5), [[0.0, 3.5], [0.0, 3.5]]),
        ("float32", Contrast(0, 0, 0, 0), [[-1.0, 0], [-1.0, 0]]),
        ("uint64", Contrast(0, 2**63, 0, 2**63), [["0", str(2**63)], ["0", str(2**63)]]),
    ],
)
def test_contrast_is_a_range_that_the_viewer_takes(data_type, contrast, shown):
    info, record = replace(EM, data_type=data_type), replace(RECORD, contrast=(contrast,))
    (layer,) = viewer_state([Layer("a", info, record)], BASE)["layers"]
    assert layer["shaderControls"] == {"normalized": {"range": shown[0], "window": shown[1]}}


def test_without_a_record_the_viewer_chooses_the_contrast():
    (layer,) = viewer_state([Layer("a", EM)], BASE)["layers"]
    assert layer["shaderControls"] == {}


@pytest.mark.parametrize(("channels", "call"), [(3, "emitRGB"), (4, "emitRGBA")])
def test_three_or_four_channels_of_bytes_are_colours(channels: int, call: str):
    (layer,) = viewer_state([Layer("a", replace(EM, num_channels=channels), RECORD)], BASE)["layers"]
    assert call in layer["shader"]
    assert "shaderControls" not in layer


def test_some_channels_each_have_a_colour_and_a_contrast():
    contrasts = tuple(Contrast(i, 100 + i, 0, 500) for i in range(3))
    info, record = replace(EM, num_channels=3, data_type="uint16"), replace(RECORD, contrast=contrasts)
    (layer,) = viewer_state([Layer("a", info, record)], BASE)["layers"]
    assert layer["shaderControls"]["channel2"] == {"range": [2, 102], "window": [0, 500]}
    assert layer["shader"].count("#uicontrol invlerp") == layer["shader"].count("color(default=") == 3


def test_many_channels_are_looked_at_one_by_one():
    contrasts = tuple(Contrast(i, 100 + i, -i, 500 + i) for i in range(12))
    info, record = replace(EM, num_channels=12, data_type="int16"), replace(RECORD, contrast=contrasts)
    (layer,) = viewer_state([Layer("a", info, record)], BASE)["layers"]
    assert "slider(min=0, max=11" in layer["shader"]
    assert layer["shaderControls"]["normalized"] == {"range": [0, 111], "window": [-11, 511]}


NUMBERS = st.floats(-1e7, 1e7)
ROWS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(
    st.tuples(ROWS, ROWS, ROWS),
    st.tuples(*[st.floats(1, 1e6)] * 3),
    st.tuples(*[st.integers(1, 400)] * 3),
    st.tuples(*[st.integers(-500, 500)] * 3),
)
def test_the_position_is_the_world_centre_of_the_middle_voxel(rows, resolution, size, offset):
    scale = Scale("0", size, resolution, ((64, 64, 64),), "raw", offset)
    transform = tuple((*(n / 1e6 for n in row[:3]), row[3]) for row in rows)
    record = replace(BRAIN_RECORD, resolution=resolution, transform=transform)
    state = viewer_state([Layer("a", replace(BRAIN, scales=(scale,)), record)], BASE)
    matrix = np.array(transform)
    centre = (np.array(offset) + np.array(size) // 2 + 0.5) * resolution
    unit = [scale * 1e9 for scale, _ in state["dimensions"].values()]
    np.testing.assert_allclose(np.array(state["position"]) * unit, matrix[:, :3] @ centre + matrix[:, 3], rtol=1e-6, atol=1)
    assert json.loads(json.dumps(state, allow_nan=False)) == state


@pytest.mark.parametrize(
    ("dataset", "root", "name"),
    [
        ("/srv/data/brain", "/srv/data", "brain"),
        ("/srv/data/lab/brain/", "/srv/data/", "lab/brain"),
        ("/srv/data/./brain", "/srv/data", "brain"),
        ("/srv/data", "/srv/data", ""),
        ("/srv/data/lab/../brain", "/srv/data", "brain"),
    ],
)
def test_a_datasets_name_is_its_path_below_the_served_folder(dataset: str, root: str, name: str):
    assert dataset_name(Path(dataset), Path(root)) == name


def test_a_link_in_the_served_folder_has_the_name_of_the_link(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "brain").symlink_to(tmp_path / "elsewhere")
    assert dataset_name(tmp_path / "served" / "brain", tmp_path / "served") == "brain"


def test_a_dataset_outside_of_the_served_folder_is_refused():
    with pytest.raises(OptionError, match=r"/srv/other/brain is not below the served folder /srv/data: .*--root"):
        dataset_name(Path("/srv/other/brain"), Path("/srv/data"))


def test_segments_that_have_meshes_are_selected_by_ids_with_all_their_digits():
    (layer,) = viewer_state([Layer("cells", LABELS, RECORD, (7, 2**53 + 1, 2**64 - 1))], BASE)["layers"]
    assert layer["segments"] == ["7", "9007199254740993", "18446744073709551615"]
    (plain,) = viewer_state([Layer("cells", LABELS, RECORD)], BASE)["layers"]
    assert "segments" not in plain


def test_meshes_alone_are_shown_at_once_from_a_view_of_what_is_selected():
    (low, high), box = ((1e5, -2e5, 0.0), (3e5, 2e5, 5e4)), (2e5, 4e5, 5e4)
    state = state_of(viewer_link([ModelLayer("lab/nuclei", (3, 2**64 - 1), low, high)], BASE))
    assert state["layout"] == "3d"
    assert state["dimensions"] == {axis: [1e-9, "m"] for axis in "xyz"}
    assert state["position"] == [2e5, 0, 2.5e4]
    assert max(box) < state["projectionScale"] < 2 * np.linalg.norm(box)
    (layer,) = state["layers"]
    assert layer == {
        "type": "segmentation",
        "source": {"url": f"precomputed://{BASE}/data/lab/nuclei"},
        "segments": ["3", "18446744073709551615"],
        "name": "nuclei",
    }


def test_meshes_beside_a_volume_leave_the_view_to_the_volume():
    model = ModelLayer("nuclei", (3,), (0, 0, 0), (1e9, 1e9, 1e9))
    state, alone = viewer_state([model, Layer("em", EM)], BASE), viewer_state([Layer("em", EM)], BASE)
    assert [layer["name"] for layer in state["layers"]] == ["em", "nuclei"]
    assert {name: state[name] for name in ("position", "dimensions", "layout", "projectionScale")} == {
        name: alone[name] for name in ("position", "dimensions", "layout", "projectionScale")
    }
    assert state["layers"][1]["selectedAlpha"] < 0.5


def test_a_box_without_extent_has_a_view():
    state = viewer_state([ModelLayer("point", (3,), (1, 1, 1), (1, 1, 1))], BASE)
    assert state["projectionScale"] > 0
    assert state["crossSectionScale"] > 0
