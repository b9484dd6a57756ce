"""Which datasets are public, by their names."""

import json
import logging
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.access import watched
from app.access.rules import Rules, RulesError, Table, checked_name, read_table, write_level
from converters.errors import OptionError
from tests.app.access.conftest import write_rules


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".glassine").mkdir()
    return tmp_path


def test_without_a_file_all_is_private(tmp_path: Path) -> None:
    rules = Rules(tmp_path)
    assert rules.table == Table()
    assert (rules.level(""), rules.level("a"), rules.is_public("/a/info")) == ("private", "private", False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/lab/x/info", True), ("/lab/cloister/info", False), ("/lab/cloister/8_8_8/0-64_0-64_0-64", False),
        ("/lab/cloister", False),
        ("/lab/cloister/", False), ("/lab/cloistermost/info", True), ("/lab/cloister/shown/info", True),
        ("/lab/cloister/shown/mesh/info", True),
        ("/lab/cloister/shown", True), ("/lab", True), ("/lab/", True), ("/", False), ("/info", False), ("/other/info", False),
        ("/labx/info", False),
        ("", False), ("/lab/cloister/showN/info", False), ("/lab/CLOISTER/info", False), ("/lab/cloister./info", False),
        ("/lab/CLOISTER", False),
        ("/LAB/x/info", False), ("/lab/Cloister/shown/info", False), ("/lab/ｃｌｏｉｓｔｅｒ/info", False),
    ],
)  # fmt: skip
def test_the_longest_name_decides(root: Path, path: str, public: bool) -> None:
    write_rules(root, {"lab": "public", "/lab/cloister/": "private", "lab/cloister/shown": "public"})
    rules = Rules(root)
    assert rules.is_public(path) is public
    assert rules.is_public(path) is public, "the same from memory"


NAMES = st.lists(st.sampled_from(["a", "b", "B", "ab"]), min_size=1, max_size=3).map("/".join)
LEVELS = st.sampled_from(["public", "private"])


@settings(max_examples=60)
@given(st.dictionaries(NAMES, LEVELS, max_size=4), LEVELS, NAMES)
def test_a_public_name_is_public_by_the_rules_as_they_are_written(
    tmp_path_factory: pytest.TempPathFactory, datasets: dict[str, str], default: str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    (folder / ".glassine").mkdir()
    write_rules(folder, datasets, default)
    above = [name.rsplit("/", n)[0] for n in range(name.count("/") + 1)]
    expected = next((datasets[one] for one in above if one in datasets), default)
    level = Rules(folder).level(name)
    assert level == expected or (level == "private" and any(one.lower() in {d.lower() for d in datasets} for one in above))


def test_a_change_is_seen_at_the_next_look(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(watched.time, "monotonic", lambda: now)
    rules = Rules(root)
    assert rules.level("a") == "private"
    write_level(root, "a", "public")
    assert rules.level("a") == "private", "not looked at again within a second"
    now += 1.0
    assert rules.level("a") == "public"
    (root / ".glassine" / "access.json").unlink()
    now += 1.0
    assert rules.level("a") == "private"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", r"access\.json: is no JSON \(.*\); mend it or remove it, until then every dataset is private"),
        ("[" * 100_000, r"access\.json: is no JSON"),
        ("[]", r'access\.json: expected \{"default": "private", "datasets": \{"NAME": "public"\}\}'),
        ('{"datasets": []}', "expected"),
        ('{"dataset": {}}', "expected"),
        ('{"default": "open"}', 'access.json: the default is "open", expected public or private'),
        ('{"default": {}}', "the default is {}, expected public or private"),
        ('{"datasets": {"a": true}}', "access.json: a is true, expected public or private"),
    ],
)
def test_a_file_that_is_not_understood_makes_all_private_and_is_told(
    root: Path, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    write_level(root, "a", "public")
    rules = Rules(root)
    assert rules.level("a") == "public"
    (root / ".glassine" / "access.json").write_text(text)
    with pytest.raises(RulesError, match=why):
        read_table(root)
    rules.look_again()
    assert rules.level("a") == "private"
    rules.look_again()
    assert rules.level("a") == "private"
    assert len(caplog.records) == 1, "once for each state of the file"
    with pytest.raises(RulesError):
        write_level(root, "b", "public")
    assert (root / ".glassine" / "access.json").read_text() == text


def test_changes_are_written_whole_and_none_is_lost(root: Path) -> None:
    threads = [threading.Thread(target=write_level, args=(root, f"lab/{n}", "public")) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write_level(root, "/lab/3/", "private")
    write_level(root, "", "public")
    found = json.loads((root / ".glassine" / "access.json").read_text())
    assert found == {"default": "public", "datasets": {f"lab/{n}": "private" if n == 3 else "public" for n in range(12)}}
    assert sorted(path.name for path in (root / ".glassine").iterdir()) == ["access.json", "access.lock"]


@pytest.mark.parametrize("name", ["..", "a/../b", ".glassine", "a/.glassine", "a//b", "./a", ".", "a\\b", "a\0b"])
def test_what_is_no_name_is_told(root: Path, name: str) -> None:
    with pytest.raises(OptionError) as told:
        write_level(root, name, "public")
    assert str(told.value) == f"{name!r}: expected the path of a dataset below the served folder, such as lab/brain"
    assert list((root / ".glassine").iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 1001, "a\nb", "\ud800"])
def test_a_name_is_short_text(name: str) -> None:
    with pytest.raises(OptionError, match="a dataset's name has at most 1000 characters of text"):
        checked_name(name)


def test_names_of_strangers_are_not_kept_without_end(root: Path) -> None:
    rules = Rules(root)
    for n in range(3000):
        rules.is_public(f"/{n}/info")
        rules.is_public(f"/{'x' * 600}{n}/info")
    kept = rules._known.get().places
    assert len(kept) <= 1000
    assert max(map(len, kept)) <= 500
