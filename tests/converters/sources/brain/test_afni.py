import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from converters.errors import OptionError, SourceError
from formats.grid import Box
from tests.converters.sources.reading import opened

DATA = Path(nib.__file__).parent / "tests" / "data"
FACTORS = "type = float-attribute\nname = BRICK_FLOAT_FACS\ncount = 3\n "


@pytest.fixture
def series(tmp_path):
    """A copy of a time series of 3 sub-bricks that are not scaled."""
    for name in ("example4d+orig.HEAD", "example4d+orig.BRIK.gz"):
        shutil.copy(DATA / name, tmp_path)
    return tmp_path / "example4d+orig.HEAD"


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", ["example4d+orig.HEAD", "scaled+tlrc.BRIK"])
def test_the_affine_is_nibabels(name):
    source = opened(DATA / name, time=0)
    np.testing.assert_allclose(source.geometry.affine, nib.load(DATA / name).affine[:3] * 1e6)
    assert source.geometry.resolution == (3e6, 3e6, 3e6)
    assert set(source.fingerprint()) == {
        Path(name).stem + ".HEAD",
        Path(name).stem + (".BRIK.gz" if "4d" in name else ".BRIK"),
    }


def test_a_time_series_needs_a_point_of_time(series):
    with pytest.raises(OptionError, match=r"its axis t has 3 points of time and a volume holds one: add --time N, N from 0 to 2"):
        opened(series)
    assert opened(series, axes="xyzc").num_channels == 3


def test_each_sub_brick_has_its_own_factor(series):
    lines = series.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "BRICK_FLOAT_FACS" in line)
    lines[at + 2] = " 0.5 2 0"
    series.write_text("\n".join(lines))
    expected = np.asanyarray(nib.load(series).dataobj)
    for time in range(3):
        source = opened(series, time=time)
        found = source.read(Box((0, 0, 0), source.shape))
        assert found.dtype == source.dtype == (np.int16 if time == 2 else np.float64)
        np.testing.assert_array_equal(found, expected[..., time : time + 1])
    with pytest.raises(
        OptionError, match="sub-bricks are scaled each by a factor of its own, and channels share one: say --axes xyzt"
    ):
        opened(series, axes="xyzc")
    with pytest.raises(OptionError, match="--time 3 is not there: choose 0 to 2"):
        opened(series, time=3)


@pytest.mark.parametrize("missing", ["DATASET_DIMENSIONS", "DATASET_RANK", "BRICK_TYPES", "IJK_TO_DICOM_REAL", "DELTA"])
def test_a_header_that_lacks_something(series, missing):
    change(series, missing, "NOTHING")
    with pytest.raises(SourceError, match=r"\+orig\.HEAD: not a header of AFNI, or one that is not sound \("):
        opened(series)


def test_a_header_that_is_no_text(series):
    series.write_bytes(bytes(range(256)))
    with pytest.raises(SourceError, match=r"\+orig\.HEAD: not a header of AFNI, or one that is not sound \("):
        opened(series)
