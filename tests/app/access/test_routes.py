"""The API in everybody's name: what each route needs, sessions, what is public, links."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import unquote

import pytest

from app.access.policy import NEEDS_TOKEN, policy_of
from app.access.tokens import Right
from app.jobs.guard import _NEEDED
from app.pages import pages_app
from app.settings import AccessSettings
from tests.app.access.conftest import (
    CHUNK,
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
    make_root,
    served,
)
from tests.app.jobs.conftest import confined, write_scan

STRANGER: Mapping[str, str] = bearer("wrong-0123456789abcdef")
NOT_THE_TOKEN = "the token that this was asked with lets read datasets, and nothing else"
OPEN_PATHS = ("/", "/docs", "/openapi.json", "/static/index.html", "/favicon.ico", "/v/1/", "/healthz")


def routes() -> list[tuple[str, str]]:
    """Return a method and path for each route below /api, and for some that are none."""
    found = {
        ("GET", "/api/none"), ("GET", "/api"), ("GET", "/api/"), ("POST", "/api/datasets"), ("OPTIONS", "/api/jobs"),
        ("GET", "/metrics"), ("HEAD", "/api/uploads/mine"), ("GET", "/api/datasets/"), ("PATCH", "/api/access"),
    }  # fmt: skip
    for path, operations in pages_app(Path("/nowhere")).openapi()["paths"].items():
        found |= {(method.upper(), path.replace("{number}", "1").replace("{name}", "mine")) for method in operations}
    return sorted(found)


def needed(method: str, path: str) -> Right:
    """Return what docs/access.md says that a route needs."""
    if path == "/api/session" or (method == "GET" and path in ("/api/datasets", "/api/link", "/api/thumbnails")):
        return Right.PUBLIC
    return Right.READ if (method, path) in (("GET", "/api/access"), ("GET", "/metrics")) else Right.WRITE


def json_of(answer: Answer) -> dict:
    return json.loads(answer.body)


def test_the_table_of_the_guard_is_the_one_of_the_docs() -> None:
    for path, methods in _NEEDED.items():
        for method, right in methods.items():
            assert needed("GET" if method == "HEAD" else method, path) == right


@pytest.mark.parametrize(("method", "path"), routes())
def test_each_route_needs_its_right(client: Client, method: str, path: str) -> None:
    if method == "OPTIONS" and path == "/api/session":
        return
    for who, has in (({}, 0), (STRANGER, 0), (bearer(READ_TOKEN), 1), (cookie(Right.READ), 1)):
        if has >= needed(method, path):
            continue
        for body in (None, {}):
            answer = client.ask(path, who, method, body)
            assert answer.status == (403 if has else 401), who
            if method != "HEAD":
                assert json_of(answer) == {"detail": NOT_THE_TOKEN if has else NEEDS_TOKEN}
            if not has:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("who", [bearer(TOKEN), cookie(Right.WRITE)])
def test_the_token_may_do_everything(client: Client, who: Mapping[str, str]) -> None:
    for path in ("/api/jobs", "/api/sources", "/api/uploads", "/api/commands", "/api/access", "/api/datasets", "/metrics"):
        assert client.ask(path, who).status == 200
    assert client.ask("/api/jobs/99", who, "DELETE").status == 404
    assert client.ask("/api/jobs", who, "POST", {}).status == 422


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_pages_are_open(client: Client, path: str) -> None:
    for who in ({}, STRANGER, bearer(READ_TOKEN)):
        assert client.ask(path, who).status == 200


STRANGE_PAGES = [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]


@pytest.mark.parametrize("page", STRANGE_PAGES)
def test_a_session_is_for_the_pages_of_this_server(client: Client, page: Mapping[str, str]) -> None:
    for method, path in (("GET", "/api/jobs"), ("POST", "/api/session"), ("DELETE", "/api/session"), ("POST", "/api/access")):
        answer = client.ask(path, {**cookie(Right.WRITE), **page}, method, {} if method == "POST" else None)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers


# The list -----------------------------------------------------------------------------------------------------------------------


def listed(client: Client, who: Mapping[str, str]) -> dict[str, dict]:
    return {entry["name"]: entry for entry in json_of(client.ask("/api/datasets", who))["datasets"]}


def test_the_list_shows_what_may_be_read(client: Client, without: Client) -> None:
    everything = {*HIDDEN, "open", "lab/shown"}
    for who in ({}, STRANGER):
        assert set(listed(client, who)) == {"open", "lab/shown"}
        answer = client.ask("/api/datasets", who)
        assert not [name for name in NAMES if name.encode() in answer.body]
        assert answer.headers["Cache-Control"] == "no-store"
    for who in (bearer(TOKEN), bearer(READ_TOKEN), cookie(Right.READ), cookie(Right.WRITE)):
        found = listed(client, who)
        assert {name: entry["access"] for name, entry in found.items()} == {
            name: "private" if name in HIDDEN else "public" for name in everything
        }
    assert {name: entry["access"] for name, entry in listed(without, {}).items()} == dict.fromkeys(everything)


def data_urls(link: str) -> list[str]:
    state = json.loads(unquote(link.split("#!")[1]))
    return [layer["source"]["url"].removeprefix("precomputed://") for layer in state["layers"]]


def test_links_of_the_list_open_what_they_show_without_more(client: Client) -> None:
    for name, entry in listed(client, bearer(READ_TOKEN)).items():
        (url,) = data_urls(entry["link"])
        target = url.removeprefix(f"http://{client.host}")
        assert ("~" in target) == (name in HIDDEN)
        assert client.ask(f"{target}/{CHUNK}").status == 200


def test_links_of_the_list_stay_the_same_for_a_while(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for now in (7200, 7201, 10799, 10800):
        monkeypatch.setattr("app.access.policy.time.time", lambda now=now: now)
        ends.append(policy_of(Path("/nowhere"), SETTINGS).own_expiry() - now)
    assert ends == [13 * 3600, 13 * 3600 - 1, 12 * 3600 + 1, 13 * 3600]


def test_pictures_are_as_private_as_their_datasets(client: Client) -> None:
    assert client.ask("/api/thumbnails?name=open").body.startswith(b"\x89PNG")
    assert client.ask("/api/thumbnails?name=open").headers["Cache-Control"] == "no-cache"
    shown = client.ask("/api/thumbnails?name=secluded", bearer(READ_TOKEN))
    assert SECRET in shown.body
    assert shown.headers["Cache-Control"] == "private, no-cache"
    for name in (
        *HIDDEN,
        "none",
        "open/../secluded",
        "lab//cloister",
        "lab/./cloister",
        "/secluded",
        "secluded/",
        ".",
        "..",
        "%2fsecluded",
        "open\\..\\secluded",
    ):
        answer = client.ask(f"/api/thumbnails?name={name}", {**STRANGER, "If-None-Match": "*", "Range": "bytes=0-"})
        assert answer.told == client.ask("/api/thumbnails?name=none").told


@pytest.mark.parametrize(
    "name",
    [
        *HIDDEN,
        "none",
        "lab//cloister",
        "lab/./cloister",
        "lab/cloister/",
        "/lab/cloister",
        "",
        "..",
        "lab/cloister%00",
        "open/../secluded",
    ],
)
def test_links_are_made_for_who_may_read(client: Client, name: str) -> None:
    expected = (401, {"detail": NEEDS_TOKEN})
    for query in (f"name={name}", f"name=open&name={name}", f"name={name}&name=open"):
        answer = client.ask(f"/api/link?{query}", STRANGER)
        assert (answer.status, json_of(answer)) == expected
        assert answer.told == client.ask("/api/link?name=none").told


def test_a_link_tells_when_it_ends(client: Client, without: Client) -> None:
    assert json_of(client.ask("/api/link?name=open"))["expires"] is None
    own = json_of(client.ask("/api/link?name=open&name=secluded", bearer(READ_TOKEN)))
    assert 12 * 3600 - 5 <= seconds_until(own["expires"]) <= 13 * 3600
    plain, granted = data_urls(own["link"])
    assert "~" not in plain
    assert "/data/~" in granted
    assert json_of(without.ask("/api/link?name=secluded&expires=7d")) == json_of(without.ask("/api/link?name=secluded"))
    assert json_of(without.ask("/api/link?name=secluded"))["expires"] is None


def seconds_until(told: str) -> float:
    assert told.endswith("Z")
    return (datetime.fromisoformat(told) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize(("duration", "seconds"), [("30m", 1800), ("12h", 43200), ("7d", 604800)])
def test_links_end_when_they_are_told_to(client: Client, duration: str, seconds: int) -> None:
    for name in ("secluded", "open"):
        made = json_of(client.ask(f"/api/link?name={name}&expires={duration}", bearer(TOKEN)))
        assert seconds - 60 < seconds_until(made["expires"]) <= seconds
        (url,) = data_urls(made["link"])
        assert client.ask(f"{url.removeprefix(f'http://{client.host}')}/{CHUNK}").status == 200


@pytest.mark.parametrize(
    ("who", "query", "status", "detail"),
    [
        ({}, "name=open&expires=7d", 401, NEEDS_TOKEN),
        ({}, "name=secluded&expires=7d", 401, NEEDS_TOKEN),
        (bearer(READ_TOKEN), "name=open&expires=7d", 403, "only who may change datasets makes links that expire"),
        (bearer(READ_TOKEN), "name=secluded&expires=7d", 403, "only who may change datasets makes links that expire"),
        (bearer(TOKEN), "name=secluded&expires=week", 422,
         "--expires week: expected minutes, hours or days, such as 30m, 12h or 7d, of at most 3660d"),
        (bearer(TOKEN), "name=none&expires=7d", 404, "no dataset 'none' is served here"),
    ],
)  # fmt: skip
def test_who_makes_no_links_that_expire_is_told(
    client: Client, who: Mapping[str, str], query: str, status: int, detail: str
) -> None:
    answer = client.ask(f"/api/link?{query}", who)
    assert (answer.status, json_of(answer)) == (status, {"detail": detail})


# Sessions -----------------------------------------------------------------------------------------------------------------------


def cookie_of(answer: Answer) -> tuple[str, dict[str, str]]:
    """Return the header Cookie for the answer's cookie, and what is told of it."""
    jar = SimpleCookie(answer.headers["Set-Cookie"])
    (name,) = jar
    return f"{name}={jar[name].value}", {key: value for key, value in jar[name].items() if value}


@pytest.mark.parametrize(("token", "right"), [(TOKEN, "write"), (f" {TOKEN}\n", "write"), (READ_TOKEN, "read")])
def test_a_session_may_what_its_token_may_until_it_is_ended(client: Client, token: str, right: str) -> None:
    answer = client.ask("/api/session", None, "POST", {"token": token})
    state = json_of(answer)
    assert (answer.status, state["token_needed"], state["right"]) == (200, True, right)
    assert 7 * 86400 - 60 < seconds_until(state["expires"]) <= 7 * 86400
    value, told = cookie_of(answer)
    assert told == {"httponly": True, "samesite": "strict", "path": "/", "max-age": "604800"}
    assert token.strip() not in value
    who = {"Cookie": value}
    assert json_of(client.ask("/api/session", who)) == state
    assert client.ask(f"/data/secluded/{CHUNK}", who).body == SECRET
    assert client.ask("/api/jobs", who).status == (200 if right == "write" else 403)
    ended = client.ask("/api/session", who, "DELETE")
    assert (ended.status, ended.body) == (204, b"")
    assert cookie_of(ended)[0] == "glassine_session="
    assert cookie_of(ended)[1]["max-age"] == "0"
    assert client.ask(f"/data/secluded/{CHUNK}", who).status == 401, "the copy of its cookie is no good either"
    assert json_of(client.ask("/api/session", who)) == {"token_needed": True, "right": "public", "expires": None}
    assert client.ask("/api/session", who, "DELETE").status == 204


def test_ended_sessions_are_known_to_other_processes(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    with served(root) as first, served(root) as second:
        begun = [first.ask("/api/session", None, "POST", {"token": TOKEN}) for _ in range(2)]
        who, other = ({"Cookie": cookie_of(answer)[0]} for answer in begun)
        assert second.ask("/api/jobs", who).status == 200
        first.ask("/api/session", who, "DELETE")
        assert first.ask("/api/jobs", who).status == 401
        wait_for(lambda: second.ask("/api/jobs", who).status == 401)
        assert second.ask("/api/jobs", other).status == 200
        (root / ".glassine" / "ended-sessions.json").write_text("[]")
        wait_for(lambda: first.ask("/api/jobs", other).status == 401)
        assert first.ask("/api/jobs", bearer(TOKEN)).status == 200


def wait_for(is_so: object) -> None:
    """Wait until something is so, which it has to be in the end."""
    while not is_so():  # type: ignore[operator]
        time.sleep(0.05)


def test_behind_https_the_cookie_is_for_https_alone(client: Client) -> None:
    answer = client.ask("/api/session", {"X-Forwarded-Proto": "https"}, "POST", {"token": TOKEN})
    assert cookie_of(answer)[1]["secure"] is True


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"token": "wrong-0123456789abcdef"}, 401, "this is no token of this server"),
        ({"token": "\ud800"}, 422, "token: input should be a valid string, unable to parse raw data as a unicode string"),
        ({"token": ""}, 422, "token: string should have at least 1 character"),
        ({"token": "x" * 5000}, 422, "token: string should have at most 4096 characters"),
        ({"token": 1}, 422, "token: input should be a valid string"),
        ({}, 422, "token: field required"),
        ({"token": TOKEN, "right": "write"}, 422, "right: extra inputs are not permitted"),
    ],
)
def test_who_has_no_token_begins_no_session(client: Client, body: object, status: int, detail: str) -> None:
    answer = client.ask("/api/session", None, "POST", body)
    assert (answer.status, json_of(answer)) == (status, {"detail": detail})
    assert "Set-Cookie" not in answer.headers
    assert TOKEN.encode() not in answer.body


def test_without_a_token_everybody_may_do_everything(without: Client) -> None:
    state = {"token_needed": False, "right": "write", "expires": None}
    assert json_of(without.ask("/api/session")) == state
    answer = without.ask("/api/session", None, "POST", {"token": "whatever"})
    assert json_of(answer) == state
    assert "Set-Cookie" not in answer.headers
    assert without.ask("/api/session", cookie(Right.READ), "DELETE").status == 204
    assert without.ask("/api/jobs").status == 200
    assert without.ask(f"/data/secluded/{CHUNK}").headers["Cache-Control"] == "no-cache"


# What is public -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Client]:
    """A server on a folder that a test may change."""
    with served(make_root(tmp_path)) as opened:
        yield opened


def test_a_dataset_is_made_public_and_private_again(changing: Client) -> None:
    rules = {"default": "private", "datasets": {"lab": "public", "lab/cloister": "private", "open": "public"}}
    assert json_of(changing.ask("/api/access", bearer(READ_TOKEN))) == rules
    for level, status in (("public", 200), ("private", 401)):
        answer = changing.ask("/api/access", bearer(TOKEN), "POST", {"name": "secluded", "access": level})
        rules["datasets"]["secluded"] = level
        assert json_of(answer) == rules
        assert changing.ask(f"/data/secluded/{CHUNK}").status == status
        assert ("secluded" in listed(changing, {})) == (status == 200)
        assert changing.ask("/api/link?name=secluded").status == status
        assert changing.ask("/api/thumbnails?name=secluded").status == status
    assert json_of(changing.ask("/api/access", bearer(TOKEN), "POST", {"name": "", "access": "public"}))["default"] == "public"
    assert changing.ask("/data/none/info").status == 404


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            {"name": "../x", "access": "public"},
            "'../x': expected the path of a dataset below the served folder, such as lab/brain",
        ),
        ({"name": "x", "access": "open"}, "access: input should be 'public' or 'private'"),
        ({"name": "x"}, "access: field required"),
        ({"name": "x\n", "access": "public"}, "a dataset's name has at most 1000 characters of text"),
    ],
)
def test_what_is_no_rule_is_told(changing: Client, body: object, detail: str) -> None:
    answer = changing.ask("/api/access", bearer(TOKEN), "POST", body)
    assert (answer.status, json_of(answer)) == (422, {"detail": detail})


def test_rules_that_cannot_be_read_are_told_to_who_changes_them(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (root / ".glassine" / "access.json").write_text("{")
    with served(root) as client:
        assert client.ask(f"/data/open/{CHUNK}").status == 401
        answer = client.ask("/api/access", bearer(TOKEN), "POST", {"name": "open", "access": "public"})
        assert answer.status == 422
        assert "access.json: is no JSON" in json_of(answer)["detail"]


# Jobs ---------------------------------------------------------------------------------------------------------------------------


@confined
def test_the_link_of_a_job_opens_what_it_made(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    write_scan(root / "scan.nii.gz")
    with served(root) as client:
        body = {"command": "convert", "options": {"source": "scan.nii.gz", "dataset": "lab/cloister/made", "executor": "serial"}}
        job = json_of(client.ask("/api/jobs", bearer(TOKEN), "POST", body))
        while job["state"] in ("queued", "running"):
            time.sleep(0.05)
            job = json_of(client.ask(f"/api/jobs/{job['id']}", bearer(TOKEN)))
        (url,) = data_urls(job["link"])
        target = url.removeprefix(f"http://{client.host}")
        assert "/data/~" in target
        assert client.ask(f"{target}/info").status == 200
        assert client.ask("/data/lab/cloister/made/info").status == 401
        client.ask("/api/access", bearer(TOKEN), "POST", {"name": "lab/cloister/made", "access": "public"})
        (url,) = data_urls(json_of(client.ask(f"/api/jobs/{job['id']}", bearer(TOKEN)))["link"])
        assert "~" not in url, "what has become public needs no right any more"
        files = [*root.glob(".glassine/jobs/*"), *root.glob("lab/cloister/made/.glassine/*")]
        assert not [path for path in files if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_link_of_another_dataset_does_not_help_the_api(client: Client) -> None:
    given = grant("secluded")
    for path in (
        f"/api/{given}/jobs",
        f"/{given}/api/jobs",
        f"/api/thumbnails?name={given}/secluded",
        f"/api/link?name={given}/secluded",
    ):
        assert client.ask(path).status in (401, 404)
        assert SECRET not in client.ask(path).body


def test_tokens_of_other_servers_are_none(root: Path) -> None:
    with served(root, AccessSettings("another-0123456789abcdef")) as other:
        assert other.ask("/api/jobs", bearer(TOKEN)).status == 401
        assert other.ask(f"/data/secluded/{CHUNK}", bearer(READ_TOKEN)).status == 401
        assert other.ask("/api/session", None, "POST", {"token": READ_TOKEN}).status == 401


def test_who_signs_out_is_signed_out_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_root(tmp_path)
    (root / ".glassine" / "ended-sessions.lock").mkdir()
    with served(root) as client:
        ended = client.ask("/api/session", cookie(Right.WRITE), "DELETE")
    assert (ended.status, cookie_of(ended)[0]) == (204, "glassine_session=")
    assert "a session is signed out, but copies of its cookie are good until it expires" in caplog.text
