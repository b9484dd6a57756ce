"""Work in a process of its own, so that tests can kill it: `python -m tests.converters.running`.

    convert SOURCE DATASET OPTIONS   a conversion; OPTIONS: ConvertOptions as JSON
    convert-killed N SOURCE ...      the same, killed in the place of the Nth renaming (from 0) for all to see
    label SOURCE DATASET OPTIONS     a labelling; OPTIONS: LabelOptions as JSON
    held SECONDS                     two workers in a call that lets no other thread run
    tasks SECONDS [EXECUTOR]         workers that sleep, two processes without EXECUTOR
    stubborn SECONDS                 the same as tasks, in a process that SIGTERM does not end
    apart SECONDS                    the same as tasks, with workers that are no copies of this process
    beside-a-thread WHAT ...         any of these where there is another thread, so that workers are spawned and not forked

Lines on standard output tell how far it is. Tasks for workers are here too: they import nothing heavy.
"""

import errno
import os
import signal
import sys
import threading
import time
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

# As in app/entry.py: OpenBLAS would start threads as soon as numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from converters.errors import ConverterError, DamagedError, ValueRefusedError
from converters.executor import open_apart, open_executor, run
from formats.errors import DecodeError


def double(number: int) -> int:
    return 2 * number


def process_of(number: int) -> int:
    return os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueRefusedError("the value 3 is refused")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def hold_all_threads(seconds: float) -> None:
    """Sleep in a call that lets no other thread of this process run."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


class UnpicklableError(Exception):
    """An error that cannot be made again from its message, as many libraries have them."""

    def __init__(self, place: str, number: int) -> None:
        super().__init__(f"{place} is odd")
        self.number = number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise UnpicklableError("block 3", number)
    return number


def damaged_at_three(number: int) -> int:
    if number == 3:
        raise DamagedError("block 3 is cut short")
    return number


def full_at_three(number: int) -> int:
    if number == 3:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/0-64")
    return number


def undecodable_at_three(number: int) -> int:
    if number == 3:
        raise DecodeError("chunk 3 has 7 bytes, expected 8")
    return number


def leave_number(work: tuple[float, int]) -> int:
    """Sleep some seconds and return a number."""
    seconds, number = work
    time.sleep(seconds)
    return number


def leave_traces(trace: tuple[str, float, int]) -> int:
    """Write a file into a folder, sleep some seconds, write another one."""
    folder, seconds, number = trace
    Path(folder, f"begun{number}").touch()
    time.sleep(seconds)
    Path(folder, f"ended{number}").touch()
    return number


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Do what the arguments say; the exit status is 130 after Ctrl-C and 1 after an error, which is told on standard error."""
    try:
        if arguments[0] == "beside-a-thread":
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            arguments = arguments[1:]
        say("begin")
        if arguments[0] == "tasks":
            _tasks(float(arguments[1]), *arguments[2:])
        elif arguments[0] == "stubborn":
            signal.signal(signal.SIGTERM, lambda number, frame: None)
            _tasks(float(arguments[1]))
        elif arguments[0] == "apart":
            _work(open_apart(2), float(arguments[1]))
        elif arguments[0] == "held":
            _held(float(arguments[1]))
        elif arguments[0] == "convert-killed":
            _die_renaming(int(arguments[1]), Path(arguments[3]))
            _convert(*arguments[2:])
        elif arguments[0] == "label":
            _label(*arguments[1:])
        else:
            _convert(*arguments[1:])
    except KeyboardInterrupt:
        return 130
    except ConverterError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _tasks(seconds: float, name: str = "processes:2") -> None:
    _work(open_executor(name), seconds)


def _work(opened: Executor, seconds: float) -> None:
    with opened as executor:
        for _, process in run(executor, sleep, [seconds] * 1000, max_pending=4):
            say("worked", process)


def _held(seconds: float) -> None:
    with open_executor("processes:2") as executor:
        list(run(executor, hold_all_threads, [seconds] * 2, max_pending=2))


def _convert(source: str, dataset: str, options: str) -> None:
    from converters.options import ConvertOptions
    from converters.volumes.conversion import convert

    summary = convert(
        Path(source),
        Path(dataset),
        ConvertOptions.model_validate_json(options),
        lambda progress: say(progress.step, progress.done, progress.total),
    )
    say("already" if summary.already else "done")


def _label(source: str, dataset: str, options: str) -> None:
    from converters.labels.conversion import label
    from converters.labels.options import LabelOptions

    summary = label(
        source,
        Path(dataset),
        LabelOptions.model_validate_json(options),
        lambda progress: say(progress.step, progress.done, progress.total),
    )
    say("already" if summary.already else "done")


def _die_renaming(count: int, dataset: Path) -> None:
    """Kill this process in the place of the (count + 1)th renaming to a place that is not the run's own."""
    rename, left = os.replace, [count]

    def replace(old: Any, new: Any) -> None:
        place = Path(new).relative_to(dataset).parts
        if place[0] != ".glassine" or place[1] in ("outgoing", "thumbnail.png", "record.json"):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        rename(old, new)

    os.replace = replace


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
