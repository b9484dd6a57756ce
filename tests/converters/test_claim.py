"""What may happen to a dataset's folder: other things there, failures, killed runs, two runs at once, a full disk."""

import ctypes
import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters import claim as claim_module
from converters.claim import Request, claim
from converters.errors import (
    BusyError,
    ConverterError,
    DamagedError,
    DatasetError,
    DatasetExistsError,
    DiskFullError,
    SourceError,
    ValueRefusedError,
)
from converters.meshes.conversion import make_meshes
from converters.options import ConvertOptions, MeshOptions
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.options import SkeletonizeOptions
from converters.sources.mapped import MappedSource
from converters.volumes.conversion import Progress, convert
from formats.grid import Box
from tests.converters.watching import Watched, assert_nothing_runs, ended, files_of, started, wait_for

SMALL = {"axes": "xyz", "resolution": (8, 8, 8), "chunk_size": (16, 16, 16), "memory": "1kB", "executor": "serial"}
"""Many tiles of a small volume."""


def options(**given: Any) -> ConvertOptions:
    return ConvertOptions.model_validate(SMALL | given)


def quiet(progress: Progress) -> None:
    """Report nothing."""


def saved(path: Path, voxels: NDArray[Any]) -> Path:
    np.save(path, np.asfortranarray(voxels))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A volume of several tiles and three scales."""
    return saved(tmp_path / "source.npy", np.random.default_rng(1).integers(0, 256, (60, 50, 40), "uint8"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another one, of another size."""
    return saved(tmp_path / "other.npy", np.random.default_rng(2).integers(0, 256, (33, 20, 70), "uint8"))


def assert_nothing_visible(dataset: Path) -> None:
    visible = {path.name for path in dataset.iterdir()} if dataset.exists() else set()
    assert visible <= {".glassine"}


# What is there ------------------------------------------------------------------------------------------------------------------


def a_file(place: Path, source: Path, other: Path) -> None:
    place.write_text("mine")


def other_files(place: Path, source: Path, other: Path) -> None:
    (place / "photographs").mkdir(parents=True)
    (place / "photographs/1.jpg").write_text("mine")


def another_source(place: Path, source: Path, other: Path) -> None:
    convert(other, place, options(), quiet)


def other_options(place: Path, source: Path, other: Path) -> None:
    convert(source, place, options(encoding="png"), quiet)


def changed_source(place: Path, source: Path, other: Path) -> None:
    convert(source, place, options(), quiet)
    os.utime(source, (1, 1))


def not_ours(place: Path, source: Path, other: Path) -> None:
    convert(other, place, options(), quiet)
    shutil.rmtree(place / ".glassine")


def begun(place: Path, source: Path, other: Path) -> None:
    (place / ".glassine/run-1/incoming/8_8_8").mkdir(parents=True)
    (place / ".glassine/begun.json").write_text(json.dumps({"source": str(other)}))


def damaged_record(place: Path, source: Path, other: Path) -> None:
    convert(other, place, options(), quiet)
    (place / ".glassine/record.json").write_text("{")


def mesh(place: Path, source: Path, other: Path) -> None:
    place.mkdir()
    (place / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')


CHOOSE = "choose another path, or add --overwrite to replace it"
REFUSED: list[tuple[Callable[[Path, Path, Path], None], type[ConverterError], str]] = [
    (a_file, DatasetExistsError, "{place}: a file is there, expected a folder for the dataset; choose another path"),
    (other_files, DatasetExistsError, "{place}: the folder holds other files and no dataset; choose a new or an empty folder"),
    (
        another_source,
        DatasetExistsError,
        "{place}: another dataset is already there (made from {other}, with other options or from an older version of it); "
        + CHOOSE,
    ),
    (
        other_options,
        DatasetExistsError,
        "{place}: another dataset is already there (made from {source}, with other options or from an older version of it); "
        + CHOOSE,
    ),
    (
        changed_source,
        DatasetExistsError,
        "{place}: another dataset is already there (made from {source}, with other options or from an older version of it); "
        + CHOOSE,
    ),
    (
        not_ours,
        DatasetExistsError,
        "{place}: another dataset is already there (not made by glassine, with other options or from an older version of it); "
        + CHOOSE,
    ),
    (
        begun,
        DatasetExistsError,
        "{place}: a conversion of {other} was begun there and not finished; run it again, " + CHOOSE,
    ),
    (
        damaged_record,
        DatasetError,
        "{place}/.glassine/record.json: not a record of glassine ({detail}); convert the dataset again with --overwrite",
    ),
]


@pytest.mark.parametrize(("there", "kind", "sentence"), REFUSED, ids=[there.__name__ for there, _, _ in REFUSED])
def test_what_is_there_stays_as_it_is(
    there: Callable[[Path, Path, Path], None],
    kind: type[ConverterError],
    sentence: str,
    source: Path,
    other: Path,
    tmp_path: Path,
) -> None:
    place = tmp_path / "dataset"
    there(place, source, other)
    before = files_of(tmp_path)
    with pytest.raises(kind) as caught:
        convert(source, place, options(), quiet)
    expected = re.escape(sentence).replace(r"\{detail\}", ".*")
    for name, path in {"place": place, "source": source, "other": other}.items():
        expected = expected.replace(rf"\{{{name}\}}", re.escape(str(path)))
    assert re.fullmatch(expected, str(caught.value))
    after = files_of(tmp_path)
    after.pop("dataset/.glassine/lock", None)
    before.pop("dataset/.glassine/lock", None)
    assert after == before


@pytest.mark.parametrize("there", [another_source, other_options, changed_source, not_ours, begun, damaged_record])
def test_overwrite_replaces_it(there: Callable[[Path, Path, Path], None], source: Path, other: Path, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    there(place, source, other)
    convert(source, tmp_path / "fresh", options(), quiet)
    convert(source, place, options(overwrite=True), quiet)
    assert files_of(place) == files_of(tmp_path / "fresh")


@pytest.mark.parametrize("there", [a_file, other_files, mesh])
def test_overwrite_replaces_nothing_but_volumes(
    there: Callable[[Path, Path, Path], None], source: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(tmp_path / "dataset", source, other)
    before = files_of(tmp_path)
    # It is told at once, not when all voxels have been read.
    monkeypatch.setattr(MappedSource, "read", lambda *_: pytest.fail("the source was read"))
    with pytest.raises((DatasetExistsError, DatasetError), match="dataset"):
        convert(source, tmp_path / "dataset", options(overwrite=True), quiet)
    assert files_of(tmp_path) == before


def test_overwrite_keeps_what_is_no_scale(source: Path, other: Path, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    convert(other, place, options(resolution=(9, 9, 9)), quiet)
    (place / "notes.txt").write_text("mine")
    convert(source, place, options(overwrite=True), quiet)
    assert sorted(path.name for path in place.iterdir()) == [".glassine", "16_16_16", "32_32_32", "8_8_8", "info", "notes.txt"]


@pytest.mark.parametrize("key", ["", ".", "..", "../elsewhere", ".glassine"])
def test_overwrite_moves_nothing_outside(key: str, source: Path, other: Path, tmp_path: Path) -> None:
    place = tmp_path / "folder/dataset"
    convert(other, place, options(), quiet)
    (tmp_path / "folder/elsewhere").mkdir()
    (tmp_path / "folder/elsewhere/mine").write_text("mine")
    info = json.loads((place / "info").read_text())
    info["scales"][0]["key"] = key
    (place / "info").write_text(json.dumps(info))
    convert(source, place, options(overwrite=True), quiet)
    assert (tmp_path / "folder/elsewhere/mine").read_text() == "mine"
    assert json.loads((place / "info").read_text())["scales"][0]["key"] == "8_8_8"


def with_children(place: Path) -> None:
    """Labels with meshes and skeletons, properties that somebody wrote, a folder that is nobody's, and what a killed run left."""
    labels = np.ones((33, 20, 70), "uint8")
    labels[:, :, 35:] = 2
    convert(saved(place.with_name("labels.npy"), labels), place, options(type="segmentation"), quiet)
    make_meshes(place, MeshOptions(executor="serial", memory="300MB"), quiet)
    make_skeletons(place, SkeletonizeOptions(executor="serial", memory="1GB", dust_threshold=0), quiet)
    members = json.loads((place / "info").read_text())
    (place / members["segment_properties"]).rename(place / "names")
    (place / "info").write_text(json.dumps({**members, "segment_properties": "names", "mesh": "mesh"}))
    for name in ("names", "photographs", ".glassine/mesh-run/incoming/mesh"):
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / "info").write_text("{}")
    shutil.copy(place / ".glassine/mesh.json", place / ".glassine/mesh-run/ready.json")


def test_the_children_of_a_volume_that_is_replaced_go_with_it(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    with_children(place)
    before = files_of(place)
    assert {"mesh/1.index", "skeletons/info", ".glassine/mesh.json", ".glassine/skeletons.json"} <= set(before)

    def while_it_runs(progress: Progress) -> None:
        # Nothing of the old volume is lost before the new one is whole.
        assert before.items() <= files_of(place).items()

    convert(source, place, options(overwrite=True), while_it_runs)
    convert(source, tmp_path / "fresh", options(), quiet)
    kept = {name: before[name] for name in ("photographs", "photographs/info")}
    assert files_of(place) == files_of(tmp_path / "fresh") | kept


def test_children_that_were_made_since_stay(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed right after its dataset is there has left what tells of the old one."""
    place = tmp_path / "dataset"
    with_children(place)
    monkeypatch.setattr(claim_module, "_clear", lambda private: None)
    convert(source, place, options(overwrite=True, type="segmentation"), quiet)
    monkeypatch.undo()
    assert (place / ".glassine/arriving/moves.json").exists()
    made = make_meshes(place, MeshOptions(executor="serial", memory="300MB"), quiet)
    before = files_of(place / "mesh")
    assert convert(source, place, options(type="segmentation"), quiet).already
    assert files_of(place / "mesh") == before
    assert make_meshes(place, MeshOptions(executor="serial", memory="300MB"), quiet).already
    assert made.record.meshes == len(list((place / "mesh").glob("*.index")))


# Failures -----------------------------------------------------------------------------------------------------------------------


def late_half_label(folder: Path) -> tuple[Path, ConvertOptions]:
    voxels = np.ones((60, 50, 40), "float32")
    voxels[-1, -1, -1] = 0.5
    return saved(folder / "late.npy", voxels), options(type="segmentation")


def truncated_npy(folder: Path) -> tuple[Path, ConvertOptions]:
    path = saved(folder / "cut.npy", np.ones((60, 50, 40), "uint8"))
    os.truncate(path, path.stat().st_size - 1)
    return path, options()


def truncated_nifti(folder: Path) -> tuple[Path, ConvertOptions]:
    import nibabel

    path = folder / "cut.nii.gz"
    voxels = np.random.default_rng(3).integers(0, 256, (60, 50, 40), "uint8")
    path.write_bytes(gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes())[:-5000])
    return path, ConvertOptions(chunk_size=(16, 16, 16), memory="1kB", executor="serial")


def option_that_does_not_fit(folder: Path) -> tuple[Path, ConvertOptions]:
    return saved(folder / "float.npy", np.ones((60, 50, 40), "float32")), options(encoding="jpeg")


FAILURES = [late_half_label, truncated_npy, truncated_nifti, option_that_does_not_fit]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_no_folder(failure: Callable[[Path], tuple[Path, ConvertOptions]], tmp_path: Path) -> None:
    source, chosen = failure(tmp_path)
    with pytest.raises(ConverterError):
        convert(source, tmp_path / "new/folder/dataset", chosen, quiet)
    assert os.listdir(tmp_path) == [source.name]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_an_empty_folder_empty(failure: Callable[[Path], tuple[Path, ConvertOptions]], tmp_path: Path) -> None:
    source, chosen = failure(tmp_path)
    (tmp_path / "dataset").mkdir()
    with pytest.raises(ConverterError):
        convert(source, tmp_path / "dataset", chosen, quiet)
    assert os.listdir(tmp_path / "dataset") == []


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_the_old_dataset(
    failure: Callable[[Path], tuple[Path, ConvertOptions]], other: Path, tmp_path: Path
) -> None:
    convert(other, tmp_path / "dataset", options(), quiet)
    source, chosen = failure(tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(ConverterError):
        convert(source, tmp_path / "dataset", chosen.model_copy(update={"overwrite": True}), quiet)
    assert files_of(tmp_path) == before


def test_what_the_failures_say(tmp_path: Path) -> None:
    source, chosen = late_half_label(tmp_path)
    with pytest.raises(ValueRefusedError, match=r"late\.npy: the label 0\.5 \(data type float32\) is no whole number"):
        convert(source, tmp_path / "dataset", chosen, quiet)
    source, chosen = truncated_nifti(tmp_path)
    with pytest.raises(SourceError, match=r"cut\.nii\.gz: the gzip file is cut short"):
        convert(source, tmp_path / "dataset", chosen, quiet)


def test_damaged_blocks_are_counted_and_the_others_go_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = MappedSource.read, []

    def damaged(self: MappedSource, box: Box) -> NDArray[Any]:
        reads.append(box)
        if len(reads) in (2, 5):
            raise DamagedError(f"block {len(reads)} of the file is gone")
        return read(self, box)

    monkeypatch.setattr(MappedSource, "read", damaged)
    with pytest.raises(DamagedError) as caught:
        convert(source, tmp_path / "new/dataset", options(), quiet)
    assert re.fullmatch(
        rf"2 of {len(reads)} blocks failed, so the dataset was not made; the others are kept for the same command; "
        r"the first that failed: 8_8_8/\d+-\d+_\d+-\d+_\d+-\d+: block [25] of the file is gone",
        str(caught.value),
    )
    blocks = len(reads)
    assert blocks > 5
    assert_nothing_visible(tmp_path / "new/dataset")
    # The same command does the two again, and what comes after them.
    summary = convert(source, tmp_path / "new/dataset", options(), quiet)
    assert (len(reads), summary.kept, summary.again) == (blocks + 2, blocks - 2, 2)
    convert(source, tmp_path / "fresh", options(), quiet)
    assert files_of(tmp_path / "new/dataset") == files_of(tmp_path / "fresh")


def test_ctrl_c_in_one_process_and_the_same_command_again(source: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.done > progress.total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "new/dataset", options(), interrupted)
    assert_nothing_visible(tmp_path / "new/dataset")
    seen: list[Progress] = []
    summary = convert(source, tmp_path / "new/dataset", options(memory="1GB", executor="processes:3"), seen.append)
    assert seen[0].done > seen[0].total / 2
    assert (summary.kept, summary.again) == (3, 1)
    convert(source, tmp_path / "fresh", options(), quiet)
    assert files_of(tmp_path / "new/dataset") == files_of(tmp_path / "fresh")


def test_ctrl_c_before_the_first_block_leaves_no_folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(claim_module, "open_journal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "new/dataset", options(), quiet)
    assert os.listdir(tmp_path) == ["source.npy"]


def test_another_request_begins_anew(source: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "dataset", options(), interrupted)
    summary = convert(source, tmp_path / "dataset", options(encoding="png"), quiet)
    assert (summary.kept, summary.again) == (0, 0)
    convert(source, tmp_path / "fresh", options(encoding="png"), quiet)
    assert files_of(tmp_path / "dataset") == files_of(tmp_path / "fresh")


# Two runs at once ---------------------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_while_one_writes(source: Path, other: Path, tmp_path: Path) -> None:
    place, sentences = tmp_path / "dataset", set()

    def run_again(progress: Progress) -> None:
        for again in (source, other):
            with pytest.raises(BusyError) as caught:
                convert(again, place, options(), quiet)
            sentences.add(str(caught.value))

    convert(source, place, options(), run_again)
    assert sentences == {f"{place}: another run is writing this dataset; wait for it to end, or choose another path"}
    convert(source, tmp_path / "alone", options(), quiet)
    assert files_of(place) == files_of(tmp_path / "alone")


def test_a_run_refused_while_another_overwrites_leaves_both_datasets(source: Path, other: Path, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    convert(other, place, options(), quiet)

    def run_again(progress: Progress) -> None:
        with pytest.raises(BusyError):
            convert(source, place, options(overwrite=True), quiet)
        # Until the end the old dataset is there, whole.
        assert json.loads((place / "info").read_text())["scales"][0]["size"] == [33, 20, 70]

    convert(source, place, options(overwrite=True), run_again)
    assert json.loads((place / "info").read_text())["scales"][0]["size"] == [60, 50, 40]


def test_a_lock_that_its_holder_removed_keeps_nobody_out_and_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    place, flock = tmp_path / "dataset", fcntl.flock

    def remove_and_lock(descriptor: int, operation: int) -> None:
        (place / ".glassine/lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with pytest.raises(BusyError), claim(place, Request("1", "s", {}, {}), overwrite=False):
        pytest.fail("two runs would write at once")


# Killed -------------------------------------------------------------------------------------------------------------------------

IN_PROCESSES = {**SMALL, "chunk_size": (32, 32, 32), "executor": "processes:2"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of 64 tiles, large enough to be converted by worker processes."""
    x, y, z = np.ogrid[:208, :208, :200]
    return saved(tmp_path_factory.mktemp("large") / "large.npy", ((x * y // 7 + z * z // 5) % 251).astype("uint8"))


@pytest.fixture(scope="module")
def undisturbed(large: Path) -> dict[str, str]:
    convert(large, large.parent / "undisturbed", ConvertOptions.model_validate(IN_PROCESSES), quiet)
    return files_of(large.parent / "undisturbed")


def converting(source: Path, dataset: Path, **given: Any) -> Any:
    return started("convert", source, dataset, json.dumps(IN_PROCESSES | given))


def wait_for_tiles(process: Watched, tiles: int) -> None:
    """Wait until so many tiles are done; for 0 until the process has begun, and some moment more."""
    wait_for(process, lambda line: line == "begin\n")
    if not tiles:
        time.sleep(random.uniform(0, 0.4))
    for _ in range(tiles):
        wait_for(process, lambda line: line.startswith("convert"))


def test_a_killed_conversion_leaves_nothing_visible_and_can_be_run_again(
    large: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    # Each run finds what the one before left.
    for tiles in (0, random.randint(1, 20), random.randint(21, 40), 1):
        with converting(large, dataset) as process:
            wait_for_tiles(process, tiles)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert_nothing_runs(process)
            assert_nothing_visible(dataset)
    with converting(large, dataset) as process:
        assert ended(process) == ""
        assert process.returncode == 0
    assert files_of(dataset) == undisturbed


def test_ctrl_c_leaves_nothing_visible_and_can_be_run_again(large: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    dataset = tmp_path / "new/dataset"
    for tiles in (0, 3):
        with converting(large, dataset) as process:
            wait_for_tiles(process, tiles)
            os.killpg(process.pid, signal.SIGINT)
            assert ended(process) == ""
            # A shell shows both as 130. Python ends by the signal itself where it came while a module was made of text (exec).
            assert process.returncode in (130, -signal.SIGINT)
            assert_nothing_runs(process)
        assert_nothing_visible(dataset)
    with converting(large, dataset, executor="serial") as process:
        assert ended(process) == ""
    assert files_of(dataset) == undisturbed


def test_a_second_process_is_refused_and_the_first_goes_on(large: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    with converting(large, dataset) as first:
        wait_for_tiles(first, 1)
        os.kill(first.pid, signal.SIGSTOP)
        with converting(large, dataset) as second:
            errors = ended(second)
        assert errors == (
            f"BusyError: {dataset}: another run is writing this dataset; wait for it to end, or choose another path\n"
        )
        assert second.returncode == 1
        os.kill(first.pid, signal.SIGCONT)
        assert ended(first) == ""
        assert first.returncode == 0
    assert files_of(dataset) == undisturbed


def test_a_killed_overwrite_leaves_the_old_dataset(large: Path, undisturbed: dict[str, str], other: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    convert(other, dataset, options(), quiet)
    before = _without_private(files_of(dataset))
    with converting(large, dataset, overwrite=True) as process:
        wait_for_tiles(process, 5)
        process.kill()
        process.wait()
        assert_nothing_runs(process)
    assert _without_private(files_of(dataset)) == before
    convert(large, dataset, ConvertOptions.model_validate({**IN_PROCESSES, "overwrite": True}), quiet)
    assert files_of(dataset) == undisturbed


def _without_private(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if not name.startswith(".glassine")}


@pytest.mark.parametrize("renamings", range(5))
def test_killed_while_the_old_goes_and_the_new_comes(renamings: int, source: Path, other: Path, tmp_path: Path) -> None:
    # With one scale each these are: the old scale out, the new one in, thumbnail, record, info.
    dataset, chosen = tmp_path / "dataset", options(scales=1, overwrite=True)
    convert(other, dataset, chosen, quiet)
    with started("convert-killed", renamings, source, dataset, chosen.model_dump_json()) as process:
        ended(process)
        assert process.returncode == -signal.SIGKILL
    assert not (dataset / "info").exists()
    convert(source, tmp_path / "fresh", chosen, quiet)
    # All bytes were there: nothing has to be read again.
    assert convert(source, dataset, chosen, quiet).already
    assert files_of(dataset) == files_of(tmp_path / "fresh")


# A full disk --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small tmpfs for the full disk needs root and mount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs for the full disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    # At once out of the way, whatever still holds it.
    assert ctypes.CDLL(None).umount2(os.fsencode(place), 2) == 0


def noise(path: Path, shape: tuple[int, int, int]) -> Path:
    return saved(path, np.random.default_rng(5).integers(0, 256, shape, "uint8"))


NO_ROOM = (
    r"(DiskFullError: )?{disk}/.*: no room is left on the disk \(No space left on device\); "
    r"make room and run the same command again\n?"
)


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
def test_a_full_disk_is_told_and_with_room_again_it_goes_on(layout: str, small_disk: Path, tmp_path: Path) -> None:
    source = noise(tmp_path / "noise.npy", (150, 150, 150))
    chosen = options(layout=layout)
    with pytest.raises(DiskFullError) as caught:
        convert(source, small_disk / "new/dataset", chosen, quiet)
    assert re.fullmatch(NO_ROOM.format(disk=re.escape(str(small_disk))), str(caught.value))
    assert_nothing_visible(small_disk / "new/dataset")
    subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
    summary = convert(source, small_disk / "new/dataset", chosen, quiet)
    assert summary.kept > 10
    convert(source, tmp_path / "fresh", chosen, quiet)
    assert files_of(small_disk / "new/dataset") == files_of(tmp_path / "fresh")


def test_a_full_disk_in_a_worker(small_disk: Path, tmp_path: Path) -> None:
    source = noise(tmp_path / "noise.npy", (210, 210, 200))
    with converting(source, small_disk / "new/dataset") as process:
        errors = ended(process)
        assert process.returncode == 1
        assert re.fullmatch(NO_ROOM.format(disk=re.escape(str(small_disk))), errors)
        assert_nothing_runs(process)
    assert_nothing_visible(small_disk / "new/dataset")


def test_a_full_disk_leaves_the_old_dataset(small_disk: Path, other: Path, tmp_path: Path) -> None:
    convert(other, small_disk / "dataset", options(), quiet)
    before = _without_private(files_of(small_disk / "dataset"))
    source = noise(tmp_path / "noise.npy", (150, 150, 150))
    with pytest.raises(DiskFullError):
        convert(source, small_disk / "dataset", options(overwrite=True), quiet)
    assert _without_private(files_of(small_disk / "dataset")) == before
    # With room again, here by a smaller volume, the same place can be written.
    convert(noise(tmp_path / "noise.npy", (30, 30, 30)), small_disk / "dataset", options(overwrite=True), quiet)
    assert json.loads((small_disk / "dataset/info").read_text())["scales"][0]["size"] == [30, 30, 30]


def test_a_disk_without_room_for_a_folder(small_disk: Path, other: Path) -> None:
    (small_disk / "filler").touch()
    with suppress(OSError), open(small_disk / "filler", "ab", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    assert shutil.disk_usage(small_disk).free == 0
    with pytest.raises(DiskFullError):
        convert(other, small_disk / "new/dataset", options(), quiet)
    assert os.listdir(small_disk) == ["filler"]


@pytest.mark.parametrize("written", ["thumbnail.png", "record.json", "info", "moves.json"])
def test_a_disk_that_is_full_at_the_very_end_leaves_the_old_dataset(
    written: str, source: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, write_file = tmp_path / "dataset", claim_module.write_file
    convert(other, dataset, options(), quiet)
    before = _without_private(files_of(dataset))

    def full(path: Path, data: bytes) -> None:
        if path.name == written:
            raise DiskFullError("no room is left")
        write_file(path, data)

    monkeypatch.setattr(claim_module, "write_file", full)
    with pytest.raises(DiskFullError):
        convert(source, dataset, options(overwrite=True), quiet)
    assert _without_private(files_of(dataset)) == before
    monkeypatch.undo()
    convert(source, dataset, options(overwrite=True), quiet)
    convert(source, tmp_path / "fresh", options(), quiet)
    assert files_of(dataset) == files_of(tmp_path / "fresh")
