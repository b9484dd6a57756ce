import multiprocessing
import pickle
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import boxes

KINDS = [
    "nifti",
    "nifti of floats",
    "nifti 2 of ids",
    "nifti, big endian",
    "nifti, scaled",
    "nifti, scaled by a slope",
    "nifti, scaled by an intercept",
    "nifti, scaled floats",
    "nifti, gzip",
    "nifti, gzip, scaled",
    "nifti, channels",
    "nifti, gzip, channels",
    "nifti, point of time",
    "nifti, gzip, point of time",
    "nifti, vectors",
    "nifti, RGB",
    "nifti, RGBA, gzip",
    "nifti pair",
    "nifti pair, gzip",
    "analyze",
    "analyze of SPM, scaled",
    "mgh",
    "mgz",
    "mgz, channels",
    "afni, point of time, gzip",
    "afni, scaled",
    "npy, C order",
    "npy, Fortran order",
    "npy, big endian",
    "npy, bool",
    "npy, plane",
    "npy, channels",
    "npy, odd axes",
]


def silent(done, total):
    pass


@pytest.fixture(params=KINDS)
def sample(request, samples):
    return samples[request.param]


@pytest.fixture
def source(sample):
    return open_source(sample.path, sample.options)


def whole(source):
    return Box((0, 0, 0), source.shape)


def test_every_kind_is_tested(samples):
    assert set(KINDS) == set(samples)


def test_a_source_tells_what_read_returns(source, sample):
    assert (*source.shape, source.num_channels) == sample.expected.shape
    assert source.dtype == sample.expected.dtype
    voxels = source.read(whole(source))
    assert voxels.shape == sample.expected.shape
    assert voxels.dtype == source.dtype
    np.testing.assert_array_equal(voxels, sample.expected)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_is_what_the_other_library_reads(source, sample, data):
    box = data.draw(boxes(source.shape))
    np.testing.assert_array_equal(source.read(box), sample.expected[box.slices()])


def test_a_spooled_source_reads_the_same(source, sample, tmp_path):
    spooled = source.spooled(tmp_path / "spool", silent)
    for member in ("name", "shape", "num_channels", "dtype", "geometry", "label", "notes"):
        assert getattr(spooled, member) == getattr(source, member)
    np.testing.assert_array_equal(spooled.read(whole(source)), sample.expected)


def test_what_is_spooled_is_read_as_a_view(source, tmp_path):
    spooled = source.spooled(tmp_path, silent)
    if spooled.scaling is None:
        first, second = spooled.read(whole(source)), spooled.read(whole(source))
        assert np.shares_memory(first, second)
        assert not first.flags.writeable


def test_sources_are_values(source, sample):
    same = open_source(sample.path, sample.options)
    assert same == source
    assert hash(same) == hash(source)
    with pytest.raises(FrozenInstanceError):
        source.unknown = 1


def read_whole(source):
    return source.read(whole(source))


def test_sources_are_read_in_spawned_workers(samples, tmp_path):
    sources = [open_source(sample.path, sample.options) for sample in samples.values()]
    sources += [source.spooled(tmp_path, silent) for source in sources[8:10]]
    for source in sources:
        assert pickle.loads(pickle.dumps(source)) == source
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        arrays = workers.map(read_whole, sources)
    for array, source in zip(arrays, sources, strict=True):
        np.testing.assert_array_equal(array, read_whole(source))


def read_and_tell_modules(source):
    read_whole(source)
    return "nibabel" in sys.modules


def test_workers_do_without_nibabel(samples, tmp_path):
    packed = open_source(samples["nifti, gzip, scaled"].path, SourceOptions())
    sources = [open_source(samples["nifti"].path, SourceOptions()), packed, packed.spooled(tmp_path, silent)]
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert workers.map(read_and_tell_modules, sources) == [False, False, False]


def test_one_channel_can_be_taken(samples):
    for kind in ("nifti, channels", "nifti, gzip, channels", "npy, channels", "npy, odd axes", "nifti, RGB", "mgz, channels"):
        sample = samples[kind]
        source = open_source(sample.path, replace(sample.options, channel=1))
        assert source.num_channels == 1
        np.testing.assert_array_equal(read_whole(source), sample.expected[..., 1:2])
