"""What was found good is kept, and still ends: by its time, by signing out, with the folder that it is for."""

from pathlib import Path

import pytest

from app.access import credentials
from app.access.credentials import Credentials
from app.access.grants import EXPIRED, INVALID, make_grant
from app.access.sessions import Ended, make_session
from app.access.tokens import Right, tokens_of
from tests.app.access.conftest import READ_TOKEN, SETTINGS, TOKEN

NOW = 1_800_000_000


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Credentials:
    monkeypatch.setattr("time.time", lambda: NOW)
    tokens = tokens_of(SETTINGS)
    assert tokens is not None
    return Credentials(tokens, Ended(tmp_path))


def header(name: str, value: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"here"), (name.encode(), value.encode()), (b"accept", b"*/*")]


@pytest.mark.parametrize(("token", "right"), [(TOKEN, Right.WRITE), (READ_TOKEN, Right.READ), ("wrong", Right.PUBLIC)])
def test_a_token_is_good_each_time(known: Credentials, token: str, right: Right) -> None:
    for _ in range(3):
        assert known.right(header("authorization", f"Bearer {token}")) == right
    assert known.right(header("authorization", token)) == Right.PUBLIC
    assert known.right([]) == Right.PUBLIC
    assert known.right(header("authorization", f"Bearer {token}") * 2 + header("authorization", "Bearer x")) == right


def test_a_session_ends_by_its_time_and_by_signing_out(known: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    session, value = make_session(known.tokens, Right.WRITE)
    other, other_value = make_session(known.tokens, Right.READ)
    both = header("cookie", f"glassine_session={other_value}; glassine_session={value}")
    for _ in range(2):
        assert known.right(both) == Right.WRITE
        assert known.right(header("cookie", f"glassine_session={other_value}")) == Right.READ
    assert known.session(both) == session
    known.ended.add(other)
    assert known.right(header("cookie", f"glassine_session={other_value}")) == Right.PUBLIC
    assert known.right(header("cookie", f"glassine_session={value}")) == Right.WRITE
    monkeypatch.setattr("time.time", lambda: session.expires)
    assert known.right(both) == Right.PUBLIC
    assert known.session(both) is None


def test_a_grant_is_kept_for_its_folders_until_it_ends(known: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = make_grant(known.tokens.link_key, "lab/brain", NOW + 10)
    for _ in range(2):
        for path in ("/lab/brain/info", "/lab/brain/8_8_8/0-1_0-1_0-1", "/lab/brain", "/lab/brain/"):
            assert known.refusal(grant, path) is None
        for path in ("/lab/info", "/lab/brain2", "/lab/brainx/info", "/lab", "/info", "", "/other/brain/info"):
            assert known.refusal(grant, path) == INVALID
    monkeypatch.setattr("time.time", lambda: NOW + 10)
    assert known.refusal(grant, "/lab/brain/info") == EXPIRED


def test_not_more_is_kept_than_there_is_room_for(known: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_KEPT", 3)
    _, value = make_session(known.tokens, Right.READ)
    for n in range(20):
        assert known.right(header("cookie", f"n={n}; glassine_session={value}")) == Right.READ
        assert known.right(header("cookie", f"n={'x' * 2000}{n}; glassine_session={value}")) == Right.READ
        assert known.right(header("authorization", f"Bearer {' ' * n}{TOKEN}")) == Right.WRITE
    assert max(len(known._cookies), len(known._bearers)) <= 3
    assert max(map(len, known._cookies)) <= 1000
