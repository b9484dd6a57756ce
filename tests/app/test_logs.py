"""The log: whole lines that can be read, of what was asked for, without anything secret."""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import logs
from app.jobs.job import Job, State
from app.logs import Answered, LogSettings, RequestLog, set_up, shown_path, tell_job
from app.settings import read_site_settings
from converters.errors import OptionError

GRANT = "~t5x2ab.2.AbCdEfGhIjKlMnOpQrSt_-"
AWKWARD = "s3cret\\'\"%&-token"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def json_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that lines of JSON go to, in the place of standard error."""
    yield from _logging_to(tmp_path / "log", LogSettings("json", secrets=("s3cret-of-the-server", AWKWARD)), monkeypatch)


@pytest.fixture
def text_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same of text."""
    yield from _logging_to(tmp_path / "log", LogSettings("text", secrets=("s3cret-of-the-server", AWKWARD)), monkeypatch)


def _logging_to(path: Path, told: LogSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = logging.getLogger()
    own = [root, *map(logging.getLogger, ("app", "converters", "formats"))]
    levels = [logger.level for logger in own]
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    monkeypatch.setattr(logs, "_STANDARD_ERROR", descriptor)
    set_up(told)
    yield path
    os.close(descriptor)
    logging.captureWarnings(False)
    for logger, level in zip(own, levels, strict=True):
        logger.setLevel(level)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_of_json_tells_when_who_and_what(json_log: Path) -> None:
    logging.getLogger("app.data.route").error("%r cannot be read: %s", "/data/v/8_8_8/0", "it is a folder")
    (line,) = read(json_log)
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(line.pop("time")) < timedelta(minutes=10)
    assert line == {
        "level": "error",
        "logger": "app.data.route",
        "pid": os.getpid(),
        "message": "'/data/v/8_8_8/0' cannot be read: it is a folder",
    }


def test_a_line_of_text_is_one_line(text_log: Path) -> None:
    logging.getLogger("app.x").warning("first\nsecond")
    assert text_log.read_text().split(",", 1)[1][3:] == " WARNING app.x: first\\nsecond\n"


def test_others_tell_only_what_is_wrong(json_log: Path) -> None:
    logging.getLogger("app.x").info("ours")
    logging.getLogger("app.x").debug("too much")
    logging.getLogger("httpx").info("theirs")
    logging.getLogger("asyncio").warning("theirs, wrong")
    assert [line["message"] for line in read(json_log)] == ["ours", "theirs, wrong"]


def test_a_process_that_logs_already_goes_on_with_that() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    set_up(LogSettings())
    assert before == (list(root.handlers), root.level)


def test_a_request_is_told_with_its_numbers(json_log: Path) -> None:
    scope = {"method": "GET", "client": ("192.0.2.7", 4711)}
    RequestLog("all").tell(scope, Answered("/data/lab/brain/8_8_8/0-64_0-64_0-64", 200, 1234, 0.0123456789))
    (line,) = read(json_log)
    assert {name: line[name] for name in ("method", "path", "status", "seconds", "bytes", "client", "dataset", "level")} == {
        "method": "GET",
        "path": "/data/lab/brain/8_8_8/0-64_0-64_0-64",
        "status": 200,
        "seconds": 0.012346,
        "bytes": 1234,
        "client": "192.0.2.7",
        "dataset": "lab/brain",
        "level": "info",
    }
    assert line["message"] == "GET /data/lab/brain/8_8_8/0-64_0-64_0-64 200 in 0.012 s, 1234 bytes, to 192.0.2.7"


def test_a_request_that_the_server_failed_is_a_warning(json_log: Path) -> None:
    RequestLog("errors").tell({"method": "GET"}, Answered("/api/datasets", 500, 0, 1.0))
    (line,) = read(json_log)
    assert (line["level"], line["client"]) == ("warning", "")
    assert "dataset" not in line


@pytest.mark.parametrize(
    ("path", "dataset"),
    [
        ("/data/lab/brain/info", "lab/brain"),
        ("/flat/brain/8_8_8/0-64_0-64_0-64", "brain"),
        ("/data/brain/8_8_8/0.shard", "brain"),
        (f"/data/{GRANT}/lab/brain/info", "lab/brain"),
        ("/data/info", None),
        ("/api/jobs", None),
    ],
)
def test_the_dataset_of_a_request_is_that_of_its_path(json_log: Path, path: str, dataset: str | None) -> None:
    RequestLog("all").tell({"method": "GET"}, Answered(path, 200, 0, 0.0))
    (line,) = read(json_log)
    assert line.get("dataset") == dataset


WANTED = {
    ("GET", "/data/v/info", 200): {"all"},
    ("GET", "/data/v/info", 404): {"all"},
    ("GET", "/data/v/info", 500): {"errors", "changes", "all"},
    ("GET", "/data/v/8_8_8/0-1_0-1_0-1", 503): {"all"},
    ("GET", "/healthz", 503): {"errors", "changes", "all"},
    ("GET", "/api/jobs", 200): {"all"},
    ("POST", "/api/jobs", 201): {"changes", "all"},
    ("POST", "/api/jobs", 403): {"changes", "all"},
    ("DELETE", "/api/session", 200): {"changes", "all"},
    ("PUT", "/api/uploads/scan", 507): {"errors", "changes", "all"},
    ("OPTIONS", "/api/jobs", 405): {"all"},
    ("POST", "/state/1", 200): {"all"},
    ("GET", "/events/1", 0): {"all"},
}


@pytest.mark.parametrize("which", ["errors", "changes", "all"])
def test_which_requests_are_told(which: logs.Which) -> None:
    assert {request for request in WANTED if RequestLog(which).wants(*request)} == {
        request for request, wanted in WANTED.items() if which in wanted
    }


def job(**told: Any) -> Job:
    return Job(id=7, command="convert", options={"source": "https://a/b?token=1"}, created="", dataset="lab/brain", **told)


def test_jobs_are_told_when_they_begin_and_end(json_log: Path) -> None:
    begun = {"started": "2026-11-21T22:00:00.000Z"}
    ended = {**begun, "ended": "2026-11-21T22:00:41.469Z"}
    tell_job(job(state=State.QUEUED))
    tell_job(job(state=State.RUNNING, **begun))
    tell_job(job(state=State.RUNNING, cancelling=True, **begun))
    tell_job(job(state=State.FAILED, error="https://a/b?token=1 cannot be read", **ended))
    tell_job(job(state=State.FAILED, removed=True, **ended))
    told = read(json_log)
    assert [line["message"] for line in told] == [
        "job 7, convert: queued",
        "job 7, convert: running",
        "job 7, convert: is being cancelled",
        "job 7, convert: failed after 41.5 s",
    ]
    assert {name: told[-1][name] for name in ("job", "command", "state", "dataset", "seconds")} == {
        "job": 7,
        "command": "convert",
        "state": "failed",
        "dataset": "lab/brain",
        "seconds": 41.469,
    }
    assert "token" not in json_log.read_text()


def test_an_exception_is_one_line_of_json_with_its_place(json_log: Path) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("app.x").exception("it went wrong")
    (line,) = read(json_log)
    assert line["exception"].startswith("ValueError: two\nlines (")
    assert f"{__file__}:" in line["exception"]
    assert "test_an_exception_is_one_line_of_json_with_its_place" in line["exception"]


def test_an_exception_in_text_keeps_its_traceback(text_log: Path) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("app.x").exception("it went wrong")
    assert text_log.read_text().endswith("ValueError: no\n")
    assert "Traceback" in text_log.read_text()


def test_threads_that_fail_and_warnings_are_lines_too(json_log: Path) -> None:
    def fail() -> None:
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail, name="some-thread")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # pytest has put its own in between
        warnings.warn("old age", DeprecationWarning, stacklevel=1)
    ended, warned = read(json_log)
    assert (ended["message"], ended["level"]) == ("the thread some-thread has ended", "critical")
    assert ended["exception"].startswith("ValueError: in a thread (")
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert "DeprecationWarning: old age" in warned["message"]


@settings(max_examples=60)
@given(st.text(max_size=9000), st.text(max_size=2000), st.text(max_size=9000))
def test_every_line_is_json_that_a_pipe_takes_whole(message: str, path: str, error: str) -> None:
    record = logging.LogRecord("app.x", logging.INFO, "", 0, "%s", (message,), _info(error))
    record.fields = {"path": path, "status": 200}
    line = logs._Json(()).format(record)
    assert len(line.encode("utf-8", "backslashreplace")) < select.PIPE_BUF
    assert "\n" not in line
    assert json.loads(line)["status"] == 200


@settings(max_examples=60)
@given(st.lists(st.text(max_size=9000).map(lambda text: text.replace("\n", "")), max_size=6))
def test_pieces_are_whole_lines_that_a_pipe_takes_at_once(lines: list[str]) -> None:
    pieces = list(logs._pieces("\n".join(lines).encode("utf-8", "backslashreplace")))
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    assert b"".join(pieces).count(b"\n") == max(1, len(lines))


def _info(text: str) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        raise ValueError(text)
    except ValueError as error:
        return ValueError, error, error.__traceback__


SECRETS = [
    f"/data/{GRANT}/v/info",
    "/data/%7Et5x2ab.2.AbCdEfGhIjKlMnOpQrSt_-/v/info",
    "/data/%257et5x2ab.2.AbCdEfGhIjKlMnOpQrSt_-/v/info",
    f"/data/v/{GRANT}",
    "/x/s3cret-of-the-server/y",
    f"/x/{AWKWARD}/y",
    f"/x/{quote(AWKWARD)}/y",
]


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize("form", ["json_log", "text_log"])
def test_nothing_secret_is_told_whoever_logs_it(request: pytest.FixtureRequest, form: str, text: str) -> None:
    path: Path = request.getfixturevalue(form)
    try:
        raise OSError(2, "No such file", text)
    except OSError as error:
        logging.getLogger("a.library").error("%s and %r", text, text, exc_info=error)
    RequestLog("all").tell({"method": "GET"}, Answered(text, 200, 0, 0.0))
    told = path.read_text()
    assert told.count("and") >= 1
    assert "AbCdEf" not in told
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/data/v/info?token=1", "/data/v/info"),
        ("/data/a\nb\r\x1b[31m", "/data/a\\nb\\r\\x1b[31m"),
        (f"/data/{GRANT}/v", "/data/~/v"),
        ("/données", "/données"),
        ("/" + "x" * 600, "/" + "x" * 499 + "..."),
    ],
)
def test_a_path_is_shown_in_one_line_without_what_is_secret(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_settings_of_the_log_show_no_secret() -> None:
    assert "s3cret" not in repr(LogSettings(secrets=("s3cret",)))


@pytest.mark.parametrize(("given_text", "form"), [("", "text"), ("text", "text"), ("json", "json")])
def test_the_environment_may_say_the_form(given_text: str, form: str) -> None:
    assert read_site_settings({"GLASSINE_LOG": given_text}).log == form
    assert read_site_settings({}).log == "text"


def test_another_form_is_one_sentence() -> None:
    with pytest.raises(OptionError, match=r"^GLASSINE_LOG=xml: expected text or json$"):
        read_site_settings({"GLASSINE_LOG": "xml"})


LOUD = """
import logging, sys
from app.logs import LogSettings, set_up
set_up(LogSettings("json"))
for number in range(300):
    logging.getLogger("app.loud").info("%s %d %s", sys.argv[1], number, "x" * (number * 20))
"""


def test_lines_of_several_processes_into_one_pipe_stay_whole() -> None:
    reading, writing = os.pipe()
    processes = [
        subprocess.Popen([sys.executable, "-c", LOUD, name], stderr=writing, cwd=ROOT) for name in ("first", "second", "third")
    ]
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = [json.loads(line)["message"].split()[:2] for line in pipe]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert sorted(told) == sorted([name, str(number)] for name in ("first", "second", "third") for number in range(300))
