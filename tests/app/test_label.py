"""`glassine label` on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import command_line, run
from app.commands.flags import options_from
from converters.labels.options import LabelOptions


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Two bars, one of 200 and one of 90, in a volume of 20 x 12 x 10 voxels of 10."""
    voxels = np.full((20, 12, 10), 10, np.uint8)
    voxels[2:8, 3, 4] = 200
    voxels[4:6, 8:11, 7] = 90
    np.save(tmp_path / "stack.npy", np.asfortranarray(voxels))
    return tmp_path / "stack.npy"


def words(stack: Path, *more: str) -> list[str]:
    return ["label", str(stack), str(stack.parent / "out"), "--resolution", "500,500,1000", "--axes", "xyz", *more]


def test_every_option_is_a_flag_with_its_description_and_default(capsys: pytest.CaptureFixture[str]):
    assert run(["label", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in LabelOptions.model_fields.items():
        assert f" --{name.replace('_', '-')} " in shown
        assert field.description in shown
    arguments = command_line("label")["label"].assemble_argument_collection()
    flags = {argument.name.removeprefix("--").replace("-", "_"): argument.field_info.default for argument in arguments}
    given = {name: str(flags[name]) for name in LabelOptions.model_fields if flags[name] is not None}
    assert options_from(LabelOptions, given) == LabelOptions()


def test_one_line_says_what_was_found(stack: Path, capsys: pytest.CaptureFixture[str]):
    assert run(words(stack)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"{stack.parent / 'out'}: 20 x 12 x 10 voxels of 0.5 x 0.5 x 1 µm, ")
    assert ", 2 components above 10, the largest has 6 voxels, 1 scales, " in out
    assert out.count("\n") == 1


def test_what_is_left_out_is_said_and_what_was_there(stack: Path, capsys: pytest.CaptureFixture[str]):
    more = ("--threshold", "50", "--smooth", "0.3", "--min-size", "1", "--connectivity", "6", "--max-size", "5")
    assert run(words(stack, *more)) == 2
    assert "none of the 2 components above 50 has 1 to 5 voxels (the largest has 6)" in capsys.readouterr().err
    assert run(words(stack, "--threshold", "100", "--delta", "0")) == 0
    assert "1 components above 100, the largest has 6 voxels" in capsys.readouterr().out
    assert run(words(stack, "--threshold", "100", "--delta", "0")) == 0
    assert "the largest has 6 voxels; it was there already, made from the same source with the same options" in (
        capsys.readouterr().out
    )


def test_for_a_program(stack: Path, capsys: pytest.CaptureFixture[str]):
    table = stack.parent / "table.csv"
    assert run(words(stack, "--json", "--threshold", "otsu", "--table", str(table))) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold"] == 10
    assert told["counts"]["components"] == 2
    assert told["counts"]["foreground_voxels"] == 12
    assert (told["source_dtype"], told["data_type"]) == ("uint8", "uint32")
    assert Path(told["table"]).read_text() == table.read_text()
    assert table.read_text().splitlines() == [
        "label,voxels,volume_nm3,x,y,z,x_begin,y_begin,z_begin,x_end,y_end,z_end,x_centre,y_centre,z_centre",
        "1,6,1.5e+09,2,3,4,2,3,4,8,4,5,5,3.5,4.5",
        "2,6,1.5e+09,4,8,7,4,8,7,6,11,8,5,9.5,7.5",
    ]
    assert Path(told["mask"]).is_file()
    assert Path(told["labels"]).is_file()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--threshold", "high"), "--threshold high: not understood (Voxels above this grey value are taken; otsu finds it"),
        (("--threshold", "1e999"), "--threshold 1e999: expected a number that float64 holds"),
        (("--threshold", "-1"), ""),
        (("--connectivity", "8"), "6"),
        (("--smooth", "0"), "--smooth 0: expected more than 0"),
        (("--min-size", "0"), "--min-size 0: expected at least 1"),
        (("--encoding", "jpeg"), "--encoding"),
    ],
)
def test_what_does_not_fit_is_one_sentence(more: tuple[str, ...], sentence: str, stack: Path, capsys: pytest.CaptureFixture[str]):
    status = run(words(stack, *more))
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err
    # A threshold below all values is none that does not fit: it takes the whole volume.
    assert (status, err.count("\n")) == ((2, 1) if sentence else (0, 0))
