"""One server for all: the files of datasets, the web page, the viewer; in this process, in a thread, or in several processes."""

import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.data import DataApp
from app.flat import flat_app
from app.pages import pages_app
from app.preview import Previews, is_allowed, previewed_app
from app.protocol import AtOnceProtocol, Reply
from app.settings import JobSettings
from converters.errors import OptionError, WorkerError
from converters.options import ServeOptions

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 3
"""How long responses that are being sent may take when the server is told to stop."""
_EARLY_SECONDS = 5
"""A worker that ends sooner than this would end again and again."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """The ASGI application: data answers `/data/...`, with the help of previews, flat `/flat/...`, pages all the rest."""

    data: DataApp
    flat: DataApp
    pages: FastAPI
    previews: Previews | None

    def at_once(self, scope: Scope) -> Reply | None:
        """Return the response when nothing has to be waited for (AnswersAtOnce)."""
        files = self._files(scope["path"])
        return files.at_once(scope) if files is not None else None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            files = self._files(path)
            if files is not None:
                return files(scope, receive, send)
            if path == "/healthz":
                return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})(scope, receive, send)
        return self.pages(scope, receive, send)

    def _files(self, path: str) -> DataApp | None:
        """Return what answers a path with files, None where the pages answer it."""
        if path.startswith("/data/") or path == "/data":
            return self.data
        return self.flat if path.startswith("/flat/") or path == "/flat" else None

    def close(self) -> None:
        """End all event streams, which would last for ever, and previews. Call it in the event loop that serves them."""
        self.pages.state.streams.close()
        self.pages.state.jobs.events.close()
        if self.previews is not None:
            self.previews.close()


def create_app(
    root: Path, hosts: frozenset[str] = frozenset(), jobs: JobSettings | None = None, *, previewing: bool = True
) -> Site:
    """Return the application for all datasets below root, and for jobs there.

    hosts: names besides the loopback ones that /api answers to. previewing: show datasets that are being written, for which the
    sources of their conversions are read.
    """
    pages = pages_app(root, hosts, jobs)
    # Behind a proxy on this machine the links begin with the scheme that the browser knows.
    pages.add_middleware(ProxyHeadersMiddleware, trusted_hosts=["127.0.0.1", "::1"])
    previews = Previews() if previewing else None
    return Site(previewed_app(root, previews), flat_app(root), pages, previews)


def serve(
    root: Path,
    options: ServeOptions,
    started: Callable[[str], None],
    hosts: frozenset[str] = frozenset(),
    jobs: JobSettings | None = None,
) -> None:
    """Serve root until Ctrl-C or SIGTERM.

    started: called with the base URL as soon as connections are taken; they are answered once it has returned.
    Raises OptionError when root is no folder or the address cannot be had, WorkerError when a worker does not come up.
    """
    if not root.is_dir():
        raise OptionError(f"{root} is not a folder: give the folder that holds the datasets")
    # uvicorn gives back the signals that it caught, to what was there before.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format=_LOG_FORMAT, level=logging.WARNING)
    with closing(_listener(options.host, options.port)) as listener:
        work = _Work(root, hosts | {options.host}, jobs, listener, is_allowed(options))
        started(_base_url(listener))
        with suppress(KeyboardInterrupt):
            if options.workers == 1:
                work.run()
            else:
                _keep_running(work, options.workers)


@contextmanager
def running(app: Site, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve app in a thread and yield the base URL. Raises OptionError when the address cannot be had."""
    with closing(_listener(host, port)) as listener:
        server = _Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="glassine-server")
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            yield _base_url(listener)
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """uvicorn, set up for one application, which it closes before it waits for open responses."""

    def __init__(self, app: Site) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=AtOnceProtocol,
                ws="none",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close()
        await super().shutdown(sockets)


@dataclass(frozen=True)
class _Work:
    """What one server process does; it can be sent to another process."""

    root: Path
    hosts: frozenset[str]
    jobs: JobSettings | None
    listener: socket.socket
    previewing: bool

    def run(self) -> None:
        _Server(create_app(self.root, self.hosts, self.jobs, previewing=self.previewing)).run([self.listener])

    def run_as_worker(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        logging.basicConfig(format=_LOG_FORMAT, level=logging.WARNING)
        self.run()


def _stop_with_parent() -> None:
    """Stop this worker as soon as its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _keep_running(work: _Work, workers: int) -> None:
    """Run workers until KeyboardInterrupt; one that ends by itself is replaced. Raises WorkerError when it ended at once."""
    processes: dict[SpawnProcess, float] = {}
    try:
        while True:
            while len(processes) < workers:
                process = multiprocessing.get_context("spawn").Process(target=work.run_as_worker)
                processes[process] = time.monotonic()
                _start(process)
            ended = wait([process.sentinel for process in processes])
            for process in [process for process in processes if process.sentinel in ended]:
                _tell_end(process, time.monotonic() - processes.pop(process))
    finally:
        started = [process for process in processes if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _start(process: SpawnProcess) -> None:
    """Start a worker that Ctrl-C does not reach: it goes to the whole process group, and the parent decides what it means.

    The signals are blocked, which the child takes over from its first moment on, and not ignored, which uvicorn would undo.
    """
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    # multiprocessing starts its resource tracker with the first worker, and unblocks both signals when it has.
    resource_tracker.ensure_running()
    # SIGTERM too, so that nothing comes between a process that is started and this process' knowing of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tell_end(process: SpawnProcess, seconds: float) -> None:
    """Log that a worker has ended by itself after so many seconds. Raises WorkerError when the next one would do the same."""
    process.join()
    if seconds < _EARLY_SECONDS:
        raise WorkerError(f"a server process ended with status {process.exitcode} as soon as it was started")
    _log.error("a server process ended with status %s; another one takes its place", process.exitcode)


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on host, a name or an address, and port; 0 takes a free one."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        # Python puts the address behind the system's words.
        reason = "it is already in use" if error.errno == errno.EADDRINUSE else str(error.strerror).split(" (")[0]
        raise OptionError(
            f"cannot listen on port {port} of {host}: {reason}; choose another with --port (0 takes a free one) or --host"
        ) from error


def _base_url(listener: socket.socket) -> str:
    """Return the URL of a listener for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = _ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
