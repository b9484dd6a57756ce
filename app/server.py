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
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.access.gate import Gate
from app.access.policy import Policy, policy_of
from app.access.question import PATH as QUESTION
from app.access.question import Question
from app.data import DataApp
from app.flat import flat_app
from app.health import Health
from app.jobs.store import Store
from app.limits import Limits, allow_descriptors
from app.logs import LogSettings, RequestLog, set_up, tell_job
from app.metrics.counted import Counted, Telling
from app.metrics.shared import shared_folder
from app.pages import pages_app
from app.preview import Previews, is_allowed, previewed_app
from app.protocol import AnswersAtOnce, AtOnceProtocol, Reply
from app.settings import NOTHING_SET, AccessSettings, JobSettings, SiteSettings
from app.stopping import END_SECONDS, GRACE_SECONDS, end_in_time, end_now, stop_on_signals, stop_workers
from converters.errors import OptionError, WorkerError
from converters.options import ServeOptions

_BACKLOG = 2048
_THREAD_GRACE_SECONDS = 3
"""How long what is being answered may take when a server in a thread is told to stop."""
_CHECK_TICKS = 10
"""Tenths of a second between two looks at what connections wait for."""
_EARLY_SECONDS = 5
"""A worker that ends sooner than this would end again and again."""
_NEARBY = ["127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
"""Addresses of this machine and of networks without a way to the outside."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """The ASGI application: data answers `/data/...`, with the help of previews, flat `/flat/...`, pages all the rest.

    question: answers a proxy that asks who may read what.
    """

    data: AnswersAtOnce
    flat: AnswersAtOnce
    question: Question
    pages: FastAPI
    previews: Previews | None
    health: Health

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
                return self.health(scope, receive, send)
        return self.pages(scope, receive, send)

    def _files(self, path: str) -> AnswersAtOnce | None:
        """Return what answers a path with files, or about them, None where the pages answer it."""
        if path.startswith("/data/") or path == "/data":
            return self.data
        if path.startswith("/flat/") or path == "/flat":
            return self.flat
        return self.question if path == QUESTION else None

    def close(self) -> None:
        """End all event streams, which would last for ever, and previews. Call it in the event loop that serves them."""
        self.pages.state.streams.close()
        self.pages.state.jobs.events.close()
        self.health.stop()
        if self.previews is not None:
            self.previews.close()


def create_app(
    root: Path,
    hosts: frozenset[str] = frozenset(),
    jobs: JobSettings | None = None,
    access: AccessSettings | None = None,
    *,
    previewing: bool = True,
) -> Site:
    """Return the application for all datasets below root, and for jobs there.

    hosts: names besides the loopback ones that /api answers to. access: None where everybody may do everything. previewing: show
    datasets that are being written, for which the sources of their conversions are read.
    """
    policy = policy_of(root, access or AccessSettings())
    pages = pages_app(root, hosts, jobs, policy)
    # Behind a proxy nearby, in another container perhaps, the links begin with the scheme that the browser knows. Who lies about
    # it gets links of no use.
    pages.add_middleware(ProxyHeadersMiddleware, trusted_hosts=_NEARBY)
    previews = Previews() if previewing else None
    data, flat = _gated(previewed_app(root, previews), policy), _gated(flat_app(root), policy)
    return Site(data, flat, Question(policy), pages, previews, Health(root))


def counted(site: Site, root: Path, telling: Telling) -> Counted:
    """Return a site on the datasets below root with all that passes counted, and with /metrics."""
    store: Store = site.pages.state.jobs.store
    app = Counted(site, root, store, telling)
    site.pages.add_route("/metrics", app.metrics, include_in_schema=False)
    return app


def _gated(files: DataApp, policy: Policy) -> AnswersAtOnce:
    return files if policy.is_open and policy.origins.are_all else Gate(files, policy)


def serve(
    root: Path,
    options: ServeOptions,
    started: Callable[[str], None],
    settings: SiteSettings = NOTHING_SET,
) -> None:
    """Serve root until Ctrl-C or SIGTERM.

    started: called with the base URL as soon as connections are taken; they are answered once it has returned.
    Raises OptionError when root is no folder or the address cannot be had, WorkerError when a worker does not come up.
    """
    if not root.is_dir():
        raise OptionError(f"{root} is not a folder: give the folder that holds the datasets")
    log = _log_settings(options, settings)
    set_up(log)
    limits = _limits(options)
    with closing(_listener(options.host, options.port)) as listener, shared_folder(options.workers) as shared:
        work = _Work(root, options.host, settings, listener, is_allowed(options), limits, log, shared)
        # uvicorn gives back the signals that it caught, to what was there before.
        stop_on_signals()
        with suppress(KeyboardInterrupt):
            _log.info("the server starts at %s, processes: %d", _base_url(listener), options.workers)
            started(_base_url(listener))
            if options.workers == 1:
                work.run()
            else:
                _keep_running(work, options.workers)
    _log.info("the server has stopped")


@contextmanager
def running(app: Site | Counted, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve app in a thread and yield the base URL. Raises OptionError when the address cannot be had."""
    with closing(_listener(host, port)) as listener:
        server = _Server(app, Limits(), _THREAD_GRACE_SECONDS)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="glassine-server")
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            yield _base_url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _log_settings(options: ServeOptions, settings: SiteSettings) -> LogSettings:
    tokens = (settings.access.token, settings.access.read_token)
    form = settings.log if options.log == "auto" else options.log
    return LogSettings(form, options.log_requests, tuple(token for token in tokens if token is not None))


def _limits(options: ServeOptions) -> Limits:
    """Return the limits of each server process, which may open as many files as they ask for, if the system lets it."""
    limits = Limits(connections=options.max_connections)
    wanted = limits.descriptors
    allowed = allow_descriptors(wanted)
    if allowed < wanted:
        _log.warning(
            "this system lets a process have %d open files, %d connections may need %d: raise the limit (ulimit -Hn) or "
            "lower --max-connections",
            allowed,
            options.max_connections,
            wanted,
        )
    return limits


class _Server(uvicorn.Server):
    """uvicorn, set up for one application, which it closes before it waits for open responses."""

    def __init__(self, app: Site | Counted, limits: Limits, grace_seconds: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=partial(AtOnceProtocol, limits=limits),  # type: ignore[arg-type]  # it is called, and nothing else
                ws="none",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=grace_seconds,
            )
        )
        self._app = app
        if isinstance(app, Counted):
            app.connections = self.server_state.connections
        self._grace_seconds = grace_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("process %d takes requests", os.getpid())

    async def on_tick(self, counter: int) -> bool:
        """Do what is due, ten times a second."""
        if counter % _CHECK_TICKS == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                cast(AtOnceProtocol, connection).check(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop at the first signal, and end at the second."""
        if self.should_exit:
            end_now(sig, frame)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if threading.current_thread() is threading.main_thread():
            end_in_time(self._grace_seconds + END_SECONDS)
        _log.info("process %d takes no more requests and finishes those that it has", os.getpid())
        self._app.close()
        await super().shutdown(sockets)
        # Now, for uvicorn ends a worker with the signal that told it to stop.
        _log.info("process %d has finished", os.getpid())


@dataclass(frozen=True)
class _Work:
    """What one server process does; it can be sent to another process."""

    root: Path
    host: str
    settings: SiteSettings
    listener: socket.socket
    previewing: bool
    limits: Limits
    log: LogSettings
    shared: Path | None

    def run(self) -> None:
        told = self.settings
        site = create_app(self.root, told.hosts | {self.host}, told.jobs, told.access, previewing=self.previewing)
        site.pages.state.jobs.store.watch(tell_job)
        app = counted(site, self.root, Telling(self.shared, RequestLog(self.log.requests)))
        _Server(app, self.limits, GRACE_SECONDS).run([self.listener])

    def run_as_worker(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        set_up(self.log)
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
        # Connections that nobody would take come to the socket as long as any process has it open.
        work.listener.close()
        stop_workers(processes)


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
