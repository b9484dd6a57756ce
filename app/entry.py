"""The `glassine` command.

Spawned workers import this module again, so it imports nothing heavy.
"""

import atexit
import gc
import os
import sys

# Importing makes hundreds of thousands of objects that stay: looking through them again and again takes a tenth of the start.
gc.set_threshold(50_000)
# Before they go with the process anyway, the interpreter would look through them at its end: a tenth of a second.
atexit.register(gc.freeze)


def main() -> None:
    """Run the command line; the exit status is 0 done, 1 problem found or conversion failed, 2 wrong usage."""
    # One thread in each process: the work is cut into processes, and OpenBLAS's threads cost start-up time and memory.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from app.cli import run
    from app.kernels import keep_kernels

    keep_kernels()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
