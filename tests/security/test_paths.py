"""Requests for files that try to leave the served folder: thousands by the ASGI function, some over a socket byte for byte."""

import asyncio
import gc
import http.client
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.access.grants import make_grant
from app.access.tokens import link_key
from app.protocol import FileSpan, Reply
from app.server import Site, create_app, running
from app.settings import AccessSettings
from tests.app.data.asking import Served
from tests.security import site
from tests.security.amount import cases
from tests.security.answers import CORS, STATUSES, Answer, assert_known, told_headers
from tests.security.asked import Asked, requests

TOGETHER = 20
"""Requests in one example: hypothesis takes as long for an example as twenty of them."""
MANY = settings(
    max_examples=cases(25, 5_000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    # Twenty requests are not worth shrinking: the one that fails is in the message.
    phases=(Phase.generate,),
    deadline=None,
)
KNOWN = site.public_contents()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = site.make(tmp_path_factory.mktemp("security"))
    # What a process opens once and for all.
    with running(create_app(root)) as url:
        Served(url, root).ask("/data/nothing")
    return root


@pytest.fixture(autouse=True)
def nothing_is_logged_or_left_open(
    root: Path, open_site: Any, closed_site: Any, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail when an error was logged, and when files are open that were not before."""
    before = open_files()
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []
    assert open_files() - before == Counter()


def open_files() -> Counter[str]:
    """Return what is open in this process, files by their paths, all else by its kind."""
    gc.collect()
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}").partition(":")[0])
    return Counter(name for name in found if name != f"/proc/{os.getpid()}/fd")


@contextmanager
def opened(app: Site) -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop in which an application is called."""
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        app.close()
        app.pages.state.jobs.close()
        loop.close()


def scope_of(asked: Asked) -> dict[str, Any]:
    """Return the scope as uvicorn makes it."""
    target, _, query = asked.target.partition("#")[0].partition("?")
    path = "/" + target.split("/", 3)[3] if target.startswith("http://") else target
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "method": asked.method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"here"), *((name.encode(), value.encode("latin-1")) for name, value in asked.headers)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def called(app: Any, scope: dict[str, Any]) -> Answer:
    """Return what the application sends when it is called."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], told_headers(sent[0]["headers"]), b"" if scope["method"] == "HEAD" else body)


def at_once(app: Site, scope: dict[str, Any]) -> Answer | None:
    """Return what the application answers without waiting, None when it does not."""
    reply: Reply | None = app.at_once(scope)
    if reply is None:
        return None
    body = reply.body
    if isinstance(body, FileSpan):
        descriptor, start, end = body
        body = os.pread(descriptor, end - start, start)
        os.close(descriptor)
    return Answer(reply.status, told_headers(reply.headers), b"" if scope["method"] == "HEAD" else bytes(body))


def ask(app: Site, loop: asyncio.AbstractEventLoop, asked: Asked) -> Answer:
    """Return the answer of an application's files, the same both ways, None where no files were asked for."""
    scope = scope_of(asked)
    files = app._files(scope["path"])
    if files is None:
        return Answer(404, {CORS: "*"}, b"")
    answer = loop.run_until_complete(called(files, scope))
    quick = at_once(app, scope)
    if quick is not None and not answer.headers.get("content-type", "").startswith("multipart/"):
        assert (quick.status, quick.body) == (answer.status, answer.body)
    return answer


def assert_harmless(asked: Asked, answer: Answer, known: list[bytes]) -> None:
    assert answer.status in STATUSES, (asked, answer)
    assert answer.headers.get(CORS) == "*", (asked, answer)
    try:
        assert_known(answer, known, asked.range, asked.method)
    except AssertionError as error:
        raise AssertionError(f"{asked}: {answer.status}, {answer.headers}: {error}") from error


@pytest.mark.timeout(7200)
@given(many=st.lists(requests(site.NAMES), min_size=TOGETHER, max_size=TOGETHER))
@MANY
def test_no_path_leads_out_and_ranges_are_exact(root: Path, many: list[Asked], open_site: Any) -> None:
    app, loop = open_site
    everything = [*KNOWN, *site.private_contents()]
    for asked in many:
        assert_harmless(asked, ask(app, loop, asked), everything)


@pytest.fixture(scope="module")
def open_site(root: Path) -> Iterator[tuple[Site, asyncio.AbstractEventLoop]]:
    """An application without tokens: only what lies outside, in private folders or behind links is secret."""
    app = create_app(root)
    with opened(app) as loop:
        loop.run_until_complete(called(app.data, scope_of(Asked("GET", f"/data/{site.PUBLIC}/info", ()))))
        yield app, loop


@pytest.fixture(scope="module")
def closed_site(root: Path) -> Iterator[tuple[Site, asyncio.AbstractEventLoop]]:
    """An application with a token, where one dataset is public."""
    app = create_app(root, access=AccessSettings(token=site.TOKEN))
    with opened(app) as loop:
        loop.run_until_complete(called(app.data, scope_of(Asked("GET", f"/data/{site.PUBLIC}/info", ()))))
        yield app, loop


GRANT = make_grant(link_key(site.TOKEN), site.GRANTED, int(time.time()) // 86400 * 86400 + 10 * 86400)
EXPIRED = make_grant(link_key(site.TOKEN), site.GRANTED, 1_600_000_000)


def wrong_grants() -> st.SearchStrategy[str]:
    """Return grants that are not GRANT."""
    letters = st.sampled_from("abcXYZ019-_.~%/=+ \0")
    changed = st.builds(
        lambda place, letter, way: GRANT[:place] + letter * (way < 2) + GRANT[place + (way != 1) :],
        st.integers(0, len(GRANT)),
        letters,
        st.integers(0, 2),
    )
    expires, depth, signature = GRANT.removeprefix("~").split(".")
    made = st.sampled_from(
        [
            EXPIRED,
            "~",
            "~.",
            "~..",
            f"~{expires}.{depth}.",
            f"~{expires}.0.{signature}",
            f"~{expires}.1.{signature}",
            f"~zzzzzzzzzz.{depth}.{signature}",
            GRANT + "=",
            GRANT + "A",
            GRANT[:-1],
            GRANT.upper(),
            GRANT + "/" + GRANT,
            f"{EXPIRED}/{GRANT}",
            GRANT.replace(".", "%2e"),
            GRANT + "%00",
            make_grant(link_key("another-token-of-somebody"), site.GRANTED, 1 << 40),
        ]
    )
    return st.one_of(changed, changed, made)


def granted_targets() -> st.SearchStrategy[Asked]:
    """Return requests below grants, right and wrong ones, for the dataset that they are for and for others."""
    steps = st.sampled_from(
        ["", "", "", "", "/..", "/.", "/../private", "/%2e%2e/private", "%2f..%2fprivate", "/../../lab/private", "/~"]
    )
    name = st.sampled_from(
        [site.GRANTED, site.GRANTED, site.PRIVATE, "lab", "", "lab//granted", "LAB/granted", "lab/granted/../private"]
    )
    file = st.sampled_from([*site.FILES, "info"]).map(lambda text: text.replace("%", "%25").replace(" ", "%20"))
    target = st.builds(
        lambda prefix, grant, name, step, file: f"{prefix}/{grant}/{name}{step}/{file}",
        st.sampled_from(["/data", "/flat", "/data/lab", "/data/", "/%64ata"]),
        st.one_of(st.just(GRANT), wrong_grants()),
        name,
        steps,
        file,
    )
    clean = target.map(lambda text: "".join(letter if 32 < ord(letter) < 127 else f"%{ord(letter):02x}" for letter in text))
    return st.builds(lambda target, asked: Asked(asked.method, target, asked.headers), clean, requests(site.NAMES))


WRONG_CREDENTIALS = st.one_of(
    st.just(()),
    st.just(()),
    st.sampled_from(
        [
            (("authorization", f"Bearer {site.TOKEN[:-1]}"),),
            (("authorization", f"Bearer {site.TOKEN}x"),),
            (("authorization", site.TOKEN),),
            (("authorization", f"Basic {site.TOKEN}"),),
            (("authorization", "Bearer "),),
            (("authorization", "Bearer " + "x" * 3000),),
            (("cookie", "glassine=" + "A" * 60),),
            (("cookie", "=;=;;" * 40),),
            (("cookie", f"session={site.TOKEN}; glassine_session={site.TOKEN}"),),
            (("x-original-uri", f"/data/{site.PUBLIC}/info"), ("x-forwarded-for", "127.0.0.1")),
            (("x-accel-redirect", "/data/lab/private/info"),),
            (("cookie", "\xff\xfe"),),
            (("authorization", "Bearer \xff" + site.TOKEN),),
        ]
    ),
)


def holds_grant(target: str) -> bool:
    """Tell whether a path begins with the right grant, for the dataset that it is for."""
    path = unquote(target.partition("#")[0].partition("?")[0])
    return any(path.startswith(f"{prefix}/{GRANT}/{site.GRANTED}/") for prefix in ("/data", "/flat"))


@pytest.mark.timeout(7200)
@given(many=st.lists(st.one_of(requests(site.NAMES, WRONG_CREDENTIALS), granted_targets()), min_size=TOGETHER, max_size=TOGETHER))
@MANY
def test_a_private_dataset_is_read_by_its_token_and_its_link_alone(closed_site: Any, many: list[Asked]) -> None:
    app, loop = closed_site
    for asked in many:
        answer = ask(app, loop, asked)
        known = [*KNOWN, *(site.granted_contents() if holds_grant(asked.target) else ())]
        assert_harmless(asked, answer, known)
        if answer.status == 401:
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["www-authenticate"] == "Bearer"


def test_the_right_token_and_the_right_link_let_read(closed_site: Any) -> None:
    app, loop = closed_site
    bearer = (("authorization", f"Bearer {site.TOKEN}"),)
    for name, content in site.GRANTED_FILES.items():
        target = name.replace("%", "%25").replace(" ", "%20")
        by_link = Asked("GET", f"/data/{GRANT}/{site.GRANTED}/{target}", ())
        by_token = Asked("GET", f"/data/{site.GRANTED}/{target}", bearer)
        refused = Asked("GET", f"/data/{site.GRANTED}/{target}", ())
        assert [ask(app, loop, one).body for one in (by_link, by_token)] == [content, content], name
        assert ask(app, loop, refused).status == 401


# Over a socket.


def raw_requests(count: int, seed: int) -> Iterator[bytes]:
    """Yield heads of requests with targets of any bytes."""
    chance = random.Random(seed)
    names = [name.encode() for name in site.NAMES]
    odd = [
        b"\0",
        b"\xff",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b"%",
        b"%zz",
        b"..",
        b"/",
        b"\\",
        b"?",
        b"#",
        b"\xc0\xae",
        b"\x7f",
        b"http://",
        b"*",
        b"//x@y:1",
    ]
    for _ in range(count):
        target = bytearray(
            chance.choice((b"/data/", b"/flat/", b"/", b"", b"http://here/data/", b"data/", b"*")) + chance.choice(names)
        )
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            place = chance.randrange(len(target) + 1)
            target[place : place + chance.choice((0, 0, 1))] = chance.choice((*odd, bytes([chance.randrange(256)])))
        method = chance.choice((b"GET",) * 8 + (b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"G\xffT", b"PRI", b""))
        version = chance.choice((b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/9.9", b"HTTP/", b""))
        spec = chance.choice(
            (
                b"0-5",
                b"-1",
                b"5-1",
                b"9" * 40 + b"-",
                b"\xff",
                b"",
                bytes(chance.randbytes(8)).replace(b"\n", b"").replace(b"\r", b""),
            )
        )
        extra = chance.choice(
            (
                b"",
                b"",
                b"Range: bytes=" + spec + b"\r\n",
                b"Accept-Encoding: gzip, br\r\n",
                b"X" * 200 + b": \xff\r\n",
                b": x\r\n",
                b" x\r\n",
                b"Upgrade: websocket\r\nConnection: upgrade\r\n",
                b"Expect: 100-continue\r\n",
                b"Host: b\r\n",
            )
        )
        yield b"%s %s %s\r\nHost: here\r\n%sConnection: close\r\n\r\n" % (method, target, version, extra)


def all_of(served: Served, data: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes the connection."""
    with served.connect() as connection:
        connection.settimeout(20)
        connection.sendall(data)
        received = bytearray()
        # A server that closes with bytes unread resets the connection.
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return bytes(received)


def answers_in(data: bytes) -> Iterator[Answer]:
    """Yield the responses in what a server sent."""
    while data:
        assert data.startswith(b"HTTP/1.1 "), data[:80]
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = told_headers(tuple(line.split(b": ", 1)) for line in lines[1:])  # type: ignore[misc]
        status = int(lines[0].split()[1])
        if status == 100:
            data = rest
            continue
        length = int(headers.get("content-length", len(rest)))
        if status in (204, 304):
            length = 0
        yield Answer(status, headers, rest[:length])
        data = rest[length:]


def is_clean(answer: Answer, secrets: list[bytes]) -> bool:
    """Tell whether an answer holds nothing of the secrets that is longer than chance."""
    body = answer.body
    return (
        not any(secret[place : place + 16] in body for secret in secrets for place in range(0, len(secret) - 16, 97))
        and b"Traceback" not in body
    )


@pytest.mark.timeout(7200)
def test_any_bytes_for_a_target_are_answered_and_the_server_goes_on(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    secrets = [path.read_bytes() for path in root.parent.rglob("*") if path.is_file() and path.stat().st_size >= 5000]
    assert len(secrets) >= 10
    info = site.CHUNKED["info"]
    with running(create_app(root)) as url:
        served = Served(url, root)
        for number, data in enumerate(raw_requests(cases(250, 5_000), seed=11)):
            for answer in answers_in(all_of(served, data)):
                assert answer.status < 500 or answer.status == 505, (data, answer)
                assert is_clean(answer, secrets), data
                if answer.status in (200, 206, 401, 404, 416) and data.split(b" ")[1].startswith((b"/data/", b"/flat/")):
                    assert answer.headers[CORS] == "*", (data, answer)
            if number % 50 == 0:
                assert served.ask(f"/data/{site.PUBLIC}/info").body == info


@pytest.mark.timeout(7200)
def test_a_connection_stays_usable_or_is_closed(root: Path) -> None:
    chance = random.Random(5)
    known = [*KNOWN, *site.private_contents()]
    drawn = _drawn(cases(150, 5_000))
    with running(create_app(root)) as url:
        served = Served(url, root)
        with served.line() as line:
            for asked in drawn:
                headers = {name.replace("-", "_"): value for name, value in asked.headers}
                try:
                    found = line.ask(asked.target, asked.method, **headers)
                except http.client.RemoteDisconnected:
                    continue
                answer = Answer(
                    found.status,
                    told_headers((k.encode("latin-1"), v.encode("latin-1")) for k, v in found.headers.items()),
                    found.body,
                )
                if asked.target.startswith(("/data/", "/flat/")) and answer.status not in (400, 414, 431):
                    assert_harmless(asked, answer, known)
                if chance.random() < 0.1:
                    again = line.ask(f"/data/{site.PUBLIC}/info")
                    assert (again.status, again.body) == (200, site.CHUNKED["info"])


def _drawn(count: int) -> list[Asked]:
    """Return requests of hypothesis, the same in every run."""
    found: list[Asked] = []

    @settings(max_examples=count // 10, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(requests(site.NAMES), min_size=10, max_size=10))
    def draw(many: list[Asked]) -> None:
        found.extend(one for one in many if one.method != "POST")

    draw()
    return found
