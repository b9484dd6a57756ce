"""Labels as blocks by kernels: the words of another implementation, bit by bit."""

from typing import Any

import compressed_segmentation
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.volumes.label_blocks import encoded
from formats.grid import Triple


def expected(labels: NDArray[Any], block: Triple) -> bytes:
    """Return the library's words without its header, which is one word for one channel."""
    channels = np.array(labels[..., np.newaxis], order="F")
    return bytes(compressed_segmentation.compress(channels, block, "F"))[4:]


def check(labels: NDArray[Any], block: Triple) -> None:
    words = encoded(np.asfortranarray(labels), block)
    assert words is not None
    assert words.tobytes() == expected(labels, block)


triples = st.tuples(*3 * [st.integers(1, 20)])


@settings(max_examples=200)
@given(
    triples, st.tuples(*3 * [st.integers(1, 9)]), st.sampled_from(["uint32", "uint64"]), st.integers(1, 600), st.integers(0, 99)
)
@example((16, 8, 8), (8, 8, 8), "uint32", 2, 0)
@example((20, 20, 20), (9, 9, 9), "uint64", 600, 1)
def test_the_words_are_those_of_the_library(shape: Triple, block: Triple, data_type: str, different: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Labels of any size, not in the order of their numbers, in runs as segments make them.
    names = rng.integers(0, np.iinfo(data_type).max, different, data_type, endpoint=True)
    labels = names[rng.integers(0, different, shape)]
    check(labels, block)
    check(np.repeat(np.repeat(labels, 3, axis=0), 2, axis=2)[: shape[0], :, : shape[2]], block)


@pytest.mark.parametrize("data_type", ["uint32", "uint64"])
@pytest.mark.parametrize("different", [1, 2, 3, 4, 5, 8, 9, 16, 17, 255, 256, 257, 512])
def test_every_width_of_indices(data_type: str, different: int) -> None:
    rng = np.random.default_rng(different)
    values = rng.permutation(np.resize(np.arange(different), 512)).reshape((8, 8, 8), order="F")
    largest = np.iinfo(data_type).max
    labels = (largest - values.astype(data_type)).astype(data_type)
    check(np.tile(labels, (2, 1, 3)), (8, 8, 8))


def test_a_block_of_as_many_labels_as_there_can_be() -> None:
    labels = np.random.default_rng(0).permutation(65_536).astype(np.uint32).reshape((64, 32, 32), order="F")
    check(labels, (64, 32, 32))


def test_a_table_that_is_there_is_not_written_again() -> None:
    labels = np.zeros((16, 8, 8), np.uint32)
    labels[::2], labels[1::2] = 9, 5
    words = encoded(np.asfortranarray(labels), (8, 8, 8))
    assert words is not None
    # Two headers of two words, twice 512 bits, one table.
    assert words.tolist() == [20 | 1 << 24, 4, 20 | 1 << 24, 22, *16 * [0x55555555], 5, 9, *16 * [0x55555555]]


# See LAST of tests/formats/chunks/test_compressed_segmentation.py.
LAST = 13_087


@pytest.mark.parametrize(("blocks", "fits"), [(LAST, True), (LAST + 1, False)])
def test_a_table_begins_before_64_mib(blocks: int, fits: bool) -> None:
    labels = np.arange(512 * blocks, dtype=np.uint64).reshape((8, 8, 8 * blocks), order="F")
    assert (encoded(labels, (8, 8, 8)) is not None) == fits
