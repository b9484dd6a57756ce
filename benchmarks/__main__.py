"""`python -m benchmarks NAME [options]`; `python -m benchmarks NAME --help` lists them."""

import sys
from collections.abc import Callable
from importlib import import_module

_NAMES = ("volumes", "serving", "sources", "memory", "meshes", "skeletons", "traces", "latency", "load")


def main(arguments: list[str]) -> int:
    """Run one benchmark and return its exit status; 2 when there is none of that name."""
    if not arguments or arguments[0] not in _NAMES:
        print(f"usage: python -m benchmarks {{{','.join(_NAMES)}}} [options]", file=sys.stderr)
        return 2
    run: Callable[[list[str]], int] = import_module(f"benchmarks.{arguments[0]}").main
    return run(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
