"""Legacy VTK files as VTK's user's guide shows them, and as VTK 9 and 3D Slicer write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import ConverterError
from converters.meshes.files.opening import read_surface

CUBE = """# vtk DataFile Version 2.0
Cube example
ASCII
DATASET POLYDATA
POINTS 8 float
0.0 0.0 0.0
1.0 0.0 0.0
1.0 1.0 0.0
0.0 1.0 0.0
0.0 0.0 1.0
1.0 0.0 1.0
1.0 1.0 1.0
0.0 1.0 1.0
POLYGONS 6 30
4 0 3 2 1
4 4 5 6 7
4 0 1 5 4
4 2 3 7 6
4 0 4 7 3
4 1 2 6 5
CELL_DATA 6
SCALARS cell_scalars int 1
LOOKUP_TABLE default
0 1 2 3 4 5
"""
HEAD = "# vtk DataFile Version 5.1\n3D Slicer output. SPACE=RAS\nASCII\nDATASET POLYDATA\n"
POINTS = "POINTS 4 double\n0 0 0 1 0 0\n0 1 0 0 0 1\n"


def written(tmp_path: Path, data: str | bytes) -> Path:
    path = tmp_path / "a.vtk"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def volume(points: Any, triangles: Any) -> float:
    a, b, c = points[triangles].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def test_the_cube_of_the_guide(tmp_path: Path):
    surface = read_surface(written(tmp_path, CUBE))
    assert surface.points.shape == (8, 3)
    assert surface.triangles[:2].tolist() == [[0, 3, 2], [0, 2, 1]]
    assert volume(surface.points, surface.triangles) == pytest.approx(1)
    assert (surface.unit, surface.space) == (None, None)


METADATA = "METADATA\nINFORMATION 2\nNAME L2_NORM_RANGE LOCATION vtkDataArray\nDATA 2 0 1 \nNAME UNITS LOCATION x\nDATA 0\n\n"
FIELD = "FIELD FieldData 2\nTimeValue 1 1 double\n0.5\nIds 2 2 int\n1 2 3 4\n"
OFFSETS = "POLYGONS 3 7\nOFFSETS vtktypeint64\n0 3 7\nCONNECTIVITY vtktypeint64\n0 2 1 0 1 2 3\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (POINTS + "POLYGONS 1 4\n3 0 1 2\n", [[0, 1, 2]]),
        (POINTS + OFFSETS, [[0, 2, 1], [0, 1, 2], [0, 2, 3]]),
        (FIELD + POINTS + METADATA + OFFSETS, [[0, 2, 1], [0, 1, 2], [0, 2, 3]]),
        (POINTS + "TRIANGLE_STRIPS 1 5\n4 0 1 2 3\n", [[0, 1, 2], [1, 3, 2]]),
        (POINTS + "VERTICES 1 2\n1 0\nLINES 1 3\n2 0 1\nPOLYGONS 1 4\n3 0 1 2\n", [[0, 1, 2]]),
        (
            POINTS + "POLYGONS 2 9\n3 0 1 2\n4 0 1 2 3\nMETADATA\nINFORMATION 0\n\nPOINT_DATA 4\nanything",
            [[0, 1, 2]] * 2 + [[0, 2, 3]],
        ),
        (POINTS + "VERTICES 1 0\nOFFSETS vtktypeint64\n0\nCONNECTIVITY vtktypeint64\nPOLYGONS 1 4\n3 0 1 2\n", [[0, 1, 2]]),
    ],
)
def test_sections(body: str, expected: list[list[int]], tmp_path: Path):
    surface = read_surface(written(tmp_path, HEAD + body))
    assert surface.triangles.tolist() == expected
    assert surface.points.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert (surface.unit, surface.space) == ("mm", "ras")


@pytest.mark.parametrize(("kind", "stored"), [("float", ">f4"), ("double", ">f8"), ("short", ">i2")])
@pytest.mark.parametrize("offsets", [False, True])
def test_binary_numbers_are_big_endian(kind: str, stored: str, offsets: bool, tmp_path: Path):
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 258, 0], [0, 0, -10]])
    data = HEAD.replace("ASCII", "BINARY").encode() + f"POINTS 4 {kind}\n".encode() + points.astype(stored).tobytes() + b"\n"
    data += METADATA.encode()
    if offsets:
        data += b"POLYGONS 3 6\nOFFSETS vtktypeint64\n" + np.array([0, 3, 6], ">i8").tobytes()
        data += b"\nCONNECTIVITY vtktypeint64\n" + np.array([0, 1, 2, 0, 3, 1], ">i8").tobytes() + b"\n"
    else:
        data += b"POLYGONS 2 8\n" + np.array([3, 0, 1, 2, 3, 0, 3, 1], ">i4").tobytes() + b"\n"
    surface = read_surface(written(tmp_path, data + b"POINT_DATA 4\n\xff\xff"))
    assert surface.points.tolist() == points.tolist()
    assert surface.triangles.tolist() == [[0, 1, 2], [0, 3, 1]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "is no legacy VTK file (its first line is not `# vtk DataFile Version ...`)"),
        ('<?xml version="1.0"?>', "is no legacy VTK file"),
        (HEAD.replace("ASCII", "TEXT"), "says 'TEXT', expected ASCII or BINARY"),
        (HEAD.replace("POLYDATA", "UNSTRUCTURED_GRID"), "holds UNSTRUCTURED_GRID, expected POLYDATA, a surface"),
        (HEAD, "holds no points"),
        (HEAD + POINTS, "holds 4 points and no triangles, expected a surface"),
        (HEAD + "POINTS 4\n", "says 'POINTS 4', expected more; it is cut short or damaged"),
        (HEAD + "POINTS many float\n", "expected a count in the place of 'many'"),
        (HEAD + "POINTS 99999999999 float\n0 0 0", "tells 299999999997 numbers where 5 bytes are left, it is cut short"),
        (HEAD + "POINTS 2 float\n0 0 0 0 000000000000", "holds fewer than the 6 numbers that it tells"),
        (HEAD + "POINTS 1 float\n0 0 x\n", "holds what is no number among 3 numbers"),
        (HEAD + "POINTS 1 colour\n0 0 0\n", "tells numbers of type colour"),
        (HEAD + "POINTS 1 float\n0 0 nan\nPOLYGONS 1 4\n3 0 0 0\n", "point 0 is at 0, 0, nan"),
        (HEAD + POINTS + "POLYGONS 1 4\n3 0 1 nan\n", "holds what is no whole number among 4 numbers"),
        (HEAD + POINTS + "POLYGONS 1 4\n3 0 1 4\n", "triangle 0 joins points 0, 1, 4, expected numbers from 0 to 3"),
        (HEAD + POINTS + "POLYGONS 1 4\n3 0 1 -1\n", "triangle 0 joins points 0, 1, -1"),
        (HEAD + POINTS + "POLYGONS 1 3\n2 0 1\n", "has a polygon of 2 corners, expected at least 3"),
        (HEAD + POINTS + "POLYGONS 1 4\n9 0 1 2\n", "has a cell 0 that reaches beyond its section"),
        (HEAD + POINTS + "POLYGONS 1 6\n3 0 1 2 3 3\n", "has 6 numbers for cells that need 4"),
        (
            HEAD + POINTS + "POLYGONS 3 6\nOFFSETS vtktypeint64\n0 3 9\nCONNECTIVITY vtktypeint64\n0 1 2 0 1 2\n",
            "has offsets of cells that",
        ),
        (HEAD + POINTS + "POLYGONS 3 6\nOFFSETS vtktypeint64\n0 3 6\nPOLYGONS", "says 'POLYGONS', expected CONNECTIVITY"),
        (HEAD + POINTS + "CUBES 1 2\n", "has a section 'CUBES', expected POINTS, POLYGONS"),
    ],
)
def test_what_is_refused(data: str, said: str, tmp_path: Path):
    path = written(tmp_path, data)
    with pytest.raises(ConverterError) as caught:
        read_surface(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_binary_file_that_is_cut_short(tmp_path: Path):
    data = HEAD.replace("ASCII", "BINARY").encode() + b"POINTS 4 float\n" + bytes(47)
    with pytest.raises(ConverterError, match="tells 12 numbers where 47 bytes are left, it is cut short"):
        read_surface(written(tmp_path, data))
