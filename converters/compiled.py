"""Functions of numbers and arrays as machine code, kept between runs where a folder for that can be written.

What is kept is numba's, in the folders that numba chooses: `__pycache__` beside the module, else one of the user's.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MARK = b"from converters.compiled import"


def compiled(function: FunctionT) -> FunctionT:
    """Return a function as numba compiles it at its first call."""
    import numba

    found: Any = numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    # Where there is no folder that could be written it is compiled in each process.
    with suppress(RuntimeError):
        found._cache = _kept_code()(function)
    return cast(FunctionT, found)


def are_kept(sources: Iterable[Path]) -> bool:
    """Tell whether what was compiled from each of these modules lies beside it, newer than all of them."""
    modules = list(sources)
    try:
        changed = max(source.stat().st_mtime for source in modules)
        return all(_kept_since(source) >= changed for source in modules)
    except OSError:
        return False


def _kept_since(source: Path) -> float:
    return max((kept.stat().st_mtime for kept in (source.parent / "__pycache__").glob(f"{source.stem}.*.nbi")), default=0.0)


@cache
def _kept_code() -> Any:
    """Return the class of what keeps a function's code."""
    from numba.core import caching

    numba_code: Any = caching.FunctionCache

    class KeptCode(numba_code):  # type: ignore[misc]
        """Code on disk that is never in the way: what cannot be read is made again, what cannot be written is not kept."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:
                # A file that is damaged can raise anything; an index that names none takes the place of this one.
                self._try(self.flush)
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            self._try(lambda: super(KeptCode, self).save_overload(sig, data))

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            # numba looks at the function's own file, but code of other modules is compiled into it.
            return *super()._index_key(sig, codegen), digest(Path(self._py_func.__code__.co_filename).parent)

        def _try(self, write: Callable[[], None]) -> None:
            try:
                write()
            except OSError:
                self.disable()

    return KeptCode


@cache
def digest(folder: Path) -> str:
    """Return what tells the modules of compiled functions in a folder from what they were before."""
    sources = (path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(b"\0".join(source for source in sources if _MARK in source)).hexdigest()
