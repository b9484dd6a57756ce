"""The command line: what it prints, where, and with which exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest

from app.cli import COMMANDS, command_line, run
from app.commands.flags import options_from
from app.commands.looking import look
from app.settings import Settings, read_settings
from converters.errors import ConverterError, OptionError
from converters.options import ConvertOptions, ServeOptions
from converters.volumes import conversion
from formats.errors import FormatError

HEAVY = ("numpy", "pydantic", "nibabel", "imagecodecs", "PIL", "fastapi", "starlette", "uvicorn", "rich.progress", "nilearn")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A NIfTI file of 20 x 22 x 18 voxels of 2 x 2 x 3 mm."""
    voxels = np.random.default_rng(0).integers(0, 1000, (20, 22, 18), np.int16)
    image = nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error: one line, no traceback, nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("glassine: ")
    assert err.count("\n") == 1
    return err.removeprefix("glassine: ").rstrip()


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from app.cli import run; status = run(['--help']); "
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")
    for command, (_, text) in COMMANDS.items():
        assert f"│ {command} " in done.stdout
        assert text.split()[0] in done.stdout


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 0
    assert "Usage: glassine COMMAND" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.count(".") == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]):
    assert run([command, "--help"]) == 0
    assert f"Usage: glassine {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "model"),
    [
        ("plan", ConvertOptions),
        ("convert", ConvertOptions),
        ("view", ConvertOptions),
        ("serve", ServeOptions),
    ],
)
def test_every_option_is_a_flag_with_its_description_and_default(command: str, model, capsys: pytest.CaptureFixture[str]):
    run([command, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in model.model_fields.items():
        assert f" --{name.replace('_', '-')} " in shown
        assert field.description in shown
    arguments = command_line(command)[command].assemble_argument_collection()
    flags = {argument.name.removeprefix("--").replace("-", "_"): argument for argument in arguments}
    assert set(model.model_fields) <= set(flags)
    given = {
        name: str(flags[name].field_info.default) for name in model.model_fields if flags[name].field_info.default is not None
    }
    assert options_from(model, given) == model()


def test_plan_writes_nothing(scan: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(scan.parent.iterdir())
    assert run(["plan", str(scan)]) == 0
    out, _ = capsys.readouterr()
    assert "x=20, y=22, z=18 voxels" in out
    assert "2 x 2 x 3 mm" in out
    assert "image, int16 -> int16, raw" in out
    assert "files   5, 1 of them chunks" in out
    assert "\nbytes   about " in out
    assert "\ntime    about " in out
    assert sorted(scan.parent.iterdir()) == before


def test_plan_for_a_program(scan: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["plan", str(scan), "--json", "--chunk-size", "16,16,8"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["shape"] == [20, 22, 18]
    assert plan["resolution"] == [2e6, 2e6, 3e6]
    assert plan["scales"][0]["chunk_size"] == [16, 16, 8]
    assert plan["files_about"] == plan["chunks"] + 4
    assert plan["stored_bytes_about"] > 0
    assert plan["seconds_about"] > 0
    assert plan["chunks"] == 2 * 2 * 3 + sum(
        np.prod([-(-n // c) for n, c in zip(scale["size"], (16, 16, 8), strict=True)]) for scale in plan["scales"][1:]
    )


def test_convert_says_by_how_much_it_rounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.save(tmp_path / "a.npy", np.full((4, 4, 4), 0.1))
    assert run(["convert", str(tmp_path / "a.npy"), str(tmp_path / "out"), "--resolution", "8,8,8"]) == 0
    # 0.1 is 1.5e-9 away from the nearest float32.
    assert ", float64 rounded by 1.5e-09 at most, in " in capsys.readouterr().out


def test_convert_says_in_one_line_what_it_did(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["convert", str(scan), str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "20 x 22 x 18 voxels of 2 x 2 x 3 mm" in out
    assert "1 chunks" in out or "chunks" in out
    assert err == "", "nothing is shown of what takes no time"
    assert (tmp_path / "out" / "info").is_file()


def test_convert_again_is_done_at_once_and_says_so(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["convert", str(scan), str(tmp_path / "out"), "--json"]
    assert run(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["already"] is False
    assert first["counts"]["chunks"] == first["chunks"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["already"] is True


def test_a_triple_is_one_word_even_a_negative_one(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--voxel-offset", "-5,0,3", "--chunk-size=16, 8, 4", "--resolution", "4,4,40.5"]
    assert run(["convert", str(scan), str(tmp_path / "out"), *options]) == 0
    (first, *_) = json.loads((tmp_path / "out" / "info").read_text())["scales"]
    assert (first["voxel_offset"], first["chunk_sizes"], first["resolution"]) == ([-5, 0, 3], [[16, 8, 4]], [4, 4, 40.5])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["convrt"], "there is no command 'convrt', did you mean convert? The commands are demo, plan"),
        (["frobnicate"], "there is no command 'frobnicate'. The commands are"),
        (["convert", "a"], "DATASET is missing, see --help"),
        (["convert", "a", "b", "c"], "Unused Tokens"),
        (["convert", "a", "b", "--frob"], "there is no option --frob, see --help"),
        (["convert", "a", "b", "--encoding", "jepg"], "--encoding jepg: expected auto, raw, jpeg, png, jxl,"),
        (["convert", "a", "b", "--chunk-size", "64,64"], "--chunk-size 64,64: expected three numbers with commas between them"),
        (["convert", "a", "b", "--chunk-size", "64,64,x"], "--chunk-size 64,64,x: expected three numbers"),
        (["convert", "a", "b", "--chunk-size", "64,64,0"], "--chunk-size 64,64,0: expected at least 1"),
        (["convert", "a", "b", "--resolution", "4,4,-4"], "--resolution 4,4,-4: expected more than 0"),
        (["convert", "a", "b", "--jpeg-quality", "101"], "--jpeg-quality 101: expected at most 100"),
        (["convert", "a", "b", "--scales", "many"], "--scales many: expected a whole number"),
        (["convert", "a", "b", "--memory", "lots"], "--memory lots: not understood (Memory the whole run may take, e.g. 4GB;"),
        (["convert", "a", "b", "--executor", "threads"], "--executor threads: not understood (serial, processes"),
        (["demo", "--port", "eighty"], "Invalid value"),
        (["link", "/srv/a", "--root", "/srv/b"], "is not below the served folder /srv/b"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert run(words) == 2
    assert said in sentence(capsys)


def test_a_source_that_does_not_tell_its_voxel_size_needs_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.save(tmp_path / "stack.npy", np.zeros((4, 5, 6), np.uint8))
    assert run(["convert", str(tmp_path / "stack.npy"), str(tmp_path / "out")]) == 2
    assert "--resolution" in sentence(capsys)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["convert", str(tmp_path / "none.nii"), str(tmp_path / "out")]) == 1
    assert "none.nii" in sentence(capsys)
    assert run(["link", str(tmp_path / "none")]) == 1
    assert "no dataset, there is no file `info` in it" in sentence(capsys)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OptionError("say --this"), 2, "say --this"),
        (ConverterError("it did not work"), 1, "it did not work"),
        (FormatError("bytes are wrong"), 1, "bytes are wrong"),
        (PermissionError(13, "Permission denied", "/srv/x"), 1, "/srv/x: Permission denied"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "unexpected ZeroDivisionError: division by zero; GLASSINE_DEBUG=1 shows where",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_error_has_its_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("app.cli._dispatch", fail)
    monkeypatch.delenv("GLASSINE_DEBUG", raising=False)
    assert run(["plan", "x"]) == status
    assert sentence(capsys).startswith(said)


def test_ctrl_c_in_a_command_is_one_line(scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.commands.convert.make_plan", interrupt)
    assert run(["plan", str(scan)]) == 130
    assert sentence(capsys) == "interrupted"


def test_the_traceback_is_there_for_who_asks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLASSINE_DEBUG", "1")
    assert run(["plan", "/nowhere.nii"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_reader_that_stops_listening_is_no_crash(scan: Path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "app.entry", "plan", str(scan)], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)


def test_link_prints_the_link_and_nothing_else(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run(["convert", str(scan), str(tmp_path / "lab" / "out")])
    capsys.readouterr()
    assert run(["link", str(tmp_path / "lab" / "out")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("http://127.0.0.1:8080/v/glassine/#!%7B")
    assert out.count("\n") == 1
    assert "data/out%22" in out
    run(["link", str(tmp_path / "lab" / "out"), "--root", str(tmp_path), "--url", "https://scans.example/x/"])
    out = capsys.readouterr().out
    assert out.startswith("https://scans.example/x/v/glassine/#!")
    assert "precomputed://https://scans.example/x/data/lab/out%22" in out


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """The infos behind the links that `view` shows; it goes on at once, as after Ctrl-C."""
    seen = []

    def look(link: str, *, browser: bool) -> None:
        assert browser is False
        (layer,) = json.loads(unquote(link.split("#!")[1]))["layers"]
        seen.append(urllib.request.urlopen(layer["source"]["url"].removeprefix("precomputed://") + "/info").read())

    monkeypatch.setattr("app.commands.view.look", look)
    monkeypatch.setenv("GLASSINE_CACHE", str(tmp_path / "cache"))
    return seen


def test_view_converts_once_into_the_cache_and_serves_it(
    scan: Path, tmp_path: Path, looked_at: list[bytes], capsys: pytest.CaptureFixture[str]
):
    words = ["view", str(scan), "--no-browser"]
    assert run(words) == 0
    assert "already" not in capsys.readouterr().out
    assert run(words) == 0
    assert "already" in capsys.readouterr().out
    (dataset,) = (tmp_path / "cache").glob("*/scan")
    assert looked_at == [(dataset / "info").read_bytes()] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "scan.nii.gz"]


def test_view_converts_anew_when_the_file_or_an_option_changed(scan: Path, tmp_path: Path, looked_at: list[bytes]):
    assert run(["view", str(scan), "--no-browser"]) == 0
    assert run(["view", str(scan), "--no-browser", "--chunk-size", "8,8,8"]) == 0
    os.utime(scan, ns=(1, 1))
    assert run(["view", str(scan), "--no-browser"]) == 0
    assert len(list((tmp_path / "cache").glob("*/scan"))) == 3
    assert looked_at[0] == looked_at[2] != looked_at[1]


@pytest.mark.parametrize(("browser", "screen", "opened"), [(True, ":0", True), (True, "", False), (False, ":0", False)])
def test_the_browser_is_opened_where_there_is_a_screen(
    browser: bool, screen: str, opened: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    links: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, screen)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("webbrowser.open", links.append)
    monkeypatch.setattr(signal, "signal", lambda *given: None)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    look("http://127.0.0.1/v/glassine/#!{}", browser=browser)
    assert capsys.readouterr().out == "http://127.0.0.1/v/glassine/#!{}\n"
    assert (len(links) == 1) is opened


def test_a_port_that_is_taken_is_one_sentence(scan: Path, looked_at: list[bytes], capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert run(["view", str(scan), "--no-browser", "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert f"port {port}" in err
    assert err.count("\n") == 1


def test_serve_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
    assert "is not a folder" in sentence(capsys)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Settings(debug=False, cache=Path("~/.cache/glassine").expanduser(), hosts=frozenset())),
        ({"GLASSINE_DEBUG": "0", "XDG_CACHE_HOME": "/var/c"}, Settings(False, Path("/var/c/glassine"), frozenset())),
        (
            {"GLASSINE_DEBUG": "1", "GLASSINE_CACHE": "/x", "GLASSINE_HOSTS": "Scans.lab, b,"},
            Settings(True, Path("/x"), frozenset({"scans.lab", "b"})),
        ),
    ],
)
def test_the_environment_is_read_in_one_place(environment: dict[str, str], expected: Settings):
    assert read_settings(environment) == expected


def test_a_stopped_conversion_goes_on_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def interrupted(progress: object) -> None:
        raise KeyboardInterrupt

    np.save(tmp_path / "grey.npy", np.arange(60 * 50 * 40, dtype=np.uint16).reshape(60, 50, 40))
    given = {"resolution": (8, 8, 8), "chunk_size": (16, 16, 16), "memory": "1kB", "executor": "serial"}
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(tmp_path / "grey.npy", tmp_path / "grey", ConvertOptions.model_validate(given), interrupted)
    words = ("--resolution", "8,8,8", "--chunk-size", "16,16,16", "--executor", "serial", "--memory", "1GB")
    assert run(["convert", str(tmp_path / "grey.npy"), str(tmp_path / "grey"), *words]) == 0
    assert "; went on where a run was stopped, blocks kept: 1, done again: 1\n" in capsys.readouterr().out
