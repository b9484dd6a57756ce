"""Tokens from the environment, and what they allow."""

from pathlib import Path

import pytest

from app.access.sessions import make_session, session_of
from app.access.tokens import Right, tokens_of
from app.settings import AccessSettings, SiteSettings, read_access_settings, read_site_settings
from converters.errors import OptionError

TOKEN = "0123456789abcdef"
OTHER = "fedcba9876543210"


def test_without_a_token_there_are_none() -> None:
    assert read_access_settings({}) == AccessSettings() == AccessSettings(None, None, frozenset())
    assert read_access_settings({"GLASSINE_TOKEN": "", "GLASSINE_TOKEN_FILE": "", "GLASSINE_ORIGINS": " , "}) == AccessSettings()
    assert tokens_of(AccessSettings()) is None
    assert read_site_settings({}).access == SiteSettings().access


def test_tokens_are_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{OTHER}\n")
    told = {
        "GLASSINE_TOKEN": TOKEN,
        "GLASSINE_READ_TOKEN_FILE": str(tmp_path / "secret"),
        "GLASSINE_ORIGINS": "https://Viewer.example/, http://localhost:9000",
    }
    settings = read_access_settings(told)
    assert settings == AccessSettings(TOKEN, OTHER, frozenset({"https://viewer.example", "http://localhost:9000"}))
    assert read_site_settings(told).access == settings


def test_no_token_is_shown_by_what_keeps_it() -> None:
    settings = AccessSettings(TOKEN, OTHER)
    tokens = tokens_of(settings)
    for shown in (repr(settings), repr(tokens), repr(SiteSettings(access=settings))):
        assert TOKEN not in shown
        assert OTHER not in shown
    assert tokens is not None
    kept = repr([tokens.digests, tokens.link_key, tokens.session_keys])
    assert TOKEN not in kept


LONGER = "expected at least 16; `openssl rand -hex 32` makes a good one"
PLAINER = "GLASSINE_TOKEN holds a space or a character that is not ASCII: expected letters, digits and signs alone"
AN_ORIGIN = "expected such as https://neuroglancer-demo.appspot.com"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"GLASSINE_TOKEN": "short"}, f"GLASSINE_TOKEN has 5 characters, {LONGER}"),
        ({"GLASSINE_TOKEN": TOKEN, "GLASSINE_READ_TOKEN": "x" * 15}, f"GLASSINE_READ_TOKEN has 15 characters, {LONGER}"),
        ({"GLASSINE_TOKEN": "with a space in between"}, PLAINER),
        ({"GLASSINE_TOKEN": "ä" * 16}, PLAINER),
        (
            {"GLASSINE_READ_TOKEN": TOKEN},
            "GLASSINE_READ_TOKEN is set and GLASSINE_TOKEN is not: set both, or the second one alone",
        ),
        (
            {"GLASSINE_TOKEN": TOKEN, "GLASSINE_READ_TOKEN": TOKEN},
            "GLASSINE_READ_TOKEN is the same as GLASSINE_TOKEN: give it a value of its own",
        ),
        (
            {"GLASSINE_TOKEN": TOKEN, "GLASSINE_TOKEN_FILE": "/x"},
            "GLASSINE_TOKEN and GLASSINE_TOKEN_FILE are both set: set one of them",
        ),
        ({"GLASSINE_TOKEN_FILE": "/no/such"}, "GLASSINE_TOKEN_FILE=/no/such: cannot be read (No such file or directory)"),
        ({"GLASSINE_ORIGINS": "viewer.example"}, f"GLASSINE_ORIGINS: found viewer.example, {AN_ORIGIN}"),
        ({"GLASSINE_ORIGINS": "https://a.example/path"}, f"GLASSINE_ORIGINS: found https://a.example/path, {AN_ORIGIN}"),
    ],
)
def test_what_is_wrong_is_told_without_a_token(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(OptionError) as told:
        read_access_settings(environment)
    assert str(told.value) == sentence
    assert TOKEN not in str(told.value)


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "has 0 characters"), (b"\xff" * 20, r"cannot be read \(it is no ASCII text\)")]
)
def test_a_file_that_holds_no_token_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(OptionError, match=why):
        read_access_settings({"GLASSINE_TOKEN_FILE": str(tmp_path / "secret")})


def test_a_token_allows_what_it_is_for() -> None:
    tokens = tokens_of(AccessSettings(TOKEN, OTHER))
    assert tokens is not None
    assert tokens.right_of(TOKEN.encode()) == Right.WRITE
    assert tokens.right_of(OTHER.encode()) == Right.READ
    for wrong in (b"", TOKEN[:-1].encode(), f"{TOKEN}x".encode(), TOKEN.upper().encode(), b"\xff", f"{TOKEN}{OTHER}".encode()):
        assert tokens.right_of(wrong) == Right.PUBLIC


def test_both_tokens_are_compared_in_constant_time_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared = []
    constant = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return constant(a, b)

    monkeypatch.setattr("app.access.tokens.hmac.compare_digest", compare)
    tokens = tokens_of(AccessSettings(TOKEN, OTHER))
    assert tokens is not None
    for given in (TOKEN, OTHER, "wrong", "x" * 1000):
        compared.clear()
        tokens.right_of(given.encode())
        assert compared == [(32, 32), (32, 32)], "digests, of the same length for whatever was given"


def test_a_session_ends_with_its_token_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both, other_read, other_write = (
        tokens_of(AccessSettings(*pair)) for pair in ((TOKEN, OTHER), (TOKEN, "x" * 16), ("x" * 16, OTHER))
    )
    assert both is not None
    assert other_read is not None
    assert other_write is not None
    for right in (Right.READ, Right.WRITE):
        session, value = make_session(both, right)
        header = f"a=b; glassine_session={value};c".encode()
        assert session_of(both, header) == session
        assert session_of(other_read, header) == (session if right == Right.WRITE else None)
        assert session_of(other_write, header) == (session if right == Right.READ else None)
        assert TOKEN not in value
        assert session_of(both, header.replace(b"session", b"Session")) is None
        monkeypatch.setattr("app.access.sessions.time.time", lambda end=session.expires: end)
        assert session_of(both, header) is None
        monkeypatch.undo()


def test_sessions_differ() -> None:
    tokens = tokens_of(AccessSettings(TOKEN))
    assert tokens is not None
    assert len({make_session(tokens, Right.WRITE)[1] for _ in range(50)}) == 50
