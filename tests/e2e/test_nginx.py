"""nginx.conf in the real nginx: only its paths, port and the app's address are changed."""

import gzip
import http.client
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.volumes import assert_every_scale

CONFIGURATION = Path(__file__).parents[2] / "nginx.conf"

PLAIN = bytes(range(256)) * 20
SECRET = b"not below the root"

FILES = {
    "info": b'{"@type": "neuroglancer_multiscale_volume"}',
    "flat/0-64_0-64_0-64": PLAIN,
    "flat_gz/0-64_0-64_0-64.gz": gzip.compress(PLAIN),
    "flat_gz/-64-0_-128--64_-3-61.gz": gzip.compress(PLAIN),
    "nested/0-64/0-64/0-64": PLAIN,
    "nested/-64-0/-128--64/-3-61": PLAIN,
    "nested_gz/0-64/0-64/0-64.gz": gzip.compress(PLAIN),
    "nested_gz/-64-0/-128--64/-3-61.gz": gzip.compress(PLAIN),
    "deep/er/8_8_40/0-64/0-64/0-64.gz": gzip.compress(PLAIN),
    "both/0-64/0-64/0-64": PLAIN,
    "both/0-64/0-64/0-64.gz": gzip.compress(b"the neighbour"),
    "mesh/12:0": PLAIN,
    "mesh/13:0.gz": gzip.compress(PLAIN),
    "mesh/a b%c?d": PLAIN,
    "cut/0-64/0-64/0-64.gz": gzip.compress(os.urandom(200_000))[:100_000],
    ".glassine/record.json": SECRET,
    "flat/.0-64_0-64_64-128.7.tmp": SECRET,
    "unreadable/0-64/0-64/0-64": PLAIN,
    "unreadable_folder/0-64/0-64/0-64.gz": gzip.compress(PLAIN),
}

OBJECTS = [
    "flat/0-64_0-64_0-64",
    "flat_gz/0-64_0-64_0-64",
    "flat_gz/-64-0_-128--64_-3-61",
    "nested/0-64_0-64_0-64",
    "nested/-64-0_-128--64_-3-61",
    "nested_gz/0-64_0-64_0-64",
    "nested_gz/-64-0_-128--64_-3-61",
    "deep/er/8_8_40/0-64_0-64_0-64",
    "both/0-64_0-64_0-64",
    "mesh/12:0",
    "mesh/13:0",
    "mesh/a%20b%25c%3Fd",
]
PLAIN_OBJECTS = [name for name in OBJECTS if not name.startswith(("flat_gz", "nested_gz", "deep", "mesh/13"))]
PACKED_OBJECTS = sorted(set(OBJECTS) - set(PLAIN_OBJECTS))
ABSENT = [
    "flat/0-64_0-64_64-128",
    "nested_gz/0-64_0-64_64-128",
    "nested/0-64_0-64_0-064",
    "nothing/0-64_0-64_0-64",
    "mesh/14:0",
    "mesh/12:0/more",
    "skeletons/info",
    ".glassine/record.json",
    ".glassine/",
    "flat/.0-64_0-64_64-128.7.tmp",
    "%2eglassine/record.json",
]
OUTSIDE = [
    "/data/../secret",
    "/data/../../outside/secret",
    "/data/lab/vol/../../../secret",
    "/data/lab/vol/%2e%2e/%2e%2e/%2e%2e/secret",
    "/data/lab/vol/..%2f..%2f..%2fsecret",
    "/data/lab/vol/%252e%252e/%252e%252e/%252e%252e/secret",
    "/data/lab/vol/..\\..\\..\\secret",
    "/data/lab/vol/..%5c..%5c..%5csecret",
    "/data/lab/vol/info%00.png",
    "/data//etc/passwd",
    "/data/lab/vol//etc/passwd",
    "/data/lab/vol/..;/..;/..;/secret",
    "/data/lab/vol/flat/../../../../secret/0-64_0-64_0-64",
    "/data/lab/vol/link",
    "/data/lab/vol/link_folder/secret",
    "/data/lab/vol/link_folder/",
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def decoded(self) -> bytes:
        return gzip.decompress(self.body) if self.headers["Content-Encoding"] == "gzip" else self.body


@dataclass(frozen=True)
class Site:
    """nginx over a folder with the dataset lab/vol, and a stand-in for the app that writes down what it is asked."""

    port: int
    folder: Path
    asked: list[str]

    def request(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Send target as it is, with no header that is not named; underscores in a header's name become hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, name: str, **headers: str) -> Answer:
        return self.request(f"/data/lab/vol/{name}", **headers)


class StandIn(http.server.BaseHTTPRequestHandler):
    """An app that has under /data what no file shows (`shards`) and cannot read some of it; elsewhere it tells what was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    may_end: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/events/"):
            self._stream()
            return
        body = f"{self.command} {self.path} {self.headers['Host']}".encode()
        self.send_response(self._status())
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/data/"):
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Vary", "Accept-Encoding")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 the names that http.server calls

    def _status(self) -> int:
        if not self.path.startswith("/data/") or "/shards/" in self.path:
            return 200
        return 500 if re.search("unreadable|link", self.path) else 404

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.may_end.wait(20)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A root with one dataset. Started by root, nginx reads as `nobody`, who cannot see into pytest's own folders."""
    root = Path(tempfile.mkdtemp(prefix="glassine-nginx-"))
    root.chmod(0o755)
    dataset = root / "srv/data/lab/vol"
    for name, data in FILES.items():
        path = dataset / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "outside").mkdir()
    (root / "outside/secret").write_bytes(SECRET)
    (root / "srv/secret").write_bytes(SECRET)
    (dataset / "link").symlink_to(root / "outside/secret")
    (dataset / "link_folder").symlink_to(root / "outside")
    (dataset / "link_inside").symlink_to("mesh/12:0")
    (dataset / "unreadable/0-64/0-64/0-64").chmod(0)
    (dataset / "unreadable_folder").chmod(0)
    yield root
    (dataset / "unreadable_folder").chmod(0o755)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[http.server.ThreadingHTTPServer]:
    StandIn.asked = []
    StandIn.may_end = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    StandIn.may_end.set()
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def running(program: str, folder: Path, app: str) -> Iterator[int]:
    """Yield the port of an nginx over folder, its master in the foreground so that ending it ends all."""
    port = free_port()
    path = folder / f"nginx-{port}.conf"
    path.write_text(rendered(folder, port, app))
    arguments = [program, "-p", str(folder), "-c", str(path), "-e", str(folder / "start.log"), "-g", "daemon off;"]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def rendered(folder: Path, port: int, app: str) -> str:
    """Return nginx.conf with its paths, its port and the app's address changed, and nothing else."""
    text = CONFIGURATION.read_text()
    changes = {
        "/srv": f"{folder}/srv",
        "/tmp/nginx": f"{folder}/nginx",
        "/dev/stderr": f"{folder}/error.log",
        "listen 8000;": f"listen 127.0.0.1:{port};",
        "http://app:8080": f"http://{app}",
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when the port answers; fail when the process has ended."""
    for _ in range(400):
        assert process.poll() is None, "nginx did not start"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nginx does not listen")


@pytest.fixture(scope="module")
def site(nginx: str, folder: Path, stand_in: http.server.ThreadingHTTPServer) -> Iterator[Site]:
    with running(nginx, folder, f"127.0.0.1:{stand_in.server_address[1]}") as port:
        yield Site(port, folder, StandIn.asked)


def assert_readable_by_the_viewer(answer: Answer) -> None:
    """Each header once: a browser refuses an answer that allows its origin twice."""
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert len(answer.headers.get_all("Cache-Control", [])) == 1
    assert answer.headers.get_all("Vary") == ["Accept-Encoding"]


@pytest.mark.parametrize("accept", ["gzip, deflate, br, zstd", "gzip;q=0", "br", "identity", None])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_file_has_the_same_bytes_in_every_layout(site: Site, name: str, accept: str | None) -> None:
    answer = site.get(name) if accept is None else site.get(name, Accept_Encoding=accept)
    assert (answer.status, answer.decoded) == (200, PLAIN)
    packed = name in PACKED_OBJECTS and accept is not None and accept.startswith("gzip,")
    assert answer.headers["Content-Encoding"] == ("gzip" if packed else None)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert_readable_by_the_viewer(answer)


def test_info_is_sent_and_asked_for_again(site: Site) -> None:
    answer = site.get("info")
    assert (answer.status, answer.body) == (200, FILES["info"])
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", OBJECTS)
def test_head_says_what_get_says(site: Site, name: str, accept: str) -> None:
    head = site.request(f"/data/lab/vol/{name}", "HEAD", Accept_Encoding=accept)
    get = site.get(name, Accept_Encoding=accept)
    assert (head.status, head.body) == (200, b"")
    for header in ("ETag", "Content-Type", "Content-Encoding", "Last-Modified", "Access-Control-Allow-Origin"):
        assert head.headers[header] == get.headers[header]
    # What is unpacked on the way is sent in pieces, of a length that is not known before.
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    ("requested", "first", "expected"),
    [
        ("0-0", 0, PLAIN[:1]),
        ("16-31", 16, PLAIN[16:32]),
        ("100-", 100, PLAIN[100:]),
        ("-7", 5113, PLAIN[5113:]),
        ("5119-9999", 5119, PLAIN[5119:]),
    ],
)
@pytest.mark.parametrize("name", PLAIN_OBJECTS)
def test_a_range_of_a_plain_file_is_exact(site: Site, name: str, requested: str, first: int, expected: bytes) -> None:
    answer = site.get(name, Range=f"bytes={requested}", Accept_Encoding="gzip")
    assert (answer.status, answer.body) == (206, expected)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/5120"
    assert answer.headers["Content-Encoding"] is None
    assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", PACKED_OBJECTS)
def test_a_range_of_a_packed_file_is_the_whole(site: Site, name: str, accept: str) -> None:
    answer = site.get(name, Range="bytes=0-15", Accept_Encoding=accept)
    assert (answer.status, answer.decoded) == (200, PLAIN)


def test_a_range_beyond_the_end_is_416(site: Site) -> None:
    answer = site.get("mesh/12:0", Range="bytes=5120-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */5120")
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_condition_that_does_not_hold_is_412(site: Site, name: str) -> None:
    answer = site.get(name, If_Match='"another"', Accept_Encoding="gzip")
    assert answer.status == 412
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_file_that_has_not_changed_is_304(site: Site, name: str, accept: str) -> None:
    tag = site.get(name, Accept_Encoding=accept).headers["ETag"]
    answer = site.get(name, Accept_Encoding=accept, If_None_Match=tag)
    assert (answer.status, answer.body) == (304, b"")
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", PACKED_OBJECTS)
def test_packed_and_unpacked_have_tags_of_their_own(site: Site, name: str) -> None:
    tags = {site.get(name, Accept_Encoding=accept).headers["ETag"] for accept in ("gzip", "identity")}
    assert len(tags) == 2


@pytest.mark.parametrize("name", ABSENT)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_there_is_404_and_kept_by_nobody(site: Site, method: str, name: str) -> None:
    answer = site.request(f"/data/lab/vol/{name}", method, Accept_Encoding="gzip")
    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "no-store"
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", ["shards/0-64_0-64_0-64", "shards/12:0", "shards/info"])
def test_the_app_is_asked_for_what_no_file_has(site: Site, name: str) -> None:
    site.asked.clear()
    answer = site.get(name, Accept_Encoding="gzip")
    assert (answer.status, site.asked) == (200, [f"/data/lab/vol/{name}"])
    assert answer.headers["Cache-Control"] == "no-cache"
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", ["info", "nested_gz/0-64_0-64_0-64", "nothing"])
def test_a_preflight_is_answered(site: Site, name: str) -> None:
    asks = {"Origin": "http://elsewhere", "Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
    answer = site.request(f"/data/lab/vol/{name}", "OPTIONS", **asks)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "*"
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("name", ["info", "nested_gz/0-64_0-64_0-64", "flat/0-64_0-64_0-64", "nothing"])
def test_other_methods_are_405(site: Site, method: str, name: str) -> None:
    answer = site.request(f"/data/lab/vol/{name}", method, Content_Length="0")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_outside_a_dataset_is_sent(site: Site, target: str) -> None:
    site.asked.clear()
    answer = site.request(target)
    assert SECRET not in answer.body
    assert b"root:" not in answer.body
    # Either nginx refuses it, or the app is asked for exactly that target and has its own answer.
    assert answer.status in (400, 404) or site.asked == [target]


@pytest.mark.parametrize("name", ["link", "unreadable/0-64_0-64_0-64", "unreadable_folder/0-64_0-64_0-64"])
def test_the_app_says_what_a_file_is_that_nginx_may_not_read(site: Site, name: str) -> None:
    site.asked.clear()
    answer = site.get(name)
    assert (answer.status, site.asked) == (500, [f"/data/lab/vol/{name}"])
    assert_readable_by_the_viewer(answer)


def test_without_the_app_an_unreadable_file_is_no_404(nginx: str, folder: Path) -> None:
    with running(nginx, folder, f"127.0.0.1:{free_port()}") as port:
        answer = Site(port, folder, []).get("unreadable/0-64_0-64_0-64")
    assert answer.status == 502
    assert_readable_by_the_viewer(answer)


def test_a_file_cut_short_is_never_a_whole_answer(site: Site) -> None:
    with pytest.raises(http.client.IncompleteRead):
        site.get("cut/0-64_0-64_0-64", Accept_Encoding="identity")


def test_a_folder_without_a_slash_leads_to_the_one_with_a_slash(site: Site) -> None:
    answer = site.get("mesh")
    assert (answer.status, answer.headers["Location"]) == (301, "/data/lab/vol/mesh/")


@pytest.mark.parametrize(
    "target", ["/", "/v/token/", "/static/page.js?a=%20b", "/api/datasets", "/healthz", "/dat%61", "/v/a%2Fb/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_everything_else_goes_to_the_app_unchanged(site: Site, method: str, target: str) -> None:
    answer = site.request(target, method, Content_Length="0")
    assert (answer.status, answer.body.decode()) == (200, f"{method} {target} 127.0.0.1:{site.port}")
    assert answer.headers["Access-Control-Allow-Origin"] is None


def test_an_event_arrives_before_the_stream_ends(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.request("GET", "/events/token")
    response = connection.getresponse()
    first = response.read(len(b"data: first\n\n"))
    assert not StandIn.may_end.is_set()
    StandIn.may_end.set()
    assert (first, response.read()) == (b"data: first\n\n", b"")
    connection.close()


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[Site]:
    """The real app over the same folder."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("glassine")), "serve", str(folder / "srv/data"), "--port", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield Site(port, folder, [])
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def in_front(nginx: str, folder: Path, app: Site) -> Iterator[Site]:
    with running(nginx, folder, f"127.0.0.1:{app.port}") as port:
        yield Site(port, folder, [])


def compared(answer: Answer) -> tuple[object, ...]:
    headers = ("Access-Control-Allow-Origin", "Content-Encoding", "Content-Range")
    return answer.status, *(answer.headers[name] for name in headers), answer.decoded if answer.status < 300 else b""


# Not HEAD with a range: nginx answers 206 there, the app as RFC 9110 has it.
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Accept-Encoding": "gzip"}),
        ("GET", {}),
        ("GET", {"Range": "bytes=7-70"}),
        ("GET", {"Range": "bytes=9999-"}),
        ("HEAD", {"Accept-Encoding": "gzip"}),
        ("HEAD", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", [*OBJECTS, *ABSENT, "info", "link", "link_inside", "link_folder/secret", ""])
def test_the_answer_is_the_same_with_and_without_nginx(
    in_front: Site, app: Site, name: str, method: str, headers: dict[str, str]
) -> None:
    seen, expected = (compared(site.request(f"/data/lab/vol/{name}", method, **headers)) for site in (in_front, app))
    assert seen == expected


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
@pytest.mark.parametrize("name", ["info", "nested_gz/0-64_0-64_0-64", "nothing"])
def test_other_methods_are_refused_the_same(in_front: Site, app: Site, name: str, method: str) -> None:
    seen, expected = (compared(site.request(f"/data/lab/vol/{name}", method)) for site in (in_front, app))
    assert (seen[0], seen[1]) == (expected[0], expected[1])


@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_outside_is_sent_with_and_without_nginx(in_front: Site, app: Site, target: str) -> None:
    for site in (in_front, app):
        answer = site.request(target)
        assert answer.status in (400, 404)
        assert SECRET not in answer.body


def test_the_viewer_reads_both_layouts_through_nginx(
    viewer: Any, glassine: Callable[..., str], in_front: Site, folder: Path, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(3).integers(0, 2**16, (101, 67, 45), np.uint16)
    np.save(tmp_path / "stack.npy", voxels.T)
    root = folder / "srv/data"
    datasets = [root / "seen" / layout for layout in ("nested", "flat")]
    options = ("--axes", "zyx", "--resolution", "4,4,9", "--chunk-size", "32,32,16", "--voxel-offset", "-37,5,-101")
    for dataset in datasets:
        glassine("convert", tmp_path / "stack.npy", dataset, *options, "--layout", dataset.name)
    viewer.open(glassine("link", *datasets, "--root", root, "--url", f"http://127.0.0.1:{in_front.port}").strip())
    viewer.wait(layers=2)
    for dataset in datasets:
        assert_every_scale(viewer, dataset.name, voxels, (-37, 5, -101), labels=False)
    viewer.assert_clean()
