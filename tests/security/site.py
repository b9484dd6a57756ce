"""A served folder with secrets wherever a path may stray to: beside it, behind links, in private folders, in private datasets."""

import gzip
import json
import random
from pathlib import Path

import brotli

from tests.app.data.asking import write_files
from tests.security import decoders

TOKEN = "a-token-of-the-tests-0123456789"
PUBLIC, PRIVATE, GRANTED = "lab/vol", "lab/private", "lab/granted"
"""Datasets; GRANTED is private too, and links to it are made."""


def _content(size: int) -> bytes:
    """Return bytes of which no short run is in any other content, nor compressible."""
    return random.Random(size).randbytes(size)


def _files(first: int) -> dict[str, bytes]:
    """Return a dataset's files by the names that the viewer has for them, each of a size of its own."""
    names = (
        "flat/0-64_0-64_0-64",
        "flat/-64-0_-128--64_-3-61",
        "nested/0-64_0-64_0-64",
        "nested_gz/0-64_0-64_0-64",
        "br/0-64_0-64_0-64",
        "mesh/12:0",
        "mesh/7",
        "mesh/7.index",
        "a b%c",
        "s/0.shard",
        "~tilde",
    )
    return {name: _content(first + 7 * place) for place, name in enumerate(names)}


FILES = _files(300)
"""Of the public dataset."""
PRIVATE_FILES, GRANTED_FILES = _files(1000), _files(2000)
CHUNKED = {
    "info": decoders.volume_info(),
    **{f"8_8_8/{name}": data for name, data in decoders.chunk_shards().items()},
}
"""Beside them in the public dataset: shards, of which /flat knows the chunks."""
NAMES = (
    *(f"{dataset}/{name}" for dataset in (PUBLIC, PUBLIC, PRIVATE, GRANTED) for name in (*FILES, "info")),
    *(f"{PUBLIC}/{name}" for name in CHUNKED),
    *(f"{PUBLIC}/8_8_8/{decoders.chunk_name(decoders.GRID.chunk_box(cell))}" for cell in list(decoders.GRID.cells())[:3]),
    f"{PUBLIC}/out/secret",
    f"{PUBLIC}/secret",
    f"{PUBLIC}/outer/0-64_0-64_0-64",
    f"{PUBLIC}/record",
    f"{PUBLIC}/.glassine/record.json",
    f"{PUBLIC}/../../../outside/secret",
    f"{PUBLIC}/.hidden/secret",
    f"{PUBLIC}/nested/0-64/0-64/.0-64.7.tmp",
    ".glassine/access.json",
    ".glassine/jobs/1.log",
    "..",
    "../outside/secret",
    "../root.gz",
    "../root-beside/secret",
    "lab",
    "vol",
    "flat",
    "0-64_0-64_0-64",
    "info",
    "outside",
    "secret",
    "0-64",
    "root",
    "/etc/passwd",
    "etc/passwd",
)


def public_contents() -> list[bytes]:
    """Return what anybody may read."""
    chunks = [b"chunk %d " % number * 20 for number in range(200)]
    return [
        *FILES.values(),
        *_stored(FILES).values(),
        *CHUNKED.values(),
        *chunks,
        json.dumps(_unsharded(), indent=1).encode() + b"\n",
    ]


def _unsharded() -> object:
    members = json.loads(CHUNKED["info"])
    for scale in members["scales"]:
        scale.pop("sharding", None)
    return members


def granted_contents() -> list[bytes]:
    """Return what may be read with a grant."""
    return [*GRANTED_FILES.values(), *_stored(GRANTED_FILES).values()]


def private_contents() -> list[bytes]:
    """Return what is in datasets that are not public."""
    return [*PRIVATE_FILES.values(), *_stored(PRIVATE_FILES).values(), *granted_contents()]


def make(base: Path, name: str = "root") -> Path:
    """Write the datasets, below base/name, and the secrets; return the folder to serve, a link to the real one."""
    root = base / name
    for dataset, files in ((PUBLIC, FILES), (PRIVATE, PRIVATE_FILES), (GRANTED, GRANTED_FILES)):
        write_files(root / dataset, _stored(files))
    write_files(root / PUBLIC, CHUNKED)
    secrets = (
        "outside/secret",
        "outside/0-64_0-64_0-64",
        "root-beside/secret",
        f"{name}.gz",
        f"{name}.br",
        "secret",
        f"{name}/.git/config",
        f"{name}/{PUBLIC}/.glassine/record.json",
        f"{name}/{PUBLIC}/.hidden/secret",
        f"{name}/{PUBLIC}/nested/0-64/0-64/.0-64.7.tmp",
        f"{name}/{PUBLIC}/.gz",
        f"{name}/.glassine/jobs/1.log",
        f"{name}/.glassine/uploads/scan",
        f"{name}/lab/.info",
    )
    write_files(base, {secret: _content(5000 + place) for place, secret in enumerate(secrets)})
    write_files(root, {".glassine/access.json": json.dumps({"default": "private", "datasets": {PUBLIC: "public"}}).encode()})
    dataset = root / PUBLIC
    (dataset / "out").symlink_to(base / "outside")
    (dataset / "outer").symlink_to("../../../outside")
    (dataset / "secret").symlink_to(base / "outside" / "secret")
    (dataset / "record").symlink_to(".glassine/record.json")
    (dataset / "gone").symlink_to("nowhere")
    (base / "alias").symlink_to(name)
    return base / "alias"


def _stored(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return files as they lie on the disk."""
    stored = {}
    for name, content in files.items():
        folder, _, last = name.rpartition("/")
        if folder.startswith("nested"):
            last = last.replace("_", "/")
        if folder == "nested_gz":
            last, content = f"{last}.gz", gzip.compress(content, mtime=0)
        if folder == "br":
            last, content = f"{last}.br", brotli.compress(content)
        stored[f"{folder}/{last}" if folder else last] = content
    return stored
