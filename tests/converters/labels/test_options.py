"""The options of `glassine label`."""

from typing import Any

import pytest
from pydantic import ValidationError

from converters.labels.options import LabelOptions, volume_options
from converters.options import ConvertOptions


def test_what_convert_has_too_is_convert_s() -> None:
    shared = set(LabelOptions.model_fields) & set(ConvertOptions.model_fields)
    assert shared == set(ConvertOptions.model_fields) - {"type", "encoding", "jpeg_quality"}
    for name in shared:
        assert LabelOptions.model_fields[name].description == ConvertOptions.model_fields[name].description
        assert LabelOptions.model_fields[name].default == ConvertOptions.model_fields[name].default


def test_labels_become_a_segmentation_without_loss() -> None:
    options = LabelOptions(layout="flat", chunk_size=(8, 8, 8), resolution=(4, 4, 4), memory="2GB", threshold="3")
    expected = ConvertOptions(type="segmentation", layout="flat", chunk_size=(8, 8, 8), resolution=(4, 4, 4), memory="2GB")
    assert volume_options(options) == expected


@pytest.mark.parametrize(
    ("text", "level"), [("otsu", None), ("12", 12), ("-0.5", -0.5), ("1e-3", 0.001), (".5", 0.5), ("+3.", 3)]
)
def test_thresholds(text: str, level: float | None) -> None:
    assert LabelOptions(threshold=text).level == level


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": "nan"},
        {"threshold": "inf"},
        {"threshold": "1e999"},
        {"threshold": "Otsu"},
        {"threshold": ""},
        {"connectivity": 8},
        {"connectivity": "7"},
        {"delta": -1},
        {"delta": float("nan")},
        {"smooth": 0},
        {"smooth": 65},
        {"min_size": 0},
        {"max_size": 0},
        {"table": ""},
        {"encoding": "raw"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LabelOptions.model_validate(wrong)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_connectivity_may_be_text(connectivity: int) -> None:
    assert LabelOptions.model_validate({"connectivity": str(connectivity)}).connectivity == connectivity
