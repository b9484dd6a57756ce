"""What a proxy is told that asks before it serves a file itself."""

from collections.abc import Iterator, Mapping

import pytest

from app.access.tokens import Right
from app.settings import AccessSettings
from tests.app.access.conftest import (
    ABSENT,
    FILES,
    HIDDEN,
    READ_TOKEN,
    TOKEN,
    Answer,
    Client,
    bearer,
    cookie,
    grant,
    make_root,
    served,
)
from tests.app.access.test_gate import ENTITLED, STRANGERS, bad_grants


def question(client: Client, target: str, who: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    return client.ask("/access", {"X-Original-URI": target, "X-Original-Method": method, **(who or {})})


@pytest.mark.parametrize("who", ["the token", "the read token", "a session", "a session that reads"])
@pytest.mark.parametrize("prefix", ["/data", "/flat"])
def test_who_may_read_is_let_in(client: Client, who: str, prefix: str) -> None:
    for name in (*HIDDEN, "open", "none"):
        for file in (*FILES, *ABSENT):
            answer = question(client, f"{prefix}/{name}/{file}", ENTITLED[who])
            assert (answer.status, answer.body) == (204, b"")
            assert answer.headers["X-Glassine-Cache"] == ("no-cache" if name == "open" else "private, no-cache")
            assert answer.headers["X-Glassine-Origin"] == "*"
            assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("who", STRANGERS)
def test_nobody_else_is(client: Client, who: str) -> None:
    told = {
        repr(question(client, f"{prefix}/{name}/{file}", STRANGERS[who]).told)
        for prefix in ("/data", "/flat")
        for name in (*HIDDEN, "none")
        for file in (*FILES, *ABSENT)
    }
    assert len(told) == 1
    answer = question(client, "/data/secluded/info", STRANGERS[who])
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert question(client, "/data/open/info", STRANGERS[who]).status == 204


def test_a_link_is_let_in_to_its_dataset(client: Client) -> None:
    for name in HIDDEN:
        for file in FILES:
            answer = question(client, f"/data/{grant(name)}/{name}/{file}")
            assert (answer.status, answer.headers["X-Glassine-Cache"]) == (204, "private, no-cache")
    for case, target, _ in bad_grants():
        assert question(client, f"/data{target}").status == 401, case


@pytest.mark.parametrize(
    "target",
    [
        "/data/open/../secluded/info", "/data/open/%2e%2e/secluded/info", "/data/open/%2e%2e%2fsecluded/info",
        "//data/secluded/info",
        "/data//secluded/info", "/data/./secluded/info", "/data/open/x/../../secluded/info",
        "/data/secluded/info?/data/open/info",
        "/data/secluded/info#/data/open/info", "/data/open/..\\secluded", "/data/open%00/../secluded", "", "/",
        "/api/jobs", "/access", "/data", "/datax/open/info",
        "/DATA/open/info", "http://here/data/open/info", "/data/SECLUDED/info", "/data/secluded/.",
        "/data/open/.glassine/record.json",
    ],
)  # fmt: skip
def test_about_a_path_that_may_mean_another_one_nobody_is_let_in(client: Client, target: str) -> None:
    assert question(client, target).status == 401
    assert question(client, target, bearer(READ_TOKEN)).status == 204, "who may read everything may read that too"


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_what_reads_nothing_is_let_in(client: Client, method: str) -> None:
    assert question(client, "/data/secluded/info", method=method).status == 204
    assert question(client, "/data/secluded/info", method="HEAD").status == 401
    assert client.ask("/access", {"X-Original-URI": "/data/secluded/info"}).status == 401
    assert client.ask("/access").status == 401


def test_a_rule_of_a_file_or_folder_is_its_own(client: Client) -> None:
    assert question(client, "/data/secluded").status == 401
    assert question(client, "/data/lab/cloister").status == 401
    assert question(client, "/data/lab/").status == 204
    assert question(client, "/data/lab/x").status == 204


def test_without_a_token_everybody_is_let_in(without: Client) -> None:
    answer = question(without, "/data/secluded/info")
    assert (answer.status, answer.headers["X-Glassine-Cache"], answer.headers["X-Glassine-Origin"]) == (204, "no-cache", "*")


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose data only pages of one origin may read."""
    root = make_root(tmp_path_factory.mktemp("choosy"))
    with served(root, AccessSettings(TOKEN, READ_TOKEN, frozenset({"https://viewer.example"}))) as opened:
        yield opened


@pytest.mark.parametrize(
    ("origin", "told"), [("https://viewer.example", "https://viewer.example"), ("https://evil.example", "-"), ("", "-")]
)
def test_the_origin_is_told_whoever_asks(choosy: Client, origin: str, told: str) -> None:
    for who in ({}, cookie(Right.READ)):
        for target in ("/data/open/info", "/data/secluded/info"):
            assert question(choosy, target, {**who, "Origin": origin}).headers["X-Glassine-Origin"] == told
