"""Fragments in files: some segments can be read alone, and a file that is cut short is told."""

from pathlib import Path

import numpy as np
import pytest

from converters.errors import DatasetError
from converters.skeletons.fragments import Fragment, read_fragment_index, read_fragments, write_fragments


def made(segment: int, count: int, seed: int) -> Fragment:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-1000, 1000, (count, 3)).astype(np.int32)
    edges = rng.integers(0, max(1, count), (max(0, count - 1), 2)).astype(np.uint32)
    return Fragment(
        segment,
        10 * seed,
        seed % 2 == 1,
        numbers,
        rng.random(count, np.float32),
        edges,
        numbers[: count // 2],
        numbers[count // 2 :],
    )


FRAGMENTS = [made(2**64 - 1, 4, 1), made(7, 3, 2), made(9, 0, 3), made(7, 6, 4), made(2**53 + 1, 5, 5)]


def assert_same(found: Fragment, expected: Fragment) -> None:
    assert (found.segment, found.voxels, found.limited) == (expected.segment, expected.voxels, expected.limited)
    for name in ("places", "radii", "edges", "contacts", "targets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_fragments_are_read_by_segment(tmp_path: Path) -> None:
    write_fragments(tmp_path / "file", FRAGMENTS)
    ordered = [FRAGMENTS[n] for n in (1, 3, 2, 4, 0)]
    index = read_fragment_index(tmp_path / "file")
    assert index.segments.tolist() == [7, 7, 9, 2**53 + 1, 2**64 - 1]
    assert index.vertices.tolist() == [3, 6, 0, 5, 4]
    for first, last, expected in ((0, 2**64 - 1, ordered), (7, 7, ordered[:2]), (8, 2**53 + 1, ordered[2:4]), (10, 11, [])):
        found = list(read_fragments(tmp_path / "file", first, last))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def test_no_fragments(tmp_path: Path) -> None:
    write_fragments(tmp_path / "file", [])
    assert len(read_fragment_index(tmp_path / "file").segments) == 0
    assert list(read_fragments(tmp_path / "file", 0, 5)) == []


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    write_fragments(tmp_path / "file", FRAGMENTS)
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(data[:-1])
    with pytest.raises(DatasetError, match=r"file: cut short at \d+ of \d+ numbers; run the command again"):
        list(read_fragments(tmp_path / "file", 0, 2**64 - 1))
    (tmp_path / "file").write_bytes(data[:20])
    with pytest.raises(DatasetError, match="cut short at 2 of 5 numbers"):
        read_fragment_index(tmp_path / "file")
