"""`glassine view`."""

import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

from app.commands.convert import convert_and_tell
from app.commands.flags import with_flags
from app.commands.looking import Browser, Port, layers_below, look, served
from app.jobs.child import NICE
from app.links import Layer, viewer_link
from app.preview import planned_layer
from app.settings import read_settings
from converters.options import ConvertOptions
from converters.sources.opening import absolute
from converters.volumes.plan import Plan, make_plan

_SOON_BYTES = 1 << 26
"""Of voxels: what is converted in a second or two is converted before it is looked at."""


@with_flags
def view(source: str, /, *, options: ConvertOptions, port: Port = 0, browser: Browser = True) -> int:
    """Serve SOURCE and open it in the viewer, until Ctrl-C; the picture fills in while it is converted into a cache.

    A second time it is all there; a conversion that Ctrl-C ended goes on. The cache is the folder GLASSINE_CACHE
    (~/.cache/glassine when that is not set); it may be deleted at any time.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    """
    plan = make_plan(source, options)
    folder = read_settings().cache / _cache_key(source, plan, options)
    dataset = folder / (Path(source).name.split(".")[0].strip("*?[]{}") or "volume")
    if not (dataset / "info").exists() and _voxel_bytes(plan) > _SOON_BYTES:
        return _view_meanwhile(source, dataset, plan, options, (port, browser))
    convert_and_tell(source, dataset, options)
    # Once it is served there is nothing that Ctrl-C could interrupt: it is how one ends looking, however early.
    with suppress(KeyboardInterrupt), served(folder, port) as base_url:
        look(viewer_link(layers_below(folder, [dataset.name]), base_url), browser=browser)
    return 0


def _cache_key(source: str, plan: Plan, options: ConvertOptions) -> str:
    """Return a folder's name that is another one when the source, its place or an option changes."""
    known = [absolute(source), plan.source.fingerprint(), options.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _voxel_bytes(plan: Plan) -> int:
    return math.prod(plan.source.shape) * plan.source.num_channels * plan.source.dtype.itemsize


def _view_meanwhile(source: str, dataset: Path, plan: Plan, options: ConvertOptions, how: tuple[int, bool]) -> int:
    """Look at a source while another process converts it. how: the port, and whether to open a browser."""
    port, browser = how
    dataset.parent.mkdir(parents=True, exist_ok=True)
    with served(dataset.parent, port) as base_url:
        with _converting(source, dataset, options) as process, suppress(KeyboardInterrupt):
            if _is_there(f"{base_url}/data/{quote(dataset.name)}/info", process):
                look(viewer_link([_layer(dataset, plan)], base_url), browser=browser)
        # What was wrong the process itself has said; that it was interrupted is no mistake.
        return 1 if process.exitcode == 1 else 0


def _is_there(url: str, process: SpawnProcess) -> bool:
    """Wait until the server knows the dataset that is being written; tell whether the conversion did not fail before."""
    while process.exitcode in (None, 0):
        try:
            urllib.request.urlopen(url).close()
            return True
        except HTTPError as error:
            error.close()  # it holds the connection
        time.sleep(0.1)
    return False


def _layer(dataset: Path, plan: Plan) -> Layer:
    """Return what the link needs to know: of the dataset if it is there already, else of the plan."""
    if (dataset / "info").exists():
        return layers_below(dataset.parent, [dataset.name])[0]
    return planned_layer(dataset.name, plan)


@contextmanager
def _converting(source: str, dataset: Path, options: ConvertOptions) -> Iterator[SpawnProcess]:
    """Convert in another process, which is interrupted when the context is left and then goes on the next time."""
    process = multiprocessing.get_context("spawn").Process(target=_convert, args=(source, dataset, options))
    # Ctrl-C reaches the whole process group, and what it means is decided here: a blocked signal is handed on to the child.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def _convert(source: str, dataset: Path, options: ConvertOptions) -> None:
    """Convert in a process of its own, below others that have something to show, until it is done or terminated."""
    from app.cli import INTERRUPTED, told

    os.nice(NICE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        convert_and_tell(source, dataset, options)
    except KeyboardInterrupt:
        print("glassine: the conversion is not finished; the same command goes on with it", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        print(f"glassine: {told(error)[0]}", file=sys.stderr)
        sys.exit(1)


def _stop_with_parent() -> None:
    """Terminate this process as soon as its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
