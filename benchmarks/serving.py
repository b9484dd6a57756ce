"""glassine and nginx serve the same chunks to wrk on the same machine: requests a second and memory.

1,024 gzip chunks of about 105 kB lie in the nested layout and are asked for by the viewer's flat names, one after the other, over
16 connections. nginx runs twice: with the nginx.conf of this repository, and with the least that finds such chunks (a rewrite and
gzip_static), which is what glassine is compared with. Runs are interleaved: each round runs every server once, and begins with
another one. All servers have the same number of processes, wrk as many threads.

With --flat glassine runs against itself: the same chunks as files below /data, and out of shards below /flat.
"""

import argparse
import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.measure import RunError, unshared_bytes
from benchmarks.report import machine, progress, table
from formats.grid import Triple, chunk_name, compressed_morton_code
from formats.gzip import compress
from formats.info import Scale, Sharding, VolumeInfo, encode_volume_info
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name

_ROOT = Path(__file__).parent.parent
_CHUNK_BYTES = 105_000
_CONNECTIONS = 16
_WARM_UP_SECONDS = 1
_CELLS = [(x, y, z) for x in range(16) for y in range(8) for z in range(8)]
_KEY = "8_8_8"

_LEAST_CONF = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        gzip_static on;
        add_header Access-Control-Allow-Origin *;
        location /data/ {{
            rewrite "^/data/(.+)/(-?[0-9]+--?[0-9]+)_(-?[0-9]+--?[0-9]+)_(-?[0-9]+--?[0-9]+)$" /$1/$2/$3/$4 break;
            rewrite ^/data/(.+)$ /$1 break;
        }}
    }}
}}
"""

_WRK_SCRIPT = """
local names = {}
for name in io.lines(os.getenv("CHUNK_NAMES")) do names[#names + 1] = name end
local next_name = 0
function request()
  next_name = next_name % #names + 1
  return wrk.format("GET", names[next_name], {["Accept-Encoding"] = "gzip"})
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Server:
    """One server: the command that runs it, the requests a second of its runs, and the file with the paths it is asked for.

    behind: another one that it asks.
    """

    name: str
    command: tuple[str, ...]
    port: int
    rates: list[float] = field(default_factory=list)
    names: str = "names.txt"
    behind: "Server | None" = None


@dataclass(frozen=True)
class Bench:
    """folder: holds the chunks, the configurations, the logs. seconds: how long one run takes."""

    folder: Path
    seconds: int

    @property
    def root(self) -> Path:
        """The served folder; nginx.conf wants it under this name."""
        return self.folder / "srv" / "data"

    def glassine(self, workers: int) -> Server:
        command = Path(sys.executable).with_name("glassine")
        port = _free_port()
        return Server("glassine", (str(command), "serve", str(self.root), "--port", str(port), "--workers", str(workers)), port)

    def flat(self, workers: int) -> Server:
        return replace(self.glassine(workers), name="glassine, /flat", names="flat_names.txt")

    def least_nginx(self, workers: int) -> Server:
        """Return an nginx with the least configuration."""
        port = _free_port()
        text = _LEAST_CONF.format(folder=self.folder, root=self.root, workers=workers, port=port)
        return self._nginx("nginx, least", port, text)

    def nginx(self, workers: int) -> Server:
        """Return an nginx with the repository's configuration, and a glassine that it asks who may read."""
        port, behind = _free_port(), self.glassine(1)
        return replace(self._nginx("nginx, nginx.conf", port, self._shipped_conf(workers, port, behind.port)), behind=behind)

    def _nginx(self, name: str, port: int, text: str) -> Server:
        path = self.folder / f"nginx-{port}.conf"
        path.write_text(text)
        arguments = ("-p", str(self.folder), "-c", str(path), "-e", str(self.folder / "start.log"), "-g", "daemon off;")
        return Server(name, (program("nginx"), *arguments), port)

    def _shipped_conf(self, workers: int, port: int, app_port: int) -> str:
        """Return nginx.conf with other paths, ports and number of processes, and connections that last."""
        text = (_ROOT / "nginx.conf").read_text()
        changes = {
            "/srv": f"{self.folder}/srv",
            "/tmp/nginx": f"{self.folder}/nginx",
            "/dev/stderr": f"{self.folder}/error.log",
            "/dev/stdout": f"{self.folder}/access.log",
            "/etc/nginx/tls": f"{self.folder}/no-tls",
            "http://app:8080": f"http://127.0.0.1:{app_port}",
            "listen 8000;": f"listen 127.0.0.1:{port};",
            "worker_processes auto;": f"worker_processes {workers};",
            "keepalive_requests 10000;": "keepalive_requests 1000000000;",
        }
        for before, after in changes.items():
            if before not in text:
                raise RunError(f"nginx.conf has no {before!r} any more: this benchmark changes it")
            text = text.replace(before, after)
        return text


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a server failed or sent wrong bytes."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="glassine-serving-") as folder:
        bench = Bench(Path(folder), options.seconds)
        try:
            print(machine(bench.folder), flush=True)
            _make_chunks(bench)
            servers = _flat_against_data if options.flat else _against_nginx
            for workers in options.workers:
                print(f"\n{_compare(bench, servers(bench, workers), workers, options.runs)}\n", flush=True)
            if not options.flat:
                print(_memory(bench, options.requests), flush=True)
        except (RunError, OSError) as error:
            print(f"benchmarks serving: {error}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks serving", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="how long one run takes (default 5)")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each server (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes of each server (default 1 and 2)")
    parser.add_argument("--requests", type=int, default=200_000, help="requests between two looks at the memory (default 200000)")
    parser.add_argument("--flat", action="store_true", help="compare /flat with /data instead of glassine with nginx")
    return parser


def _against_nginx(bench: Bench, workers: int) -> list[Server]:
    return [bench.least_nginx(workers), bench.nginx(workers), bench.glassine(workers)]


def _flat_against_data(bench: Bench, workers: int) -> list[Server]:
    return [replace(bench.glassine(workers), name="glassine, /data"), bench.flat(workers)]


def _make_chunks(bench: Bench) -> None:
    """Write the chunks, the same in shards, and the lists of what is asked for."""
    names = []
    for cell in _CELLS:
        parts = [f"{64 * n}-{64 * n + 64}" for n in cell]
        path = bench.root.joinpath("volume", _KEY, parts[0], parts[1], f"{parts[2]}.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress(os.urandom(_CHUNK_BYTES)))
        names.append(f"/data/volume/{_KEY}/{'_'.join(parts)}\n")
    _make_shards(bench)
    (bench.folder / "flat_names.txt").write_text("".join(names).replace("/data/", "/flat/"))
    (bench.folder / "names.txt").write_text("".join(names))
    (bench.folder / "wrk.lua").write_text(_WRK_SCRIPT)
    # nginx runs as another user when root starts it.
    bench.folder.chmod(0o755)


def _make_shards(bench: Bench) -> None:
    """Put the chunks into shards too, beside the nested folders, and write an info that tells of the shards."""
    volume = bench.root / "volume"
    size: Triple = (1024, 512, 512)
    sharding = Sharding(2, 2, 6, "identity", "gzip", "gzip")
    scale = Scale(_KEY, size, (8, 8, 8), ((64, 64, 64),), "raw", sharding=sharding)
    ids = np.array([compressed_morton_code(cell, scale.grid().shape) for cell in _CELLS], np.uint64)
    shards, _ = places(ids, sharding)
    for shard in set(shards.tolist()):
        members = np.flatnonzero(shards == shard)
        names = [chunk_name(scale.grid().chunk_box(_CELLS[n])).replace("_", "/") for n in members]
        stored = [(volume / _KEY / f"{name}.gz").read_bytes() for name in names]
        frame = shard_frame(ids[members], np.array([len(data) for data in stored], np.int64), sharding)
        data = b"".join(stored[n] for n in frame.order)
        (volume / _KEY / shard_name(shard, sharding)).write_bytes(frame.head + data + frame.tail)
    (volume / "info").write_bytes(encode_volume_info(VolumeInfo("image", "uint8", 1, (scale,))))


def _compare(bench: Bench, servers: list[Server], workers: int, runs: int) -> str:
    """Run all servers, which have so many processes; return the table, in which the others are compared with the first."""
    for k in range(runs):
        for server in servers[k % len(servers) :] + servers[: k % len(servers)]:
            with _running(bench, server):
                server.rates.append(_rate(bench, server, workers))
            progress(f"run {k + 1}/{runs}, {server.name}, processes: {workers}, {server.rates[-1]:,.0f} requests/s")
    title = f"processes of each: {workers}, {len(_CELLS)} chunks, {_CONNECTIONS} connections, median of {runs}"
    return f"{title}\n\n{summary(servers)}"


def summary(servers: Sequence[Server]) -> str:
    """Return the table of all servers' rates, and their ratios to the first one's."""
    heads = ("", "requests/s", "least-most", "MB/s", f"of {servers[0].name}")
    first = statistics.median(servers[0].rates)
    rows = []
    for server in servers:
        rate = statistics.median(server.rates)
        extremes = f"{min(server.rates):,.0f}-{max(server.rates):,.0f}"
        rows.append((server.name, f"{rate:,.0f}", extremes, f"{rate * _CHUNK_BYTES / 1e6:,.0f}", f"{rate / first:.2f}"))
    return table(heads, rows)


def _memory(bench: Bench, requests: int) -> str:
    """Return a sentence on the memory of one glassine process before and after so many requests."""
    server = bench.glassine(1)
    with _running(bench, server) as pid:
        _wrk(bench, server, 1, bench.seconds)
        before, sent = unshared_bytes(pid), 0
        while sent < requests:
            sent += _wrk(bench, server, 1, bench.seconds)[0]
            progress(f"memory: {sent:,} of {requests:,} requests")
        after = unshared_bytes(pid)
    return f"memory of glassine, one process: {before / 2**20:.1f} MiB, {after / 2**20:.1f} MiB after {sent:,} more requests"


def _rate(bench: Bench, server: Server, threads: int) -> float:
    """Return requests a second."""
    _wrk(bench, server, threads, _WARM_UP_SECONDS)
    requests, seconds = _wrk(bench, server, threads, bench.seconds)
    return requests / seconds


def _wrk(bench: Bench, server: Server, threads: int, seconds: int) -> tuple[int, float]:
    """Run wrk once and return the requests answered and the seconds. Raises RunError unless all were answered with 200."""
    load = (f"-t{threads}", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(bench.folder / "wrk.lua"))
    command = (program("wrk"), *load, f"http://127.0.0.1:{server.port}")
    environment = {**os.environ, "CHUNK_NAMES": str(bench.folder / server.names)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    result = re.search(r"^RESULT (\d+) (\d+) (\d+)$", ended.stdout, re.MULTILINE)
    if result is None or result[3] != "0" or result[1] == "0":
        raise RunError(f"wrk against {server.name}: expected answers without error, found\n{ended.stdout}{ended.stderr}")
    return int(result[1]), int(result[2]) / 1e6


@contextmanager
def _running(bench: Bench, server: Server) -> Iterator[int]:
    """Run a server and what is behind it, check that it sends the chunks as they lie on the disk, and yield its process."""
    with ExitStack() as stack:
        if server.behind is not None:
            stack.enter_context(_running(bench, server.behind))
        pid = stack.enter_context(running(bench, server))
        _check(bench, server)
        yield pid


@contextmanager
def running(bench: Bench, server: Server) -> Iterator[int]:
    """Run a server alone, and yield its process once it listens."""
    log = bench.folder / f"{server.port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(server.command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_until_it_listens(server, process, log)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_it_listens(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise RunError(f"{server.name} ended with exit status {process.returncode}:\n{log.read_text(errors='replace')}")
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RunError(f"{server.name} does not listen on port {server.port}")


def _check(bench: Bench, server: Server) -> None:
    """Ask for some chunks. Raises RunError unless each comes as gzip, byte for byte."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for url in (bench.folder / server.names).read_text().split()[::97]:
        connection.request("GET", url, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        folder, _, name = url.removeprefix("/data/").removeprefix("/flat/").rpartition("/")
        expected = (bench.root / folder / f"{name.replace('_', '/')}.gz").read_bytes()
        if (answer.status, answer.headers["Content-Encoding"], body) != (200, "gzip", expected):
            raise RunError(f"{server.name}: {url}: status {answer.status}, {len(body)} bytes, expected 200 and {len(expected)}")
    connection.close()


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RunError(f"{name} is not installed (Debian: apt install {name})")
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
