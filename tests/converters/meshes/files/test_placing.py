"""Where surfaces come to lie: units, affines, half voxels, RAS and LPS, mirrored spaces."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from converters.errors import OptionError
from converters.geometry import Affine, Geometry
from converters.imports.placing import Coordinates, Place, Space, Unit, parse_affine
from converters.meshes.files.placing import placed
from converters.meshes.files.surface import Surface

BALL = trimesh.creation.icosphere(subdivisions=1, radius=3.0)


def ball(**told: Any) -> Surface:
    return Surface(np.asarray(BALL.vertices), np.asarray(BALL.faces), **told)


def centre(place: Place, told: Coordinates, surface: Surface | None = None) -> list[float]:
    low, high = placed(surface or ball(), place, told, "a.stl").box
    return [round(float(n), 3) for n in (low + high) / 2]


def moved(x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.mark.parametrize(("unit", "factor"), [(None, 1.0), ("nm", 1.0), ("um", 1e3), ("mm", 1e6)])
def test_the_affine_is_in_the_unit_of_the_file(unit: Unit | None, factor: float):
    assert centre(Place(), Coordinates(unit=unit, affine=moved(1, -2, 3))) == [factor, -2 * factor, 3 * factor]


def test_the_unit_that_a_file_tells_is_taken_unless_another_is_given():
    assert centre(Place(), Coordinates(affine=moved(1, 0, 0)), ball(unit="mm")) == [1e6, 0, 0]
    assert centre(Place(), Coordinates(affine=moved(1, 0, 0), unit="um"), ball(unit="mm")) == [1e3, 0, 0]


def test_half_a_voxel_is_added_where_0_is_the_centre_of_a_voxel():
    place = Place(resolution=(11.25, 8, 40))
    assert centre(place, Coordinates()) == [0, 0, 0]
    assert centre(place, Coordinates(centred=True)) == [5.625, 4, 20]


RAS = Place((1e6, 1e6, 2e6), ((-1.0, 0, 0, 90e6), (0, 1.0, 0, -126e6), (0, 0, 1.0, -72e6)), "RAS")


@pytest.mark.parametrize(
    ("space", "expected"),
    [("dataset", [10, 20, 30]), ("ras", [80, 146, 102]), ("lps", [100, 106, 102]), ("world", [80, 146, 102])],
)
def test_the_spaces(space: Space, expected: list[float]):
    found = centre(RAS, Coordinates(unit="mm", affine=moved(10, 20, 30), space=space))
    assert found == [1e6 * n for n in expected]


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_meshes_alone_are_ras(space: Space):
    sign = -1 if space == "lps" else 1
    assert centre(Place(), Coordinates(affine=moved(10, 20, 30), space=space)) == [sign * 10, sign * 20, 30]


def signed_volume(place: Place, told: Coordinates) -> float:
    mesh = placed(ball(), place, told, "a.stl")
    return float(trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).volume)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)])
def test_what_is_mirrored_is_not_turned_inside_out(signs: tuple[int, int, int]):
    affine = np.diag([*signs, 1.0])
    assert signed_volume(Place(), Coordinates(affine=affine)) == pytest.approx(BALL.volume, rel=1e-5)
    rows: Affine = ((float(signs[0]), 0, 0, 0), (0, float(signs[1]), 0, 0), (0, 0, float(signs[2]), 0))
    place = Place((1.0, 1.0, 1.0), rows, "RAS")
    assert signed_volume(place, Coordinates(space="ras")) == pytest.approx(BALL.volume, rel=1e-5)
    assert signed_volume(place, Coordinates(space="lps")) == pytest.approx(BALL.volume, rel=1e-5)


@given(
    turn=st.integers(0, 1000),
    flip=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    resolution=st.tuples(*[st.floats(4, 2e6)] * 3),
    offset=st.tuples(*[st.integers(-50, 50)] * 3),
    voxel=st.tuples(*[st.integers(0, 200)] * 3),
)
def test_a_point_at_the_centre_of_a_voxel_in_ras_comes_to_that_voxel(
    turn: int, flip: Any, resolution: Any, offset: Any, voxel: Any
):
    linear = Rotation.random(random_state=turn).as_matrix() @ np.diag(np.multiply(flip, resolution))
    affine = np.column_stack([linear, (12e6, -7e6, 3e6)])
    geometry = Geometry(resolution, offset, tuple(tuple(map(float, row)) for row in affine), "RAS")  # type: ignore[arg-type]
    place = Place(resolution, geometry.transform(), "RAS")
    at = affine @ [*voxel, 1.0]
    points = (at + np.array([[0, 0, 0], [1e4, 0, 0], [0, 1e4, 0]])) / 1e6
    mesh = placed(Surface(points, np.array([[0, 1, 2]])), place, Coordinates(unit="mm", space="ras"), "a.gii")
    expected = (np.add(voxel, offset) + 0.5) * resolution
    assert np.abs(mesh.vertices - expected).max(axis=1).min() < 1e-6 * np.abs(expected).max() + 1.0


def test_equal_points_are_joined():
    soup = Surface(np.asarray(BALL.vertices)[BALL.faces].reshape(-1, 3), np.arange(3 * len(BALL.faces)).reshape(-1, 3))
    assert len(placed(soup, Place(), Coordinates(), "a.stl").vertices) == len(BALL.vertices)


@pytest.mark.parametrize(
    "text", ["1,0,0,5,0,2,0,6,0,0,3,-7e1", "1 0 0 5; 0 2 0 6; 0 0 3 -70; 0 0 0 1", "1,0,0,5,0,2,0,6,0,0,3,-70,0,0,0,1"]
)
@pytest.mark.parametrize("in_file", [False, True])
def test_affines(text: str, in_file: bool, tmp_path: Path):
    file = tmp_path / "affine.txt"
    file.write_text(text.replace(";", "\n") + "\n")
    expected = [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, -70], [0, 0, 0, 1]]
    assert parse_affine(str(file) if in_file else text).tolist() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,0,0", "--affine: found 3 numbers, expected 12 or 16, the matrix row by row"),
        ("1,0,0,0,0,1,0,0,0,0,0,0", "--affine: the matrix flattens everything (its determinant is 0)"),
        ("1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,2", "--affine: the last row is 0, 0, 0, 2, expected 0, 0, 0, 1"),
        ("none.txt", "--affine none.txt: neither 12 or 16 numbers with commas between them nor a text file"),
        ("1,0,0,0,0,nan,0,0,0,0,1,0", "neither 12 or 16 numbers"),
        ("FILE:1 0 0 x", "--affine: found other words than numbers in "),
        ("FILE:1 0 0 0", "--affine: found 4 numbers in "),
    ],
)
def test_affines_that_are_refused(text: str, said: str, tmp_path: Path):
    if text.startswith("FILE:"):
        (tmp_path / "a.txt").write_text(text.removeprefix("FILE:"))
        text = str(tmp_path / "a.txt")
    with pytest.raises(OptionError) as caught:
        parse_affine(text)
    assert said in str(caught.value)


MNI = moved(5, 6, 7)


def test_the_space_of_a_gifti_file_is_chosen():
    surface = ball(unit="mm", space="ras", stored_in="unknown", matrices={"mni": MNI})
    with pytest.raises(OptionError) as caught:
        centre(Place(), Coordinates(), surface)
    assert str(caught.value) == (
        "a.stl: its coordinates are in a space of their own (unknown), with a matrix to another; "
        "add --gifti-space mni to use it, or --gifti-space stored to take them as they stand"
    )
    assert centre(Place(), Coordinates(gifti_space="stored"), surface) == [0, 0, 0]
    assert centre(Place(), Coordinates(gifti_space="mni"), surface) == [5e6, 6e6, 7e6]
    with pytest.raises(
        OptionError, match=r"a\.stl: tells nothing of a space scanner; it knows mni, unknown; --gifti-space stored"
    ):
        centre(Place(), Coordinates(gifti_space="scanner"), surface)


@pytest.mark.parametrize(
    ("place", "told", "said"),
    [
        (
            Place((1, 1, 1)),
            Coordinates(space="ras"),
            "its coordinates are in RAS, and the dataset does not tell where it lies in RAS",
        ),
        (Place((1, 1, 1)), Coordinates(space="lps"), "its coordinates are in LPS"),
        (
            RAS,
            Coordinates(space="ras", centred=True),
            "--voxel-centres is for coordinates of the dataset's own, and these are in ras",
        ),
        (Place(), Coordinates(centred=True), "--voxel-centres needs a volume, whose voxels are known; use --affine"),
        (Place(), Coordinates(affine=np.diag([1e39, 1, 1, 1])), "some points lie beyond 3e38 nm; check --unit and --affine"),
        (Place(), Coordinates(affine=moved(1e12, 1e12, 1e12)), "no triangle has three different corners left"),
    ],
)
def test_places_that_are_refused(place: Place, told: Coordinates, said: str):
    with pytest.raises(OptionError) as caught:
        placed(ball(), place, told, "a.stl")
    assert said in str(caught.value)
