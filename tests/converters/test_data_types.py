from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.data_types import convert_voxels, data_type, layer_type
from converters.errors import ValueRefusedError

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
LABELS = dict.fromkeys(
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32"], "uint32"
) | dict.fromkeys(["uint64", "int64", "float64"], "uint64")
GREY_VALUES = {name: name for name in ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]} | {
    "bool": "uint8",
    "int64": "int32",
    "float16": "float32",
    "float64": "float32",
}


@dataclass(frozen=True)
class Told:
    """What layer_type asks a source."""

    dtype: np.dtype
    label: bool = False


def convert(voxels, layer):
    return convert_voxels(voxels, data_type(voxels.dtype, layer), layer)


@pytest.mark.parametrize("name", INTEGERS + FLOATS)
def test_auto_takes_wide_integers_for_labels(name):
    expected = "segmentation" if name in ("uint32", "int32", "uint64", "int64") else "image"
    for dtype in (np.dtype(name), np.dtype(name).newbyteorder(">")):
        assert layer_type(Told(dtype), "auto") == expected


def test_auto_takes_a_source_that_says_so_for_labels():
    assert layer_type(Told(np.dtype("uint8"), label=True), "auto") == "segmentation"


@pytest.mark.parametrize("requested", ["image", "segmentation"])
def test_what_is_requested_holds(requested):
    assert layer_type(Told(np.dtype("uint64"), label=True), requested) == requested
    assert layer_type(Told(np.dtype("float32")), requested) == requested


@pytest.mark.parametrize("name", INTEGERS + FLOATS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_data_types(name, order):
    dtype = np.dtype(name).newbyteorder(order)
    assert data_type(dtype, "segmentation") == LABELS[name]
    assert data_type(dtype, "image") == GREY_VALUES[name]


@pytest.mark.parametrize(
    ("dtype", "sentence"),
    [
        (
            "complex64",
            "the data type complex64 cannot be shown: these are complex numbers; save their magnitude or phase as float32",
        ),
        ("O", "the data type object cannot be shown: these are Python objects; save them as numbers"),
        ("<U3", "the data type text cannot be shown: these are no numbers; save them as integers or float32"),
        ("S3", "the data type text cannot be shown: these are no numbers; save them as integers or float32"),
        ("datetime64[s]", "cannot be shown: these are dates; save them as numbers"),
        ("timedelta64[s]", "cannot be shown: these are spans of time; save them as numbers"),
        ("u1,u2", "the data type records cannot be shown: these are records of several fields; save one field"),
        ("longdouble", "cannot be shown: these are numbers wider than any type of the viewer; save them as float32"),
    ],
)
@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_what_no_data_type_of_the_viewer_holds_is_refused(dtype, sentence, layer):
    with pytest.raises(ValueRefusedError) as refused:
        data_type(np.dtype(dtype), layer)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layer", ["image", "segmentation"])
@settings(max_examples=20)
@given(data=st.data())
def test_integers_come_out_as_they_were(name, order, layer, data):
    stored = np.dtype(name).newbyteorder(order)
    target = data_type(stored, layer)
    elements = None
    if name != "bool":
        bounds, held = np.iinfo(name), np.iinfo(target)
        elements = st.integers(max(bounds.min, held.min), min(bounds.max, held.max))
    voxels = data.draw(hnp.arrays(stored, hnp.array_shapes(min_dims=4, max_dims=4, max_side=4), elements=elements))
    converted, error = convert_voxels(voxels, target, layer)
    assert converted.dtype == np.dtype(target)
    assert converted.dtype.isnative
    assert error == 0
    assert converted.tolist() == voxels.astype(object).tolist()


@pytest.mark.parametrize(
    ("name", "layer"),
    [(name, "image") for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")]
    + [(name, "segmentation") for name in ("uint32", "int32", "uint64", "int64")],
)
def test_voxels_that_fit_are_not_copied(name, layer):
    voxels = np.asfortranarray(np.arange(24).reshape(2, 3, 4, 1).astype(name))
    converted, _ = convert(voxels, layer)
    assert np.shares_memory(converted, voxels)
    assert converted.flags.f_contiguous


@pytest.mark.parametrize("name", ["uint8", "int16", "float32", "float64", "bool", ">u4"])
@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_voxels_keep_their_memory_order(name, layer):
    converted, _ = convert(np.asfortranarray(np.ones((2, 3, 4, 5), name)), layer)
    assert converted.flags.f_contiguous


def test_ids_are_exact_up_to_the_last():
    ids = np.array([2**53 + 1, 2**64 - 1], np.uint64)
    for voxels in (ids, ids.astype(">u8")):
        assert convert(voxels, "segmentation")[0].tolist() == [2**53 + 1, 2**64 - 1]
    assert convert(np.array([2**53 + 1, 2**63 - 1]), "segmentation")[0].tolist() == [2**53 + 1, 2**63 - 1]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("order", ["<", ">"])
@settings(max_examples=30)
@given(data=st.data())
def test_whole_floats_are_labels(name, order, data):
    largest = {"float16": 65504, "float32": 2**32 - 256, "float64": 2**53}[name]
    whole = st.integers(0, largest).map(lambda n: float(np.dtype(name).type(n))).filter(lambda n: n <= largest)
    voxels = data.draw(hnp.arrays(np.dtype(name).newbyteorder(order), (2, 3, 1, 1), elements=whole))
    converted, error = convert(voxels, "segmentation")
    assert error == 0
    assert converted.dtype == LABELS[name]
    assert [int(n) for n in voxels.flat] == converted.ravel().tolist()


def test_minus_zero_is_label_zero():
    assert convert(np.array([-0.0, 3.0], np.float32), "segmentation")[0].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("voxels", "sentence"),
    [
        (np.array([1, 1.5], np.float32), "the label 1.5 (data type float32) is no whole number"),
        (np.array([1, 0.25], np.float64), "the label 0.25 (data type float64) is no whole number"),
        (np.array([1, 0.25], np.float16), "the label 0.25 (data type float16) is no whole number"),
        (np.array([1, 1.5], ">f4"), "the label 1.5 (data type float32) is no whole number"),
        (np.array([1, np.nan], np.float32), "the label nan (data type float32) is no number"),
        (np.array([1, np.nan], np.float64), "the label nan (data type float64) is no number"),
        (np.array([1, np.inf], np.float16), "the label inf (data type float16) is no number"),
        (np.array([1, -np.inf], np.float64), "the label -inf (data type float64) is no number"),
        (np.array([1, -2], np.float32), "the label -2 (data type float32) is negative"),
        (np.array([1, -2], np.float64), "the label -2 (data type float64) is negative"),
        (np.array([1, -2], np.int8), "the label -2 (data type int8) is negative"),
        (np.array([1, -2], np.int16), "the label -2 (data type int16) is negative"),
        (np.array([1, -2], np.int32), "the label -2 (data type int32) is negative"),
        (np.array([1, -2], ">i4"), "the label -2 (data type int32) is negative"),
        (np.array([1, -2], np.int64), "the label -2 (data type int64) is negative"),
        (
            np.array([1, 2.0**32], np.float32),
            "the label 4294967296 (data type float32) is above 4294967295, the largest uint32",
        ),
        (np.array([1, 3e38], np.float32), "is above 4294967295, the largest uint32"),
        (np.array([2.0**53 + 2]), "the label 9007199254740994 (data type float64) is above 2^53, where float64"),
        (np.array([1, 2.0**63]), "is above 2^53, where float64"),
        (np.array([1, 1e300]), "is above 2^53, where float64"),
    ],
)
def test_labels_that_are_none_are_refused_with_what_was_found(voxels, sentence):
    with pytest.raises(ValueRefusedError) as refused:
        convert(voxels, "segmentation")
    assert sentence in str(refused.value)
    assert str(refused.value).endswith("labels are whole numbers from 0; for grey values say --type image")


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**62])
@pytest.mark.parametrize("dtype", ["<i8", ">i8"])
def test_grey_values_beyond_int32_are_refused(value, dtype):
    with pytest.raises(ValueRefusedError) as refused:
        convert(np.array([0, value, 5], dtype), "image")
    assert str(refused.value) == (
        f"the value {value} (data type int64) does not fit int32, the widest signed type of the viewer "
        "(-2147483648 to 2147483647): for labels say --type segmentation, else save the array as float32"
    )


@settings(max_examples=50)
@given(hnp.arrays(np.float64, (3, 2, 1, 1), elements=st.floats(-1e30, 1e30)))
def test_float64_grey_values_are_rounded_and_the_largest_error_told(voxels):
    converted, error = convert(voxels, "image")
    assert converted.dtype == np.float32
    assert (converted == voxels.astype(np.float32)).all()
    assert error == max(abs(float(a) - float(b)) for a, b in zip(converted.flat, voxels.flat, strict=True))


def test_what_is_no_number_stays_so_in_an_image_and_is_no_error():
    voxels = np.array([np.nan, np.inf, -np.inf, 0.1])
    converted, error = convert(voxels, "image")
    np.testing.assert_array_equal(converted, voxels.astype(np.float32))
    assert error == abs(float(np.float32(0.1)) - 0.1)
    assert convert(np.array([np.nan]), "image")[1] == 0


def test_float64_grey_values_beyond_float32_are_refused():
    with pytest.raises(ValueRefusedError) as refused:
        convert(np.array([1.0, -1e300]), "image")
    assert str(refused.value) == (
        "the value -1e+300 (data type float64) lies beyond float32, the widest float of the viewer (up to "
        "3.4028234663852886e+38): divide the array by a constant and save it again"
    )


def test_half_floats_become_float32_exactly():
    voxels = np.array([0.1, 65504, np.inf], np.float16)
    assert convert(voxels, "image")[0].tolist() == voxels.tolist()


@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_any_byte_but_zero_is_true(layer):
    voxels = np.array([0, 1, 2, 255], np.uint8).view(bool)
    assert convert(voxels, layer)[0].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("name", INTEGERS + FLOATS)
@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_no_voxels_are_no_error(name, layer):
    converted, error = convert(np.zeros((0, 1, 1, 1), name), layer)
    assert converted.shape == (0, 1, 1, 1)
    assert error == 0


def test_a_target_that_is_not_the_voxels_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="int16 becomes uint32 in a layer of type segmentation, not uint8"):
        convert_voxels(np.zeros(1, np.int16), "uint8", "segmentation")
