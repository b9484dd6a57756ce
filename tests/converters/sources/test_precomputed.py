"""Precomputed volumes as sources: on disk in every layout, and from real HTTP servers."""

import gzip
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from cloudvolume import CloudVolume

from app.server import create_app, running
from converters.data_types import layer_type
from converters.errors import DamagedError, OptionError, SourceError
from converters.geometry import Geometry
from converters.record import Record, encode_record
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from converters.storage import remote
from converters.storage.remote import RemoteStorage, Url
from converters.storage.storage import Layout, open_storage
from formats.chunks import encode_chunk
from formats.grid import Box, chunk_name
from formats.info import Scale, VolumeInfo, encode_volume_info
from tests.converters.sources.reading import whole

SHAPE = (23, 17, 11)
OFFSET = (-7, 5, 0)
SHARDING = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 2, "minishard_bits": 1,
            "shard_bits": 3, "minishard_index_encoding": "gzip", "data_encoding": "gzip"}  # fmt: skip
VOXELS = np.random.default_rng(1).integers(1, 250, (*SHAPE, 1)).astype("uint8")
LABELS = np.arange(1, 23 * 17 * 11 + 1, dtype="uint64").reshape(*SHAPE, 1) + 2**53


def by_tensorstore(folder: Path, voxels: Any, **members: Any) -> Path:
    """Write a volume of one scale with the members in its scale; type and data_type follow the voxels."""
    labels = voxels.dtype.itemsize >= 4
    scale = {"key": "8_8_40", "size": SHAPE, "resolution": [8, 8, 40], "voxel_offset": OFFSET, "chunk_size": [8, 8, 4],
             "encoding": "raw"} | members  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": f"file://{folder}/", "create": True, "scale_metadata": scale,
        "multiscale_metadata": {"type": "segmentation" if labels else "image", "data_type": voxels.dtype.name,
                                "num_channels": voxels.shape[3]},
    }  # fmt: skip
    ts.open(spec).result()[ts.d[:].translate_to[0]] = voxels
    return folder


def by_cloud_volume(folder: Path, compress: str) -> Path:
    """Write chunks `KEY/X_Y_Z.gz` or `.br`."""
    info = CloudVolume.create_new_info(
        1, "image", "uint8", "raw", [8, 8, 40], OFFSET, SHAPE, chunk_size=[8, 8, 4],
    )  # fmt: skip
    volume = CloudVolume(f"file://{folder}", info=info, compress=compress, progress=False)
    volume.commit_info()
    volume[:, :, :] = VOXELS
    return folder


def by_us(folder: Path, layout: Layout, encoding: str) -> Path:
    """Write a volume with our own encoders, for encodings that tensorstore has not."""
    scale = Scale("8_8_40", SHAPE, (8.0, 8.0, 40.0), ((8, 8, 4),), encoding, OFFSET)
    info = VolumeInfo("image", "uint8", 1, (scale,))
    storage, grid = open_storage(folder, layout), scale.grid()
    for cell in grid.cells():
        box = grid.chunk_box(cell)
        chunk = np.asfortranarray(VOXELS[box.slices(OFFSET)])
        storage.put(f"8_8_40/{chunk_name(box)}", encode_chunk(chunk, info.chunk_format(scale)), compressible=True)
    storage.put("info", encode_volume_info(info), compressible=False)
    return folder


def packed_without_a_mark(folder: Path) -> Path:
    for path in (by_tensorstore(folder, VOXELS) / "8_8_40").iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    return folder


WRITERS: dict[str, tuple[Callable[[Path], Path], Any]] = {
    "flat": (lambda folder: by_tensorstore(folder, VOXELS), VOXELS),
    "labels": (lambda folder: by_tensorstore(folder, LABELS, encoding="compressed_segmentation",
                                             compressed_segmentation_block_size=[8, 8, 8]), LABELS),
    "sharded": (lambda folder: by_tensorstore(folder, VOXELS, sharding=SHARDING), VOXELS),
    "sharded labels": (lambda folder: by_tensorstore(folder, LABELS, sharding=SHARDING), LABELS),
    "png": (lambda folder: by_tensorstore(folder, VOXELS, encoding="png"), VOXELS),
    "channels": (lambda folder: by_tensorstore(folder, np.concatenate([VOXELS, 255 - VOXELS], 3)),
                 np.concatenate([VOXELS, 255 - VOXELS], 3)),
    "flat, gzip": (lambda folder: by_cloud_volume(folder, "gzip"), VOXELS),
    "gzip without a mark": (packed_without_a_mark, VOXELS),
    "nested, gzip": (lambda folder: by_us(folder, "nested", "raw"), VOXELS),
    "jxl": (lambda folder: by_us(folder, "flat", "jxl"), VOXELS),
    "compresso": (lambda folder: by_us(folder, "nested", "compresso"), VOXELS),
}  # fmt: skip


@dataclass
class Served:
    """Datasets, and the server of the product in front of them."""

    folder: Path
    url: str = ""
    expected: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    found = Served(folder)
    for name, (write, expected) in WRITERS.items():
        write(folder / name)
        found.expected[name] = expected
    with running(create_app(folder)) as url:
        found.url = f"{url}/data/"
        yield found


@pytest.mark.parametrize("name", WRITERS)
def test_on_disk(served: Served, name: str) -> None:
    source = open_source(served.folder / name, SourceOptions())
    expected = served.expected[name]
    np.testing.assert_array_equal(whole(source), expected)
    assert (source.dtype, source.shape, source.num_channels) == (expected.dtype, SHAPE, expected.shape[3])
    assert source.geometry == Geometry((8.0, 8.0, 40.0), OFFSET)
    assert source.block == (8, 8, 4)
    assert source.label == (expected.dtype == np.uint64)
    assert source.notes == ("the voxel_offset -7,5,0 of scale 8_8_40 is kept; --voxel-offset names another",)
    other = pickle.loads(pickle.dumps(source))
    box = Box((3, 16, 2), (19, 17, 11))
    np.testing.assert_array_equal(other.read(box), expected[box.slices()])


@pytest.mark.parametrize("name", WRITERS)
def test_from_our_server(served: Served, name: str) -> None:
    source = open_source(f"{served.url}{name}", SourceOptions())
    np.testing.assert_array_equal(whole(source), served.expected[name])
    assert (source.geometry, source.block) == (Geometry((8.0, 8.0, 40.0), OFFSET), (8, 8, 4))
    other = pickle.loads(pickle.dumps(source))
    box = Box((3, 16, 2), (19, 17, 11))
    np.testing.assert_array_equal(other.read(box), served.expected[name][box.slices()])


@pytest.mark.parametrize(
    "spelling", ["{}", "{}/", "{}/info", "precomputed://{}", "{}/|neuroglancer-precomputed:", "{}|neuroglancer-precomputed:"]
)
def test_spellings_of_a_url(served: Served, spelling: str) -> None:
    source = open_source(spelling.format(f"{served.url}flat"), SourceOptions())
    np.testing.assert_array_equal(whole(source), VOXELS)


def test_a_file_url(served: Served) -> None:
    source = open_source(f"precomputed://file://{served.folder}/flat, gzip", SourceOptions())
    np.testing.assert_array_equal(whole(source), VOXELS)


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "zarr://http://host/x", "graphene://https://host/x", "http:///x", "http://h/x.zip|zip:seg|neuroglancer-precomputed:",
     "precomputed://https://host/x#type=mesh", "gs://"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(
        SourceError, match=r"not a place that is read: a precomputed volume at http://, https://, gs://, s3:// is, also"
    ):
        open_source(url, SourceOptions())


def test_buckets_are_tensorstores() -> None:
    specification, gs, s3 = remote._specification, Url("gs", "bucket", "/a b/"), Url("s3", "bucket", "/a b/")
    assert specification(gs, False) == {"driver": "gcs", "bucket": "bucket", "path": "a b/"}
    public = {"driver": "http", "base_url": "https://storage.googleapis.com", "path": "/bucket/a b/"}
    assert specification(gs, True) == public
    assert specification(s3, False) == {"driver": "s3", "bucket": "bucket", "path": "a b/"}
    assert specification(s3, True) == specification(s3, False) | {"aws_credentials": {"type": "anonymous"}}


# What a user says.


def test_options_go_before_metadata(served: Served) -> None:
    told = SourceOptions(resolution=(1.0, 2.0, 3.0), voxel_offset=(10, 0, 0))
    source = open_source(served.folder / "flat", told)
    assert source.geometry == Geometry((1.0, 2.0, 3.0), (10, 0, 0))
    assert source.notes == ()
    np.testing.assert_array_equal(whole(source), VOXELS)


def test_one_channel(served: Served) -> None:
    source = open_source(served.folder / "channels", SourceOptions(channel=1))
    assert source.num_channels == 1
    np.testing.assert_array_equal(whole(source), 255 - VOXELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SourceOptions(channel=2), "--channel 2 is not there: choose 0 to 1"),
        (SourceOptions(time=1), "--time 1 is not there: the source has one point of time; leave --time out"),
        (SourceOptions(axes="zyx"), "--axes zyx does not fit: a precomputed volume's axes are x, y, z; leave --axes out"),
        (SourceOptions(array="4_4_40"), "--array 4_4_40 is no scale of it; its scales, the finest first, are 8_8_40"),
    ],
)
def test_options_that_do_not_fit(served: Served, options: SourceOptions, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{served.folder}/channels: {message}$"):
        open_source(served.folder / "channels", options)


def test_axes_that_are_so_anyway(served: Served) -> None:
    assert open_source(served.folder / "flat", SourceOptions(axes="xyz")).shape == SHAPE


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    by_tensorstore(tmp_path, VOXELS)
    coarse = VOXELS[::2, ::2]
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": f"file://{tmp_path}/", "open": True, "create": True,
        "scale_metadata": {"key": "16_16_40", "size": coarse.shape[:3], "resolution": [16, 16, 40], "voxel_offset": [-4, 2, 0],
                           "chunk_size": [8, 8, 8], "encoding": "raw", "sharding": SHARDING},
    }  # fmt: skip
    ts.open(spec).result()[ts.d[:].translate_to[0]] = coarse
    return tmp_path


def test_the_finest_scale_and_another(pyramid: Path) -> None:
    assert open_source(pyramid, SourceOptions()).shape == SHAPE
    source = open_source(pyramid, SourceOptions(array="16_16_40"))
    np.testing.assert_array_equal(whole(source), VOXELS[::2, ::2])
    assert (source.geometry, source.block) == (Geometry((16.0, 16.0, 40.0), (-4, 2, 0)), (8, 8, 8))


def changed(dataset: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    info = json.loads((dataset / "info").read_text())
    change(info)
    (dataset / "info").write_text(json.dumps(info))
    return dataset


def test_of_several_chunk_sizes_the_one_that_is_there(tmp_path: Path) -> None:
    by_tensorstore(tmp_path, VOXELS)
    changed(tmp_path, lambda info: info["scales"][0].update(chunk_sizes=[[16, 16, 16], [8, 8, 4], [4, 4, 4]]))
    source = open_source(tmp_path, SourceOptions())
    assert source.block == (8, 8, 4)
    np.testing.assert_array_equal(whole(source), VOXELS)


def test_an_image_that_auto_would_take_for_labels_is_told(tmp_path: Path) -> None:
    changed(by_tensorstore(tmp_path, VOXELS.astype("uint32")), lambda info: info.update(type="image"))
    source = open_source(tmp_path, SourceOptions())
    assert not source.label
    assert layer_type(source, "auto") == "segmentation"
    assert source.notes[-1] == "its info says image, but uint32 is taken for labels unless you say --type image"


@pytest.mark.parametrize("resolution", [None, (4.0, 4.0, 20.0)])
@pytest.mark.parametrize("array", ["8_8_40", "16_16_40"])
def test_the_place_in_the_world_comes_from_our_own_record(pyramid: Path, array: str, resolution: Any) -> None:
    transform = ((0.0, -1.0, 0.0, 100.0), (1.0, 0.0, 0.0, -30.0), (0.0, 0.0, 1.0, 7.0))
    (pyramid / ".glassine").mkdir()
    (pyramid / ".glassine/record.json").write_bytes(
        encode_record(Record("0", "x", {}, {}, (8.0, 8.0, 40.0), None, transform, "RAS"))
    )
    geometry = open_source(pyramid, SourceOptions(array=array, resolution=resolution)).geometry
    assert geometry.world == "RAS"
    if resolution is None:
        np.testing.assert_allclose(geometry.transform(), transform)
    else:
        # The first voxel's centre stays where it is: ((-7 + 0.5) * 8, (5 + 0.5) * 8) or ((-4 + 0.5) * 16, (2 + 0.5) * 16).
        x, y, z = (-52, 44, 20) if array == "8_8_40" else (-56, 40, 20)
        np.testing.assert_allclose(geometry.affine, [[0, -4, 0, 100 - y], [4, 0, 0, x - 30], [0, 0, 20, z + 7]])


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    by_tensorstore(tmp_path, VOXELS)
    (tmp_path / ".glassine").mkdir()
    (tmp_path / ".glassine/record.json").write_text("{")
    assert open_source(tmp_path, SourceOptions()).geometry.affine is None


def test_a_dataset_is_known_again_by_its_info(served: Served, tmp_path: Path) -> None:
    one, other = (by_tensorstore(tmp_path / name, VOXELS) for name in "ab")
    prints = [open_source(path, SourceOptions()).fingerprint()["info"] for path in (one, one, other)]
    assert prints[0] == prints[1]
    assert prints[0]["sha256"] == prints[2]["sha256"]
    assert set(prints[0]) == {"size", "mtime_ns", "sha256"}
    changed(one, lambda info: info.update(mesh="m"))
    assert open_source(one, SourceOptions()).fingerprint()["info"]["sha256"] != prints[0]["sha256"]
    online = open_source(f"{served.url}flat", SourceOptions()).fingerprint()
    local = open_source(served.folder / "flat", SourceOptions()).fingerprint()
    assert online["info"] == {name: local["info"][name] for name in ("size", "sha256")}


# What is absent and what is broken.


def test_absent_chunks_are_zeros(tmp_path: Path) -> None:
    by_tensorstore(tmp_path, VOXELS)
    (tmp_path / "8_8_40/1-9_5-13_4-8").unlink()
    expected = VOXELS.copy()
    expected[8:16, :8, 4:8] = 0
    np.testing.assert_array_equal(whole(open_source(tmp_path, SourceOptions())), expected)


def test_where_no_chunk_is_found_it_is_told(tmp_path: Path) -> None:
    by_tensorstore(tmp_path, VOXELS)
    for path in (tmp_path / "8_8_40").iterdir():
        path.unlink()
    source = open_source(tmp_path, SourceOptions())
    assert source.notes[0] == "scale 8_8_40: none of the chunks that were looked for is there; absent chunks are read as zeros"
    assert not whole(source).any()
    (tmp_path / "8_8_40").rmdir()
    with pytest.raises(SourceError, match=r"the folder 8_8_40 of its chunks is not there, only its info is: copy it whole$"):
        open_source(tmp_path, SourceOptions())


def test_chunks_packed_otherwise_are_refused_and_not_zeros(tmp_path: Path) -> None:
    by_cloud_volume(tmp_path, "br")
    with pytest.raises(
        SourceError, match=r"\.br: packed as \.br, of which gzip alone is read: write the dataset again with gzip"
    ):
        open_source(tmp_path, SourceOptions())


@pytest.mark.parametrize("layout", ["flat", "sharded"])
def test_a_damaged_chunk_is_told_and_no_zeros(tmp_path: Path, layout: str) -> None:
    by_tensorstore(tmp_path, VOXELS, **({"sharding": SHARDING} if layout == "sharded" else {}))
    for path in (tmp_path / "8_8_40").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    source = open_source(tmp_path, SourceOptions())
    with pytest.raises(DamagedError, match=rf"^{tmp_path}/8_8_40/-?\d+-"):
        whole(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.update({"redirect": "gs://other/place"}), "info: redirects to 'gs://other/place'; open that instead"),
        (lambda info: info.update({"@type": "neuroglancer_skeletons"}), "info: @type is 'neuroglancer_skeletons', expected"),
        (lambda info: info.update(mesh=None), "info: mesh is null, which the viewer refuses; leave the member out"),
        (lambda info: info["scales"][0].update(sharding=None), "info: scale 8_8_40: sharding is null, which the viewer refuses"),
        (lambda info: info["scales"][0].update(encoding="fpzip"), 'info: scale 8_8_40: encoding is "fpzip", expected one of raw'),
        (lambda info: info["scales"][0].update(encoding="jxl") or info.update(data_type="uint16"),
         r"encoding jxl cannot hold uint16 with 1 channel\(s\)"),
        (lambda info: info["scales"][0].update(size=[2**40] * 3, chunk_sizes=[[1, 1, 1]], sharding=SHARDING),
         r"a grid of \(.*\) chunks needs 120 bits, a chunk id has 64"),
    ],
)  # fmt: skip
def test_an_info_that_is_no_volumes_is_refused(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    changed(by_tensorstore(tmp_path, VOXELS), change)
    with pytest.raises(SourceError, match=f"^{tmp_path}: {message}"):
        open_source(tmp_path, SourceOptions())


def test_an_info_without_end_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "info").open("wb") as file:
        file.truncate(1 << 27)
    with pytest.raises(SourceError, match="info: has more than 67108864 bytes, that is no volume's"):
        open_source(tmp_path, SourceOptions())


# Servers.


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """The server of `python -m http.server`: it knows no ranges."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def test_a_server_without_ranges_serves_what_has_no_shards(served: Served) -> None:
    with serving(partial(Quiet, directory=str(served.folder))) as url:
        np.testing.assert_array_equal(whole(open_source(f"{url}/labels", SourceOptions())), LABELS)
        sharded = open_source(f"{url}/sharded", SourceOptions())
        with pytest.raises(DamagedError, match="the server does not answer requests for parts of a file, which shards need"):
            whole(sharded)


class Failing(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, behind an i (`/i500/info`) with the info; keeps what it was asked."""

    asked: list[str]
    info: bytes

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        path = self.path.partition("?")[0]
        begin = path.split("/")[1]
        status = 200 if begin.startswith("i") and path.endswith("/info") else int(begin.removeprefix("i"))
        body = self.info if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def failing(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "_RETRIES", {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"})
    members = {"asked": [], "info": (served.folder / "flat/info").read_bytes()}
    with serving(type("Handler", (Failing,), members)) as url:
        yield url
    remote._store.cache_clear()


def test_a_server_that_has_no_info(failing: str) -> None:
    with pytest.raises(SourceError, match=f"^{failing}/404: there is no file info below it, so it is no dataset"):
        open_source(f"{failing}/404", SourceOptions())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("403", "the server refuses: Forbidden"),
        ("500", "retry attempts failed: Internal Server"),
        ("i403", "the server refuses: Forbidden"),
        ("i500", "retry attempts failed: Internal Server"),
    ],
)
def test_a_server_that_fails_is_told_and_not_taken_for_zeros(failing: str, place: str, message: str) -> None:
    with pytest.raises(SourceError, match=rf"^{failing}/{place}: cannot be read \(.*{message}"):
        open_source(f"{failing}/{place}", SourceOptions())


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_begins_to_fail_is_told_and_not_taken_for_zeros(failing: str, served: Served, status: int) -> None:
    source: Any = open_source(f"{served.url}flat", SourceOptions())
    storage = RemoteStorage(Url("http", failing.removeprefix("http://"), f"/{status}/"))
    lost = type(source.reader)(storage, source.reader.info, 4)
    broken = type(source)(source.name, lost, source.scale, source.arrangement, source.geometry, (), {})
    with pytest.raises(DamagedError, match=rf"^{failing}/{status}/8_8_40/-?\d+-.*: .*HTTP code {status}"):
        whole(broken)


def test_credentials_are_tried_where_a_bucket_is_not_public(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket without credentials refuses, with them it answers: both played by the server."""

    def specification(folder: Url, anonymous: bool) -> dict[str, Any]:
        return {"driver": "http", "base_url": failing, "path": "/403/" if anonymous else "/200/"}

    monkeypatch.setattr(remote, "_specification", specification)
    remote._store.cache_clear()
    source: Any = open_source("s3://bucket/x", SourceOptions())
    assert source.shape == SHAPE
    assert not source.reader.storage.anonymous


def test_a_server_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RETRIES", {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"})
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:9/x: cannot be read \(.*Could not connect to server"):
        open_source("http://127.0.0.1:9/x", SourceOptions())
    remote._store.cache_clear()


def test_a_query_goes_with_every_request_and_into_no_message_on_chunks(served: Served) -> None:
    members: dict[str, Any] = {"asked": [], "info": (served.folder / "flat/info").read_bytes()}
    handler: Any = type("Handler", (Failing,), members)
    with serving(handler) as url:
        source: Any = open_source(f"{url}/200/a%20b/?token=se%2Bcret", SourceOptions())
        with pytest.raises(DamagedError, match=rf"^{url}/200/a%20b/8_8_40/-7-1_5-13_0-4: raw chunk has") as caught:
            source.read(Box((0, 0, 0), (1, 1, 1)))
    assert "cret" not in str(caught.value)
    assert handler.asked[-1] == "/200/a%20b/8_8_40/-7-1_5-13_0-4?token=se%2Bcret"
    assert all(path.endswith("?token=se%2Bcret") for path in handler.asked)


@pytest.mark.parametrize(("chunk_size", "at_once"), [([8, 8, 4], 16), ([256, 256, 128], 4), ([1024, 1024, 64], 1)])
def test_large_chunks_are_fetched_a_few_at_a_time(served: Served, chunk_size: list[int], at_once: int) -> None:
    info = json.loads((served.folder / "flat/info").read_text())
    info["scales"][0]["chunk_sizes"] = [chunk_size]
    members: dict[str, Any] = {"asked": [], "info": json.dumps(info).encode()}
    with serving(type("Handler", (Failing,), members)) as url:
        source: Any = open_source(f"{url}/200/", SourceOptions())
    assert source.reader.at_once == at_once


def test_keys_that_climb(failing: str) -> None:
    host = failing.removeprefix("http://")
    assert RemoteStorage(Url("http", host, "/404/seg/")).get("../em/x/../1") is None
    assert RemoteStorage(Url("http", host, "/404/seg/")).locate("../em/x/../1") == f"{failing}/404/em/1"
    assert RemoteStorage(Url("gs", "bucket", "/")).locate("../../1") == "gs://bucket/1"
