"""Where machine code is kept: where numba is told to keep its own."""

import os
from pathlib import Path


def keep_kernels() -> None:
    """Keep this process's kernels, and those of its workers, where the environment says, if it does."""
    if folder := os.environ.get("NUMBA_CACHE_DIR"):
        from converters.native import keep_in

        keep_in(Path(folder))
