"""What breaks, with real processes: serving goes on, no job is lost, no dataset is half visible. docs/faults.md has the figures.

Servers, jobs' processes and Dask workers that are killed: tests/app/jobs/test_killed.py, tests/converters/test_cluster_*.py.
With GLASSINE_SLOW=1 everything is as large as in docs/faults.md; the figures are properties of the suite (--junit-xml).
"""

import contextlib
import gzip
import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from benchmarks.measure import unshared_bytes
from formats.grid import Triple, chunk_name
from formats.info import parse_volume_info
from tests.app.jobs.conftest import confined, wait_for, wait_until_ended

ROOT = Path(__file__).parents[2]
SLOW = bool(os.environ.get("GLASSINE_SLOW"))
MIB = 1 << 20
CONVERTED = {"resolution": [8, 8, 8], "chunk_size": [16, 16, 16], "encoding": "raw", "memory": "150MB", "executor": "processes:2"}
SECONDS = 120

Tell = Callable[[str, object], None]


@dataclass
class Server:
    """A real server on a folder, which its process may see as another one does (a mount of its own)."""

    process: "subprocess.Popen[str]"
    client: httpx.Client
    root: Path

    @property
    def port(self) -> int:
        assert self.client.base_url.port is not None
        return self.client.base_url.port

    @property
    def seen(self) -> Path:
        """The folder as the server sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.root}")

    def post(self, source: str, dataset: str, **options: Any) -> int:
        """Start a conversion and return its number."""
        body = {"command": "convert", "options": {"source": source, "dataset": dataset, **CONVERTED, **options}}
        answer = self.client.post("/api/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def names(self) -> set[str]:
        """Return the names of the datasets that are listed."""
        return {entry["name"] for entry in self.client.get("/api/datasets").json()["datasets"]}

    def descriptors(self) -> int:
        return psutil.Process(self.process.pid).num_fds()


@contextmanager
def serving(root: Path, *words: str, inside: Sequence[str] = (), inputs: Path | None = None) -> Iterator[Server]:
    """Serve a folder. inside: a command that goes on with what is behind it."""
    command = [*inside, sys.executable, "-m", "app.entry", "serve", str(root), "--port", "0", "--preview", "off", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "GLASSINE_INPUTS": str(inputs or "")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        with httpx.Client(base_url=line.split()[3].rstrip("/"), trust_env=False, timeout=60) as client:
            yield Server(process, client, root)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()


@dataclass
class Visitor:
    """Somebody who goes on looking at a chunk, the next as soon as the last has come."""

    port: int
    path: str
    body: bytes
    seconds: list[float] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the context lasts. What was not answered with the chunk is told at its end."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert self.wrong == []
        assert self.seconds

    def _look(self, ended: threading.Event) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            while not ended.is_set():
                begun = time.perf_counter()
                try:
                    self._ask(connection)
                except (OSError, http.client.HTTPException) as error:
                    self.wrong.append(error)
                    return
                self.seconds.append(time.perf_counter() - begun)
                ended.wait(0.002)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", self.path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body != self.body:
            self.wrong.append((answer.status, len(body)))

    def tell(self, tell: Tell) -> None:
        tell("requests", len(self.seconds))
        tell("p50 ms", round(statistics.median(self.seconds) * 1e3, 2))
        tell("p99 ms", round(float(np.percentile(self.seconds, 99)) * 1e3, 2))


CHUNK = "/data/there/8_8_8/0-64_0-64_0-64"
CONTENT = gzip.compress(os.urandom(100_000), mtime=0)


def write_chunk(root: Path) -> None:
    """Write a chunk that is looked at while something breaks."""
    place = root / "there" / "8_8_8" / "0-64" / "0-64" / "0-64.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)


def visitor(server: Server) -> Visitor:
    return Visitor(server.port, CHUNK, CONTENT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = (tmp_path / "served").resolve()
    folder.mkdir()
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = (tmp_path / "inputs").resolve()
    folder.mkdir()
    return folder


def write_slices(folder: Path, shape: Triple) -> None:
    """Write a folder of pictures of noise, x, y and how many."""
    from PIL import Image

    folder.mkdir()
    voxels = np.random.default_rng(0).integers(0, 255, (shape[2], shape[1], shape[0]), np.uint8)
    for number, page in enumerate(voxels):
        Image.fromarray(page).save(folder / f"{number:04}.png")


def undisturbed(source: Path, tmp_path: Path, **options: Any) -> dict[str, bytes]:
    """Return what the same conversion gives where nothing breaks."""
    words = [f"--{key.replace('_', '-')}={as_word(value)}" for key, value in {**CONVERTED, **options}.items()]
    target = tmp_path / "undisturbed"
    command = [sys.executable, "-m", "app.entry", "convert", str(source), str(target), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return contents(target)


def as_word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def contents(dataset: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a dataset that are served."""
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {
        str(name): (dataset / name).read_bytes() for path in files if ".glassine" not in (name := path.relative_to(dataset)).parts
    }


# The disk -----------------------------------------------------------------------------------------------------------------------


def small_disk(root: Path, size: int) -> Sequence[str]:
    """Return a command that runs what is behind it where root is a disk of so many bytes; the test is skipped without it."""
    inside = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    mount = f"mount -t tmpfs -o size={size} tmpfs '{root}' && "
    tried = subprocess.run([*inside, mount + "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no small disk can be mounted here: {tried.stderr.strip()}")
    return (*inside, mount + 'exec "$0" "$@"')


def working_on(server: Server) -> list[psutil.Process]:
    """Return the processes of jobs."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def fill(server: Server, left: int) -> Path:
    """Take all of the disk but so many bytes, and return the file that does."""
    place = server.seen / "filler"
    with place.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room(server) - left)
    return place


def room(server: Server) -> int:
    """Return the bytes that are free on the disk."""
    stat = os.statvfs(server.seen)
    return stat.f_bavail * stat.f_frsize


@confined
def test_a_disk_that_fills_up_during_a_job(root: Path, inputs: Path, tmp_path: Path) -> None:
    write_slices(inputs / "slices", (256, 256, 128) if SLOW else (96, 96, 64))
    whole = undisturbed(inputs / "slices", tmp_path)
    size = sum(map(len, whole.values()))
    with serving(root, inside=small_disk(root, 4 * size + 8 * MIB), inputs=inputs) as server:
        write_chunk(server.seen)
        filler = fill(server, size // 2 + MIB)
        with visitor(server).looking():
            number = server.post(str(inputs / "slices"), "d")
            wait_until(lambda: room(server) < MIB // 4 or server.client.get(f"/api/jobs/{number}").json()["state"] == "failed")
            wait_until(lambda: not working_on(server))
            assert [job["id"] for job in server.client.get("/api/jobs").json()["jobs"]] == [number]
            assert server.names() == set()
            assert server.client.get("/data/d/info").status_code == 404
            filler.unlink()
            job = wait_until_ended(server.client, number)
            # Where not even the failure could be written down, the queue has taken the job up again by itself.
            if job["state"] == "failed":
                assert "no room is left on the disk" in job["error"]
                assert server.client.post(f"/api/jobs/{number}/retry", json={}).status_code == 200
                job = wait_until_ended(server.client, number)
            assert job["state"] == "done", job
            assert server.names() == {"d"}
        assert contents(server.seen / "d") == whole


def test_a_disk_that_fills_up_during_an_upload(root: Path) -> None:
    # The server leaves 256 MiB of the disk to itself.
    length = (64 if SLOW else 4) * MIB
    data = os.urandom(length)
    with serving(root, inside=small_disk(root, 300 * MIB + 2 * length)) as server:
        write_chunk(server.seen)
        headers = {"Content-Type": "application/octet-stream"}

        def pieces() -> Iterator[bytes]:
            yield data[: length // 2]
            # It was let in: only now the disk becomes full.
            wait_until(lambda: server.client.get("/api/uploads/scan.nii").json().get("offset"))
            filler.append(fill(server, length // 2))
            for start in range(length // 2, length, MIB):
                yield data[start : start + MIB]

        filler: list[Path] = []
        with visitor(server).looking():
            answer = server.client.put("/api/uploads/scan.nii", content=pieces(), headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (
                507,
                "no room is left on the disk; what came stays, go on when there is room",
            )
            told = server.client.get("/api/uploads/scan.nii").json()
            assert (told["complete"], 0 < told["offset"] < length) == (False, True)
            refused = server.client.put("/api/uploads/other", content=data, headers=headers)
            assert refused.status_code == 507
            assert "the disk has room for 0 bytes more, not for all of it" in refused.json()["detail"]
            filler[0].unlink()
            rest = {"Content-Range": f"bytes {told['offset']}-{length - 1}/{length}"}
            answer = server.client.put("/api/uploads/scan.nii", content=data[told["offset"] :], headers={**headers, **rest})
            assert (answer.status_code, answer.json()["complete"]) == (201, True)
        assert (server.seen / answer.json()["source"]).read_bytes() == data


# Sources and jobs ---------------------------------------------------------------------------------------------------------------


@confined
def test_a_source_that_vanishes_in_the_middle_of_a_job(root: Path, inputs: Path, tmp_path: Path) -> None:
    write_slices(inputs / "slices", (256, 256, 512) if SLOW else (96, 96, 128))
    write_chunk(root)
    # So little memory that a block is a few slices, and the pictures are opened again and again.
    options = {"memory": "1kB", "executor": "serial"}
    with serving(root, inputs=inputs) as server, visitor(server).looking():
        number = server.post(str(inputs / "slices"), "d", **options)
        wait_for(server.client, number, lambda job: bool(job["done"]))
        (inputs / "slices").rename(inputs / "gone")
        job = wait_until_ended(server.client, number)
        assert job["state"] == "failed", job
        assert str(inputs / "slices") in job["error"]
        assert "Traceback" not in job["error"]
        assert server.names() == set()
        assert server.client.get("/data/d/info").status_code == 404
        (inputs / "gone").rename(inputs / "slices")
        server.client.post(f"/api/jobs/{number}/retry", json={})
        job = wait_until_ended(server.client, number)
        assert job["state"] == "done", job
        assert server.names() == {"d"}
    assert contents(root / "d") == undisturbed(inputs / "slices", tmp_path, **options)


@confined
@pytest.mark.parametrize("workers", [1, 2] if SLOW else [2])
def test_a_job_of_a_server_that_is_told_to_stop_goes_on_with_the_next(
    root: Path, inputs: Path, tmp_path: Path, workers: int
) -> None:
    write_slices(inputs / "slices", (96, 96, 128))
    options = {"memory": "1kB", "executor": "serial"}
    with serving(root, "--workers", str(workers), inputs=inputs) as server:
        number = server.post(str(inputs / "slices"), "d", **options)
        wait_for(server.client, number, lambda job: bool(job["done"]))
        started = psutil.Process(server.process.pid).children(recursive=True)
        server.process.terminate()
        assert server.process.wait(60) == 0
        _, alive = psutil.wait_procs(started, timeout=60)
        assert alive == []
    assert not (root / "d" / "info").exists()
    with serving(root, inputs=inputs) as server:
        job = wait_until_ended(server.client, number)
    assert (job["state"], job["attempts"]) == ("done", 2)
    assert contents(root / "d") == undisturbed(inputs / "slices", tmp_path, **options)


# Shards -------------------------------------------------------------------------------------------------------------------------


def test_a_corrupt_shard(root: Path, inputs: Path) -> None:
    write_slices(inputs / "slices", (96, 96, 48))
    write_chunk(root)
    words = ["--layout=sharded", *(f"--{key.replace('_', '-')}={as_word(value)}" for key, value in CONVERTED.items())]
    command = [sys.executable, "-m", "app.entry", "convert", str(inputs / "slices"), str(root / "d"), *words]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    scales = parse_volume_info((root / "d" / "info").read_bytes()).scales
    fine, coarse = (
        {f"/flat/d/{scale.key}/{chunk_name(scale.grid().chunk_box(cell))}" for cell in np.ndindex(scale.grid().shape)}
        for scale in scales[:2]
    )
    with serving(root) as server, visitor(server).looking():
        before = {name: decoded(server, name).content for name in fine | coarse}
        broken = max(fine)
        with server.client.stream("GET", broken, headers={"Accept-Encoding": "gzip"}) as answer:
            stored = b"".join(answer.iter_raw())
        # The data of one chunk of the fine scale, and the first index of the coarse one.
        (shard,) = (path for path in (root / "d" / scales[0].key).iterdir() if stored in path.read_bytes())
        place = shard.read_bytes().index(stored) + len(stored) // 2
        overwrite(shard, place, bytes(99))
        for shard in (root / "d" / scales[1].key).iterdir():
            overwrite(shard, 0, np.array([1 << 40, (1 << 40) + 99], "<u8").tobytes())
        after = {name: decoded(server, name) for name in before}
    assert len(coarse) < len(fine)
    for name, answer in after.items():
        assert answer.headers["access-control-allow-origin"] == "*"
        if name == broken or name in coarse:
            assert (answer.status_code, "Traceback" in answer.text) == (500, False)
        else:
            assert (answer.status_code, answer.content == before[name]) == (200, True)


def decoded(server: Server, name: str) -> httpx.Response:
    """Ask for what is in a chunk, which the server has to unpack then."""
    return server.client.get(name, headers={"Accept-Encoding": "identity"})


def overwrite(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


# Clients ------------------------------------------------------------------------------------------------------------------------


@dataclass
class Slow:
    """A client that holds the server up as long as it can."""

    kind: str
    connection: socket.socket
    sent: int = 0
    taken: bytes = b""
    is_closed: bool = False

    def go_on(self) -> None:
        """Do as little as there is to do, and see what the server does."""
        with contextlib.suppress(BlockingIOError):
            try:
                if self.kind == "byte by byte":
                    self.sent += self.connection.send(HEAD[self.sent : self.sent + 1])
                if self.kind != "takes nothing":
                    data = self.connection.recv(1)
                    self.taken += data
                    self.is_closed = not data
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                self.is_closed = True


HEAD = b"GET /data/there/large HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"x" * 1000 + b"\r\n\r\n"
KINDS = {"half a head": HEAD[:40], "byte by byte": b"", "takes nothing": HEAD, "takes a byte a second": HEAD}


def slow_client(port: int, kind: str) -> Slow:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(KINDS[kind])
    connection.setblocking(False)
    return Slow(kind, connection)


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[list[Slow]]:
    """Have so many slow clients at a server, each doing a little once a second."""
    kinds = list(KINDS)
    clients = [slow_client(port, kinds[number % len(kinds)]) for number in range(count)]
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(1):
            for client in clients:
                if not client.is_closed:
                    client.go_on()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield clients
    finally:
        ended.set()
        thread.join()
        for client in clients:
            client.connection.close()


def wait_until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_slow_clients(root: Path, record_testsuite_property: Tell) -> None:
    write_chunk(root)
    (root / "there" / "large").write_bytes(bytes(8 * MIB))
    count = 500 if SLOW else 60
    with serving(root) as server:
        alone = visitor(server)
        with alone.looking():
            wait_until(lambda: len(alone.seconds) >= 200)
        before, memory = server.descriptors(), unshared_bytes(server.process.pid)
        among = visitor(server)
        with among.looking(), slow_clients(server.port, count) as clients:
            wait_until(lambda: server.descriptors() >= before + count)
            record_testsuite_property("memory MiB for all of them", round((unshared_bytes(server.process.pid) - memory) / MIB, 1))
            wait_until(lambda: len(among.seconds) >= 200)
            if SLOW:
                assert_they_are_cut(clients, lambda: server.descriptors() <= before + 1)
        wait_until(lambda: server.descriptors() <= before)
    for name, of in (("alone", alone), ("among slow clients", among)):
        of.tell(lambda key, value, name=name: record_testsuite_property(f"{name}: {key}", value))  # type: ignore[misc]


def assert_they_are_cut(clients: list[Slow], are_gone: Callable[[], bool]) -> None:
    """Wait for the limits of time, and look at what they were told."""
    wait_until(are_gone)
    for client in clients:
        if client.kind in ("half a head", "byte by byte"):
            wait_until(lambda client=client: client.is_closed or bool(client.taken))  # type: ignore[misc]


def test_absent_chunks(root: Path, record_testsuite_property: Tell) -> None:
    write_chunk(root)
    warm_up, count = (10_000, 10_000) if SLOW else (500, 1500)
    names = [f"/{prefix}/there/8_8_8/{64 * n}-{64 * n + 64}_64-128_0-64" for n in range(1000) for prefix in ("data", "flat")]
    with serving(root) as server, contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:

        def ask(times: int) -> list[float]:
            took = []
            for number in range(times):
                begun = time.perf_counter()
                connection.request("GET", names[number % len(names)], headers={"Accept-Encoding": "gzip"})
                answer = connection.getresponse()
                answer.read()
                took.append(time.perf_counter() - begun)
                assert answer.status == 404
                assert answer.headers["access-control-allow-origin"] == "*"
            return took

        ask(warm_up)
        memory, descriptors = unshared_bytes(server.process.pid), server.descriptors()
        seconds = ask(count)
        grown = unshared_bytes(server.process.pid) - memory
        assert grown < MIB
        assert server.descriptors() == descriptors
    record_testsuite_property("absent chunks: requests", count)
    record_testsuite_property("absent chunks: memory grown KiB", grown >> 10)
    record_testsuite_property("absent chunks: p99 ms", round(float(np.percentile(seconds, 99)) * 1e3, 2))
