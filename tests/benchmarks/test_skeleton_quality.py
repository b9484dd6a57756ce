"""How far two tracings agree, on labels and skeletons that are small enough to count by hand."""

import numpy as np

from benchmarks.skeleton_quality import Labels, Traced, agreement
from formats.grid import Grid

BLOCKS = Grid((0, 0, 0), (40, 20, 10), (20, 20, 10))


def line(*places: tuple[int, int, int]) -> Traced:
    count = np.arange(len(places) - 1)
    return Traced(np.array(places, np.int64), np.stack([count, count + 1], 1).astype(np.int64))


def along(begin: int, end: int, y: int = 5) -> Traced:
    return line(*[(x, y, 5) for x in range(begin, end)])


def bar() -> Labels:
    """Segment 3: a bar from x = 0 to 39, and a cube apart from it."""
    voxels = np.zeros((40, 20, 10), np.uint32, order="F")
    voxels[:, 4:7, 4:7] = 3
    voxels[0:5, 12:17, 2:7] = 3
    return Labels.of(voxels, (10.0, 10.0, 10.0))


def test_the_same_agrees() -> None:
    found = agreement({3: along(0, 40)}, {3: along(0, 40)}, bar(), BLOCKS)
    assert (found.inside, found.cable, found.pieces, found.split, found.near) == (1.0, (390.0, 390.0), 1, 0, (1.0, 1.0))
    assert (found.only_ours, found.only_theirs, found.ends, found.at_faces) == (0, 0, (2, 2), (0, 0))


def test_a_cut_at_a_face_is_seen() -> None:
    two = Traced(np.concatenate([along(0, 20).places, along(20, 40).places]), np.delete(along(0, 40).edges, 19, axis=0))
    found = agreement({3: two}, {3: along(0, 40)}, bar(), BLOCKS)
    assert (found.split, found.ends, found.at_faces) == (1, (4, 2), (2, 0))
    assert found.cable == (380.0, 390.0)


def test_what_lies_apart_or_outside_is_seen() -> None:
    found = agreement({3: along(0, 40)}, {3: along(0, 30)}, bar(), BLOCKS)
    assert found.near == (32 / 40, 1.0)
    assert agreement({3: line((0, 5, 5), (0, 9, 5))}, {}, bar(), BLOCKS).inside == 0.5


def test_pieces_that_one_side_left_out_are_counted() -> None:
    both = Traced(np.concatenate([along(0, 40).places, [(2, 14, 4), (3, 14, 4)]]), np.vstack([along(0, 40).edges, [(40, 41)]]))
    found = agreement({3: both}, {3: along(0, 40)}, bar(), BLOCKS)
    assert (found.pieces, found.only_ours, found.only_theirs) == (1, 1, 0)
    found = agreement({3: along(0, 40)}, {3: both}, bar(), BLOCKS)
    assert (found.pieces, found.only_ours, found.only_theirs, found.cable) == (1, 0, 1, (390.0, 390.0))


def test_nothing_was_traced() -> None:
    found = agreement({}, {}, bar(), BLOCKS)
    assert (found.inside, found.pieces, found.near) == (1.0, 0, (1.0, 1.0))
