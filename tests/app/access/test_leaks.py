"""Whatever somebody without a right asks for, in whatever order: no byte of a private dataset, and no name of one."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.access.sessions import make_session
from app.access.tokens import Right, tokens_of
from app.settings import AccessSettings
from tests.app.access.conftest import CHUNK, HIDDEN, NAMES, READ_TOKEN, SECRET, TOKEN, Client, bearer, grant, make_root, served
from tests.app.jobs.conftest import write_scan

OTHER = AccessSettings("another-0123456789abcdef")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that has private datasets, an upload and jobs of private names."""
    root = make_root(tmp_path_factory.mktemp("leaks"))
    write_scan(root / "secluded.nii.gz")
    (root / ".glassine" / "uploads").mkdir()
    (root / ".glassine" / "uploads" / "secluded.raw").write_bytes(SECRET)
    with served(root) as client:
        body = {"command": "convert", "options": {"source": "secluded-none.nii", "dataset": "secluded/new"}}
        assert client.ask("/api/jobs", bearer(TOKEN), "POST", body).status in (201, 503)
        for name in HIDDEN:  # so that all that may be kept is
            for target in (
                f"/data/{name}/{CHUNK}",
                f"/flat/{name}/info",
                f"/api/link?name={name}",
                f"/api/thumbnails?name={name}",
            ):
                assert client.ask(target, bearer(TOKEN)).status == 200
        assert client.ask("/api/datasets", bearer(READ_TOKEN)).status == 200
        assert client.ask("/metrics", bearer(READ_TOKEN)).status == 200
        yield client


PARTS = st.sampled_from([
    "secluded", "lab", "cloister", "open", "shown", "none", "", ".", "..", "%2e%2e", "..%2f", "%2f", "~", "~x",
    "%7e", "info", "8_8_8", "0-64_0-64_0-64",
    "0-64", "provenance", "mesh", "7:0", ".glassine", "thumbnail.png", "uploads", "jobs", "secluded.raw",
    "secluded.nii.gz", "access.json", "SECLUDED",
    "secluded.", "Secluded ", "%00", "\\", "%5c", "secluded%2finfo", "secludéd", "%73ecluded", "jobs.sqlite", "1",
    "log", "events",
])  # fmt: skip
PREFIXES = st.sampled_from(
    [
        "/data",
        "/flat",
        "/data",
        "/flat",
        "",
        "/api",
        "/static",
        "/v/1",
        "/%64ata",
        "/DATA",
        "//data",
        "/data/open",
        "/data/open/..",
    ]
)
GRANTS = st.sampled_from([
    "", "", "", "open", "secl", "expired", "forged", "none", "lab/cloister/x", "read",
])  # fmt: skip
TARGETS = st.tuples(PREFIXES, GRANTS, st.lists(PARTS, max_size=5)).map(lambda drawn: target(*drawn)) | st.sampled_from([
    "/api/datasets", "/api/jobs", "/api/jobs/1", "/api/jobs/1/log", "/api/uploads", "/api/uploads/secluded.raw",
    "/api/sources", "/api/access",
    "/api/commands", "/api/session", "/metrics", "/access", "/healthz", "/openapi.json", "/docs", "/",
    "/api/link?name=secluded",
    "/api/link?name=open&name=lab/cloister", "/api/link?name=secluded&expires=7d", "/api/link?name=open/../secluded",
    "/api/link?name=lab//cloister",
    "/api/thumbnails?name=secluded", "/api/thumbnails?name=lab/./cloister", "/api/thumbnails?name=",
    "/api/link?name=open&expires=1m",
])  # fmt: skip
BODIES = st.sampled_from([
    None, {}, {"token": "wrong-0123456789abcdef"}, {"token": ""}, {"name": "secluded", "access": "public"},
    {"name": "", "access": "public"},
    {"command": "convert", "options": {"source": "secluded.nii.gz", "dataset": "open/copy"}}, [], "x",
])  # fmt: skip
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])


def forged(tokens: AccessSettings, right: Right) -> str:
    known = tokens_of(tokens)
    assert known is not None
    return make_session(known, right)[1]


WHO = st.fixed_dictionaries({}, optional={
    "Authorization": st.sampled_from(["Bearer wrong-0123456789abcdef", "Bearer", "Basic eA==", f"Bearer {TOKEN[:-1]}"]),
    "Cookie": st.sampled_from([
        "glassine_session=", f"glassine_session={forged(OTHER, Right.WRITE)}", "glassine_session=2.99999999999.0.0", ";;=",
    ]),
    "Range": st.sampled_from(["bytes=0-", "bytes=-5", "bytes=0-1,3-4", "bytes=99-"]),
    "If-None-Match": st.sampled_from(["*", '"x"']),
    "If-Modified-Since": st.just("Fri, 01 Jan 2100 00:00:00 GMT"),
    "Accept-Encoding": st.sampled_from(["gzip", "br", "identity;q=0"]),
    "Origin": st.sampled_from(["http://HOST", "https://evil.example", "null"]),
    "X-Original-URI": st.sampled_from(["/data/open/info", "/data/secluded/info"]),
    "X-Original-Method": st.sampled_from(["OPTIONS", "GET"]),
    "X-Forwarded-For": st.just("127.0.0.1"),
    "X-HTTP-Method-Override": st.just("GET"),
    "Last-Event-ID": st.just("0"),
})  # fmt: skip
REQUESTS = st.tuples(METHODS, TARGETS, WHO, BODIES)


def target(prefix: str, granted: str, parts: list[str]) -> str:
    """Return a target that may have a grant, good for something else, in front."""
    made = {
        "": "", "expired": grant("secluded", -1), "forged": grant("secluded", token="another-0123456789abcdef"),
        "read": grant("secluded", token=READ_TOKEN),
    }  # fmt: skip
    front = made[granted] if granted in made else grant(granted)
    return prefix + "".join(f"/{part}" for part in ([front] if front else []) + parts)


@settings(max_examples=120)
@given(st.lists(REQUESTS, min_size=1, max_size=6))
def test_no_sequence_of_requests_without_a_right_gets_anything(
    host: Client, requests: list[tuple[str, str, Mapping[str, str], object]]
) -> None:
    for method, path, who, body in requests:
        headers = {name: value.replace("HOST", host.host) for name, value in who.items()}
        content = body if method in ("POST", "PUT", "PATCH") else None
        with suppress(HTTPException):
            answer = host.ask(quote(path, safe="/%?&=~:.\\"), headers, method, content)
            assert not any(part in answer.body for part in (SECRET[:6], SECRET[-6:])), (method, path)
            told = answer.body.decode(errors="replace") + json.dumps(answer.headers.items())
            asked = path.lower() + json.dumps(content).lower()
            assert not [name for name in NAMES if name in told.lower() and name not in asked], (method, path)
    assert json.loads(host.ask("/api/access", bearer(READ_TOKEN)).body)["datasets"] == {
        "lab": "public",
        "lab/cloister": "private",
        "open": "public",
    }


def test_the_secret_is_seen_where_it_is_allowed(host: Client) -> None:
    for path in (f"/data/secluded/{CHUNK}", f"/data/{grant('secluded')}/secluded/{CHUNK}", "/api/thumbnails?name=secluded"):
        assert SECRET in host.ask(path, bearer(READ_TOKEN)).body
    for path in ("/api/datasets", "/api/jobs", "/api/uploads", "/metrics"):
        assert b"secluded" in host.ask(path, bearer(TOKEN)).body


def test_what_is_being_converted_is_private_too(tmp_path: Path) -> None:
    """A run that is at work: its folder is locked, its files lie below .glassine."""
    root = make_root(tmp_path)
    with served(root) as client:
        for target in ("/data/secluded/new/info", "/api/link?name=secluded/new", "/api/thumbnails?name=secluded/new"):
            before = client.ask(target).told
            (root / "secluded" / "new" / ".glassine").mkdir(parents=True, exist_ok=True)
            (root / "secluded" / "new" / ".glassine" / "begun.json").write_text("{}")
            assert client.ask(target).told == before
            assert before[0] == 401
