"""Small files that unpack to more than there is memory: the decoders, and a real server whose memory is watched."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from formats.info import sharding_members
from tests.app.data.asking import Served, write_files
from tests.e2e.fronted import App, running_app
from tests.security import decoders, packed
from tests.security.amount import cases
from tests.security.fuzzing import fuzz

MIB = cases(300, 10_240)
"""What the server unpacks."""
MOST_GROWTH = 96 << 20
"""Bytes that serving anything may take; a body of 300 MiB would be seen."""


def test_no_bomb_takes_memory(tmp_path: Path) -> None:
    found = fuzz("tests.security.bombs", 1, tmp_path)
    assert found.faults == ()
    assert found.cases >= 20


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A server of bombs: in files with `.gz` and `.br`, in a shard, as an info and as a manifest."""
    folder = tmp_path_factory.mktemp("bombs")
    bomb = packed.gzip_of_zeros(MIB)
    meshes = {"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 16, "lod_scale_multiplier": 1}
    write_files(
        folder / "srv/data",
        {
            "a/info": decoders.volume_info(),
            "a/8_8_8/0.shard": _shard_of(bomb),
            "a/flat/0-64_0-64_0-64.gz": bomb,
            "a/nested/0-64/0-64/0-64.gz": bomb,
            "a/br/0-64_0-64_0-64.br": packed.brotli_of_zeros(MIB),
            "b/info.gz": bomb,
            "c/info": json.dumps({**meshes, "sharding": sharding_members(decoders.SHARDING)}).encode(),
            "c/0.shard": _shard_of(bomb),
        },
    )
    with running_app(folder) as running:
        # What a first request loads is not a body.
        for name in (
            "/data/a/info",
            "/flat/a/info",
            "/flat/c/info",
            "/data/a/nothing",
            "/flat/a/8_8_8/1-9_5-21_64-72",
            "/api/datasets",
        ):
            running.served.ask(name, Host=f"127.0.0.1:{running.port}")
        yield running


def _shard_of(bomb: bytes) -> bytes:
    """Return a shard in which the data of id 0 is a bomb that is packed already."""
    (frame,) = decoders.framed({0: bomb}, decoders.SHARDING).values()
    return frame


def received(served: Served, target: str) -> tuple[int, int]:
    """Return the status of an answer and the bytes that come after it, of which none are kept."""
    with served.connect() as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" % target.encode())
        connection.settimeout(120)
        total, first = 0, b""
        while piece := _receive(connection):
            first = first or piece
            total += len(piece)
        return int(first[9:12]), total


def _receive(connection: socket.socket) -> bytes:
    return connection.recv(1 << 20)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/data/a/flat/0-64_0-64_0-64", 200),
        ("/data/a/nested/0-64_0-64_0-64", 200),
        ("/data/a/br/0-64_0-64_0-64", 200),
        ("/flat/a/8_8_8/-7-1_5-21_64-72", 200),
        ("/data/b/info", 200),
        ("/flat/b/info", 500),
        ("/flat/c/0", 500),
    ],
)
def test_the_server_unpacks_whatever_it_is_in_little_memory(target: str, status: int, app: App) -> None:
    process = psutil.Process(app.pid)
    before = process.memory_info().rss
    found, size = received(app.served, target)
    assert found == status
    if status == 200:
        assert size >= MIB * packed.PIECE
    assert process.memory_info().rss - before < MOST_GROWTH
    assert peak(app.pid) - before < MOST_GROWTH


def peak(pid: int) -> int:
    """Return the most memory that a process has taken, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def test_the_list_of_datasets_reads_no_bomb(app: App) -> None:
    before = psutil.Process(app.pid).memory_info().rss
    answer = app.served.ask("/api/datasets", Host="")
    assert answer.status in (400, 403)
    with app.served.connect() as connection:
        connection.sendall(b"GET /api/datasets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        body = b""
        while piece := connection.recv(1 << 16):
            body += piece
    assert b'"name":"a"' in body
    assert peak(app.pid) - before < MOST_GROWTH
