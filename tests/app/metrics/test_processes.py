"""A real server of two processes: its metrics are those of both, and of those that were killed."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from tests.app.metrics.conftest import CHUNK
from tests.app.metrics.reading import Samples, of, samples_of

ROOT = Path(__file__).parents[3]
FOUND = "dataset=lab/brain outcome=found scale=8_8_8"
ABSENT = "dataset=lab/brain outcome=absent scale=8_8_8"
PROGRAM = """
import sys
from pathlib import Path
from app import server
from converters.options import ServeOptions

if __name__ == "__main__":
    server._EARLY_SECONDS = 0
    server.serve(Path(sys.argv[1]), ServeOptions(port=0, workers=2), lambda url: print(url, flush=True))
"""


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of two processes, and its URL."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", root],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert list((tmp_path / "temporary").iterdir()) == []


def ask(url: str, path: str) -> None:
    """Ask over a connection of its own, which either process may take."""
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", path)
        connection.getresponse().read()


def told(url: str) -> Samples:
    """Return what the metrics say over a connection of its own."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        return samples_of(client)


def until(url: str, is_so: Callable[[Samples], bool]) -> Samples:
    end = time.monotonic() + 120
    before: Samples = {}
    while not is_so(found := told(url)):
        assert_grown(before, found)
        before = found
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def assert_grown(before: Samples, after: Samples) -> None:
    """Fail unless every counter has at least its value of before."""
    fallen = {
        key: (value, after.get(key))
        for key, value in before.items()
        if re.search("_(total|bucket|count|sum)$", key[0]) and after.get(key, 0) < value
    }
    assert not fallen


def test_metrics_are_those_of_all_processes_and_outlive_them(server: tuple[subprocess.Popen[str], str]) -> None:
    process, url = server
    until(url, lambda found: found["glassine_processes",] == 2)
    for _ in range(60):
        ask(url, f"/data/lab/brain/8_8_8/{CHUNK}")
    for _ in range(40):
        ask(url, "/data/lab/brain/8_8_8/64-128_0-64_0-64")
    before = until(url, lambda found: sum(of(found, "glassine_scale_requests_total").values()) >= 100)
    assert of(before, "glassine_scale_requests_total") == {FOUND: 60, ABSENT: 40}
    assert of(before, "glassine_requests_total")["kind=chunk method=read status=2xx"] == 60
    assert before["process_resident_memory_bytes",] > 2 * (20 << 20)

    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    workers[0].wait(60)
    after = until(url, lambda found: found["glassine_processes_ended_total",] == 1 and found["glassine_processes",] == 2)
    assert_grown(before, after)
    assert of(after, "glassine_scale_requests_total") == {FOUND: 60, ABSENT: 40}

    for _ in range(20):
        ask(url, f"/data/lab/brain/8_8_8/{CHUNK}")
    last = until(url, lambda found: of(found, "glassine_scale_requests_total")[FOUND] >= 80)
    assert_grown(after, last)
    assert of(last, "glassine_scale_requests_total") == {FOUND: 80, ABSENT: 40}

    # What the processes share goes with them, also when the one that started them is killed.
    workers = psutil.Process(process.pid).children()
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
