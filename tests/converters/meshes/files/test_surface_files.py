"""STL, OBJ, PLY and GIfTI files that trimesh and nibabel wrote, and what no file may hold."""

import gzip
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import trimesh

from converters.errors import ConverterError, DamagedError, SourceError
from converters.meshes.files.opening import ending, read_surface
from converters.meshes.files.surface import Surface, fans

Write = Callable[[str, bytes | str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_one(name: str, data: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write_one


@pytest.fixture(scope="module")
def ball() -> trimesh.Trimesh:
    found = trimesh.creation.icosphere(subdivisions=1, radius=3.0)
    found.apply_translation((10.0, -20.0, 0.5))
    return found


def corners(surface: Surface) -> np.ndarray[Any, Any]:
    """Return the corners of each triangle, [m, 3, 3], whatever the order of the points is."""
    return surface.points[surface.triangles]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("a.stl", "stl", {}),
        ("a.STL", "stl_ascii", {}),
        ("a.ply", "ply", {"encoding": "binary"}),
        ("a.ply", "ply", {"encoding": "ascii"}),
        ("a.ply", "ply", {"vertex_normal": True}),
        ("a.obj", "obj", {"digits": 10}),
        ("a.obj", "obj", {"digits": 10, "include_normals": True}),
    ],
)
def test_what_trimesh_wrote(name: str, kind: str, told: dict[str, Any], ball: trimesh.Trimesh, write: Write):
    surface = read_surface(write(name, ball.export(file_type=kind, **told)))
    np.testing.assert_allclose(corners(surface), ball.vertices[ball.faces], atol=2e-6)
    assert (surface.unit, surface.space, surface.stored_in, surface.matrices) == (None, None, "", {})


def test_a_binary_stl_may_begin_with_solid(ball: trimesh.Trimesh, write: Write):
    data = ball.export(file_type="stl")
    surface = read_surface(write("a.stl", b"solid by some program".ljust(80) + data[80:]))
    assert len(surface.triangles) == len(ball.faces)


QUADS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 9 9 9\n"


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ("f 1 2 3\n", [[0, 1, 2]]),
        ("f 1 2 3 4\n", [[0, 1, 2], [0, 2, 3]]),
        ("f 1/7/8 2//3 3/1 4 5\nf 1 2 5", [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 1, 4]]),
        ("f -5 -4 -3\n", [[0, 1, 2]]),
        ("f\t1\t2\t3 # a comment\r\n", [[0, 1, 2]]),
        ("f 1 2 \\\n3\nl 1 2\np 1\nusemtl x\no y\n", [[0, 1, 2]]),
        ("v 5 5 5\nf -3 -2 -1\nv 6 6 6\nf -3 -2 -1\n", [[3, 4, 5], [4, 5, 6]]),
    ],
)
def test_faces_of_obj(faces: str, expected: list[list[int]], write: Write):
    assert read_surface(write("a.obj", QUADS + faces)).triangles.tolist() == expected


def test_points_of_obj_may_have_weights_and_colours(write: Write):
    surface = read_surface(write("a.obj", "v 1 2 3 1.0\nv\t4  5 6 1 0 0\nv 7 8 9e1\nf 1 2 3\n"))
    assert surface.points.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 90]]


def ply(faces: list[tuple[int, ...]], form: str = "ascii") -> bytes:
    header = (
        f"ply\nformat {form} 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 2, 2)]
    if form == "ascii":
        rows = [*points, *((len(face), *face) for face in faces)]
        return header + "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
    order = "<" if form == "binary_little_endian" else ">"
    body = b"".join(struct.pack(f"{order}3f", *point) for point in points)
    return header + body + b"".join(struct.pack(f"{order}B{len(face)}i", len(face), *face) for face in faces)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(("face", "count"), [((0, 1, 2), 1), ((0, 1, 2, 3), 2), ((0, 1, 2, 3, 4), 3)])
def test_polygons_of_ply(form: str, face: tuple[int, ...], count: int, write: Write):
    surface = read_surface(write("a.ply", ply([face, face], form)))
    assert len(surface.triangles) == 2 * count
    area = trimesh.Trimesh(surface.points[:4], surface.triangles[(surface.triangles < 4).all(axis=1)], process=False).area
    assert area == pytest.approx({3: 1.0, 4: 2.0, 5: 2.0}[len(face)])


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_polygons_of_several_sizes(form: str, write: Write):
    surface = read_surface(write("a.ply", ply([(0, 1, 2), (0, 1, 2, 3), (4, 3, 2, 1, 0)], form)))
    assert surface.triangles.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [4, 3, 2], [4, 2, 1], [4, 1, 0]]


MESHLAB = b"""ply
format %s 1.0
comment VCGLIB generated
obj_info x
element face 2
property list uchar int vertex_indices
property list uchar float texcoord
property uchar red
element camera 1
property float focus
element vertex 3
property double x
property uchar blue
property double y
property double z
end_header
"""


def test_faces_with_texture_coordinates_first_and_other_elements(write: Write):
    text = b"3 0 1 2 6 0 0 1 0 1 1 255\n3 2 1 0 %s 7\n0.5\n1 9 2 3\n4 9 5 6\n7 9 8 9\n"
    for coordinates in (b"6 0 0 1 0 1 1", b"0"):
        surface = read_surface(write("a.ply", (MESHLAB % b"ascii").replace(b"\n", b"\r\n") + text % coordinates))
        assert surface.triangles.tolist() == [[0, 1, 2], [2, 1, 0]]
        assert surface.points.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    corners = struct.pack("<B3iB6fB", 3, 0, 1, 2, 6, *range(6), 255), struct.pack("<B3iBB", 3, 2, 1, 0, 0, 7)
    rest = struct.pack("<f", 0.5) + b"".join(struct.pack("<dBdd", n, 9, n + 1, n + 2) for n in (1, 4, 7))
    for faces in (corners[0] + corners[1], corners[0] * 2):
        surface = read_surface(write("a.ply", MESHLAB % b"binary_little_endian" + faces + rest))
        assert len(surface.triangles) == 2
        assert surface.points.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def gifti(points: Any, triangles: Any, **told: Any) -> nibabel.GiftiImage:
    arrays = [
        nibabel.gifti.GiftiDataArray(np.asarray(points, np.float32), "NIFTI_INTENT_POINTSET", **told),
        nibabel.gifti.GiftiDataArray(np.asarray(triangles, np.int32), "NIFTI_INTENT_TRIANGLE"),
    ]
    return nibabel.GiftiImage(darrays=arrays)


@pytest.mark.parametrize("name", ["a.surf.gii", "a.gii.gz"])
@pytest.mark.parametrize("encoding", ["ASCII", "B64BIN", "B64GZ"])
def test_what_nibabel_wrote(name: str, encoding: str, ball: trimesh.Trimesh, write: Write):
    image = gifti(ball.vertices, ball.faces)
    for array in image.darrays:
        array.encoding = nibabel.gifti.gifti.gifti_encoding_codes.code[encoding]
    data = image.to_bytes()
    surface = read_surface(write(name, gzip.compress(data) if name.endswith(".gz") else data))
    np.testing.assert_allclose(corners(surface), ball.vertices[ball.faces], atol=2e-6)
    assert (surface.unit, surface.space, surface.matrices) == ("mm", "ras", {})


def test_a_wrong_count_of_arrays_is_nothing_to_be_warned_of(ball: trimesh.Trimesh, write: Write):
    data = gifti(ball.vertices, ball.faces).to_bytes()
    assert b'NumberOfDataArrays="2"' in data
    surface = read_surface(write("a.gii", data.replace(b'NumberOfDataArrays="2"', b'NumberOfDataArrays="0"')))
    assert len(surface.triangles) == len(ball.faces)


def test_a_gifti_matrix_is_known_by_its_space(ball: trimesh.Trimesh, write: Write):
    matrix = np.array([[1.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    system = nibabel.gifti.GiftiCoordSystem("NIFTI_XFORM_SCANNER_ANAT", "NIFTI_XFORM_MNI_152", matrix)
    surface = read_surface(write("a.gii", gifti(ball.vertices, ball.faces, coordsys=system).to_bytes()))
    assert surface.stored_in == "scanner"
    assert surface.matrices["mni"].tolist() == matrix.tolist()


def freesurfer_meta(vox2ras: Any, shape: tuple[int, int, int]) -> dict[str, str]:
    """Return the metadata that FreeSurfer gives a surface in surface RAS of an image, from nibabel's header of that image."""
    header = nibabel.MGHImage(np.zeros(shape, np.float32), np.asarray(vox2ras)).header
    axes = {"XYZ"[axis]: header["Mdc"][axis] for axis in range(3)} | {"C": header["Pxyz_c"]}
    return {f"VolGeom{axis}_{world}": str(float(n)) for axis, row in axes.items() for world, n in zip("RAS", row, strict=True)}


@pytest.mark.parametrize(
    "vox2ras",
    [
        [[-1, 0, 0, 90], [0, 0, 1, -120], [0, -1, 0, 70], [0, 0, 0, 1]],
        [[0, 0, 1.2, -80], [0.8, 0, 0, -60.5], [0, 1, 0, -70], [0, 0, 0, 1]],
        [[0.8, -0.6, 0, 3], [0.6, 0.8, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]],
    ],
)
def test_surface_ras_of_freesurfer_has_a_matrix_to_scanner_ras(vox2ras: Any, write: Write):
    shape = (20, 30, 40)
    header = nibabel.MGHImage(np.zeros(shape, np.float32), np.array(vox2ras, float)).header
    image = gifti([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], meta=freesurfer_meta(vox2ras, shape))
    found = read_surface(write("lh.pial.gii", image.to_bytes())).matrices["scanner"]
    np.testing.assert_allclose(found @ header.get_vox2ras_tkr(), vox2ras, atol=1e-4)


def test_surface_ras_about_a_centre_at_0_needs_no_matrix(write: Write):
    meta = freesurfer_meta([[-1, 0, 0, 10], [0, 0, 1, -20], [0, -1, 0, 15], [0, 0, 0, 1]], (20, 30, 40))
    image = gifti([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], meta=meta | {f"VolGeomC_{w}": "0" for w in "RAS"})
    assert read_surface(write("lh.pial.gii", image.to_bytes())).matrices == {}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.stl", b"3D Slicer output. SPACE=LPS".ljust(80) + struct.pack("<I12fH", 1, *[0] * 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)),
        ("a.obj", "# 3D Slicer output. SPACE=LPS\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"1.0\n", b"1.0\ncomment 3D Slicer output. SPACE=LPS\n")),
    ],
)
def test_what_slicer_tells_of_its_axes(name: str, data: bytes | str, write: Write):
    surface = read_surface(write(name, data))
    assert (surface.unit, surface.space) == ("mm", "lps")


BALL_STL = trimesh.creation.icosphere(subdivisions=0).export(file_type="stl")
BALL_TEXT = trimesh.creation.icosphere(subdivisions=0).export(file_type="stl_ascii")
NO_NUMBER = struct.pack("<f", float("nan"))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.stl", b"", "has 0 bytes, expected STL's 84 bytes and more; it is cut short or no STL file"),
        ("a.stl", BALL_STL[:-1], "has 1083 bytes, expected 1084 bytes for the 20 triangles that it tells; it is cut short"),
        ("a.stl", BALL_STL + b"1", "has 1085 bytes, expected 1084"),
        ("a.stl", BALL_STL[:80] + bytes(4), "holds no points"),
        ("a.stl", BALL_STL[:96] + NO_NUMBER + BALL_STL[100:], "point 0 is at nan, "),
        ("a.stl", BALL_TEXT[: BALL_TEXT.index("endfacet") + 9], "has 1 facets, 3 vertices and no endsolid"),
        (
            "a.stl",
            BALL_TEXT.replace("vertex", "", 1),
            "has 20 facets, 59 vertices and an endsolid, expected three vertices a facet",
        ),
        ("a.stl", BALL_TEXT.replace("vertex ", "vertex x", 1), "cannot be read as STL, it is damaged"),
        ("a.stl", "solid\nendsolid\n", "holds no points"),
        ("a.obj", b"", "holds no points"),
        ("a.obj", QUADS, "holds 5 points and no triangles, expected a surface; a point cloud is no mesh"),
        ("a.obj", QUADS + "f 1 2\n", "line 6: a face of 2 corners, expected at least 3"),
        ("a.obj", QUADS + "f 0 1 2\n", "line 6: a face joins points 0, 1, 2, expected 1 or more, or -1 to -5"),
        ("a.obj", QUADS + "f -6 1 2\n", "line 6: a face joins points -6, 1, 2"),
        ("a.obj", QUADS + "f 1 2 6\n", "triangle 0 joins points 0, 1, 5, expected numbers from 0 to 4"),
        ("a.obj", QUADS + f"f 1 2 {10**30}\n", "triangle 0 joins points 0, 1, 4611686018427387904, expected"),
        ("a.obj", QUADS + "f 1 2 x\n", "line 6: the face '1 2 x' is not understood"),
        ("a.obj", "v 1 2\n", "line 1: a point of 2 numbers, expected x, y and z"),
        ("a.obj", "v 1 2 y\nf 1 1 1\n", "line 1: the point '1 2 y' is not understood"),
        (
            "a.obj",
            QUADS.replace("9 9 9", "9 inf 9") + "f 1 2 3\n",
            "point 4 is at 9, inf, 9 and 1 of 5 points are no finite numbers",
        ),
        ("a.ply", b"", "is no PLY file (it has no header from `ply` to `end_header`)"),
        (
            "a.ply",
            ply([(0, 1, 2)] * 2)[:-9],
            "holds 19 numbers, fewer than its header tells; it is cut short or damaged, export it again",
        ),
        ("a.ply", ply([(0, 1, 2)], "binary_little_endian")[:-1], "bytes, fewer than its header tells; it is cut short"),
        ("a.ply", ply([(0, 1)]), "a polygon has 2 corners, expected at least 3"),
        ("a.ply", ply([(0, 1, 2), (0, 1)], "binary_big_endian"), "a polygon has 2 corners, expected at least 3"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"3 0 1 2", b"3 0 1 x"), "holds what is no number"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"3 0 1 2", b"2.5 0 1 2"), "has a list of 2.5 values"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"3 0 1 2", b"3 0 1 nan"), "has corners that are no whole numbers"),
        (
            "a.ply",
            ply([(0, 1, 2)]).replace(b"float y", b"half y"),
            "says 'property half y' in its header, which is not understood",
        ),
        ("a.ply", ply([(0, 1, 2)]).replace(b"float y", b"float v"), "has points with x, v, z, expected x, y and z"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"format ascii 1.0\n", b""), "tells no format in its header"),
        (
            "a.ply",
            ply([(0, 1, 2)]).replace(b"vertex_indices", b"corners"),
            "has faces without one list of corners, vertex_indices or",
        ),
        ("a.ply", ply([(0, 1, 9)]), "triangle 0 joins points 0, 1, 9, expected numbers from 0 to 4"),
        ("a.ply", ply([(0, 1, -1)]), "triangle 0 joins points 0, 1, -1"),
        ("a.ply", ply([]), "holds 5 points and no triangles, expected a surface; a point cloud is no mesh"),
        ("a.ply", ply([(0, 1, 2)]).replace(b"2 2 2", b"2 nan 2"), "point 4 is at 2, nan, 2"),
        (
            "a.ply",
            ply([(0, 1, 2)], "binary_little_endian").replace(b"vertex 5", b"vertex 99999999999"),
            "fewer than its header tells",
        ),
        ("a.gii", b"", "cannot be read as GIfTI"),
        ("a.gii", b"<GIFTI>", "cannot be read as GIfTI"),
        ("a.gii.gz", b"hello", "cannot be read as GIfTI"),
        ("a.gii", gifti(np.zeros((4, 3)), [[0, 1, 2]]).to_bytes()[:700], "cannot be read as GIfTI"),
        (
            "a.gii",
            gifti(np.zeros((4, 3)), [[0, 1, 4]]).to_bytes(),
            "triangle 0 joins points 0, 1, 4, expected numbers from 0 to 3",
        ),
        ("a.gii", gifti(np.full((4, 3), np.nan), [[0, 1, 2]]).to_bytes(), "point 0 is at nan, nan, nan and 4 of 4 points"),
        ("a.gii", gifti(np.zeros((4, 2)), [[0, 1, 2]]).to_bytes(), "its array of points is 4 x 2, expected n x 3"),
        ("a.gii", nibabel.GiftiImage().to_bytes(), "holds 0 arrays of points, expected one; a surface (.surf.gii) is needed"),
        (
            "a.gii",
            nibabel.GiftiImage(darrays=gifti(np.zeros((4, 3)), [[0, 1, 2]]).darrays[:1]).to_bytes(),
            "holds 0 arrays of triangles, expected one",
        ),
        ("a.vtp", b"", "is no mesh file by its name, expected one that ends in .stl, .obj, .ply, .gii, .gii.gz, .vtk"),
    ],
)
def test_what_is_refused(name: str, data: bytes | str, said: str, write: Write):
    path = write(name, data)
    with pytest.raises(ConverterError) as caught:
        read_surface(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.stl", "a.obj", "a.ply", "a.gii", "a.gii.gz", "a.vtk"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path):
    with pytest.raises(SourceError, match="there is no such file"):
        read_surface(tmp_path / name)


@pytest.mark.parametrize("kind", ["stl", "stl_ascii", "ply", "obj"])
def test_a_file_that_is_cut_anywhere_is_refused_or_one_of_whole_lines(kind: str, write: Write):
    """An OBJ file does not tell how much it holds, so one that lacks whole lines is a smaller surface."""
    whole = trimesh.creation.icosphere(subdivisions=0).export(file_type=kind)
    data = whole.encode() if isinstance(whole, str) else whole
    for length in range(0, len(data) - 12, 37):
        path = write(f"a.{kind[:3]}", data[:length])
        if kind == "obj":
            try:
                assert len(read_surface(path).triangles) < 20
            except (DamagedError, SourceError):
                continue
        else:
            with pytest.raises((DamagedError, SourceError)):
                read_surface(path)


def vtk_text(form: str) -> bytes:
    """Return a ball as VTK 9 writes it."""
    numbers = [BALL.vertices.astype(">f4"), np.arange(0, BALL.faces.size + 1, 3, ">i8"), BALL.faces.astype(">i8")]
    parts = [part.tobytes() if form == "BINARY" else " ".join(map(str, part.ravel().tolist())).encode() for part in numbers]
    lines = [
        f"# vtk DataFile Version 5.1\nball\n{form}\nDATASET POLYDATA\nPOINTS {len(BALL.vertices)} float",
        f"POLYGONS {len(BALL.faces) + 1} {BALL.faces.size}\nOFFSETS vtktypeint64",
        "CONNECTIVITY vtktypeint64",
    ]
    return b"".join(line.encode() + b"\n" + part + b"\n" for line, part in zip(lines, parts, strict=True))


BALL = trimesh.creation.icosphere(subdivisions=0)
WHOLE = [
    ("a.stl", BALL_STL),
    ("a.stl", BALL_TEXT.encode()),
    ("a.ply", BALL.export(file_type="ply")),
    ("a.ply", BALL.export(file_type="ply", encoding="ascii")),
    ("a.obj", BALL.export(file_type="obj").encode()),
    ("a.gii", gifti(BALL.vertices, BALL.faces).to_bytes()),
    ("a.vtk", vtk_text("ASCII")),
    ("a.vtk", vtk_text("BINARY")),
]


@pytest.mark.parametrize(("name", "data"), WHOLE)
def test_damaged_bytes_are_one_sentence(name: str, data: bytes, write: Write, capsys: pytest.CaptureFixture[str]):
    """Bytes changed, cut out, put in: a surface or a sentence, never another error, a warning or a word on the terminal."""
    assert len(read_surface(write(name, data)).triangles) == 20
    chance = random.Random(5)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 3])):
            at, kind = chance.randrange(len(damaged)), chance.randrange(3)
            damaged[at : at + (0, 1, chance.randrange(20))[kind]] = chance.choice(
                [b"9", b"-", b"\n", b"e99", b"\xff", b"\0", b"nan "]
            )
        with suppress(ConverterError):
            read_surface(write(name, bytes(damaged)))
    assert capsys.readouterr() == ("", "")


def test_fans_of_polygons():
    found = fans(np.array([0, 1, 2, 5, 6, 7, 8, 9, 4, 3, 2, 1]), np.array([3, 5, 4]))
    assert found.tolist() == [[0, 1, 2], [5, 6, 7], [5, 7, 8], [5, 8, 9], [4, 3, 2], [4, 2, 1]]
    with pytest.raises(ValueError, match="a polygon has 2 corners"):
        fans(np.array([0, 1]), np.array([2]))


@pytest.mark.parametrize(
    ("name", "expected"), [("12.stl", ".stl"), ("a.b.GII.GZ", ".GII.GZ"), ("lh.surf.gii", ".gii"), ("a.gz", None), ("stl", None)]
)
def test_endings(name: str, expected: str | None):
    assert ending(Path(name)) == expected
