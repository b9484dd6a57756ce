"""The command line: glassine access, glassine link --expires, and addresses that need a token."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from app import server
from app.cli import run
from app.settings import SiteSettings
from converters.options import ServeOptions
from tests.app.access.conftest import CHUNK, READ_TOKEN, SECRET, TOKEN, Client, make_root, served

Patch = pytest.MonkeyPatch
Said = pytest.CaptureFixture[str]
ELSEWHERE = ["0.0.0.0", "::", "192.168.1.7", "scans.lab.example", "", "127.0.0.1.lab.example", "localhost.evil.example"]


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: Patch) -> None:
    for name in ("GLASSINE_TOKEN", "GLASSINE_TOKEN_FILE", "GLASSINE_READ_TOKEN", "GLASSINE_READ_TOKEN_FILE", "GLASSINE_ORIGINS"):
        monkeypatch.delenv(name, raising=False)


def sentence(capsys: Said) -> str:
    """Return what was said on standard error: one line."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("glassine: ")
    assert err.count("\n") == 1
    return err.removeprefix("glassine: ").rstrip()


# access -------------------------------------------------------------------------------------------------------------------------


def test_access_is_told_and_changed(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "lab" / "brain").mkdir(parents=True)
    root = ["--root", str(tmp_path)]
    steps = [
        (["lab/brain"], "private"),
        (["lab/brain", "public"], f"lab/brain is public on servers of {tmp_path}"),
        (["lab/brain"], "public"),
        (["lab"], "private"),
        (["lab", "public"], f"lab is public on servers of {tmp_path}"),
        (["lab/brain", "private"], f"lab/brain is private on servers of {tmp_path}"),
        ([""], "private"),
        (["", "public"], f"all that is not named is public on servers of {tmp_path}"),
        ([""], "public"),
        (["lab/brain"], "private"),
    ]
    for (name, *level), told in steps:
        assert run(["access", str(tmp_path / name), *level, *root]) == 0
        assert capsys.readouterr() == (f"{told}\n", "")
    assert json.loads((tmp_path / ".glassine" / "access.json").read_text()) == {
        "default": "public",
        "datasets": {"lab": "public", "lab/brain": "private"},
    }


def test_access_takes_the_folder_above_for_the_root(tmp_path: Path) -> None:
    (tmp_path / "brain").mkdir()
    assert run(["access", str(tmp_path / "brain"), "public"]) == 0
    assert json.loads((tmp_path / ".glassine" / "access.json").read_text())["datasets"] == {"brain": "public"}


def test_mistakes_with_access_are_told(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "brain").mkdir()
    assert run(["access", str(tmp_path / "none"), "public"]) == 2
    assert sentence(capsys) == f"{tmp_path}/none: there is no such folder; give that of a dataset, or one that holds several"
    assert run(["access", str(tmp_path / "brain"), "open"]) == 2
    assert sentence(capsys) == 'Invalid value "open" for LEVEL. Choose from: "public", "private". See glassine --help.'
    assert run(["access", str(tmp_path), "public", "--root", str(tmp_path / "brain")]) == 2
    assert "is not below the served folder" in sentence(capsys)
    assert not (tmp_path / ".glassine").exists()
    (tmp_path / ".glassine").mkdir()
    (tmp_path / ".glassine" / "access.json").write_text("{")
    for level in ([], ["public"]):
        assert run(["access", str(tmp_path / "brain"), *level]) == 1
        assert "access.json: is no JSON" in sentence(capsys)


# link ---------------------------------------------------------------------------------------------------------------------------


def targets(link: str, url: str) -> list[str]:
    """Return the paths of the layers of a link."""
    layers = json.loads(unquote(link.split("#!")[1]))["layers"]
    return [layer["source"]["url"].removeprefix(f"precomputed://{url}") for layer in layers]


def test_a_link_that_expires_opens_what_it_is_for(tmp_path: Path, monkeypatch: Patch, capsys: Said) -> None:
    root = make_root(tmp_path)
    monkeypatch.setenv("GLASSINE_TOKEN", TOKEN)
    names = ["secluded", "lab/cloister"]
    words = ["link", *(str(root / name) for name in names), "--root", str(root), "--url", "http://a.example", "--expires"]
    with served(root) as client:
        assert run([*words, "7d"]) == 0
        link, err = capsys.readouterr()
        assert err == ""
        assert TOKEN not in link
        for target in targets(link, "http://a.example"):
            assert client.ask(f"{target}/{CHUNK}").body == SECRET
        monkeypatch.setenv("GLASSINE_TOKEN", "another-0123456789abcdef")
        assert run([*words, "7d"]) == 0
        for target in targets(capsys.readouterr().out, "http://a.example"):
            assert client.ask(f"{target}/{CHUNK}").status == 401
        monkeypatch.setenv("GLASSINE_TOKEN", TOKEN)
        with monkeypatch.context() as past:
            past.setattr("app.commands.link.time.time", lambda: 1_000_000_000)
            assert run([*words, "30m"]) == 0
        for target in targets(capsys.readouterr().out, "http://a.example"):
            assert b"This link has expired" in client.ask(f"{target}/{CHUNK}").body


def test_a_link_without_a_time_needs_no_token(tmp_path: Path, capsys: Said) -> None:
    root = make_root(tmp_path)
    assert run(["link", str(root / "open")]) == 0
    assert targets(capsys.readouterr().out, "http://127.0.0.1:8080") == ["/data/open"]


def test_mistakes_with_links_are_told(tmp_path: Path, monkeypatch: Patch, capsys: Said) -> None:
    root = make_root(tmp_path)
    words = ["link", str(root / "open"), "--expires"]
    assert run([*words, "7d"]) == 2
    assert sentence(capsys) == (
        "--expires: a link is signed with the server's token; set GLASSINE_TOKEN or GLASSINE_TOKEN_FILE to it"
    )
    monkeypatch.setenv("GLASSINE_TOKEN", TOKEN)
    assert run([*words, "soon"]) == 2
    assert sentence(capsys).startswith("--expires soon: expected minutes, hours or days, such as 30m, 12h or 7d")
    monkeypatch.setenv("GLASSINE_TOKEN", "short")
    assert run([*words, "7d"]) == 2
    assert sentence(capsys).startswith("GLASSINE_TOKEN has 5 characters")


# serve --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_addresses_need_a_token(tmp_path: Path, host: str, monkeypatch: Patch, capsys: Said) -> None:
    told: list[tuple[ServeOptions, SiteSettings]] = []
    monkeypatch.setattr(server, "serve", lambda folder, options, started, settings: told.append((options, settings)))
    assert run(["serve", str(tmp_path), "--host", host]) == 2
    assert sentence(capsys) == (
        f"--host {host} lets others than this machine in, who need a token: set GLASSINE_TOKEN, for example with "
        "`export GLASSINE_TOKEN=$(openssl rand -hex 32)`, and start the server again"
    )
    assert told == []
    monkeypatch.setenv("GLASSINE_TOKEN", TOKEN)
    assert run(["serve", str(tmp_path), "--host", host]) == 0
    ((options, settings),) = told
    assert (options.host, settings.access.token) == (host, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_none(tmp_path: Path, host: str, monkeypatch: Patch) -> None:
    told = []
    monkeypatch.setattr(server, "serve", lambda folder, options, started, settings: told.append(settings.access.token))
    assert run(["serve", str(tmp_path), "--host", host]) == 0
    assert told == [None]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_holds_the_rules_and_no_token_is_seen_from_outside(tmp_path: Path, workers: int) -> None:
    root = make_root(tmp_path / "served")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environment = {**os.environ, "GLASSINE_TOKEN_FILE": str(tmp_path / "token"), "GLASSINE_READ_TOKEN": READ_TOKEN}
    command = [
        sys.executable,
        "-c",
        "import sys; from app.entry import main; sys.exit(main())",
        "serve",
        str(root),
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].split("/ ")[0]
        for _ in range(6):
            client = Client(url)
            assert client.ask(f"/data/secluded/{CHUNK}").status == 401
            assert client.ask(f"/data/secluded/{CHUNK}", {"Authorization": f"Bearer {READ_TOKEN}"}).body == SECRET
            assert client.ask("/api/jobs", {"Authorization": f"Bearer {TOKEN}"}).status == 200
            client.close()
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert TOKEN not in out + err
    assert READ_TOKEN not in out + err
