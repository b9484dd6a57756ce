"""Functions of numbers and arrays as machine code, kept between runs where a folder for that can be written."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def compiled(function: FunctionT) -> FunctionT:
    """Return a function as numba compiles it at its first call."""
    import numba

    try:
        found: Any = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function)
    except RuntimeError:
        # There is no folder that could be written: it is compiled in each process.
        found = numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    return cast(FunctionT, found)


def are_kept(sources: Iterable[Path]) -> bool:
    """Tell whether what was compiled from each of these modules lies beside it, newer than the module."""
    return all(_is_kept(source) for source in sources)


def _is_kept(source: Path) -> bool:
    try:
        changed = source.stat().st_mtime
        return any(kept.stat().st_mtime >= changed for kept in (source.parent / "__pycache__").glob(f"{source.stem}.*.nbi"))
    except OSError:
        return False
