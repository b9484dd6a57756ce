"""Any bytes in a header end in a source or in one sentence, whatever they claim."""

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import ConverterError
from converters.sources.brain.pairs import is_paired, pair
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box

HEADERS = {
    "nifti": 352,
    "nifti 2 of ids": 544,
    "nifti, big endian": 352,
    "nifti, RGB": 352,
    "analyze of SPM, scaled": 348,
    "mgh": 284,
    "npy, C order": 128,
    "afni, scaled": 1923,
}
PATCHES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
OPTIONS = st.sampled_from([SourceOptions(), SourceOptions(resolution=(1.0, 2.0, 3.0), time=0), SourceOptions(axes="xyzc")])


def copies(folder, sample):
    """Copy the sample's file or files; return the one that holds the header."""
    files = pair(sample.path) if is_paired(sample.path) else (sample.path,)
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / files[0].name


@pytest.fixture(params=HEADERS)
def damageable(request, samples):
    return samples[request.param], HEADERS[request.param]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(patches=PATCHES, options=OPTIONS)
def test_a_damaged_header_ends_in_a_source_or_in_a_sentence(damageable, tmp_path, patches, options):
    sample, header_bytes = damageable
    path = copies(tmp_path, sample)
    data = bytearray(path.read_bytes())
    for where, patch in patches:
        at = int(where * header_bytes)
        data[at : at + len(patch)] = patch
    path.write_bytes(data)
    with contextlib.suppress(ConverterError), warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(path, options)
        voxels = source.read(Box((0, 0, 0), (1, 1, 1)))
        assert voxels.shape == (1, 1, 1, source.num_channels)
        assert voxels.dtype == source.dtype
        assert np.isfinite(source.geometry.resolution).all()
        assert min(source.geometry.resolution) > 0
        source.geometry.transform()
