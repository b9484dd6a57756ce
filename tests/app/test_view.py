"""`glassine view` of what takes long to convert."""

import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest

from app.cli import run
from app.commands import view


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source that counts as one that takes long."""
    monkeypatch.setattr(view, "_SOON_BYTES", 0)
    monkeypatch.setenv("GLASSINE_CACHE", str(tmp_path / "cache"))
    x, y, z = np.indices((50, 40, 30))
    image = nibabel.Nifti1Image((200 + x * y + z).astype(np.int16), np.diag([-2, 1, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The layers that are looked at, each with its info as the server has it then; Ctrl-C comes at once."""
    seen = []

    def look(link: str, *, browser: bool) -> None:
        (layer,) = json.loads(unquote(link.split("#!")[1]))["layers"]
        url = layer["source"]["url"].removeprefix("precomputed://")
        seen.append({**layer, "info": json.loads(urllib.request.urlopen(f"{url}/info").read())})
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "look", look)
    return seen


def test_what_takes_long_is_looked_at_while_it_is_converted(scan: Path, tmp_path: Path, layers: list[dict[str, Any]]) -> None:
    for _ in range(2):  # the second time what was done is gone on with, or all there
        assert run(["view", str(scan), "--no-browser"]) == 0
    for layer in layers:
        assert layer["info"]["scales"][0]["size"] == [50, 40, 30]
        assert layer["type"] == "image"
        assert layer["source"]["transform"]["matrix"][0][0] == -1, "it lies where the source says"
        low, high = layer["shaderControls"]["normalized"]["range"]
        assert 200 <= low < high <= 200 + 49 * 39 + 29
    assert len(layers) == 2


def test_a_conversion_that_fails_is_told_and_not_looked_at(
    scan: Path, tmp_path: Path, layers: list[dict[str, Any]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_cache_key", lambda *known: "key")
    (tmp_path / "cache/key").mkdir(parents=True)
    (tmp_path / "cache/key/scan").write_text("no folder")
    assert run(["view", str(scan), "--no-browser"]) == 1
    assert layers == []
    error = capfd.readouterr().err
    assert "scan: a file is there, expected a folder for the dataset" in error
    assert error.startswith("glassine: ")
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_anything_is_converted(
    scan: Path, tmp_path: Path, layers: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert run(["view", str(scan), "--no-browser", "--port", str(listener.getsockname()[1])]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not list((tmp_path / "cache").glob("*/*"))


def test_an_error_of_the_source_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", str(tmp_path / "nothing.nii")]) in (1, 2)
    assert "nothing.nii: no such file" in capsys.readouterr().err
