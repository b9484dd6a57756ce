"""The server's log: lines of text or JSON on standard error, without tokens, grants, cookies or query strings.

Each line is written at once and none is longer than a pipe takes at once, so that those of several processes stay whole.
"""

import json
import logging
import os
import re
import select
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from starlette.types import Scope

from app.access.grants import split_grant
from app.access.redaction import redacted
from app.jobs.job import Job
from app.metrics.asked import CHUNK, PREFIXES, SHARD, file_kind

Format = Literal["text", "json"]
Which = Literal["errors", "changes", "all"]

_OWN = ("app", "converters", "formats")
"""Loggers that tell what is done; all others only what is wrong."""
_STANDARD_ERROR = 2
_LONGEST_LINE = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes from one process with nothing from another in between."""
_LONGEST_PATH = 500
_LONGEST_CLIENT = 64
"""Characters."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FAILED = 500
_COME_AGAIN = 503
_GRANT = re.compile(r"(~|%(?:25)*7e)[0-9a-z]{1,10}\.[0-9]{1,2}\.[\w-]+", re.ASCII | re.IGNORECASE)

_requests = logging.getLogger("app.requests")
_jobs = logging.getLogger("app.jobs")
_threads = logging.getLogger("app.threads")


@dataclass(frozen=True)
class LogSettings:
    """How the log looks, which requests are in it, and texts that must never be, wherever they come from."""

    format: Format = "text"
    requests: Which = "changes"
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Answered:
    """A request that has ended. status: 0 where the client had gone before. size: bytes of the body. seconds: until its end."""

    path: str
    status: int
    size: int
    seconds: float


def set_up(settings: LogSettings) -> None:
    """Log to standard error from now on; a process that logs somewhere already goes on with that."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = _WholeLines()
    handler.setFormatter({"text": _Text, "json": _Json}[settings.format](settings.secrets))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    # Nothing else comes between the lines.
    logging.captureWarnings(True)
    threading.excepthook = _tell_end_of_thread


def _tell_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        name = ended.thread.name if ended.thread is not None else "unknown"
        _threads.critical("the thread %s has ended", name, exc_info=ended.exc_value)


class RequestLog:
    """The requests in the log. which: errors, those that the server failed; changes, also what changes something; or all."""

    def __init__(self, which: Which) -> None:
        self.which = which

    def wants(self, method: str, path: str, status: int) -> bool:
        """Tell whether a request belongs into the log."""
        if self.which == "all":
            return True
        if status >= _FAILED:
            # A chunk that is not written yet is no failure.
            return not (status == _COME_AGAIN and path.startswith(PREFIXES))
        return self.which == "changes" and method not in _READS and path.startswith("/api/")

    def tell(self, scope: Scope, answered: Answered) -> None:
        """Log a request."""
        method, path = scope["method"], shown_path(answered.path)
        fields = {
            "method": method,
            "path": path,
            "status": answered.status,
            "seconds": round(answered.seconds, 6),
            "bytes": answered.size,
            "client": _shown((scope.get("client") or ("",))[0], _LONGEST_CLIENT),
            "dataset": _dataset(answered.path),
        }
        level = logging.WARNING if answered.status >= _FAILED else logging.INFO
        told = (method, path, answered.status, answered.seconds, answered.size, fields["client"])
        _requests.log(level, "%s %s %d in %.3f s, %d bytes, to %s", *told, extra={"fields": fields})


def tell_job(job: Job) -> None:
    """Log a job whose state has changed."""
    if job.removed:
        return
    fields = {"job": job.id, "command": job.command, "state": str(job.state), "dataset": job.dataset, "seconds": job.seconds}
    doing = "is being cancelled" if job.cancelling else str(job.state)
    after = "" if job.seconds is None else f" after {job.seconds:.1f} s"
    _jobs.info("job %d, %s: %s%s", job.id, job.command, doing, after, extra={"fields": fields})


def shown_path(path: str) -> str:
    """Return a path as a log may show it: in one line, not too long, without grant and query."""
    return _shown(redacted(path), _LONGEST_PATH)


def _shown(text: str, longest: int) -> str:
    shown = repr(text)[1:-1]
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def _dataset(path: str) -> str | None:
    """Return the name of the dataset that a path tells of, there or not."""
    if not path.startswith(PREFIXES):
        return None
    _, below = split_grant(path[len(PREFIXES[0]) - 1 :])
    folder, _, name = below.rpartition("/")
    if file_kind(name) in (CHUNK, SHARD):
        folder = folder.rpartition("/")[0]
    return shown_path(folder.strip("/")) or None


class _WholeLines(logging.Handler):
    """Standard error, which other processes write to as well."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for piece in _pieces(self.format(record).encode("utf-8", "backslashreplace")):
                os.write(_STANDARD_ERROR, piece)
        except Exception:
            self.handleError(record)


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield whole lines, as many at a time as a pipe takes at once."""
    piece = b""
    for line in text.split(b"\n"):
        ended = line[: _LONGEST_LINE - 1] + b"\n"
        if len(piece) + len(ended) > _LONGEST_LINE:
            yield piece
            piece = b""
        piece += ended
    yield piece


class _Hiding(logging.Formatter):
    """What both formats do: nothing secret is shown, whoever logs it."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        # Paths are shown as repr shows them, and may have come encoded.
        self._secrets = {form for secret in secrets for form in (secret, repr(secret)[1:-1], quote(secret, safe=""))}

    def hidden(self, text: str) -> str:
        """Return a text without grants and secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _GRANT.sub("~", text)


class _Text(_Hiding):
    """Lines for people; an exception has several."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = self.hidden(record.getMessage()).replace("\n", "\\n")
        line = f"{moment},{int(record.msecs):03d} {record.levelname} {record.name}: {message}"
        if record.exc_info is None or record.exc_info[0] is None:
            return line
        return f"{line}\n{self.hidden(self.formatException(record.exc_info))}"


class _Json(_Hiding):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": self.hidden(record.getMessage()),
        }
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        for name, value in fields.items():
            if value is not None:
                members[name] = self.hidden(value) if isinstance(value, str) else value
        if record.exc_info is not None and record.exc_info[1] is not None:
            members["exception"] = self.hidden(_in_one_line(record.exc_info[1]))
        return _short_enough(members)


def _in_one_line(error: BaseException) -> str:
    """Return an exception, then where it was raised, the innermost place first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} ({places})"


def _short_enough(members: dict[str, Any]) -> str:
    """Return members as JSON that fits into one line; if need be the longest texts are cut."""
    while True:
        line = json.dumps(members, ensure_ascii=False)
        if len(line.encode("utf-8", "backslashreplace")) < _LONGEST_LINE:
            return line
        longest = max(members, key=lambda name: len(members[name]) if isinstance(members[name], str) else 0)
        members[longest] = f"{members[longest][: len(members[longest]) // 2]}..."
