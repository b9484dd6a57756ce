"""Grants of links. The signature was made with `openssl dgst -sha256 -mac HMAC`, by hand."""

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.access.grants import EXPIRED, INVALID, make_grant, refusal_of, seconds_of, split_grant
from app.access.tokens import link_key
from converters.errors import OptionError

KEY = bytes(range(32))
FAR = 4_000_000_000
"""Seconds since 1970: in the year 2096."""


def test_a_grant_is_what_another_program_signs() -> None:
    assert make_grant(KEY, "lab/brain", FAR) == "~1u5hvr4.2.Xf3dFN9WA9c7EzAfVvMWRw"


def test_the_key_is_the_tokens_digest_with_a_purpose() -> None:
    # printf 'glassine link\n0123456789abcdef' | sha256sum
    assert link_key("0123456789abcdef").hex() == "ed709c8ca29172a83d7b9a87b3d71f3d1eca364c77c06ca4c0bb7a79326be568"


@pytest.mark.parametrize("name", ["", "brain", "lab/brain", "lab one/em <b>", "~home/x", "ä/日本", "a" * 300])
def test_a_grant_lets_read_its_dataset_and_all_below(name: str) -> None:
    grant = make_grant(KEY, name, FAR)
    below = f"/{name}" if name else ""
    for rest in ("/info", "/mesh/info", "/8_8_8/0-64_0-64_0-64", "/", ""):
        path = f"/{grant}{below}{rest}"
        assert split_grant(path) == (grant, below + rest)
        assert refusal_of(KEY, grant, below + rest) is None


def test_a_grant_lets_read_nothing_else() -> None:
    grant = make_grant(KEY, "lab/brain", FAR)
    for path in (
        "", "/", "/lab", "/lab/", "/lab/brain2/info", "/lab/brai/info", "/Lab/brain/info", "/brain/info", "//lab/brain/info",
        "/lab//brain/info", "/lab/./brain/info", "/x/lab/brain/info", "/lab%2fbrain/info", "/lab/brain./info",
    ):  # fmt: skip
        assert refusal_of(KEY, grant, path) == INVALID, path


def test_a_path_without_a_grant_is_left_alone() -> None:
    for path in ("", "/", "/brain/info", "/brain/~x/info", "/a~/info", "//~x/info"):
        assert split_grant(path) == ("", path)


def test_a_grant_ends() -> None:
    now = int(time.time())
    assert refusal_of(KEY, make_grant(KEY, "a", now - 1), "/a/info") == EXPIRED
    assert refusal_of(KEY, make_grant(KEY, "a", 0), "/a/info") == EXPIRED
    assert refusal_of(KEY, make_grant(KEY, "a", now + 60), "/a/info") is None
    forged = make_grant(bytes(32), "a", 0)
    assert refusal_of(KEY, forged, "/a/info") == INVALID, "a forged one is not told that it would have expired"


@settings(max_examples=300)
@given(st.data())
def test_a_grant_that_was_changed_anywhere_lets_read_nothing(data: st.DataObject) -> None:
    grant = make_grant(KEY, "lab/brain", FAR)
    place = data.draw(st.integers(1, len(grant) - 1))
    change = data.draw(st.sampled_from(["cut", "drop", "double", "other"]))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.~= +/\x00ä١"))
    changed = {
        "cut": grant[:place],
        "drop": grant[:place] + grant[place + 1 :],
        "double": grant[:place] + grant[place] + grant[place:],
        "other": grant[:place] + other + grant[place + 1 :],
    }[change]
    if changed != grant:
        assert refusal_of(KEY, changed, "/lab/brain/info") == INVALID


@pytest.mark.parametrize(
    "grant",
    ["~", "~.", "~..", "~1.1.", "~0.0.AAAAAAAAAAAAAAAAAAAAAA", "~-1.0.AAAAAAAAAAAAAAAAAAAAAA", "~" + "z" * 5000, "~z_z.1.x"],
)
def test_what_is_no_grant_at_all_is_refused(grant: str) -> None:
    assert refusal_of(KEY, grant, "/a/info") == INVALID


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("30m", 1800), ("12h", 43200), ("7d", 604800), (" 7d ", 604800)])
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "7", "d", "0d", "07d", "-7d", "7 d", "7w", "7D", "1.5h", "9999d", "999999d", "7d7d", "٧d", "1e3m"]
)
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(OptionError) as told:
        seconds_of(text)
    assert str(told.value) == (f"--expires {text}: expected minutes, hours or days, such as 30m, 12h or 7d, of at most 3660d")


def test_a_name_of_too_many_parts_is_told() -> None:
    with pytest.raises(OptionError, match="has 100 parts, a link holds at most 99"):
        make_grant(KEY, "/".join("a" * 100), FAR)
