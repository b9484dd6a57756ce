"""The options of `glassine label`."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from converters.options import ConvertOptions, LayoutOptions, Options, ReadingOptions, RunOptions, ScaleOptions

OTSU = "otsu"


def _whole(value: object) -> object:
    """Return the number that digits tell; what is no text is left for pydantic to check."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Connectivity = Annotated[Literal[6, 18, 26], BeforeValidator(_whole)]


class MaskOptions(Options):
    """Which voxels become labels."""

    threshold: str = Field(
        OTSU,
        pattern=r"^(otsu|[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?)$",
        description="Voxels above this grey value are taken; otsu finds it from the histogram.",
    )
    delta: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Neighbours belong together only when their grey values differ by at most this; all do when left out.",
    )
    smooth: float | None = Field(
        None,
        gt=0,
        le=64,
        allow_inf_nan=False,
        description="Standard deviation in voxels of a Gaussian that smooths the grey values first, cut off at four of them.",
    )

    @field_validator("threshold")
    @classmethod
    def _finite(cls, text: str) -> str:
        if text != OTSU and not math.isfinite(float(text)):
            raise ValueError("expected a number that float64 holds")
        return text

    @property
    def level(self) -> float | None:
        """The threshold as a number, None for otsu."""
        return None if self.threshold == OTSU else float(self.threshold)


class _SizeOptions(Options):
    """Which components are kept."""

    min_size: int = Field(1, ge=1, description="Components of fewer voxels are left out.")
    max_size: int | None = Field(None, ge=1, description="Components of more voxels are left out.")


class NeighbourOptions(Options):
    """Which voxels are one component."""

    connectivity: Connectivity = Field(
        26, description="Which neighbours belong together: 6 over faces, 18 over edges too, 26 over corners too."
    )


class ComponentOptions(NeighbourOptions, _SizeOptions, MaskOptions):
    """Which voxels become which label, and where these are told."""

    table: str | None = Field(
        None, min_length=1, description="File for the table of components too, CSV; it is .glassine/components.csv in any case."
    )


class LabelOptions(RunOptions, LayoutOptions, ReadingOptions, ScaleOptions, ComponentOptions):
    """How a grey volume becomes a segmentation."""


def volume_options(options: LabelOptions) -> ConvertOptions:
    """Return how the labels become a volume."""
    shared: dict[str, Any] = options.model_dump(include=set(ConvertOptions.model_fields))
    return ConvertOptions.model_validate({**shared, "type": "segmentation"})
