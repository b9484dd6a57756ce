"""`glassine trace` on the command line."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from app.cli import command_line, run
from app.commands.flags import options_from
from converters.labels.options import LabelOptions
from converters.traces.options import TraceOptions
from tests.converters.watching import ROOT, assert_nothing_runs, files_of

KILLS = 10 if os.environ.get("GLASSINE_SLOW") else 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of two crosses of 200 on noise around 20, 60 x 50 x 40, and some specks."""
    random_values = np.random.default_rng(5)
    voxels = random_values.integers(10, 30, (60, 50, 40))
    for start in ((5, 5, 5), (30, 25, 20)):
        x, y, z = start
        voxels[x : x + 24, y + 8 : y + 13, z + 8 : z + 12] = 200
        voxels[x + 10 : x + 15, y : y + 22, z + 8 : z + 12] = 200
    voxels[50:52, 5:7, 5:7] = 200
    path = tmp_path_factory.mktemp("stack") / "stack.npy"
    np.save(path, np.asfortranarray(voxels.astype(np.uint8)))
    return path


def words(stack: Path, dataset: Path, *more: str) -> list[str]:
    told = ["--resolution", "200,200,400", "--axes", "xyz", "--executor", "serial", "--dust", "1", "--const", "0.8"]
    return ["trace", str(stack), str(dataset), *told, *more]


def test_every_option_is_a_flag_with_its_description_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in TraceOptions.model_fields.items():
        assert f" --{name.replace('_', '-')} " in shown
        if len(name) < 20:  # Longer ones are broken over two lines, and stand between the words of the description.
            assert field.description in shown
    arguments = command_line("trace")["trace"].assemble_argument_collection()
    flags = {argument.name.removeprefix("--").replace("-", "_"): argument.field_info.default for argument in arguments}
    given = {name: flags[name] for name in TraceOptions.model_fields if flags[name] is not None}
    assert options_from(TraceOptions, given) == TraceOptions()


def test_the_page_on_it_tells_its_options_and_columns() -> None:
    page = (ROOT / "docs/trace.md").read_text()
    own = {name: field for name, field in TraceOptions.model_fields.items() if name not in LabelOptions.model_fields}
    rows = "\n".join(
        f"| `--{name.replace('_', '-')}` | {default(field.default)} | {field.description} |" for name, field in own.items()
    )
    assert rows in page, f"expected in docs/trace.md:\n{rows}"
    assert set(LabelOptions.model_fields) - set(TraceOptions.model_fields) == {"min_size", "max_size", "table"}
    for name in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / name).is_file()


def default(value: object) -> str:
    return "" if value is None else "off" if value is False else str(value)


def test_one_line_says_what_was_found_and_where_it_is(stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(stack, tmp_path / "out")) == 0
    told = capsys.readouterr()
    assert "glassine" not in told.err
    begin = (
        f"{tmp_path / 'out'}: 60 x 50 x 40 voxels of 0.2 x 0.2 x 0.4 µm, 2 components above 29, 1 left out as dust, 2 skeletons"
    )
    assert told.out.startswith(f"{begin} with ")
    assert f" µm of cable; swc/*.swc, components.csv, mask.png and labels.png in {tmp_path / 'out-results'}, in " in told.out
    assert told.out.count("\n") == 1
    assert run(words(stack, tmp_path / "out")) == 0
    again = capsys.readouterr().out
    assert again.startswith(begin)
    assert again.endswith("; all was there already, made from the same source with the same options\n")


def test_for_a_program(stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(stack, tmp_path / "out", "--json", "--unit", "nm", "--image", str(tmp_path / "grey"))
    line[line.index("--dust") + 1], line[line.index("--const") + 1] = "1e9", "800"
    assert run([*line, "--results", str(tmp_path / "found")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["dataset"], told["image"], told["results"]) == tuple(str(tmp_path / name) for name in ("out", "grey", "found"))
    assert (told["threshold"], told["labels"]["components"], told["meshes"], told["swc_files"]) == (29, 2, 2, 2)
    assert told["parameters"]["const"] == 800
    assert told["skeletons"]["skeletons"] == 2
    assert told["cable_length"] > 10_000
    assert (told["already"], told["limited"], told["blocks_kept"]) == (False, [], 0)
    assert (tmp_path / "grey/info").is_file()
    head = (tmp_path / "found/components.csv").read_text().splitlines()[0]
    assert head == (
        "id,voxels,volume_nm3,x_begin,y_begin,z_begin,x_end,y_end,z_end,x_centre_nm,y_centre_nm,z_centre_nm,cable_nm,"
        "branch_points,end_points"
    )


def test_what_may_be_unfinished_is_noted(stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(stack, tmp_path / "out", "--max-paths", "2")) == 0
    record = tmp_path / "out-results/trace.json"
    assert capsys.readouterr().err.endswith(
        f"glassine: note: 2 skeletons may be unfinished (--budget, --max-paths); {record} names them\n"
    )
    assert json.loads(record.read_bytes())["limited"] == ["1", "2"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--unit", "parsec"), "--unit parsec: expected nm, um or mm (Unit of --dust, of the lengths below and of the table; "),
        (("--threshold", "300"), "no voxel is above 300 (the largest value is 200): say a lower --threshold"),
        (("--threshold", "high"), "--threshold high: not understood"),
        (("--tick-threshold", "-1"), "--tick-threshold -1: expected at least 0 (Length in --unit; branches that are shorter"),
        (("--voxel-size", "0"), "--voxel-size 0: expected more than 0"),
        (("--min-size", "3"), "--min-size"),
        (("--smooth", "0"), "--smooth 0: expected more than 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    more: tuple[str, ...], sentence: str, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(stack, tmp_path / "out", *more)) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_dust_alone_is_one_sentence(stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(stack, tmp_path / "out")
    line[line.index("--dust") + 1] = "500"
    assert run(line) == 2
    assert "all 3 components above 29 are dust, the largest has " in capsys.readouterr().err


def started(stack: Path, dataset: Path) -> "subprocess.Popen[str]":
    line = words(stack, dataset)
    line[line.index("serial")] = "processes:2"
    return subprocess.Popen(
        [sys.executable, "-m", "app.entry", *line], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def undisturbed(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """What a run leaves, and the seconds that it takes."""
    folder, began = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    with started(stack, folder / "out") as process:
        assert process.wait(240) == 0
    return files_of(folder), time.monotonic() - began


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_any_moment_it_goes_on(
    number: int, stack: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, lasted = undisturbed
    with started(stack, tmp_path / "out") as process:
        time.sleep(random.uniform(0.2, 0.95) * lasted)
        process.kill()
        process.wait()
        assert_nothing_runs(process)
    with started(stack, tmp_path / "out") as process:
        assert process.wait(240) == 0
        assert_nothing_runs(process)
    assert files_of(tmp_path) == expected
