"""Lines as columns: all at once gives what one by one does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import DecodeError
from formats.skeletons import swc_lines
from formats.skeletons.swc_lines import SwcLines, read_lines

REAL = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["NA", "1e3", "+2", "-.5", "1_0", "0x10", "nan"]),
)
WHOLE = st.one_of(
    st.integers(-2, 300).map(str), st.integers(-(2**70), 2**70).map(str), st.sampled_from(["1.0", "2.5", "-1", "x"])
)
ROW = st.tuples(WHOLE, WHOLE, REAL, REAL, REAL, REAL, WHOLE, st.sampled_from(["", " # here", " 7 8", "#9"]))
PLAIN = st.tuples(
    *[st.integers(0, 255).map(str)] * 2, *[st.floats(-1e30, 1e30).map(repr)] * 4, st.integers(-1, 9).map(str), st.just("")
)


def joined(row: tuple[str, ...], between: str) -> str:
    return between.join(row[:7]) + row[7]


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["", "  ", "# a comment"]),
        st.builds(joined, ROW, st.sampled_from([" ", "\t", ",", "  "])),
        st.builds(joined, PLAIN, st.sampled_from([" ", "\t"])),
    ),
    max_size=4,
)


def told(found: SwcLines | DecodeError) -> object:
    if isinstance(found, DecodeError):
        return str(found)
    columns = (found.kinds, found.points.reshape(-1, 3), found.radii)
    return found.lines, found.numbers, found.parents, *(column.tobytes() for column in columns)


@given(TEXTS)
def test_all_at_once_gives_what_one_by_one_does(texts: list[str]) -> None:
    lines = [number for number, text in enumerate(texts, 1) if text.partition("#")[0].strip()]
    outcomes: list[SwcLines | DecodeError] = []
    for read in (lambda: read_lines(texts), lambda: swc_lines._one_by_one(texts, lines)):
        try:
            outcomes.append(read())
        except DecodeError as error:
            outcomes.append(error)
    assert told(outcomes[0]) == told(outcomes[1])


def test_plain_lines_are_read_at_once() -> None:
    found = swc_lines._at_once(["# a", "1 2 3.5 4 5 0.5 -1 # b", "", "2\t2 1e3 4 5 -1 1 9"], [2, 4])
    assert found is not None
    assert (found.lines, found.numbers, found.parents, found.kinds.tolist()) == ([2, 4], [1, 2], [-1, 1], [2, 2])
    np.testing.assert_array_equal(found.points, [[3.5, 4, 5], [1000, 4, 5]])
    assert found.radii.tolist() == [0.5, 0]
