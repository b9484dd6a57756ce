import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import OptionError
from converters.sources.source import SourceOptions
from converters.sources.units import told_resolution, unit_nm


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("m", 1e9),
        ("meter", 1e9),
        ("metres", 1e9),
        ("cm", 1e7),
        ("centimetre", 1e7),
        ("mm", 1e6),
        ("millimeter", 1e6),
        ("um", 1e3),
        ("µm", 1e3),
        ("μm", 1e3),
        ("\\u00B5m", 1e3),
        ("micron", 1e3),
        ("microns", 1e3),
        ("micrometer", 1e3),
        ("Micrometres", 1e3),
        ("nm", 1.0),
        ("nanometer", 1.0),
        (' "nm" ', 1.0),
        ("pm", 1e-3),
        ("picometre", 1e-3),
        ("Å", 0.1),
        ("angstrom", 0.1),
        ("Ångström", 0.1),
        ("inch", 2.54e7),
    ],
)
def test_units_as_files_spell_them(unit, nm):
    assert unit_nm(unit) == nm


@pytest.mark.parametrize(
    "unit", [None, "", "pixel", "pixels", "voxel", "null", "s", "second", "dimensionless", "unknown", "mmm", "0"]
)
def test_what_is_no_unit_of_length(unit):
    assert unit_nm(unit) is None


def told(sizes, units, resolution=None):
    return told_resolution("a.tif", sizes, units, SourceOptions(resolution=resolution))


def test_each_axis_has_its_unit():
    assert told((0.1, 4.0, 2.0), ("µm", "nm", "mm")) == (100.0, 4.0, 2e6)


@pytest.mark.parametrize(
    ("size", "unit", "nm"), [(0.1, "um", 100.0), (0.0011, "mm", 1100.0), (1.1, "µm", 1100.0), (0.07, "cm", 7e5)]
)
def test_products_come_without_their_noise(size, unit, nm):
    assert told((size, size, size), (unit, unit, unit)) == (nm, nm, nm)


def test_the_options_win():
    assert told((None, 0.0, math.nan), (None, None, "pixel"), (1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("sizes", "units", "found"),
    [
        ((None, None, None), (None, None, None), "no voxel size"),
        ((None, None, None), ("um", "um", "um"), "no voxel size"),
        ((1.0, 1.0, 1.0), (None, None, None), "a voxel size x, y, z of 1 without a unit, 1 without a unit, 1 without a unit"),
        ((1.0, 1.0, 1.0), ("", "", ""), "a voxel size x, y, z of 1 without a unit, 1 without a unit, 1 without a unit"),
        ((1.0, 1.0, 1.0), ("pixel", "pixel", "pixel"), "a voxel size x, y, z of 1 pixel, 1 pixel, 1 pixel"),
        ((0.5, 0.25, 0.0), ("um", "um", "um"), "a voxel size x, y, z of 0.5 um, 0.25 um, 0 um"),
        ((0.5, 0.25, -1.0), ("um", "um", "um"), "a voxel size x, y, z of 0.5 um, 0.25 um, -1 um"),
        ((0.5, 0.25, math.nan), ("um", "um", "um"), "a voxel size x, y, z of 0.5 um, 0.25 um, nan um"),
        ((0.5, 0.25, math.inf), ("um", "um", "um"), "a voxel size x, y, z of 0.5 um, 0.25 um, inf um"),
        ((0.5, 0.25, None), ("um", "um", None), "a voxel size x, y, z of 0.5 um, 0.25 um, nothing"),
    ],
)
def test_a_size_that_is_missing_or_none_stops(sizes, units, found):
    with pytest.raises(OptionError) as refused:
        told(sizes, units)
    assert str(refused.value) == (
        f"a.tif: its metadata tells {found}, expected three lengths above 0 with their units: "
        "add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


@given(st.floats(1e-6, 1e6), st.sampled_from(["nm", "um", "mm", "angstrom"]))
def test_a_size_keeps_its_value(size, unit):
    assert told((size, size, size), (unit, unit, unit)) == pytest.approx((size * unit_nm(unit),) * 3, rel=1e-11)
