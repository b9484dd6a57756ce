"""Numbers as people read them."""

from collections.abc import Sequence


def amount(number: float, unit: str) -> str:
    """Return a number with its unit and three digits, such as `12.3 MB` or `1.05 Mvoxels`; unit: bytes or voxels."""
    name = "B" if unit == "bytes" else unit
    value, prefixes = float(number), ["", "k", "M", "G", "T"]
    while abs(value) >= 999.5 and len(prefixes) > 1:
        value /= 1000
        prefixes.pop(0)
    return f"{_three_digits(value)} {prefixes[0]}{name}"


def duration(seconds: float) -> str:
    """Return a time such as `0.8 s`, `12 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def lengths(nanometres: Sequence[float]) -> str:
    """Return lengths along x, y, z in one unit, such as `4 x 4 x 40 nm` or `1 x 1 x 1.2 mm`."""
    smallest = min(nanometres)
    unit, factor = next((u, f) for u, f in (("mm", 1e6), ("µm", 1e3), ("nm", 1.0)) if smallest >= f / 10 or f == 1)
    return " x ".join(f"{length / factor:.6g}" for length in nanometres) + f" {unit}"


def cable(nanometres: float) -> str:
    """Return a length of cable in a unit that keeps it short, such as `1.234 mm`."""
    unit, factor = next((u, f) for u, f in (("mm", 1e6), ("µm", 1e3), ("nm", 1.0)) if nanometres >= f or f == 1)
    return f"{nanometres / factor:.4g} {unit}"


def voxels(shape: Sequence[int]) -> str:
    """Return extents along x, y, z, such as `197 x 233 x 189`."""
    return " x ".join(str(n) for n in shape)


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"
