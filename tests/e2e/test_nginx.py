"""nginx.conf in the real nginx: what is nginx's alone. Only its paths, ports and the app's address are changed.

That it answers as the app does is shown in test_requests.py.
"""

import gzip
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.app.data.asking import Answer, Served, read_answer, request_bytes, write_files
from tests.e2e.fronted import Front, free_port, nginx_folder, running_app, running_nginx
from tests.e2e.volumes import assert_every_scale

PLAIN = bytes(range(256)) * 20
SECRET = b"not below the root"
GRANT = "~tk3d2p.2.0123456789abcdefghij-_"
FILES = {
    "info": b'{"@type": "neuroglancer_multiscale_volume"}',
    "flat/0-64_0-64_0-64": PLAIN,
    "nested/0-64/0-64/0-64": PLAIN,
    "nested/0-64/0-64/64-128": PLAIN,
    "nested_gz/0-64/0-64/0-64.gz": gzip.compress(PLAIN),
    "both/0-64/0-64/0-64": PLAIN,
    "both/0-64/0-64/0-64.gz": gzip.compress(b"the neighbour"),
    "mesh/12:0": PLAIN,
    "mesh/a b%c?d": PLAIN,
    "cut/0-64/0-64/0-64.gz": gzip.compress(os.urandom(200_000))[:100_000],
    ".glassine/record.json": SECRET,
    "flat/.0-64_0-64_64-128.7.tmp": SECRET,
    "unreadable/0-64/0-64/0-64": PLAIN,
    "unreadable_folder/0-64/0-64/0-64.gz": gzip.compress(PLAIN),
}
FEW = {name: FILES[name] for name in ("info", "nested/0-64/0-64/0-64")}
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
    f"/data/{GRANT}/../secret",
    f"/data/{GRANT}/%2e%2e/secret",
    f"/data/{GRANT}/lab/vol/link",
]


class StandIn(http.server.BaseHTTPRequestHandler):
    """An app that writes down what it is asked, and lets read all but what is called private.

    Under /data it has what no file shows (`shards`) and cannot read some of it; elsewhere it tells what was asked.
    """

    protocol_version = "HTTP/1.1"
    asked: list[str]
    questions: list[dict[str, str]]
    may_end: threading.Event

    def do_GET(self) -> None:
        if self.path == "/access":
            self._say_access()
            return
        self.asked.append(self.path)
        if self.path.startswith("/events/"):
            self._stream()
            return
        told = (
            f" from {self.headers['X-Forwarded-For']} by {self.headers['X-Forwarded-Proto']}" if self.path == "/headers" else ""
        )
        body = f"{self.command} {self.path} {self.headers['Host']}{told}".encode()
        self.send_response(self._status())
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith(("/data/", "/flat/")):
            self.send_header("Access-Control-Allow-Origin", "https://told.by.the.app")
            self.send_header("Cache-Control", "told-by-the-app")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_DELETE = do_OPTIONS = do_PUT = do_PATCH = do_PROPFIND = do_GET  # noqa: N815 names of http.server

    def _say_access(self) -> None:
        self.questions.append({name.lower(): value for name, value in self.headers.items()})
        target = self.headers["X-Original-URI"]
        is_private = "private" in target and self.headers["Authorization"] != "Bearer good"
        self.send_response(500 if "broken" in target else 401 if is_private else 204)
        self.send_header("X-Glassine-Origin", {None: "*", "https://a.org": "https://a.org"}.get(self.headers["Origin"], "-"))
        self.send_header("X-Glassine-Cache", "private, no-cache" if "private" in target else "no-cache")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _status(self) -> int:
        if "private" in self.path:
            return 401
        if not self.path.startswith("/data/") or "/shards/" in self.path:
            return 200
        return 500 if re.search("unreadable|link|broken", self.path) else 404

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


class StandInServer(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@pytest.fixture(scope="module")
def folder(openssl: str) -> Iterator[Path]:
    """A root with one dataset, and the same again under names that the stand-in takes for private and broken."""
    with nginx_folder() as root:
        data = root / "srv/data"
        dataset = data / "lab/vol"
        write_files(dataset, FILES)
        for other in ("private/vol", "broken/vol"):
            write_files(data / other, FEW)
        write_files(root, {"outside/secret": SECRET, "srv/secret": SECRET})
        (dataset / "link").symlink_to(root / "outside/secret")
        (dataset / "link_folder").symlink_to(root / "outside")
        (dataset / "unreadable/0-64/0-64/0-64").chmod(0)
        (dataset / "unreadable_folder").chmod(0)
        certificate(openssl, root / "tls")
        yield root
        (dataset / "unreadable_folder").chmod(0o755)


def certificate(openssl: str, folder: Path) -> None:
    """Make what docs/deployment.md tells to put into the folder of the certificate."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout privkey.pem -out fullchain.pem"
    subprocess.run([openssl, *words.split()], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    shutil.copy(Path(__file__).parents[2] / "nginx-tls.conf", folder)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    StandIn.asked, StandIn.questions, StandIn.may_end = [], [], threading.Event()
    server = StandInServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    StandIn.may_end.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def front(nginx: str, folder: Path, stand_in: str) -> Iterator[Front]:
    with running_nginx(nginx, folder, stand_in) as running:
        yield running


@pytest.fixture
def site(front: Front) -> Served:
    StandIn.asked.clear()
    StandIn.questions.clear()
    return front.served


@pytest.fixture(scope="module")
def alone(nginx: str) -> Iterator[Front]:
    """An nginx whose app does not run."""
    with nginx_folder() as folder:
        for name in ("lab", "private"):
            write_files(folder / f"srv/data/{name}/vol", FEW)
        with running_nginx(nginx, folder, f"127.0.0.1:{free_port()}") as front:
            yield front


@pytest.fixture
def somebody(request: pytest.FixtureRequest) -> dict[str, str]:
    """What makes a client another one, about whom the app is asked anew."""
    return {"Cookie": f"test={request.node.name.encode('ascii', 'replace').decode()}"}


def assert_readable_by_the_viewer(answer: Answer, origin: str = "*") -> None:
    """Each header once: a browser refuses an answer that allows its origin twice."""
    assert answer.headers.get_all("Access-Control-Allow-Origin") == [origin]
    assert len(answer.headers.get_all("Cache-Control", [])) == 1


# Files.


@pytest.mark.parametrize("name", ["flat", "nested", "nested_gz", "both"])
def test_a_chunk_is_sent_without_asking_the_app_for_it(site: Served, name: str) -> None:
    answer = site.get(f"{name}/0-64_0-64_0-64", Accept_Encoding="gzip")
    assert (answer.status, answer.decoded, StandIn.asked) == (200, PLAIN, [])
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", ["nested/0-64_0-64_0-64", "nested_gz/0-64_0-64_0-64", "mesh/12:0"])
def test_a_condition_that_does_not_hold_is_412(site: Served, name: str) -> None:
    answer = site.get(name, If_Match='"another"', Accept_Encoding="gzip")
    assert answer.status == 412
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", ["flat/0-64_0-64_0-64", "nested_gz/0-64_0-64_0-64", "mesh/12:0"])
def test_a_file_that_has_not_changed_is_304(site: Served, name: str, accept: str) -> None:
    tag = site.get(name, Accept_Encoding=accept).headers["ETag"]
    answer = site.get(name, Accept_Encoding=accept, If_None_Match=tag)
    assert (answer.status, answer.body) == (304, b"")
    assert_readable_by_the_viewer(answer)


def test_packed_and_unpacked_have_tags_of_their_own(site: Served) -> None:
    tags = {site.get("nested_gz/0-64_0-64_0-64", Accept_Encoding=accept).headers["ETag"] for accept in ("gzip", "identity")}
    assert len(tags) == 2


def test_a_file_cut_short_is_never_a_whole_answer(site: Served) -> None:
    with pytest.raises(http.client.IncompleteRead):
        site.get("cut/0-64_0-64_0-64", Accept_Encoding="identity")


# What the app is asked for.


@pytest.mark.parametrize("prefix", ["", f"{GRANT}/"])
@pytest.mark.parametrize(
    "name",
    ["shards/0-64_0-64_0-64", "shards/12:0", "shards/info", "mesh", "mesh/", ".glassine/record.json", "%2eglassine/record.json",
     "flat/.0-64_0-64_64-128.7.tmp", "link", "unreadable/0-64_0-64_0-64", "unreadable_folder/0-64_0-64_0-64", "mesh/12:0/more",
     "mesh//12:0", "mesh/../info", "mesh%2f12:0", "flat/0-64_0-64_64-128?a=b"],
)  # fmt: skip
def test_the_app_is_asked_for_what_no_file_has_or_may_show(site: Served, prefix: str, name: str) -> None:
    target = f"/data/{prefix}lab/vol/{name}"
    answer = site.ask(target, Accept_Encoding="gzip")
    assert StandIn.asked == [target]
    assert answer.headers["Cache-Control"] == "told-by-the-app"
    assert_readable_by_the_viewer(answer, "https://told.by.the.app")


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("name", ["info", "nested_gz/0-64_0-64_0-64", "nothing"])
def test_only_reading_is_answered_here(site: Served, method: str, name: str) -> None:
    target = f"/data/lab/vol/{name}"
    site.ask(target, method, Content_Length="0")
    assert (StandIn.asked, StandIn.questions) == ([target], [])


def test_head_with_a_range_is_the_apps(site: Served) -> None:
    site.ask("/data/lab/vol/info", "HEAD", Range="bytes=0-1")
    assert StandIn.asked == ["/data/lab/vol/info"]


@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_outside_a_dataset_is_sent(site: Served, target: str) -> None:
    answer = site.ask(target)
    assert SECRET not in answer.body
    assert b"root:" not in answer.body
    # Either nginx refuses it, or the app is asked for exactly that target and has its own answer.
    assert answer.status in (400, 404) or StandIn.asked == [target]


@pytest.mark.parametrize("target", ["/flat/lab/vol/8_8_8/0-64_0-64_0-64", f"/flat/{GRANT}/lab/vol/info"])
def test_flat_is_the_apps(site: Served, target: str) -> None:
    answer = site.ask(target)
    assert (answer.status, StandIn.asked, StandIn.questions) == (200, [target], [])
    assert_readable_by_the_viewer(answer, "https://told.by.the.app")


@pytest.mark.parametrize(
    "target", ["/", "/v/token/", "/static/page.js?a=%20b", "/api/datasets", "/healthz", "/metrics", "/dat%61", "/v/a%2Fb/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_everything_else_goes_to_the_app_unchanged(site: Served, method: str, target: str) -> None:
    answer = site.ask(target, method, Content_Length="0")
    assert (answer.status, answer.body.decode()) == (200, f"{method} {target} here")
    assert answer.headers["Access-Control-Allow-Origin"] is None


def test_the_app_is_told_who_asks_by_nginx_alone(site: Served) -> None:
    said = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "https"}
    assert site.ask("/headers", **said).body.decode().endswith("here from 127.0.0.1 by http")


def test_an_event_arrives_before_the_stream_ends(site: Served) -> None:
    with site.connect() as connection:
        connection.sendall(request_bytes("/events/token", "GET"))
        response = http.client.HTTPResponse(connection)
        with closing(response):
            response.begin()
            first = response.read(len(b"data: first\n\n"))
            assert not StandIn.may_end.is_set()
            StandIn.may_end.set()
            assert (first, response.read()) == (b"data: first\n\n", b"")


# Access.


def test_the_chunks_of_a_scale_cost_one_question(site: Served, somebody: dict[str, str]) -> None:
    target = f"/data/{GRANT}/lab/vol/nested"
    for chunk in ("0-64_0-64_0-64", "0-64_0-64_64-128", "0-64_0-64_0-64?a=b"):
        assert site.ask(f"{target}/{chunk}", **somebody).status == 200
    assert [question["x-original-uri"] for question in StandIn.questions] == [f"{target}/"]


@pytest.mark.parametrize("name", ["info", "mesh/12:0", "mesh/a%20b%25c%3Fd", "nested/0-64_0-64_0-64%20"])
def test_the_app_is_asked_about_every_other_file(site: Served, name: str, somebody: dict[str, str]) -> None:
    site.ask(f"/data/lab/vol/{name}?more=than/that", **somebody)
    assert [question["x-original-uri"] for question in StandIn.questions] == [f"/data/lab/vol/{name}"]


@pytest.mark.parametrize("name", ["nested/0-64_0-64_0-64", "nested_gz/0-64_0-64_0-64", "mesh/a%20b%25c%3Fd"])
def test_a_file_lies_where_it_lies_without_the_grant(site: Served, name: str, somebody: dict[str, str]) -> None:
    answer = site.ask(f"/data/{GRANT}/lab/vol/{name}", Accept_Encoding="gzip", **somebody)
    assert (answer.status, answer.decoded, StandIn.asked) == (200, PLAIN, [])
    assert StandIn.questions[0]["x-original-uri"].startswith(f"/data/{GRANT}/lab/vol/")


@pytest.mark.parametrize("grant", ["~", "~a.1", "~a.1.short", "~A.1.0123456789abcdefghij-_", f"{GRANT}x", f"{GRANT}/{GRANT}"])
def test_what_is_no_grant_stays_in_the_path(site: Served, grant: str) -> None:
    assert site.ask(f"/data/{grant}/lab/vol/info").status == 404
    assert StandIn.asked == [f"/data/{grant}/lab/vol/info"]


@pytest.mark.parametrize("target", ["info", "nested/0-64_0-64_0-64", "nothing", "nested/0-64_0-64_64-128"])
def test_the_app_refuses_in_its_own_words(site: Served, target: str) -> None:
    answer = site.ask(f"/data/private/vol/{target}")
    assert (answer.status, answer.body.decode()) == (401, f"GET /data/private/vol/{target} here")
    assert_readable_by_the_viewer(answer, "https://told.by.the.app")


@pytest.mark.parametrize("target", ["info", "nested/0-64_0-64_0-64"])
def test_each_bearer_is_asked_about(site: Served, target: str) -> None:
    """What one may read, nobody else may read because of that, and the other way round."""
    path = f"/data/private/vol/{target}"
    for _ in range(2):
        assert site.ask(path).status == 401
        assert site.ask(path, Authorization="Bearer good").status == 200
        assert site.ask(path, Authorization="Bearer bad").status == 401
        assert site.ask(path, Cookie="Bearer good").status == 401
        assert site.ask(path, Origin="Bearer good").status == 401
    answer = site.ask(path, Authorization="Bearer good")
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_no_header_is_sent_that_is_not_in_the_key(site: Served) -> None:
    keyed = {"Authorization": "Basic x", "Cookie": "a=b", "Origin": "https://a.org"}
    site.get("mesh/12:0", **keyed, X_Other="c", X_Original_URI="/d", Range="e=")
    (question,) = StandIn.questions
    assert question == {
        "host": "here",
        "authorization": "Basic x",
        "cookie": "a=b",
        "origin": "https://a.org",
        "x-original-uri": "/data/lab/vol/mesh/12:0",
        "x-original-method": "GET",
        "connection": "close",
    }


@pytest.mark.parametrize(("origin", "allowed"), [("https://a.org", ["https://a.org"]), ("https://b.org", None)])
def test_an_origin_is_allowed_as_the_app_says(site: Served, origin: str, allowed: list[str] | None) -> None:
    for accept in ("gzip", "identity"):
        answer = site.get("nested_gz/0-64_0-64_0-64", Origin=origin, Accept_Encoding=accept)
        assert answer.headers.get_all("Access-Control-Allow-Origin") == allowed
        assert "Origin" in answer.headers.get_all("Vary", [])


@pytest.mark.parametrize("target", ["info", "nested/0-64_0-64_0-64"])
def test_nothing_is_sent_when_the_app_cannot_say(site: Served, alone: Front, target: str) -> None:
    assert site.ask(f"/data/broken/vol/{target}").status == 500
    for name in ("lab", "private", "nothing"):
        answer = alone.served.ask(f"/data/{name}/vol/{target}")
        # The viewer asks again after a 503: the app is being started, perhaps.
        assert (answer.status, answer.headers["Cache-Control"]) == (503, "no-store")
        assert_readable_by_the_viewer(answer)


# Limits.


def test_a_target_that_is_too_long_is_414(site: Served) -> None:
    assert site.ask("/data/" + "a" * 8000).status == 404
    assert site.ask("/data/" + "a" * 8200).status == 414


def test_a_head_that_is_too_large_is_431(site: Served) -> None:
    more = {f"X_{n}": "a" * 7000 for n in range(3)}
    assert site.get("info", **more).status == 200
    answer = site.get("info", **more, X_3="a" * 7000, X_4="a" * 7000)
    assert answer.status == 431
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("target", ["/data/lab/vol/info", "/v/token/"])
def test_a_body_that_is_too_large_is_413(site: Served, target: str) -> None:
    assert site.ask(target, "POST", Content_Length=str(1 + (1 << 20))).status == 413


def test_an_upload_may_be_large(site: Served) -> None:
    with site.connect() as connection:
        connection.sendall(request_bytes("/api/uploads/a", "PUT", Content_Length=str(1 << 40)) + b"first bytes")
        assert read_answer(connection).status == 200


def test_one_address_has_so_many_requests_at_once(site: Served) -> None:
    """They wait for a stream that does not end; what comes on top of them is told to come again."""
    StandIn.may_end.clear()
    with ExitStack() as stack:
        waiting = [stack.enter_context(site.connect()) for _ in range(512)]
        for connection in waiting:
            connection.sendall(request_bytes("/events/token", "GET"))
        first = [connection.recv(12) for connection in waiting]
        answer = site.get("info")
        StandIn.may_end.set()
    assert set(first) == {b"HTTP/1.1 200"}
    assert answer.status == 503
    assert_readable_by_the_viewer(answer)


@pytest.mark.skipif(os.environ.get("GLASSINE_SLOW") != "1", reason="takes the 20 seconds that it is about: GLASSINE_SLOW=1")
def test_a_head_that_does_not_come_ends_the_connection(site: Served) -> None:
    with site.connect() as connection, suppress(ConnectionResetError):
        connection.settimeout(60)
        connection.sendall(b"GET /data/lab/vol/info HTTP/1.1\r\nHost:")
        assert connection.recv(100) == b""


# Logs.


def test_logs_hold_errors_without_what_gives_access(front: Front, site: Served, alone: Front) -> None:
    secret = "tk3d2p.2.0123456789abcdefghij-_"
    for target in (
        f"/data/~{secret}/lab/vol/unreadable/0-64_0-64_0-64?token={secret}",
        f"/data/~{secret}/private/vol/info",
        f"/data/%7E{secret}/private/vol/info",
        f"/data/%257e{secret}/private/vol/info",
        f"/flat/~{secret}/private/~{secret}/info",
        f"/v/~{secret}?{secret}",
        f"/data/~{secret}/lab/vol/nothing",
        f"/data/~{secret}/lab/vol/" + "a" * 300,
        f"/data/~{secret}/lab/vol/" + "a" * 9000,
    ):
        site.ask(target, Authorization=f"Bearer {secret}", Cookie=secret, Referer=f"http://here/{secret}")
        alone.served.ask(target, Authorization=f"Bearer {secret}", Cookie=secret)
    assert secret not in front.logged() + alone.logged()
    lines = [json.loads(line) for one in (front, alone) for line in (one.folder / "access.log").read_text().splitlines()]
    statuses = {line["status"] for line in lines}
    assert {401, 414, 500, 503} <= statuses
    assert not statuses & {200, 404}
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert {"/data/~/lab/vol/unreadable/0-64_0-64_0-64", "/data/~/private/vol/info"} <= {line["path"] for line in lines}


# TLS.


def test_with_a_certificate_there_is_http_2(front: Front, site: Served) -> None:
    context = ssl.create_default_context(cafile=front.folder / "tls/fullchain.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", front.tls_port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        assert (encrypted.selected_alpn_protocol(), encrypted.version()) == ("h2", "TLSv1.3")


def test_the_browser_speaks_http_2_with_it(front: Front, site: Served, browser: Any) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"https://127.0.0.1:{front.tls_port}/v/token/")
    read = page.evaluate(
        "fetch('/data/lab/vol/nested/0-64_0-64_0-64').then(answer => answer.arrayBuffer()).then(b => b.byteLength)"
    )
    protocols = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)")
    context.close()
    assert (read, protocols[-1]) == (len(PLAIN), "h2")


def test_a_chunk_comes_over_tls(front: Front, site: Served) -> None:
    context = ssl.create_default_context(cafile=front.folder / "tls/fullchain.pem")
    with (
        socket.create_connection(("127.0.0.1", front.tls_port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        encrypted.sendall(request_bytes("/data/lab/vol/nested/0-64_0-64_0-64", "GET", Connection="close"))
        answer = read_answer(encrypted)
    assert (answer.status, answer.body) == (200, PLAIN)


def test_without_a_certificate_there_is_no_tls(nginx: str, stand_in: str) -> None:
    with nginx_folder() as empty, running_nginx(nginx, empty, stand_in) as front:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", front.tls_port), timeout=5)
        assert front.served.ask("/healthz").status == 200


# The viewer.


def test_the_viewer_reads_both_layouts_through_nginx(
    viewer: Any, glassine: Callable[..., str], nginx: str, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(3).integers(0, 2**16, (101, 67, 45), np.uint16)
    np.save(tmp_path / "stack.npy", voxels.T)
    options = ("--axes", "zyx", "--resolution", "4,4,9", "--chunk-size", "32,32,16", "--voxel-offset", "-37,5,-101")
    with nginx_folder() as folder, running_app(folder) as app:
        datasets = [app.root / "seen" / layout for layout in ("nested", "flat")]
        for dataset in datasets:
            glassine("convert", tmp_path / "stack.npy", dataset, *options, "--layout", dataset.name)
        with running_nginx(nginx, folder, app.address) as front:
            viewer.open(glassine("link", *datasets, "--root", app.root, "--url", front.served.url).strip())
            viewer.wait(layers=2)
            for dataset in datasets:
                assert_every_scale(viewer, dataset.name, voxels, (-37, 5, -101), labels=False)
            viewer.assert_clean()
