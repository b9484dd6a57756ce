"""Many viewers at once: what the real viewer has asked for, over 64 connections, of glassine and of nginx.

The trace (load_trace.json) holds the request lines and headers that Chromium sent while the viewer in it was moved and zoomed
over a volume of four scales whose empty chunks were left out (404), and over the same one in shards (ranges); --record makes
it anew. wrk sends it over and over, each of its threads from another place on. What is not answered as it was then is an
error and ends the benchmark. nginx has the least configuration that finds such files. Runs are interleaved.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import RunError
from benchmarks.report import machine, progress, table
from benchmarks.serving import Bench, Server, program, running

_ROOT = Path(__file__).parent.parent
_TRACE = Path(__file__).with_name("load_trace.json")
_SHAPE = (512, 512, 256)
_DATASETS = {"volume": ("--layout=nested", "--skip-empty"), "sharded": ("--layout=sharded",)}
_LAST_SECONDS = 0.5
"""In these a run asks for one file alone, so that the 404s before are all there and can be counted. No rate tells of them."""

_WRK_SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long seconds; long nanoseconds; } moment; int clock_gettime(int, moment *); ]]
local moment, trace, threads = ffi.new("moment"), dofile(os.getenv("TRACE")), {}
local position, last

local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init()
  absent, after, position = 0, 0, math.floor(#trace * number / tonumber(os.getenv("THREADS")))
  last = now() + tonumber(os.getenv("SECONDS"))
end

function request()
  if now() > last then
    after = after + 1
    return trace[1][2]
  end
  position = position % #trace + 1
  local sent = trace[position]
  if sent[1] >= 400 then absent = absent + 1 end
  return sent[2]
end

function done(summary, latency)
  local errors, sent, rest = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    sent, rest = sent + thread:get("absent"), rest + thread:get("after")
  end
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d\\n", summary.requests - rest, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status, sent,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""

_LINE = r"^RESULT" + r" (\d+)" * 9 + "$"


@dataclass(frozen=True)
class Asked:
    """A request of the trace. headers: besides those that all have. status: what it was answered with."""

    target: str
    headers: dict[str, str]
    status: int


@dataclass(frozen=True)
class Trace:
    """What a viewer has asked for, in its order. headers: what all requests have."""

    headers: dict[str, str]
    requests: list[Asked]

    def all_headers(self, asked: Asked) -> dict[str, str]:
        """Return the headers of one request."""
        return {**self.headers, **asked.headers}


@dataclass(frozen=True)
class Run:
    """One run of wrk. errors: of connections, or another status than in the trace. Times in ms, rate a second."""

    rate: float
    megabytes: float
    errors: int
    median: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Load:
    """What is measured. threads: of wrk."""

    bench: Bench
    connections: int
    threads: int
    runs: dict[str, list[Run]] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a server failed or did not answer as it should."""
    parser = argparse.ArgumentParser("python -m benchmarks load", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long one run takes (default 60)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each server (default 3)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes of each server (default 1 and 2)")
    parser.add_argument("--connections", type=int, default=64, help="connections at a time (default 64)")
    parser.add_argument("--record", action="store_true", help="let Chromium make the trace anew, and measure nothing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="glassine-load-") as folder:
        bench = Bench(Path(folder), options.seconds)
        try:
            _make_datasets(bench)
            if options.record:
                _record(bench)
                return 0
            print(machine(bench.folder), flush=True)
            for workers in options.workers:
                load = Load(bench, options.connections, workers)
                print(f"\n{_compare(load, workers, options.runs)}\n", flush=True)
        except (RunError, OSError) as error:
            print(f"benchmarks load: {error}", file=sys.stderr)
            return 1
    return 0


# The datasets -------------------------------------------------------------------------------------------------------------------


def _make_datasets(bench: Bench) -> None:
    """Write a ball of noise in four scales, with chunks that are left out and in shards."""
    bench.root.mkdir(parents=True)
    bench.folder.chmod(0o755)  # nginx runs as another user when root starts it
    source = bench.folder / "ball.npy"
    x, y, z = (np.linspace(-1, 1, length, dtype=np.float32) for length in _SHAPE)
    inside = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < 0.7
    noise = np.random.default_rng(0).integers(100, 164, _SHAPE, np.uint8)
    np.save(source, np.asfortranarray(noise * inside))
    for name, options in _DATASETS.items():
        words = ("convert", str(source), str(bench.root / name), "--resolution=8,8,8", "--axes=xyz", "--chunk-size=64,64,64")
        command = [sys.executable, "-m", "app.entry", *words, "--scales=4", *options]
        ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RunError(f"the dataset {name} was not made:\n{ended.stderr}")
        progress(f"made the dataset {name}")


# The trace ----------------------------------------------------------------------------------------------------------------------

_MOVES: list[tuple[tuple[float, float, float], float]] = [
    ((256, 256, 128), 8),
    ((256, 256, 128), 4),
    ((256, 256, 128), 2),
    ((256, 256, 128), 1),
    ((100, 256, 128), 1),
    ((100, 100, 64), 1),
    ((400, 300, 200), 2),
    ((400, 300, 30), 1),
    ((256, 30, 128), 1),
]
"""Where the viewer looks: position in voxels, and how many voxels a pixel of a slice has."""
_MOVE = "([x, scale]) => { viewer.position.value = Float32Array.from(x); viewer.crossSectionScale.value = scale; }"
_OF_THE_CONNECTION = ("host", "connection", "content-length")
_FLAGS = ["--no-sandbox", "--no-proxy-server", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
          "--ignore-gpu-blocklist", "--disable-dev-shm-usage", "--disable-background-networking"]  # fmt: skip


def _record(bench: Bench) -> None:
    """Look at the datasets in the real viewer, and keep what it asked for."""
    server = bench.glassine(1)
    with running(bench, server):
        found = _seen_in_chromium(f"http://127.0.0.1:{server.port}")
    headers = dict(set.intersection(*(set(asked.headers.items()) for asked in found)))
    requests = [
        {"target": asked.target, "headers": dict(sorted(asked.headers.items() - headers.items())), "status": asked.status}
        for asked in found
    ]
    lines = ",\n".join(json.dumps(one) for one in requests)
    _TRACE.write_text(f'{{"headers": {json.dumps(dict(sorted(headers.items())))},\n"requests": [\n{lines}\n]}}\n')
    progress(f"{_TRACE.name}: {len(found)} requests, answered with {dict(Counter(asked.status for asked in found))}")


def _seen_in_chromium(url: str) -> list[Asked]:
    """Return what the viewer asks for below /data while it is moved."""
    from playwright.sync_api import sync_playwright

    seen: list[Any] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.on("response", lambda response: seen.append(response))
        page = context.new_page()
        page.goto(_link(url))
        for position, scale in _MOVES:
            page.wait_for_function("typeof viewer !== 'undefined' && viewer.position.value.length === 3")
            page.evaluate(_MOVE, [position, scale])
            before = -1
            while before != len(seen):
                before = len(seen)
                page.wait_for_timeout(2000)
            progress(f"looked at {position}, {scale} voxels a pixel: {len(seen)} requests")
        found = [_asked(response, url) for response in seen if response.url.startswith(f"{url}/data/")]
        browser.close()
    return found


def _link(url: str) -> str:
    from urllib.parse import quote

    layers = [{"type": "image", "name": name, "source": f"precomputed://{url}/data/{name}"} for name in _DATASETS]
    return f"{url}/v/load/#!{quote(json.dumps({'layers': layers, 'layout': '4panel'}))}"


def _asked(response: Any, url: str) -> Asked:
    headers = response.request.all_headers()
    kept = {name: value for name, value in headers.items() if not name.startswith(":") and name not in _OF_THE_CONNECTION}
    kept.pop("referer", None)  # it has the port
    return Asked(response.url.removeprefix(url), kept, response.status)


def read_trace() -> Trace:
    """Return the trace that is kept beside this file."""
    members = json.loads(_TRACE.read_bytes())
    return Trace(members["headers"], [Asked(one["target"], one["headers"], one["status"]) for one in members["requests"]])


def lua_trace(trace: Trace) -> str:
    """Return the trace as a table of Lua: status, and the request as it is sent."""
    rows = []
    for asked in trace.requests:
        lines = [f"GET {asked.target} HTTP/1.1", "host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in trace.all_headers(asked).items()]
        sent = json.dumps("\r\n".join([*lines, "", ""]))
        rows.append(f"{{{asked.status}, {sent}}}")
    return "return {{\n{}\n}}\n".format(",\n".join(rows))


# The load -----------------------------------------------------------------------------------------------------------------------


def _compare(load: Load, workers: int, runs: int) -> str:
    """Run all servers, which have so many processes; return the table."""
    trace = read_trace()
    folder = load.bench.folder
    (folder / "trace.lua").write_text(lua_trace(trace))
    (folder / "load.lua").write_text(_WRK_SCRIPT)
    servers = [load.bench.least_nginx(workers), load.bench.glassine(workers)]
    bodies: dict[str, str] = {}
    for number in range(runs):
        for server in servers if number % 2 == 0 else servers[::-1]:
            with running(load.bench, server):
                _check(server, trace, bodies)
                run = _wrk(load, server)
            load.runs.setdefault(server.name, []).append(run)
            progress(f"run {number + 1}/{runs}, {server.name}: {run.rate:,.0f} requests/s, p99 {run.p99:.1f} ms")
    statuses = Counter(asked.status for asked in trace.requests)
    mix = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    title = f"processes of each: {workers}, {load.connections} connections, {load.bench.seconds} s, median of {runs}"
    title += f", a trace of {mix}"
    return f"{title}\n\n{summary(load.runs)}"


def summary(runs: dict[str, list[Run]]) -> str:
    """Return the table of all servers, and the ratios of their rates to the first one's."""
    first = statistics.median(run.rate for run in next(iter(runs.values())))
    heads = ("", "requests/s", "MB/s", "p50 ms", "p99 ms", "worst p99", "slowest ms", "errors", f"of {next(iter(runs))}")
    rows = []
    for name, of in runs.items():
        rate = statistics.median(run.rate for run in of)
        figures = [statistics.median(each) for each in zip(*((run.megabytes, run.median, run.p99) for run in of), strict=True)]
        worst, slowest = max(run.p99 for run in of), max(run.worst for run in of)
        cells = (f"{figures[0]:,.0f}", f"{figures[1]:.1f}", f"{figures[2]:.1f}", f"{worst:.1f}", f"{slowest:.0f}")
        rows.append((name, f"{rate:,.0f}", *cells, str(sum(run.errors for run in of)), f"{rate / first:.2f}"))
    return table(heads, rows)


def _check(server: Server, trace: Trace, bodies: dict[str, str]) -> None:
    """Ask for everything once. Raises RunError unless statuses are the trace's, and bodies those of the other servers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for asked in trace.requests:
        headers = trace.all_headers(asked)
        connection.request("GET", asked.target, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        # What an error says is each server's own.
        body = hashlib.sha256(data).hexdigest() if answer.status < 400 else ""
        what = f"{asked.target} {headers.get('range', '')}"
        if (answer.status, body) != (asked.status, bodies.setdefault(what, body)):
            raise RunError(f"{server.name}: {what}: {answer.status}, expected {asked.status} with the other server's body")
    connection.close()


def _wrk(load: Load, server: Server) -> Run:
    """Run wrk once. Raises RunError when a connection failed or an answer had another status than in the trace."""
    seconds = load.bench.seconds
    options = (f"-t{load.threads}", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s")
    command = (program("wrk"), *options, "-s", str(load.bench.folder / "load.lua"), f"http://127.0.0.1:{server.port}")
    told = {"TRACE": str(load.bench.folder / "trace.lua"), "THREADS": str(load.threads), "SECONDS": str(seconds - _LAST_SECONDS)}
    ended = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    found = re.search(_LINE, ended.stdout, re.MULTILINE)
    if found is None:
        raise RunError(f"wrk against {server.name} told nothing:\n{ended.stdout}{ended.stderr}")
    run = run_of([int(text) for text in found.groups()])
    if run.errors:
        raise RunError(f"{server.name}: {run.errors} errors:\n{ended.stdout}")
    return run


def run_of(told: Sequence[int]) -> Run:
    """Return a run from what wrk tells.

    told: requests but for those of the last moments; microseconds and bytes of all; errors of connections; answers above 399, and
    how many were to be so; the median, 99th percentile and longest of the times in microseconds.
    """
    requests, microseconds, size, errors, refused, absent, median, p99, longest = told
    seconds = microseconds / 1e6 - _LAST_SECONDS
    return Run(requests / seconds, size / seconds / 1e6, errors + abs(refused - absent), median / 1e3, p99 / 1e3, longest / 1e3)
