"""`glassine import-mesh`: what it prints, and with which exit status."""

import json
from pathlib import Path

import pytest
import trimesh

from app.cli import command_line, run
from converters.options import ImportMeshOptions


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    trimesh.creation.icosphere(subdivisions=1).export(tmp_path / "7.stl")
    return tmp_path / "7.stl"


def test_every_option_is_a_flag_with_its_description(capsys: pytest.CaptureFixture[str]):
    assert run(["import-mesh", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in ImportMeshOptions.model_fields.items():
        assert f" --{name.replace('_', '-')} " in shown
        assert field.description is not None
        assert field.description in shown
    flags = {argument.name for argument in command_line("import-mesh")["import-mesh"].assemble_argument_collection()}
    assert {f"--{name.replace('_', '-')}" for name in ImportMeshOptions.model_fields} <= flags


def test_it_says_in_one_line_what_it_did(ball: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["import-mesh", str(ball), str(tmp_path / "out"), "--unit", "um", "--affine", "-1,0,0,-5,0,1,0,0,0,0,1,0"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'out'}: multires meshes of 1 segments from 1 files, 80 triangles, ")
    assert out.count("\n") == 1
    assert err == ""


def test_it_says_which_unit_it_took(ball: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["import-mesh", str(ball), str(tmp_path / "out"), "--json", "--format", "legacy"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["files"], told["segments"], told["triangles"], told["format"]) == (1, 1, 80, "legacy")
    assert told["folder"] == str(tmp_path / "out")
    assert err == f"glassine: note: {ball}: no unit is told, taken for nm; add --unit um or --unit mm if that is wrong\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "nothing is given, expected FILES and then the DATASET to write"),
        (["out"], 2, "no files are given, expected FILES and then the DATASET to write, or --table"),
        (["BALL", "out", "--unit", "m"], 2, "--unit m: expected auto, nm, um or mm"),
        (["BALL", "out", "--id", "0"], 2, "--id 0: expected at least 1"),
        (["BALL", "out", "--id", "x"], 2, "--id x: expected a whole number"),
        (["BALL", "out", "--affine", "1,2,3"], 2, "--affine: found 3 numbers, expected 12 or 16"),
        (["BALL", "out", "--voxel-centres"], 2, "--voxel-centres needs a volume"),
        (["lh.pial.stl", "out"], 2, "lh.pial.stl: its name tells no segment id, expected one such as 123.stl; add --id N"),
        (["8.stl", "out"], 1, "8.stl: there is no such file"),
        (["8.fbx", "out"], 1, "8.fbx: is no mesh file by its name"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str],
    status: int,
    said: str,
    ball: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert run(["import-mesh", *(str(ball) if word == "BALL" else word for word in words)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("glassine: ")
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "out").exists()


def test_what_was_imported_is_exported(ball: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["import-mesh", str(ball), str(tmp_path / "meshes"), "--unit", "um"]) == 0
    capsys.readouterr()
    words = ["mesh", str(tmp_path / "meshes"), "--export", str(tmp_path / "out"), "--export-format", "obj", "--export-unit", "um"]
    assert run([*words, "--segments", "7"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out'}: 1 meshes of {tmp_path / 'meshes'} as obj, coordinates in um\n"
    assert err == ""
    assert trimesh.load_mesh(tmp_path / "out" / "7.obj").volume == pytest.approx(trimesh.load_mesh(ball).volume, rel=1e-3)
    assert run([*words, "--segments", "7,8"]) == 2
    assert "1 of 2 segments have no mesh there (8); leave them out" in capsys.readouterr().err
