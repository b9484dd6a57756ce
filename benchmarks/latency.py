"""How long chunks take at a fixed rate of requests, alone and while the same server runs a conversion.

The client sends each request at its own time, whether or not earlier ones were answered, and counts from that time on: a server
that falls behind cannot hide it. Runs without and with a conversion are interleaved. The client has a core of its own, as if on
another machine, or its own waiting for a core would be measured; the server and its conversion have the other cores.
"""

import argparse
import gzip
import http.client
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import RunError
from benchmarks.report import machine, progress, table

_ROOT = Path(__file__).parent.parent
_CHUNK_BYTES = 12_000
_CHUNKS = 512
_CONNECTIONS = 32
_WARM_UP_SECONDS = 1.0
_END = b"\r\n\r\n"


@dataclass
class Connection:
    """One connection. sent: when the request that is being answered should have been sent; missing: bytes of its body to come."""

    socket: socket.socket
    sent: float | None = None
    head: bytes = b""
    missing: int = 0

    def read(self) -> bool:
        """Read what is there, and tell whether the answer is complete. Raises RunError for one without 200."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RunError("the server closed a connection")
        if self.missing:
            self.missing -= len(data)
        else:
            self.head += data
            if _END not in self.head:
                return False
            head, _, body = self.head.partition(_END)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RunError(f"expected 200, found {head[:100]!r}")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.missing, self.head = int(length.split(b":")[1]) - len(body), b""
        return self.missing == 0


def main(arguments: list[str]) -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks latency", description=__doc__)
    parser.add_argument("--rate", type=int, default=3000, help="requests a second (default 3000)")
    parser.add_argument("--seconds", type=float, default=8, help="how long one run takes (default 8)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="glassine-latency-") as folder:
        try:
            print(machine(Path(folder)), flush=True)
            print(_compare(Path(folder, "root"), options.rate, options.seconds, options.runs), flush=True)
        except (RunError, OSError) as error:
            print(f"benchmarks latency: {error}", file=sys.stderr)
            return 1
    return 0


def _compare(root: Path, rate: int, seconds: float, runs: int) -> str:
    paths = _make_chunks(root)
    np.save(root / "volume.npy", np.random.default_rng(0).integers(0, 4000, (800, 512, 512), np.uint16))
    found: dict[str, list[float]] = {"alone": [], "with a conversion": []}
    cores = sorted(os.sched_getaffinity(0))
    with _server(root, cores[1:] or cores) as port, _on_cores(cores[:1]):
        _latencies(port, paths, rate, _WARM_UP_SECONDS)
        for number in range(runs):
            for kind, percentiles in found.items():
                os.sync()  # what an earlier run left to write is not this run's
                with _conversion(port, f"made{number}", is_wanted=kind != "alone"):
                    percentiles.append(percentile(_latencies(port, paths, rate, seconds), 99))
                progress(f"run {number + 1}/{runs}, {kind}: p99 {percentiles[-1] * 1e3:.2f} ms")
    return summary(found, rate)


def percentile(seconds: list[float], percent: float) -> float:
    """Return the time that so many percent of the answers took at most."""
    return float(np.percentile(seconds, percent))


def summary(found: dict[str, list[float]], rate: int) -> str:
    """Return the table: p99 of each kind, and its ratio to the first one's."""
    first = statistics.median(next(iter(found.values())))
    rows = [
        (
            kind,
            f"{statistics.median(values) * 1e3:.2f}",
            f"{min(values) * 1e3:.2f}-{max(values) * 1e3:.2f}",
            f"{statistics.median(values) / first:.2f}",
        )
        for kind, values in found.items()
    ]
    load = f"{rate:,} requests/s of chunks of {_CHUNK_BYTES:,} bytes over {_CONNECTIONS} connections"
    title = f"{load}, one server process; the client has a core of its own"
    return f"\n{title}\n\n{table(('', 'p99 ms', 'least-most', 'of alone'), rows)}"


def _make_chunks(root: Path) -> list[str]:
    folder = root / "volume" / "8_8_8"
    paths = []
    for number in range(_CHUNKS):
        parts = [f"{64 * number}-{64 * number + 64}", "0-64", "0-64"]
        path = folder.joinpath(parts[0], parts[1], f"{parts[2]}.gz")
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(os.urandom(_CHUNK_BYTES)))
        paths.append(f"/data/volume/8_8_8/{'_'.join(parts)}")
    return paths


def _latencies(port: int, paths: list[str], rate: int, seconds: float) -> list[float]:
    """Return how long each answer took from the time that its request was due."""
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode() for path in paths]
    idle = deque(Connection(socket.create_connection(("127.0.0.1", port))) for _ in range(_CONNECTIONS))
    everyone = list(idle)
    took: list[float] = []
    number, count, due_since = 0, int(rate * seconds), time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in everyone:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while len(took) < count:
            now = time.perf_counter()
            while idle and number < count and now >= due_since + number / rate:
                connection = idle.popleft()
                connection.sent = due_since + number / rate
                connection.socket.sendall(requests[number % len(requests)])
                number += 1
            wait = due_since + number / rate - time.perf_counter() if idle and number < count else 1.0
            for key, _ in selector.select(max(0.0, wait)):
                if key.data.read():
                    took.append(time.perf_counter() - key.data.sent)
                    idle.append(key.data)
    for connection in everyone:
        connection.socket.close()
    return took


@contextmanager
def _conversion(port: int, dataset: str, *, is_wanted: bool) -> Iterator[None]:
    """Run a conversion on the server while the context lasts. Raises RunError when it was over before."""
    if not is_wanted:
        yield
        return
    options = {"source": "volume.npy", "dataset": dataset, "resolution": [8, 8, 8], "encoding": "png"}
    number = _ask(port, "POST", "/api/jobs", {"command": "convert", "options": options})["id"]
    while not (job := _ask(port, "GET", f"/api/jobs/{number}"))["done"]:
        if job["error"]:
            raise RunError(f"the conversion failed: {job['error']}")
        time.sleep(0.1)
    yield
    state = _ask(port, "GET", f"/api/jobs/{number}")["state"]
    _ask(port, "DELETE", f"/api/jobs/{number}")
    if state != "running":
        raise RunError(f"the conversion was {state} before the run was over: take fewer --seconds")
    while _ask(port, "GET", f"/api/jobs/{number}")["state"] == "running":
        time.sleep(0.1)


def _ask(port: int, method: str, path: str, body: object = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status >= 400:
        raise RunError(f"{method} {path}: {answer.status} {data[:200]!r}")
    members: dict[str, Any] = json.loads(data)
    return members


@contextmanager
def _on_cores(cores: list[int]) -> Iterator[None]:
    """Run this process, and those it starts, on some of the cores while the context lasts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _server(root: Path, cores: list[int]) -> Iterator[int]:
    command = [sys.executable, "-m", "app.entry", "serve", str(root), "--port", "0"]
    with _on_cores(cores):
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RunError("glassine did not start")
        yield int(line.split()[3].rstrip("/").rpartition(":")[2])
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
