"""Units of length as files spell them, and the voxel size that their metadata tells."""

import math

from converters.errors import OptionError
from converters.geometry import Lengths
from converters.sources.source import SourceOptions

_PREFIXES = {
    "": 1e9, "deci": 1e8, "centi": 1e7, "milli": 1e6, "micro": 1e3, "nano": 1.0, "pico": 1e-3, "femto": 1e-6, "kilo": 1e12,
}  # fmt: skip
_SYMBOLS = {
    "m": 1e9, "dm": 1e8, "cm": 1e7, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "nm": 1.0, "pm": 1e-3, "fm": 1e-6, "km": 1e12,
    "micron": 1e3, "microns": 1e3, "inch": 2.54e7, "inches": 2.54e7, "in": 2.54e7,
    "å": 0.1, "a": 0.1, "angstrom": 0.1, "angstroms": 0.1, "ångström": 0.1, "ångstrom": 0.1,
}  # fmt: skip
_NAMES = {
    f"{prefix}{metre}": nm for prefix, nm in _PREFIXES.items() for metre in ("meter", "metre", "meters", "metres")
} | _SYMBOLS


def unit_nm(unit: str | None) -> float | None:
    """Return how many nm a unit of length is, None for what is none ("pixel", "", null).

    unit: as UDUNITS, OME, ImageJ, NRRD or MRC spell it: "micrometer", "um", "micron", "Å"; ImageJ's escaped micro sign too.
    """
    if unit is None:
        return None
    return _NAMES.get(unit.strip().strip('"').replace("\\u00B5", "µ").replace("\\u00b5", "µ").lower())


def told_resolution(
    name: str, sizes: tuple[float | None, float | None, float | None], units: tuple[str | None, ...], options: SourceOptions
) -> Lengths:
    """Return nm a voxel along x, y, z: the options', else what a source's metadata tells.

    sizes, units: along x, y, z as found, None where the metadata has none. name: of the source, for the message.
    Raises OptionError that says what was found and what to add where a size is missing or no length, or a unit is none.
    """
    if options.resolution is not None:
        return options.resolution
    found = [_length(size, unit) for size, unit in zip(sizes, units, strict=True)]
    x, y, z = found
    if x is None or y is None or z is None:
        each = ", ".join(_told(size, unit) for size, unit in zip(sizes, units, strict=True))
        told = f"a voxel size x, y, z of {each}" if any(size is not None for size in sizes) else "no voxel size"
        raise OptionError(
            f"{name}: its metadata tells {told}, expected three lengths above 0 with their units: "
            "add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
        )
    return x, y, z


def _length(size: float | None, unit: str | None) -> float | None:
    nm = unit_nm(unit)
    if size is None or nm is None or not math.isfinite(size) or size <= 0:
        return None
    return _short(size * nm)


def _short(length: float) -> float:
    """Return a length without the noise of a product such as 0.1 * 1000."""
    short = float(f"{length:.12g}")
    return short if math.isfinite(short) and short > 0 else length


def _told(size: float | None, unit: str | None) -> str:
    if size is None:
        return "nothing"
    return f"{size:g} {unit}" if unit else f"{size:g} without a unit"
