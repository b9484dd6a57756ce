"""Volumes seen along z."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from converters.labels.pictures import Pixels, bar_length, encode_picture, pixels_for
from formats.grid import Grid


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factors=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    edges=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=50)
def test_pixels_from_blocks_are_those_of_the_whole(
    shape: tuple[int, int], factors: tuple[int, int], edges: tuple[int, int]
) -> None:
    plane = np.random.default_rng(3).integers(0, 9999, shape)
    pixels = Pixels(shape, (1.0, 1.0), factors)
    canvas = np.zeros(pixels.size, plane.dtype)
    grid = Grid((0, 0, 0), (*shape, 5), (*edges, 2))
    for cell in grid.cells():
        box = grid.chunk_box(cell)
        pixels.put(canvas, pixels.shrunk(plane[box.slices()[:2]], box), box)
    for x, y in np.ndindex(*pixels.size):
        own = plane[x * factors[0] : (x + 1) * factors[0], y * factors[1] : (y + 1) * factors[1]]
        assert canvas[x, y] == own.max()


@pytest.mark.parametrize(
    ("shape", "resolution", "factors", "size"),
    [
        ((1024, 1024, 300), (190, 190, 380), (1, 1), (1024, 1024)),
        ((1000, 500, 10), (4, 40, 4), (3, 1), (333, 1667)),
        ((30_000, 20_000, 10), (8, 8, 40), (15, 15), (2000, 1333)),
        ((5, 10, 3), (1, 1, 1), (1, 1), (256, 512)),
        ((1, 1, 1), (1, 1, 1), (1, 1), (512, 512)),
    ],
)
def test_pictures_have_square_pixels_and_are_neither_tiny_nor_huge(
    shape: tuple[int, int, int], resolution: tuple[int, int, int], factors: tuple[int, int], size: tuple[int, int]
) -> None:
    pixels = pixels_for(shape, resolution)
    assert pixels.factors == factors
    picture = Image.open(io.BytesIO(encode_picture(np.full((*pixels.size, 3), 90, np.uint8), pixels)))
    assert (picture.width, picture.height - 32) == size


def test_the_bar_is_as_long_as_it_says() -> None:
    pixels = pixels_for((1024, 1024, 300), (200, 200, 400))
    picture = np.asarray(Image.open(io.BytesIO(encode_picture(np.zeros((1024, 1024, 3), np.uint8), pixels))))
    row = picture[1024 + 16, :, 0] == 255
    assert np.flatnonzero(np.diff(row.astype(int)))[:2].tolist() == [7, 8 + 250]  # 50 µm


@pytest.mark.parametrize(("most", "length"), [(99, 50), (100, 100), (19.9, 10), (20, 20), (5000, 5000), (0.3, 0.2)])
def test_bars_are_round(most: float, length: float) -> None:
    assert bar_length(most) == pytest.approx(length)
