"""Fragments become a skeleton: what is joined, what is cut, what goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.skeletons.balls import Balls
from converters.skeletons.fragments import Fragment
from converters.skeletons.joining import Joined, Joining, joined
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.parameters import parameters_of
from converters.skeletons.paths import Paths, prune
from converters.skeletons.seams import is_near_seam
from formats.grid import Grid

WHOLE = Grid((0, 0, 0), (100, 100, 100), (100, 100, 100))
"""One block."""
Place = tuple[int, int, int]


def joining(grid: Grid = WHOLE, edge: float = 10, **given: object) -> Joining:
    told: dict[str, object] = {"dust_threshold": 0, "tick_threshold": 0, **given}
    return Joining((edge, edge, edge), grid, parameters_of(SkeletonizeOptions(**told), (edge, edge, edge)))


JOINING = joining()


def fragment(places: list[Place], edges: list[tuple[int, int]], radius: float = 5, **given: object) -> Fragment:
    members: dict[str, object] = {
        "segment": 1, "voxels": 100, "places": np.array(places, np.int32).reshape(-1, 3),
        "edges": np.array(edges, np.uint32).reshape(-1, 2), "radii": np.full(len(places), radius, np.float32),
    }  # fmt: skip
    return Fragment(**{**members, **given})


def contacts(*places: Place) -> dict[str, object]:
    return {"contacts": np.array(places, np.int32)}


def line(*places: Place, **given: object) -> Fragment:
    return fragment(list(places), [(n, n + 1) for n in range(len(places) - 1)], **given)


def along(start: int, end: int, y: int = 0) -> list[Place]:
    return [(x, y, 0) for x in range(start, end)]


def shape(graph: Joined | None) -> tuple[int, int, int]:
    """Return trees (of a graph without loops), end points and branch points."""
    assert graph is not None
    degrees = np.bincount(graph.edges.ravel(), minlength=len(graph.places))
    return len(graph.places) - len(graph.edges), int((degrees == 1).sum()), int((degrees > 2).sum())


def test_fragments_that_share_a_vertex_are_one() -> None:
    graph = joined([line(*along(0, 6)), line(*along(5, 12), radius=3)], JOINING)
    assert graph is not None
    assert shape(graph) == (1, 2, 0)
    assert graph.places[:, 0].tolist() == list(range(12))
    assert graph.radii.tolist() == [5] * 5 + [3] * 7


def test_what_is_near_but_has_no_voxel_in_common_stays_apart() -> None:
    assert shape(joined([line(*along(0, 6)), line(*along(0, 6, y=1))], JOINING)) == (2, 4, 0)


def test_what_has_a_contact_is_joined_where_it_is_nearest() -> None:
    graph = joined([line(*along(0, 6), **contacts((6, 2, 0))), line(*along(9, 14), **contacts((6, 2, 0)))], JOINING)
    assert graph is not None
    assert shape(graph) == (1, 2, 0)
    assert [5, 6] in graph.edges.tolist()


def test_a_fragment_without_vertices_joins_others() -> None:
    link = Fragment(1, 3, **contacts((6, 0, 0), (8, 0, 0)))
    parts = [line(*along(0, 6), **contacts((6, 0, 0))), line(*along(9, 14), **contacts((8, 0, 0)))]
    assert shape(joined([*parts, link], JOINING)) == (1, 2, 0)
    assert shape(joined(parts, JOINING)) == (2, 4, 0)


def test_dust_is_counted_over_all_blocks() -> None:
    parts = [line(*along(0, 6), voxels=60), line(*along(5, 12), voxels=41)]
    assert shape(joined(parts, joining(dust_threshold=100))) == (1, 2, 0)
    assert joined(parts, joining(dust_threshold=101)) is None
    apart = [line(*along(0, 6), voxels=60), line(*along(0, 6, y=9), voxels=141)]
    assert shape(joined(apart, joining(dust_threshold=100))) == (1, 2, 0)


def test_a_ring_is_cut_at_one_place_and_keeps_its_cable() -> None:
    places = [(0, 0, 0), (9, 0, 0), (9, 9, 0), (0, 9, 0)]
    graph = joined([line(*places), line(places[3], places[0])], JOINING)
    assert graph is not None
    assert shape(graph) == (1, 2, 0)
    assert len(graph.edges) == 3


def test_a_strand_inside_the_radius_of_another_goes() -> None:
    thick = line(*along(0, 20), radius=60)
    thin = line((3, 0, 0), *[(x, 4, 0) for x in range(4, 15)], (15, 0, 0), radius=10)
    graph = joined([thick, thin], JOINING)
    assert graph is not None
    assert shape(graph) == (1, 2, 0)
    assert graph.places[:, 1].max() == 0


def test_a_branch_inside_the_radius_of_another_goes() -> None:
    thick = line(*along(0, 20), radius=60)
    assert shape(joined([thick, line((7, 0, 0), (7, 1, 0), (7, 6, 0))], JOINING)) == (1, 2, 0)
    assert shape(joined([thick, line((7, 0, 0), (7, 1, 0), (7, 9, 0))], JOINING)) == (1, 3, 1)


IN_TWO = Grid((-5, 0, 0), (100, 100, 100), (15, 100, 100))
"""Blocks that share the planes x = 10, 25, ..."""


@pytest.mark.parametrize(("x", "near"), [(-5, False), (-2, False), (6, False), (7, True), (10, True), (13, True), (14, False)])
def test_planes_that_blocks_share(x: int, near: bool) -> None:
    assert is_near_seam(np.array([(x, 0, 0)]), IN_TWO).tolist() == [near]
    assert is_near_seam(np.array([(x, 0, 0)]), WHOLE).tolist() == [False]


def test_the_ends_of_a_volume_are_no_shared_planes() -> None:
    assert is_near_seam(np.array([(x, 0, 0) for x in (70, 84, 85, 94)]), IN_TWO).tolist() == [True, True, True, False]


def test_an_end_at_a_shared_plane_that_would_not_be_without_it_goes() -> None:
    neurite = line(*[(5, y, 0) for y in range(60)], radius=10)
    spur = line(*[(x, 30, 0) for x in range(5, 11)], radius=10)
    inside = {"invalidation_scale": 1, "const": 50}
    assert shape(joined([neurite, spur], joining(IN_TWO, **inside))) == (1, 2, 0)
    # In the midst of a block it is what was found there, and where paths take less away it is a branch.
    assert shape(joined([neurite, spur], joining(**inside))) == (1, 3, 1)
    assert shape(joined([neurite, spur], joining(IN_TWO, invalidation_scale=1, const=30))) == (1, 3, 1)


def test_what_goes_on_behind_a_shared_plane_stays() -> None:
    neurite = line(*[(5, y, 0) for y in range(60)], radius=10)
    branch = [line(*[(x, 30, 0) for x in range(5, 11)], radius=10), line(*[(x, 30, 0) for x in range(10, 24)], radius=10)]
    assert shape(joined([neurite, *branch], joining(IN_TWO, invalidation_scale=1, const=50))) == (1, 3, 1)


def test_a_cell_body_takes_away_what_is_told_for_it() -> None:
    told = parameters_of(SkeletonizeOptions(invalidation_scale=4, const=500), (32.0, 32.0, 32.0))
    assert told.reach(np.array([100, 3500, 4000], np.float32)).tolist() == [900, 14500, 8300]


def test_ticks_go_and_an_end_keeps_its_last_branch() -> None:
    parts = [line(*along(0, 31)), line((28, 0, 0), (28, 3, 0)), line((10, 0, 0), (10, 9, 0))]
    graph = joined(parts, joining(tick_threshold=50))
    assert graph is not None
    assert shape(graph) == (1, 3, 1)
    assert graph.places[:, 1].max() == 9
    # The shorter of the two that part near the end went, and what is left there is no tick any more.
    assert [28, 3, 0] in graph.places.tolist()


def test_what_the_user_wants_paths_to_stays() -> None:
    thick = line(*along(0, 20), radius=60)
    branch = line((7, 0, 0), (7, 1, 0), (7, 6, 0))
    wanted = {"targets": np.array([(7, 6, 0)], np.int32)}
    assert shape(joined([thick, branch], joining(tick_threshold=65))) == (1, 2, 0)
    kept = line((7, 0, 0), (7, 1, 0), (7, 6, 0), **wanted)
    assert shape(joined([thick, kept], joining(tick_threshold=65))) == (1, 3, 1)
    # Also on the way of a strand that another one covers.
    loop = line((3, 0, 0), *[(x, 4, 0) for x in range(4, 15)], (15, 0, 0), radius=10, targets=np.array([(5, 4, 0)], np.int32))
    graph = joined([thick, loop], JOINING)
    assert graph is not None
    assert [5, 4, 0] in graph.places.tolist()
    assert graph.wanted.sum() == 1


def test_pieces_with_little_cable_go() -> None:
    parts = [line(*along(0, 31)), line(*along(0, 5, y=9))]
    assert shape(joined(parts, joining(min_cable=41))) == (1, 2, 0)
    assert shape(joined(parts, joining(min_cable=40))) == (2, 4, 0)
    assert joined(parts[1:], joining(min_cable=41)) is None


def test_nothing_is_left_of_fragments_without_vertices() -> None:
    assert joined([Fragment(1, 10_000)], JOINING) is None


graphs = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda edge: edge[0] < edge[1]), min_size=1, unique=True
)
places = st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=12, max_size=12, unique=True)


@settings(max_examples=25)
@given(graphs, places)
def test_a_piece_becomes_one_tree_of_all_its_vertices(edges: list[tuple[int, int]], where: list[Place]) -> None:
    graph = joined([fragment(where, edges, radius=0)], joining(edge=100))
    assert graph is not None
    assert shape(graph)[0] == 1
    assert {tuple(place) for place in graph.places.tolist()} <= set(where)


@settings(max_examples=25)
@given(graphs, places)
def test_paths_hold_every_edge_once(edges: list[tuple[int, int]], where: list[Place]) -> None:
    paths = Paths(np.array(where, float), np.array(edges, np.int64))
    assert sorted(tuple(sorted(edge)) for edge in paths.edges().tolist()) == sorted(edges)
    degrees = np.bincount(np.array(edges).ravel(), minlength=12)
    for path in paths.vertices.values():
        assert all(degrees[vertex] == 2 for vertex in path[1:-1])


@settings(max_examples=25)
@given(st.randoms(), places)
def test_pruning_a_tree_leaves_a_path(random: object, where: list[Place]) -> None:
    edges = np.array([(n, random.randrange(n)) for n in range(1, 12)], np.int64)  # type: ignore[attr-defined]
    paths = Paths(np.array(where, float), edges)
    prune(paths, lambda number: True)
    assert len(paths.vertices) == 1


@settings(max_examples=40)
@given(places, st.lists(st.floats(0, 40), min_size=12, max_size=12), st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)))
def test_balls_cover_what_the_definition_says(where: list[Place], reach: list[float], strand: set[int], others: set[int]) -> None:
    points, mask = np.array(where, float), np.zeros(12, bool)
    mask[list(others)] = True
    distances = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
    expected = all((distances[vertex][mask] <= np.array(reach)[mask]).any() for vertex in strand)
    assert Balls(points, np.array(reach)).cover(sorted(strand), mask) == expected


def test_pruning_asks_the_shortest_first() -> None:
    points = np.array([(0, 0, 0), (10, 0, 0), (20, 0, 0), (10, 3, 0), (10, 0, 5)], float)
    paths = Paths(points, np.array([(0, 1), (1, 2), (1, 3), (1, 4)]))
    asked: list[float] = []

    def goes(number: int) -> bool:
        asked.append(paths.lengths[number])
        return False

    prune(paths, goes)
    assert asked == pytest.approx([3, 5, 10, 10])
