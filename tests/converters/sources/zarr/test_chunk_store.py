import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.sources.zarr import chunk_store
from converters.sources.zarr.chunk_store import first_chunk


@st.composite
def cuttings(draw):
    rank = draw(st.integers(2, 5))
    chunk = tuple(draw(st.integers(1, 9)) for _ in range(rank))
    bounds = []
    for _ in range(rank):
        start = draw(st.integers(0, 30))
        bounds.append((start, start + draw(st.integers(1, 12))))
    return bounds, chunk


@settings(max_examples=60)
@given(cutting=cuttings(), most=st.integers(1, 5000), itemsize=st.sampled_from([1, 2, 8]))
def test_pieces_fill_the_box_once_and_decode_each_chunk_once(cutting, most, itemsize):
    bounds, chunk = cutting
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_store, "_PIECE_BYTES", most)
        pieces = list(chunk_store._pieces(bounds, chunk, itemsize))
    filled = np.zeros([stop - start for start, stop in bounds], int)
    decoded = set()
    for piece in pieces:
        filled[tuple(slice(part.start - start, part.stop - start) for part, (start, _) in zip(piece, bounds, strict=True))] += 1
        chunks = [range(part.start // n, -(-part.stop // n)) for part, n in zip(piece, chunk, strict=True)]
        met = set(np.ndindex(*(len(n) for n in chunks)))
        positions = {tuple(axis[i] for axis, i in zip(chunks, position, strict=True)) for position in met}
        assert not decoded & positions
        decoded |= positions
        assert len(positions) == 1 or len(positions) * math.prod(chunk) * itemsize <= most
    assert (filled == 1).all()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0.0", True),
        ("c/0/1", True),
        ("c.0.1", True),
        ("3/1/2", True),
        ("labels/0/0", False),
        ("0.0.tmp", False),
        ("OME/a.xml", False),
    ],
)
def test_what_is_a_chunk_by_its_name(tmp_path, name, found):
    (tmp_path / "9").mkdir()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert first_chunk(tmp_path) == (tmp_path / name if found else None)
