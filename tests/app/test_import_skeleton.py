"""`glassine import-skeleton`: what it prints, and with which exit status."""

import json
from pathlib import Path

import pytest

from app.cli import command_line, run
from converters.options import ImportSkeletonOptions


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "7.swc").write_text("1 1 0 0 0 5 -1\n2 3 1500 0 0 1 1\n")
    return tmp_path / "7.swc"


def test_every_option_is_a_flag_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import-skeleton", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in ImportSkeletonOptions.model_fields.items():
        assert f" --{name.replace('_', '-')} " in shown
        assert field.description is not None
        assert field.description in shown
    flags = {argument.name for argument in command_line("import-skeleton")["import-skeleton"].assemble_argument_collection()}
    assert {f"--{name.replace('_', '-')}" for name in ImportSkeletonOptions.model_fields} <= flags


def test_it_says_in_one_line_what_it_did(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import-skeleton", str(tree), str(tmp_path / "out"), "--unit", "um", "--layout", "sharded"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'out'}: skeletons of 1 segments from 1 files, 2 vertices, 1 trees, 1.5 mm of cable, ")
    assert " B in shards, in " in out
    assert out.count("\n") == 1
    assert err == ""


def test_it_says_which_unit_it_took(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import-skeleton", str(tree), str(tmp_path / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["files"], told["segments"], told["vertices"], told["trees"], told["sharded"]) == (1, 1, 2, 1, False)
    assert (told["cable_length"], told["folder"]) == (1.5e6, str(tmp_path / "out"))
    assert err == f"glassine: note: {tree}: no unit is told, taken for um; add --unit nm or --unit mm if that is wrong\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "nothing is given, expected FILES and then the DATASET to write"),
        (["out"], 2, "no files are given, expected FILES and then the DATASET to write, or --table"),
        (["TREE", "out", "--unit", "m"], 2, "--unit"),
        (["TREE", "out", "--id", "0"], 2, "--id 0: expected at least 1"),
        (["TREE", "out", "--affine", "1,2,3"], 2, "--affine: found 3 numbers, expected 12 or 16"),
        (["TREE", "out", "--voxel-centres"], 2, "--voxel-centres needs a volume"),
        (["neuron.swc", "out"], 2, "neuron.swc: its name tells no segment id, expected one such as 123.swc; add --id N"),
        (["8.swc", "out"], 1, "8.swc: there is no such file"),
        (["9.swc", "out"], 1, "9.swc: line 1: 3 columns, expected 7: id type x y z radius parent"),
        (["TREE", "TREE", "out"], 2, "7.swc: is there twice, for segments 7 and 7; keep one of them"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str],
    status: int,
    said: str,
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "9.swc").write_text("no SWC file\n")
    monkeypatch.chdir(tmp_path)
    assert run(["import-skeleton", *(str(tree) if word == "TREE" else word for word in words)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("glassine: ")
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "out").exists()
