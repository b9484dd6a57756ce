import gzip
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import DamagedError
from converters.sources.mapped import StoredArray
from converters.sources.nrrd.joined import JoinedPart, JoinedReader
from converters.sources.packed import GZIP_FILE

SHAPE = (6, 4, 5, 3)
ARRAY = np.asfortranarray(np.arange(6 * 4 * 5 * 3, dtype=">u2").reshape(SHAPE))
PARTS = ((6, 4, 5, 1), (6, 4, 1, 1), (6, 1, 1, 1), SHAPE)


def joined(folder, part_shape, packed):
    parts = []
    grid = [n // thick for n, thick in zip(SHAPE, part_shape, strict=True)]
    for number, cell in enumerate(product(*(range(n) for n in reversed(grid)))):
        start = [n * thick for n, thick in zip(reversed(cell), part_shape, strict=True)]
        voxels = ARRAY[tuple(slice(begin, begin + thick) for begin, thick in zip(start, part_shape, strict=True))]
        file = folder / str(number)
        data = b"head" + voxels.tobytes("F")
        file.write_bytes(gzip.compress(data, 1) if packed else data)
        array = StoredArray(file, 4, part_shape, ARRAY.dtype, file.stat().st_mtime_ns)
        parts.append(JoinedPart(array, GZIP_FILE if packed else None))
    (folder / "header").write_bytes(b"")
    return JoinedReader(folder / "header", SHAPE, tuple(parts))


@pytest.fixture(scope="module", params=product(PARTS, (False, True)), ids=str)
def reader(request, tmp_path_factory):
    return joined(tmp_path_factory.mktemp("parts"), *request.param)


@st.composite
def indices(draw):
    edges = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    return tuple(slice(a, b) for a, b in edges)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=indices())
def test_any_index_is_that_of_the_whole_array(reader, index):
    np.testing.assert_array_equal(reader.read(index), ARRAY[index])


def test_what_a_reader_tells(reader):
    part = reader.parts[0]
    assert reader.dtype == ARRAY.dtype
    assert reader.chunk == (part.array.shape if part.packing else (1, 1, 1, 1))
    assert len(reader.files) == len(reader.parts) + 1
    assert pickle.loads(pickle.dumps(reader)) == reader


def test_a_part_that_is_gone(tmp_path):
    reader = joined(tmp_path, PARTS[0], packed=False)
    (tmp_path / "1").unlink()
    first = (slice(0, 2), slice(0, 4), slice(0, 5), slice(0, 1))
    np.testing.assert_array_equal(reader.read(first), ARRAY[first])
    with pytest.raises(DamagedError, match=r"/1: cannot be read any more \("):
        reader.read((slice(0, 2), slice(0, 4), slice(0, 5), slice(0, 2)))
