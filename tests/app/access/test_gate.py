"""Files of datasets behind the gate: every kind of file x everybody, asked on a socket."""

import asyncio
import json
import logging
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.access.gate import Gate
from app.access.grants import EXPIRED, INVALID
from app.access.policy import NEEDS_RIGHT, policy_of
from app.access.tokens import Right
from app.data.route import DataApp, Files, Found
from app.settings import AccessSettings
from tests.app.access.conftest import (
    ABSENT,
    CHUNK,
    FILES,
    HIDDEN,
    NAMES,
    READ_TOKEN,
    SECRET,
    SETTINGS,
    TOKEN,
    Answer,
    Client,
    bearer,
    cookie,
    grant,
    make_dataset,
    make_root,
    served,
    write_rules,
)

OTHER = AccessSettings("another-0123456789abcdef")

ENTITLED: dict[str, Mapping[str, str]] = {
    "the token": bearer(TOKEN),
    "the token, oddly written": {"authorization": f"bearer   {TOKEN} "},
    "the read token": bearer(READ_TOKEN),
    "a session": cookie(Right.WRITE),
    "a session that reads": cookie(Right.READ),
    "a good session behind a bad one": {"Cookie": f"glassine_session=x; {cookie(Right.READ)['Cookie']}"},
    "a bad token with a good session": {**bearer("wrong-0123456789abcdef"), **cookie(Right.READ)},
}
STRANGERS: dict[str, Mapping[str, str]] = {
    "nobody": {},
    "a wrong token": bearer("wrong-0123456789abcdef"),
    "a token cut short": bearer(TOKEN[:-1]),
    "a token and more": bearer(f"{TOKEN}x"),
    "no token": bearer(""),
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "the token alone": {"Authorization": TOKEN},
    "the token as a cookie": {"Cookie": f"glassine_session={TOKEN}"},
    "a session of another server": cookie(Right.WRITE, OTHER),
    "a session with a higher right": {"Cookie": cookie(Right.READ)["Cookie"].replace("=1.", "=2.")},
    "a session whose time was moved": {"Cookie": cookie(Right.READ)["Cookie"].replace("=1.", "=1.9")},
    "a session of another name": {"Cookie": cookie(Right.WRITE)["Cookie"].replace("glassine_session", "session")},
    "a digest in the place of the token": bearer("0" * 64),
}


def refused(answer: Answer, why: str = NEEDS_RIGHT) -> None:
    assert (answer.status, answer.body) == (401, f"{why}\n".encode())
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("who", ENTITLED)
@pytest.mark.parametrize("prefix", ["/data", "/flat"])
def test_who_may_read_gets_what_is_there(client: Client, without: Client, who: str, prefix: str) -> None:
    for name in (*HIDDEN, "open", "lab/shown", "none"):
        for file in (*FILES, *ABSENT):
            target = f"{prefix}/{name}/{file}"
            plain = without.ask(target)
            answer = client.ask(target, ENTITLED[who])
            assert (answer.status, answer.body) == (plain.status, plain.body), target
            if answer.status == 200:
                public = name in ("open", "lab/shown")
                assert answer.headers["Cache-Control"] == ("no-cache" if public else "private, no-cache")


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("prefix", ["/data", "/flat"])
def test_nobody_else_learns_anything(client: Client, who: str, prefix: str) -> None:
    answers = set()
    for name in (*HIDDEN, "none", "lab/cloister/deeper"):
        for file in (*FILES, *ABSENT):
            answer = client.ask(f"{prefix}/{name}/{file}", STRANGERS[who])
            refused(answer)
            answers.add(repr(answer.told))
    assert len(answers) == 1, "the same answer whatever there is"


def test_head_and_conditions_tell_nothing_either(client: Client, without: Client) -> None:
    known = without.ask(f"/data/secluded/{CHUNK}")
    for headers in (
        {"If-None-Match": known.headers["ETag"]},
        {"If-None-Match": "*"},
        {"If-Modified-Since": known.headers["Last-Modified"]},
        {"Range": "bytes=0-3"},
        {"Range": "bytes=999999-"},
        {"Accept-Encoding": "gzip"},
        {"Origin": "https://elsewhere.example"},
    ):
        for target in (f"/data/secluded/{CHUNK}", "/data/secluded/none"):
            assert client.ask(target, headers).told == client.ask("/data/none/x").told
            assert client.ask(target, headers, "HEAD").told == client.ask("/data/none/x", method="HEAD").told
    assert client.ask(f"/data/secluded/{CHUNK}", {"If-None-Match": known.headers["ETag"], **bearer(READ_TOKEN)}).status == 304


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
def test_what_reads_nothing_is_answered_as_everywhere(client: Client, without: Client, method: str) -> None:
    for target in ("/data/secluded/info", "/data/none", f"/data/{grant('secluded', -1)}/secluded/info", "/flat/open/info"):
        assert client.ask(target, method=method).told == without.ask("/data/open/info", method=method).told


@pytest.mark.parametrize(
    "target", ["/data/open/info", "/flat/lab/shown/info", f"/data/open/{CHUNK}", "/data/open/none", "/data/open"]
)
@pytest.mark.parametrize("who", STRANGERS)
def test_what_is_public_is_answered_as_without_a_token(client: Client, without: Client, who: str, target: str) -> None:
    assert client.ask(target, STRANGERS[who]).told == without.ask(target, STRANGERS[who]).told


def test_the_dataset_itself_is_as_private_as_its_files(client: Client) -> None:
    for target in (
        "/data/secluded",
        "/data/secluded/",
        "/data/lab/cloister",
        "/data/lab/cloister/",
        "/flat/secluded",
        "/data/none",
        "/data/",
        "/data",
    ):
        refused(client.ask(target))


# Links --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/data", "/flat"])
@pytest.mark.parametrize("mark", ["~", "%7e", "%7E"])
def test_a_link_shows_its_dataset(client: Client, without: Client, prefix: str, mark: str) -> None:
    for name in HIDDEN:
        for file in (*FILES, *ABSENT):
            given = grant(name).replace("~", mark)
            answer, plain = client.ask(f"{prefix}/{given}/{name}/{file}"), without.ask(f"{prefix}/{name}/{file}")
            assert (answer.status, answer.body) == (plain.status, plain.body)
            if answer.status == 200:
                assert answer.headers["Cache-Control"] == "private, no-cache"
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert answer.headers["ETag"] == plain.headers["ETag"]


def test_a_link_takes_ranges_and_conditions(client: Client) -> None:
    target = f"/data/{grant('secluded')}/secluded/{CHUNK}"
    part = client.ask(target, {"Range": "bytes=2-5"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, SECRET[2:6], f"bytes 2-5/{len(SECRET)}")
    assert client.ask(target, {"If-None-Match": part.headers["ETag"]}).status == 304
    assert client.ask(target, {"Range": "bytes=999-"}).status == 416
    assert client.ask(target, method="HEAD").headers["Content-Length"] == str(len(SECRET))


def bad_grants() -> Iterator[tuple[str, str, str]]:
    good = grant("secluded")
    yield "of another dataset", f"/{grant('open')}/secluded/info", INVALID
    yield "of a dataset beside it", f"/{grant('lab/cloister')}/secluded/info", INVALID
    yield "of a dataset whose name begins alike", f"/{grant('hid')}/secluded/info", INVALID
    yield "of one below it", f"/{grant('secluded/mesh')}/secluded/info", INVALID
    yield "of another server", f"/{grant('secluded', token='another-0123456789abcdef')}/secluded/info", INVALID
    yield "of the read token", f"/{grant('secluded', token=READ_TOKEN)}/secluded/info", INVALID
    yield "expired", f"/{grant('secluded', -1)}/secluded/info", EXPIRED
    yield "cut", f"/{good[:-1]}/secluded/info", INVALID
    yield "empty", "/~/secluded/info", INVALID
    yield "for longer", f"/~z{good[2:]}/secluded/info", INVALID
    yield "of another depth", f"/{good.replace('.1.', '.0.')}/secluded/info", INVALID
    yield "twice", f"/{good}/{good}/secluded/info", INVALID
    yield "with nothing behind", f"/{good}", INVALID
    yield "on the way up", f"/{grant('open')}/open/../secluded/info", "404"
    yield "behind the name", f"/secluded/{good}/info", NEEDS_RIGHT
    yield "encoded twice", f"/%257e{good[1:]}/secluded/info", NEEDS_RIGHT
    yield "in capitals", f"/{good.upper()}/secluded/info", INVALID
    yield "with a space", f"/{good}%20/secluded/info", INVALID
    yield "with a slash in front", f"//{good}/secluded/info", NEEDS_RIGHT


BAD_GRANTS = [name for name, _, _ in bad_grants()]


@pytest.mark.parametrize("case", BAD_GRANTS)
@pytest.mark.parametrize("prefix", ["/data", "/flat"])
def test_a_link_that_is_not_good_shows_nothing_and_says_so(client: Client, case: str, prefix: str) -> None:
    target, why = next((target, why) for name, target, why in bad_grants() if name == case)
    answer = client.ask(prefix + target)
    assert SECRET not in answer.body
    if why == "404":
        assert (answer.status, answer.body) == (404, b"There is nothing here.\n")
    else:
        refused(answer, why)
        absent = client.ask(prefix + target.replace("/info", "/none"))
        assert absent.told == answer.told, "whether or not it is there"


def test_a_bad_link_does_not_keep_out_who_may_read(client: Client) -> None:
    target = f"/data/{grant('secluded', -1)}/secluded/{CHUNK}"
    assert client.ask(target, cookie(Right.READ)).body == SECRET
    refused(client.ask(target, {"Cookie": "glassine_session=x"}), EXPIRED)


def test_a_link_to_what_is_public_ends_too(client: Client) -> None:
    assert client.ask(f"/data/{grant('open')}/open/{CHUNK}").status == 200
    refused(client.ask(f"/data/{grant('open', -1)}/open/{CHUNK}"), EXPIRED)


def test_names_that_begin_as_links_do_are_reached_by_links_alone(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    make_dataset(root, "~home", SECRET)
    with served(root) as client:
        refused(client.ask("/data/~home/info"), INVALID)
        assert client.ask(f"/data/~home/{CHUNK}", bearer(TOKEN)).status == 404, "what looks like a link is taken for one"
        assert client.ask(f"/data/{grant('~home')}/~home/{CHUNK}").body == SECRET
        listed = json.loads(client.ask("/api/datasets", bearer(TOKEN)).body)["datasets"]
        (entry,) = [one for one in listed if one["name"] == "~home"]
        link = urllib.parse.unquote(entry["link"])
        assert "/~home" in link.partition("/data/~")[2], "the list's link has a right in front"


# Tricks with paths --------------------------------------------------------------------------------------------------------------

TRICKS = (
    "/data/open/../NAME/FILE", "/data/open/%2e%2e/NAME/FILE", "/data/open/..%2fNAME/FILE", "/data/open/%2E./NAME/FILE",
    "/data/open%2f..%2fNAME/FILE", "/data/./NAME/FILE", "/data//NAME/FILE", "//data/NAME/FILE", "/data/%2fNAME/FILE",
    "/data/NAME//FILE", "/data/NAME/./FILE", "/data/NAME./FILE", "/data/NAME%20/FILE", "/data/NAME%00/FILE", "/data/UPPER/FILE",
    "/DATA/NAME/FILE", "/data/open/..\\NAME\\FILE", "/data/open%5c..%5cNAME/FILE", "/data/open/%252e%252e/NAME/FILE",
    "/data/open/%c0%ae%c0%ae/NAME/FILE", "/data/%73ecluded/FILE", "/%64ata/NAME/FILE", "/data/NAME;x/FILE", "/data/NAME?x/FILE",
    "/data/NAME/FILE?token=x", "/data/NAME/FILE#open", "/data#/NAME/FILE", "/data/open/%2e%2e%2fNAME/FILE",
    "/flat/../data/NAME/FILE", "/static/../data/NAME/FILE", "/v/1/../../data/NAME/FILE", "/data/open/.../NAME/FILE",
    "/data/open/info/../../NAME/FILE", "/data/~/NAME/FILE", "/data/~x/../NAME/FILE", "/data/open/~/../../NAME/FILE",
    "/./data/NAME/FILE",
    "/data/ＮＡＭＥ/FILE", "/data/open/.glassine/../../NAME/FILE", "/data/.glassine/../NAME/FILE", "http://HOST/data/NAME/FILE",
    "/data/NAME/8_8_8/0-64/0-64/0-64", "/data/NAME/.glassine/thumbnail.png", "/data/open/link/FILE",
)  # fmt: skip


@pytest.mark.parametrize("trick", range(len(TRICKS)))
@pytest.mark.parametrize("default", ["private", "public"])
def test_no_spelling_of_a_path_leads_to_a_private_dataset(tricked: dict[str, Client], default: str, trick: int) -> None:
    client = tricked[default]
    for name in (*HIDDEN, "absent"):
        for file in ("info", CHUNK, "none"):
            target = TRICKS[trick].replace("NAME", name).replace("UPPER", name.upper()).replace("FILE", file)
            target = urllib.parse.quote(target.replace("HOST", client.host), safe="/%~:;?#\\=.")
            for who in (
                {},
                bearer("wrong-0123456789abcdef"),
                {"X-Original-URI": "/data/open/info", "X-Forwarded-For": "127.0.0.1"},
            ):
                answer = client.ask(target, who)
                assert SECRET not in answer.body, target
                assert answer.status in (400, 401, 404), target


@pytest.fixture(scope="module")
def tricked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """Servers where all is private that is not named, and where all is public that is not."""
    private, public = (make_root(tmp_path_factory.mktemp(name)) for name in ("private", "public"))
    write_rules(public, dict.fromkeys(HIDDEN, "private"), "public")
    with served(private) as first, served(public) as second:
        yield {"private": first, "public": second}


def test_under_a_public_default_only_the_named_are_private(tricked: dict[str, Client]) -> None:
    client = tricked["public"]
    assert client.ask(f"/data/open/{CHUNK}").status == 200
    assert client.ask("/data/none/info").status == 404
    for target in (
        "/data/secluded/info",
        "/data/secluded",
        "/data/SECLUDED/info",
        "/data/Lab/Cloister/info",
        "/data/secluded./info",
        "/flat/secluded/x",
    ):
        refused(client.ask(target))


# Origins ------------------------------------------------------------------------------------------------------------------------

ORIGINS = frozenset({"https://viewer.example", "http://127.0.0.1:9000"})


@pytest.fixture(scope="module", params=["with tokens", "without tokens"])
def choosy(root: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A server whose data only some pages may read."""
    tokens = (TOKEN, READ_TOKEN) if request.param == "with tokens" else (None, None)
    with served(root, AccessSettings(*tokens, ORIGINS)) as opened:
        yield opened


@pytest.mark.parametrize("origin", ["https://viewer.example", "http://127.0.0.1:9000"])
def test_pages_of_listed_origins_may_read(choosy: Client, origin: str) -> None:
    for target, method in (
        ("/data/open/info", "GET"),
        ("/data/open/none", "GET"),
        ("/flat/open/info", "HEAD"),
        ("/data/open/info", "OPTIONS"),
    ):
        answer = choosy.ask(target, {"Origin": origin}, method)
        assert answer.headers.get_all("Access-Control-Allow-Origin") == [origin]
        assert "origin" in ", ".join(answer.headers.get_all("Vary") or ()).lower()
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "*",
        "https://evil.example",
        "https://viewer.example.evil.example",
        "http://viewer.example",
        "HTTPS://VIEWER.EXAMPLE",
    ],
)
def test_pages_of_other_origins_may_not(choosy: Client, origin: str | None) -> None:
    for target, method in (
        ("/data/open/info", "GET"),
        ("/data/none/x", "GET"),
        ("/data/open/info", "OPTIONS"),
        ("/data/open/info", "POST"),
    ):
        answer = choosy.ask(target, {} if origin is None else {"Origin": origin}, method)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "origin" in ", ".join(answer.headers.get_all("Vary") or ()).lower()


# Without asking -----------------------------------------------------------------------------------------------------------------


class NoFiles(Files):
    """Files that are not to be asked for."""

    def at_once(self, path: str) -> Found | None:
        raise AssertionError("the disk was asked")

    async def find(self, path: str) -> Found | None:
        raise AssertionError("the disk was asked")


@pytest.mark.parametrize("path", ["/data/secluded/info", "/data/none/info", "/data/~x/secluded/info", "/data/secluded"])
def test_a_refusal_does_not_ask_the_disk_so_its_time_tells_nothing(root: Path, path: str) -> None:
    gate = Gate(DataApp("/data", NoFiles()), policy_of(root, SETTINGS))
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    reply = gate.at_once(scope)
    assert reply is not None
    assert reply.status == 401
    sent = []

    async def send(told: object) -> None:
        sent.append(told)

    asyncio.run(gate(scope, None, send))  # type: ignore[arg-type]
    assert sent[0] == {"type": "http.response.start", "status": 401, "headers": reply.headers}
    assert sent[1] == {"type": "http.response.body", "body": reply.body}


def test_neither_tokens_nor_links_are_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    given = grant("secluded")
    (root / "secluded" / "unreadable").mkdir(exist_ok=True)
    secrets = (TOKEN, READ_TOKEN, given, given[1:12], cookie(Right.WRITE)["Cookie"])
    with served(root) as client:
        for who in (*ENTITLED.values(), *STRANGERS.values()):
            client.ask(f"/data/{given}/secluded/info?token={TOKEN}", who)
            client.ask("/api/datasets", who)
            client.ask("/api/session", who, "POST", {"token": TOKEN})
            client.ask("/api/session", who, "POST", {"token": TOKEN, "other": 1})
            client.ask(f"/data/{given}/secluded/8_8_8/0-64_0-64", who)
    for record in caplog.records:
        for secret in secrets:
            assert secret not in record.getMessage()
    assert not [name for name in NAMES if name in caplog.text]
