"""Served folders for the tests of /data."""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pytest

from app.server import create_app, running
from tests.app.data.asking import Served, write_files

PLAIN = bytes(range(256)) * 20
PACKED = gzip.compress(PLAIN)
BROTLI = brotli.compress(PLAIN)
SECRET = b"nobody may read this"
INFO = b'{"@type": "neuroglancer_multiscale_volume"}'

FILES = {
    "info": INFO,
    "packed/info.gz": gzip.compress(INFO),
    "flat/0-64_0-64_0-64": PLAIN,
    "flat/-64-0_-128--64_-3-61": PLAIN,
    "flat_gz/0-64_0-64_0-64.gz": PACKED,
    "nested/0-64/0-64/0-64": PLAIN,
    "nested/-64-0/-128--64/-3-61": PLAIN,
    "nested_gz/0-64/0-64/0-64.gz": PACKED,
    "nested_gz/-64-0/-128--64/-3-61.gz": PACKED,
    "deep/er/8_8_40/0-64/0-64/0-64.gz": PACKED,
    "both/0-64/0-64/0-64": PLAIN,
    "both/0-64/0-64/0-64.gz": gzip.compress(b"the neighbour"),
    "both_flat/0-64_0-64_0-64": PLAIN,
    "both_flat/0-64_0-64_0-64.gz": gzip.compress(b"the neighbour"),
    "shards/0a.shard": PLAIN,
    "mesh/12:0": PLAIN,
    "mesh/13:0.gz": PACKED,
    "flat_br/0-64_0-64_0-64.br": BROTLI,
    "nested_br/0-64/0-64/0-64.br": BROTLI,
    "mesh/14.json": PLAIN,
    "mesh/15": PLAIN,
    "mesh/16.json.gz": PACKED,
    "mesh/17.br": BROTLI,
    "mesh/a b%c?d": PLAIN,
    "mesh/å€": PLAIN,
    "mesh/%2e%2e": PLAIN,
    "empty/0-64_0-64_0-64": b"",
    "corrupt/0-64/0-64/0-64.gz": PACKED[:-6] + b"x" + PACKED[-5:],
    "cut/0-64/0-64/0-64.gz": PACKED[:-20],
    "no_gzip/0-64/0-64/0-64.gz": PLAIN,
    "longer/0-64/0-64/0-64.gz": PACKED + b"more",
    "no_brotli/0-64/0-64/0-64.br": PLAIN,
    "cut_brotli/0-64/0-64/0-64.br": BROTLI[:-20],
    ".glassine/record.json": SECRET,
    "nested/.hidden/0-64": SECRET,
    "nested/0-64/0-64/.0-64.7.tmp": SECRET,
    "folder/.gz": SECRET,
}
"""Below the dataset lab/vol."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """FILES, with links and things that are no files beside them; no test changes them."""
    base = tmp_path_factory.mktemp("site")
    dataset = base / "root" / "lab" / "vol"
    write_files(dataset, FILES)
    (base / "outside").mkdir()
    (base / "outside" / "secret").write_bytes(SECRET)
    (base / "outside" / "0-64_0-64_0-64").write_bytes(SECRET)
    (base / "root-beside").mkdir()
    (base / "root-beside" / "secret").write_bytes(SECRET)
    (dataset / "out").symlink_to(base / "outside")
    (dataset / "secret").symlink_to(base / "outside" / "secret")
    (dataset / "relative_secret").symlink_to("../../../outside/secret")
    (dataset / "beside").symlink_to(base / "root-beside" / "secret")
    (dataset / "device").symlink_to("/dev/zero")
    (dataset / "record").symlink_to(".glassine/record.json")
    (dataset / "link").symlink_to("nested_gz")
    (dataset / "link_to_info").symlink_to(dataset / "info")
    (dataset / "annex").mkdir()
    write_files(base / "root" / ".git" / "annex", {"5f": PLAIN})
    (dataset / "annex" / "0-64_0-64_0-64").symlink_to("../../../.git/annex/5f")
    (dataset / "gone").symlink_to("nowhere")
    (dataset / "loop").symlink_to("loop")
    (dataset / "folders" / "0-64" / "0-64" / "0-64").mkdir(parents=True)
    (dataset / "folders" / "0-64_0-64_64-128").mkdir(parents=True)
    os.mkfifo(dataset / "folders" / "64-128_0-64_0-64")
    (base / "alias").symlink_to("root")
    with running(create_app(base / "alias")) as url:
        yield Served(url, base / "root")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Served]]:
    """A function that serves files of a test's own."""
    root = tmp_path / "root"
    root.mkdir()
    with running(create_app(root)) as url:

        def serve(files: dict[str, bytes]) -> Served:
            write_files(root, files)
            return Served(url, root)

        yield serve
