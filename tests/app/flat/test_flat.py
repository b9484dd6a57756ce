"""`/flat/...` on a real socket: chunks, skeletons and meshes out of shards that tensorstore and cloud-volume wrote."""

import asyncio
import gzip
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.data import body, route
from app.data.lookup import DiskFiles, Stored
from app.flat import shards as shards_module
from app.flat.files import FlatFiles
from app.flat.shards import Minishards
from app.server import create_app, running
from formats.errors import DecodeError
from formats.grid import Grid, chunk_name, compressed_morton_code
from formats.info import Sharding, sharding_members
from formats.meshes.multires import LevelOfDetail, Manifest, encode_manifest
from tests.app.data.asking import Answer, Served, write_files
from tests.formats.sharding.shards import specification, tensorstore_shards

GRID = Grid((-7, 5, 64), (70, 65, 33), (16, 32, 16))
CELLS = list(GRID.cells())
ABSENT = CELLS[17]
"""A chunk that no shard holds."""
CHUNKS = {
    chunk_name(GRID.chunk_box(cell)): bytes(np.random.default_rng(n).integers(0, 3, 200 + n, np.uint8))
    for n, cell in enumerate(CELLS)
    if cell != ABSENT
}
SHARDINGS = {
    "one shard": Sharding(0, 0, 0, "identity", "raw", "raw"),
    "many shards": Sharding(1, 2, 3, "identity", "gzip", "gzip"),
    "many minishards": Sharding(0, 9, 0, "identity", "gzip", "raw"),
    "hashed": Sharding(3, 3, 5, "murmurhash3_x86_128", "raw", "gzip"),
    "a shard a chunk": Sharding(0, 0, 9, "identity", "raw", "raw"),
}


@pytest.fixture(params=["at once", "call"], scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs by two ways: at once from the page cache, and as any ASGI server calls the application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "_LEAST_SENDFILE_BYTES", 1)
        if request.param == "call":
            patch.setattr(route.DataApp, "at_once", lambda *arguments: None)
        yield


@contextmanager
def serving(root: Path, files: dict[str, bytes]) -> Iterator[Served]:
    write_files(root, files)
    with running(create_app(root)) as url:
        yield Served(url, root)


def volume_info(sharding: Sharding, key: str = "8_8_8", **more: Any) -> bytes:
    scale = {
        "key": key,
        "size": GRID.size,
        "resolution": [8, 8, 8.5],
        "voxel_offset": GRID.voxel_offset,
        "chunk_sizes": [GRID.chunk_size],
        "encoding": "raw",
        "sharding": sharding_members(sharding),
        "someone's": {"own": [1, None]},
    }
    plain = {name: value for name, value in scale.items() if name != "sharding"} | {"key": "16_16_16"}
    members = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale, plain], "rois": 3, **more}
    return json.dumps(members).encode()


def volume_files(name: str, sharding: Sharding, key: str = "8_8_8") -> dict[str, bytes]:
    """Return a dataset's files: one scale in shards of tensorstore, and one without."""
    codes = {compressed_morton_code(cell, GRID.shape): chunk_name(GRID.chunk_box(cell)) for cell in CELLS if cell != ABSENT}
    stored = tensorstore_shards({code: CHUNKS[chunk] for code, chunk in codes.items()}, sharding)
    return {
        f"{name}/info": volume_info(sharding, key),
        f"{name}/16_16_16/0-16_0-16_0-16": b"a chunk in a file",
        **{f"{name}/{key}/{file}": data for file, data in stored.items()},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A volume for each way to shard, below a folder."""
    files: dict[str, bytes] = {}
    for name, sharding in SHARDINGS.items():
        files |= volume_files(f"lab/{name.replace(' ', '-')}", sharding)
    files |= volume_files("lab/deep", SHARDINGS["many shards"], "of/three/folders")
    with serving(tmp_path_factory.mktemp("flat"), files) as served:
        yield served


def assert_readable_by_the_viewer(answer: Answer) -> None:
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert "etag" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("accept", ["gzip, br", "identity", None])
@pytest.mark.parametrize("name", SHARDINGS)
def test_every_chunk_is_what_lies_in_the_shards(site: Served, name: str, accept: str | None) -> None:
    folder = f"lab/{name.replace(' ', '-')}/8_8_8"
    whole = b"".join(path.read_bytes() for path in sorted((site.root / folder).iterdir()))
    is_packed = SHARDINGS[name].data_encoding == "gzip"
    tags = set()
    for chunk, data in CHUNKS.items():
        headers = {"Accept_Encoding": accept} if accept else {}
        for _ in range(2):  # the second time the index is known
            answer = site.ask(f"/flat/{folder}/{chunk}", **headers)
            assert (answer.status, answer.decoded) == (200, data)
            as_stored = is_packed and accept == "gzip, br"
            assert answer.headers["Content-Encoding"] == ("gzip" if as_stored else None)
            assert answer.headers["Vary"] == ("accept-encoding" if is_packed else None)
            assert answer.headers["Content-Length"] == str(len(answer.body))
            assert answer.headers["Cache-Control"] == "no-cache"
            assert_readable_by_the_viewer(answer)
            if as_stored or not is_packed:
                assert answer.body in whole, "byte for byte what is inside the shard"
        tags.add(answer.headers["ETag"])
        again = site.ask(f"/flat/{folder}/{chunk}", If_None_Match=answer.headers["ETag"], **headers)
        assert (again.status, again.body) == (304, b"")
    assert len(tags) == len(CHUNKS), "each chunk has an ETag of its own"


def test_a_chunk_that_no_shard_holds_is_absent(site: Served) -> None:
    for name in SHARDINGS:
        answer = site.ask(f"/flat/lab/{name.replace(' ', '-')}/8_8_8/{chunk_name(GRID.chunk_box(ABSENT))}")
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
        assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize(
    "chunk",
    ["0-16_0-16_0-16", "-7-9_5-37_64-79", "-7-10_5-37_64-80", "-23--7_5-37_64-80", "-007-9_5-37_64-80", "57-73_5-37_64-80",
     "9" * 19 + "-" + "9" * 19 + "_5-37_64-80"],
)  # fmt: skip
def test_what_is_no_chunk_of_the_grid_is_absent(site: Served, chunk: str) -> None:
    assert site.ask(f"/flat/lab/one-shard/8_8_8/{chunk}").status == 404


def test_the_info_has_no_shards_and_all_else_that_it_had(site: Served) -> None:
    stored = json.loads((site.root / "lab/one-shard/info").read_bytes())
    for scale in stored["scales"]:
        scale.pop("sharding", None)
    answer = site.ask("/flat/lab/one-shard/info", Accept_Encoding="gzip")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.decoded) == stored
    assert_readable_by_the_viewer(answer)
    again = site.ask("/flat/lab/one-shard/info", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert site.ask("/flat/lab/one-shard/info", If_Modified_Since="Fri, 31 Dec 2100 23:59:59 GMT").status == 200
    head = site.ask("/flat/lab/one-shard/info", "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(answer.decoded)))


def test_scales_may_lie_some_folders_deep(site: Served) -> None:
    chunk, data = next(iter(CHUNKS.items()))
    assert site.ask(f"/flat/lab/deep/of/three/folders/{chunk}").decoded == data


def test_what_is_not_in_shards_is_served_as_below_data(site: Served) -> None:
    for name in ("lab/one-shard/16_16_16/0-16_0-16_0-16", "lab/one-shard/8_8_8/0.shard"):
        flat, data = (site.ask(f"/{prefix}/{name}", Range="bytes=2-5") for prefix in ("flat", "data"))
        assert (flat.status, flat.body, flat.headers["ETag"]) == (206, data.body, data.headers["ETag"])
    assert site.ask("/flat/lab/one-shard/nothing").status == 404
    assert site.ask("/flat/lab").status == site.ask("/flat").status == site.ask("/flat/").status == 404


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_every_other_method_is_answered_as_below_data(site: Served, method: str) -> None:
    flat, data = (site.ask(f"/{prefix}/lab/one-shard/info", method) for prefix in ("flat", "data"))
    assert (flat.status, flat.body) == (data.status, data.body)
    assert_readable_by_the_viewer(flat)


def test_a_part_of_a_chunk_that_is_not_compressed_can_be_had(site: Served) -> None:
    chunk, data = next(iter(CHUNKS.items()))
    answer = site.ask(f"/flat/lab/one-shard/8_8_8/{chunk}", Range="bytes=5-19")
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, data[5:20], f"bytes 5-19/{len(data)}")
    answer = site.ask(f"/flat/lab/one-shard/8_8_8/{chunk}", Range="bytes=0-1,7-8")
    assert answer.status == 206
    assert b"\r\n\r\n" + data[7:9] + b"\r\n" in answer.body
    whole = site.ask(f"/flat/lab/many-shards/8_8_8/{chunk}", Range="bytes=5-19")
    assert (whole.status, whole.decoded) == (200, data)


@pytest.mark.parametrize("path", ["/../secret", "/lab/../../secret", "//etc/passwd", "/lab/one-shard/.glassine/record.json"])
def test_no_path_leads_out(site: Served, path: str) -> None:
    (site.root.parent / "secret").write_bytes(b"secret")
    write_files(site.root, {"lab/one-shard/.glassine/record.json": b"secret"})
    assert site.ask(f"/flat{path}").status == 404


def test_a_shard_behind_a_link_that_leads_out_is_absent(tmp_path: Path) -> None:
    files = volume_files("v", SHARDINGS["one shard"])
    write_files(tmp_path / "outside", {"0.shard": files.pop("v/8_8_8/0.shard")})
    with serving(tmp_path / "root", files) as served:
        (served.root / "v/8_8_8").mkdir()
        (served.root / "v/8_8_8/0.shard").symlink_to(tmp_path / "outside/0.shard")
        assert served.ask(f"/flat/v/8_8_8/{next(iter(CHUNKS))}").status == 404


def test_a_dataset_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    chunk = next(iter(CHUNKS))
    with serving(tmp_path, volume_files("v", SHARDINGS["one shard"])) as served:
        before = served.ask(f"/flat/v/8_8_8/{chunk}")
        sharding = SHARDINGS["many shards"]
        written = volume_files("v", sharding)
        for name, data in written.items():
            (tmp_path / "new").write_bytes(data)
            os.replace(tmp_path / "new", tmp_path / name)
        after = served.ask(f"/flat/v/8_8_8/{chunk}", If_None_Match=before.headers["ETag"])
        assert (after.status, after.decoded) == (200, CHUNKS[chunk])
        assert after.headers["Vary"] == "accept-encoding"


def test_an_info_that_is_packed_or_broken(tmp_path: Path) -> None:
    chunk, data = next(iter(CHUNKS.items()))
    files = volume_files("v", SHARDINGS["one shard"])
    files["v/info.gz"] = gzip.compress(files.pop("v/info"))
    broken = {
        "broken/info": b'{"scales": [',
        "list/info": b"[1]",
        "other/info": b'{"@type": "neuroglancer_skeletons", "sharding": 3}',
    }
    with serving(tmp_path, files | broken) as served:
        assert "sharding" not in served.ask("/flat/v/info").body.decode()
        assert served.ask(f"/flat/v/8_8_8/{chunk}").decoded == data
        for name, content in broken.items():
            answer = served.ask(f"/flat/{name}")
            assert (answer.status, answer.body) == (200, content)
            assert served.ask(f"/flat/{name.removesuffix('info')}8_8_8/0-1_0-1_0-1").status == 404
            assert served.ask(f"/flat/{name.removesuffix('info')}12").status == 404


def test_scales_of_another_folder_stay_in_their_shards(tmp_path: Path) -> None:
    with serving(tmp_path, {"v/info": volume_info(SHARDINGS["one shard"], "../w/8_8_8")}) as served:
        assert served.ask("/flat/v/info").body == volume_info(SHARDINGS["one shard"], "../w/8_8_8")


def test_scales_with_more_chunks_than_ids_stay_in_their_shards(tmp_path: Path) -> None:
    info = volume_info(SHARDINGS["one shard"]).replace(b"[70, 65, 33]", b"[1099511627776, 1099511627776, 1099511627776]")
    with serving(tmp_path, {"v/info": info}) as served:
        assert served.ask("/flat/v/info").body == info
        assert served.ask(f"/flat/v/8_8_8/{next(iter(CHUNKS))}").status == 404


# Skeletons and meshes ---------------------------------------------------------------------------------------------------------

IDS = [0, 1, 7, 2**53 + 1, 2**64 - 1, *range(1000, 1100)]


@pytest.mark.parametrize("sharding", [SHARDINGS["hashed"], SHARDINGS["many shards"]], ids=["hashed", "identity"])
def test_skeletons_that_cloud_volume_wrote(tmp_path: Path, sharding: Sharding) -> None:
    skeletons = {entry_id: b"skeleton %d" % entry_id * 20 for entry_id in IDS}
    stored = specification(sharding).synthesize_shards(skeletons)
    info = {"@type": "neuroglancer_skeletons", "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], "vertex_attributes": []}
    files = {"v/skeletons/info": json.dumps({**info, "sharding": sharding_members(sharding)}).encode()}
    with serving(tmp_path, files | {f"v/skeletons/{name}": data for name, data in stored.items()}) as served:
        assert json.loads(served.ask("/flat/v/skeletons/info").body) == info
        for entry_id, data in skeletons.items():
            answer = served.ask(f"/flat/v/skeletons/{entry_id}", Accept_Encoding="gzip")
            assert (answer.status, answer.decoded, answer.headers["Content-Encoding"]) == (200, data, "gzip")
        for name in ("2", "007", "1.index", "18446744073709551616", "x"):
            assert served.ask(f"/flat/v/skeletons/{name}").status == 404


def test_multi_resolution_meshes(tmp_path: Path) -> None:
    sharding = Sharding(0, 0, 0, "identity", "raw", "gzip")
    fragments = b"first fragment" + b"second"
    levels = (
        LevelOfDetail(1.0, (0.0, 0.0, 0.0), np.array([[0, 0, 0], [1, 0, 0]], np.uint32), np.array([14, 0], np.uint32)),
        LevelOfDetail(2.0, (0.0, 0.0, 0.0), np.zeros((1, 3), np.uint32), np.array([6], np.uint32)),
    )
    manifest = encode_manifest(Manifest((8.0, 8.0, 8.0), (0.0, 0.0, 0.0), levels))
    stored = gzip.compress(manifest)
    data = b"something else" + fragments + stored
    # One id, 5; its data begins behind the fragments, which no index tells of.
    index = np.array([5, len(data) - len(stored), len(stored)], "<u8").tobytes()
    shard = np.array([len(data), len(data) + len(index)], "<u8").tobytes() + data + index
    info = {"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 16, "lod_scale_multiplier": 1.0}
    written = json.dumps({**info, "sharding": sharding_members(sharding)}).encode()
    with serving(tmp_path, {"v/mesh/info": written, "v/mesh/0.shard": shard}) as served:
        assert json.loads(served.ask("/flat/v/mesh/info").body) == info
        assert served.ask("/flat/v/mesh/5.index").body == manifest
        answer = served.ask("/flat/v/mesh/5")
        assert (answer.status, answer.body, answer.headers["Accept-Ranges"]) == (200, fragments, "bytes")
        answer = served.ask("/flat/v/mesh/5", Range="bytes=14-19", Accept_Encoding="gzip")
        assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, b"second", "bytes 14-19/20")
        assert answer.headers["Content-Encoding"] is None
        assert served.ask("/flat/v/mesh/6").status == served.ask("/flat/v/mesh/6.index").status == 404


# What cannot be read ------------------------------------------------------------------------------------------------------------


def zlib_shard(entries: dict[int, bytes]) -> bytes:
    """Return a shard of one minishard with zlib streams where the format says gzip, as neuroglancer-scripts writes them."""
    stored = {entry_id: zlib.compress(data) for entry_id, data in sorted(entries.items())}
    rows = np.zeros((3, len(stored)), "<u8")
    rows[0] = np.diff(list(stored), prepend=0)
    rows[2] = [len(data) for data in stored.values()]
    data, index = b"".join(stored.values()), zlib.compress(rows.tobytes())
    return np.array([len(data), len(data) + len(index)], "<u8").tobytes() + data + index


def test_zlib_where_gzip_should_be_is_unpacked(tmp_path: Path) -> None:
    sharding = Sharding(0, 0, 0, "identity", "gzip", "gzip")
    entries = {compressed_morton_code(cell, GRID.shape): chunk_name(GRID.chunk_box(cell)) for cell in CELLS if cell != ABSENT}
    shard = zlib_shard({code: CHUNKS[name] for code, name in entries.items()})
    with serving(tmp_path, {"v/info": volume_info(sharding), "v/8_8_8/0.shard": shard}) as served:
        for name, data in CHUNKS.items():
            answer = served.ask(f"/flat/v/8_8_8/{name}", Accept_Encoding="gzip")
            assert (answer.status, answer.body, answer.headers["Content-Encoding"]) == (200, data, None)


def broken_shards() -> dict[str, tuple[bytes, str]]:
    good = zlib_shard({0: b"data"})
    beyond = np.zeros((3, 1), "<u8")
    beyond[2] = 1 << 40
    index = zlib.compress(beyond.tobytes())
    return {
        "empty": (b"", "bytes 0 to 16 are expected, the shard has 0"),
        "cut": (good[:-3], "are expected, the shard has"),
        "backwards": (np.array([9, 3], "<u8").tobytes() + bytes(40), "tells bytes 9 to 3"),
        "huge": (np.array([0, 1 << 40], "<u8").tobytes() + bytes(40), "minishard index of 1099511627776 bytes"),
        "no zlib": (np.array([0, 9], "<u8").tobytes() + b"x" + bytes(40), "corrupt"),
        "bad zlib": (np.array([0, 9], "<u8").tobytes() + b"\x78" + bytes(40), "zlib is corrupt"),
        "cut zlib": (np.array([0, 9], "<u8").tobytes() + zlib.compress(bytes(24))[:9], "zlib is cut off"),
        "beyond": (
            np.array([0, len(index)], "<u8").tobytes() + index,
            "ends at byte 1099511627792, the shard has 3",
        ),
    }


@pytest.mark.parametrize("name", broken_shards())
def test_a_broken_shard_is_500_and_not_empty_space(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    shard, reason = broken_shards()[name]
    sharding = Sharding(0, 0, 0, "identity", "gzip", "gzip")
    path = f"/v/8_8_8/{chunk_name(GRID.chunk_box((0, 0, 0)))}"
    with serving(tmp_path, {"v/info": volume_info(sharding), "v/8_8_8/0.shard": shard}) as served:
        before = len(os.listdir("/proc/self/fd"))
        answers = [served.ask(f"/flat{path}") for _ in range(3)]
        after = len(os.listdir("/proc/self/fd"))
    assert {answer.status for answer in answers} == {500}
    assert_readable_by_the_viewer(answers[0])
    assert after - before <= 1, "no descriptor is left open"
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert all(path in line and reason in line for line in lines), lines


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 400), st.booleans()
)
def test_whatever_a_shard_holds_there_is_an_answer_or_an_error_of_ours(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int, is_mesh: bool
) -> None:
    sharding = Sharding(0, 0, 0, "identity", "gzip", "gzip")
    shard = bytearray(zlib_shard({5: bytes(100), 6: b"data"})) + bytes(40)
    for position, change in changes:
        shard[position % len(shard)] ^= change
    kind = "neuroglancer_multilod_draco" if is_mesh else "neuroglancer_skeletons"
    info = json.dumps({"@type": kind, "sharding": sharding_members(sharding)}).encode()
    write_files(tmp_path, {"v/info": info, "v/0.shard": bytes(shard[: max(0, len(shard) - cut % 60)])})
    files = FlatFiles(DiskFiles(os.path.realpath(tmp_path)))
    for name in ("5", "6", "7", "5.index"):
        try:
            found = asyncio.run(files.find(f"/v/{name}"))
        except (DecodeError, OSError):
            continue
        if isinstance(found, Stored):
            assert 0 <= found.span[0] <= found.span[1] <= found.status.st_size
            os.close(found.descriptor)


# The indices that are kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Stored]]:
    found: list[Stored] = []

    def open_it(name: str) -> Stored:
        stored = DiskFiles(os.path.realpath(tmp_path)).wait(f"/{name}")
        assert stored is not None
        found.append(stored)
        return stored

    yield open_it
    for stored in found:
        os.close(stored.descriptor)


def test_indices_are_kept_up_to_a_size_the_last_asked_for_the_longest(
    tmp_path: Path, opened: Callable[[str], Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    sharding = Sharding(0, 0, 0, "identity", "gzip", "gzip")
    for name in "abc":
        (tmp_path / name).write_bytes(zlib_shard(dict.fromkeys(range(10), b"data")))
    a, b, c = (opened(name) for name in "abc")
    read: list[Stored] = []
    real = shards_module.read_minishard
    monkeypatch.setattr(shards_module, "read_minishard", lambda shard, *more: read.append(shard) or real(shard, *more))
    minishards = Minishards(2 * (512 + 10 * 48))
    for stored in (a, b, a, c):
        minishards.read(stored, 0, sharding)
    assert read == [a, b, c]
    assert minishards.kept(a, 0, sharding).index is not None
    minishards.kept(c, 0, sharding)
    with pytest.raises(BlockingIOError):
        minishards.kept(b, 0, sharding)
    with pytest.raises(BlockingIOError):
        minishards.kept(c, 0, replace(sharding, minishard_index_encoding="raw"))
