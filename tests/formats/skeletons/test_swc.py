"""SWC both ways: as people's programs write it, and as osteoid reads ours."""

import numpy as np
import osteoid
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import DecodeError, EncodeError
from formats.skeletons.skeleton import Skeleton
from formats.skeletons.swc import format_swc, parse_swc

MICRON = np.diag([1000.0, 1000, 1000, 1])
NM = np.eye(4)


def edges_of(skeleton: Skeleton) -> list[list[int]]:
    return sorted(sorted(edge) for edge in skeleton.edges.tolist())


def test_a_text_is_read() -> None:
    text = "# made by hand\n\n1 1 0 0 0.5 5 -1\n 2 3 1e1 0 0.5 0.25 1 # a dendrite\n5,2,10,-2,0.5,NA,2\n"
    skeleton = parse_swc(text).placed(MICRON)
    assert skeleton.vertices.tolist() == [[0, 0, 500], [10000, 0, 500], [10000, -2000, 500]]
    assert skeleton.vertices.dtype == np.float32
    assert edges_of(skeleton) == [[0, 1], [1, 2]]
    assert skeleton.attributes["radius"].tolist() == [5000, 250, 0]
    assert skeleton.attributes["vertex_types"].tolist() == [1, 3, 2]


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("1 0 0 0 0 1 0\n2 0 0 0 1 1 1\n", [[0, 1]]),
        ("0 0 0 0 0 1 -1\n1 0 0 0 1 1 0\n", [[0, 1]]),
        ("1 0 0 0 0 1 2\n2 0 0 0 1 1 3\n3 0 0 0 2 1 -1\n", [[0, 1], [1, 2]]),
        ("1 0 0 0 0 1 -1\n2 0 0 0 1 1 -1\n3 0 0 0 2 1 2\n", [[1, 2]]),
        ("1.0 0.0 0 0 0 1 -1\r\n2.0 0 0 0 1 1 1.0\r\n", [[0, 1]]),
        ("1 0 0 0 0 1 -1 7 8\n", []),
    ],
    ids=["0 for no parent", "an id of 0", "parents behind children", "two trees", "whole numbers as decimals", "more columns"],
)
def test_what_programs_write_is_read(text: str, edges: list[list[int]]) -> None:
    assert edges_of(parse_swc(text).placed(NM)) == edges


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# nothing\n", "no vertex in it, expected lines of 7 columns: id type x y z radius parent"),
        ("1 0 0 0 0 1 -1\n2 0 0 0 0\n", "line 2: 5 columns, expected 7: id type x y z radius parent"),
        ("\n1 0 zero 0 0 1 -1\n", "line 2: found 'zero', expected a number"),
        ("1 0 0 inf 0 1 -1\n", "line 1: found 'inf', expected a number"),
        ("1 0 0 0 nan 1 -1\n", "line 1: found 'nan', expected a number"),
        ("1 0 0 0 0 NaN -1\n", "line 1: found 'NaN', expected a number"),
        ("1 0 0 0 0 1 nan\n", "line 1: found 'nan', expected a number"),
        ("1.5 0 0 0 0 1 -1\n", "line 1: found '1.5', expected a whole number"),
        ("1 256 0 0 0 1 -1\n", "line 1: type 256, expected a whole number from 0 to 255"),
        ("1 0 0 0 0 1 -1\n1 0 0 0 1 1 -1\n", "line 2: id 1 is there already, in line 1"),
        ("1 0 0 0 0 1 -1\n2 0 0 0 1 1 9\n", "line 2: vertex 2 hangs on 9, which is not there"),
        (
            "1 0 0 0 0 1 -1\n2 0 0 0 1 1 3\n3 0 0 0 1 1 2\n",
            "line 2: vertex 2 hangs on itself, by way of its parents; expected a tree",
        ),
        ("4 0 0 0 0 1 4\n", "line 1: vertex 4 hangs on itself, by way of its parents; expected a tree"),
        ("1 0 1e38 0 0 1 -1\n", "line 1: a place farther away than a float32 of nm can say; is the unit right?"),
    ],
)
def test_errors_name_the_line(text: str, sentence: str) -> None:
    with pytest.raises(DecodeError) as refused:
        parse_swc(text).placed(MICRON)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        ("# unit: um", 1000),
        ("#Units : Microns", 1000),
        ("\n# made by hand\n# unit: µm", 1000),
        ("# unit: 4 nm", 4),
        ('# Meta: {"id": "7", "units": "8 nanometer"}', 8),
        ('# Meta: {"units": "1 micrometer"}', 1000),
        ('# Meta: {"units": "1 dimensionless"}', None),
        ('# Meta: {"units": 5}', None),
        ('# Meta: {"units": "', None),
        ("# unit: 0 nm", None),
        ("# unit: - nm", None),
        ("# unit: parsec", None),
        ("# made with micrometers", None),
        ("1 0 0 0 0 1 -1\n# unit: um", None),
    ],
)
def test_the_unit_is_told_by_a_comment_at_the_head(head: str, unit: float | None) -> None:
    assert parse_swc(f"{head}\n2 0 0 0 0 1 -1\n").unit == unit


def test_radii_that_are_not_known() -> None:
    tracing = parse_swc("1 0 0 0 0 NA -1\n2 0 0 0 1 -1 1\n3 0 0 0 2 0.5 2\n")
    assert tracing.radii.tolist() == [0, 0, 0.5]


def test_an_affine_moves_places_and_lets_radii_grow() -> None:
    matrix = np.array([[0, 2, 0, 10.0], [-4, 0, 0, 20], [0, 0, 8, 30], [0, 0, 0, 1]])
    skeleton = parse_swc("1 0 1 2 3 5 -1\n").placed(matrix)
    assert skeleton.vertices.tolist() == [[14, 16, 54]]
    assert skeleton.attributes["radius"].tolist() == [20]


def test_ids_of_any_size_are_told_apart() -> None:
    assert len(parse_swc(f"{2**60} 0 0 0 0 1 -1\n{2**60 + 1} 0 0 0 1 1 {2**60}\n").edges) == 1


def test_a_long_chain_with_parents_behind_children_is_read() -> None:
    text = "".join(f"{n} 0 0 0 {n} 1 {n + 1 if n < 3000 else -1}\n" for n in range(1, 3001))
    assert len(parse_swc(text).edges) == 2999


def branched() -> Skeleton:
    vertices = np.array([[0, 0, 0], [1000, 0, 0], [2000, 500, 0], [2000, -500, 0], [9000, 0, 0], [9000, 0, 250]], np.float32)
    edges = np.array([[0, 1], [1, 2], [3, 1], [5, 4]], np.uint32)
    radii = np.array([100, 800, 100, 100, 50, 60], np.float32)
    return Skeleton(vertices, edges, {"radius": radii, "vertex_types": np.array([0, 1, 3, 3, 2, 2], np.float32)})


def test_the_text_of_a_skeleton() -> None:
    assert format_swc(branched(), "um", "7") == (
        '# segment 7\n# unit: um\n# Meta: {"id": "7", "name": "7", "units": "1 micrometer"}\n# id type x y z radius parent\n'
        "1 1 1 0 0 0.8 -1\n2 0 0 0 0 0.1 1\n3 3 2 0.5 0 0.1 1\n4 3 2 -0.5 0 0.1 1\n"
        "5 2 9 0 0.25 0.06 -1\n6 2 9 0 0 0.05 5\n"
    )  # fmt: skip


def test_without_radii_the_root_is_an_end_point() -> None:
    skeleton = branched()
    lines = format_swc(Skeleton(skeleton.vertices[:4], skeleton.edges[:3]), "nm", "7").splitlines()
    assert lines[4] == "1 0 0 0 0 0 -1"


def test_a_loop_is_refused() -> None:
    ring = Skeleton(np.zeros((3, 3), np.float32), np.array([[0, 1], [1, 2], [2, 0]], np.uint32))
    with pytest.raises(EncodeError, match=r"a loop through vertices \d and \d; SWC holds trees only"):
        format_swc(ring, "nm", "7")


@st.composite
def forests(draw: st.DrawFn) -> Skeleton:
    count = draw(st.integers(1, 12))
    parents = [draw(st.integers(-1, n - 1)) for n in range(count)]
    lengths = st.floats(-(2.0**40), 2.0**40, width=32)
    places = draw(st.lists(st.tuples(lengths, lengths, lengths), min_size=count, max_size=count))
    radii = draw(st.lists(st.floats(0, 2.0**20, width=32), min_size=count, max_size=count))
    kinds = draw(st.lists(st.integers(0, 255), min_size=count, max_size=count))
    edges = np.array([(n, p) for n, p in enumerate(parents) if p >= 0], np.uint32).reshape(-1, 2)
    attributes = {"radius": np.array(radii, np.float32), "vertex_types": np.array(kinds, np.float32)}
    return Skeleton(np.array(places, np.float32), edges, attributes)


def nodes(skeleton: Skeleton) -> list[tuple[float, ...]]:
    """Return place, radius and type of each vertex, in an order of their own."""
    columns = (*skeleton.vertices.T, skeleton.attributes["radius"], skeleton.attributes["vertex_types"])
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@given(forests())
def test_what_is_written_reads_the_same(skeleton: Skeleton) -> None:
    def lines(one: Skeleton) -> list[list[tuple[float, ...]]]:
        return sorted(sorted(map(tuple, one.vertices[edge].tolist())) for edge in one.edges)

    tracing = parse_swc(format_swc(skeleton, "um", "7"))
    assert tracing.unit == 1000
    found = tracing.placed(MICRON)
    assert lines(found) == lines(skeleton)
    assert nodes(found) == nodes(skeleton)


def test_osteoid_reads_ours() -> None:
    read = osteoid.Skeleton.from_swc(format_swc(branched(), "nm", "7"))
    assert read.cable_length() == pytest.approx(branched().cable_length)
    assert len(read.components()) == 2


def test_we_read_osteoids() -> None:
    skeleton = branched()
    theirs = osteoid.Skeleton(skeleton.vertices, skeleton.edges, radii=skeleton.attributes["radius"])
    assert parse_swc(theirs.to_swc()).placed(NM).cable_length == pytest.approx(skeleton.cable_length)
