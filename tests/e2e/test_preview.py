"""A dataset that is open in the real viewer while its conversion runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.links import Layer, viewer_link
from formats.info import parse_volume_info
from tests.e2e.volumes import assert_every_scale

OFFSET = (-64, 32, 0)
OPTIONS = ("--axes", "zyx", "--resolution", "8,8,8", "--chunk-size", "32,32,32", "--voxel-offset=-64,32,0", "--memory", "150MB",
           "--executor", "serial")  # fmt: skip


@pytest.fixture(scope="module")
def volume() -> NDArray[np.uint8]:
    """More than is read for one chunk, so that the coarsest scale is made of single voxels at first."""
    x, y, z = np.indices((512, 448, 160), np.uint16)
    return (x // 3 + y // 2 + (x ^ y) % 16 + z).astype(np.uint8)


@pytest.fixture(scope="module")
def source(volume: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("source") / "large.npy"
    np.save(place, np.ascontiguousarray(volume.T))
    return place


@contextmanager
def converting(source: Path, dataset: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Convert in another process, which stands still as soon as it has written some blocks."""
    command = (sys.executable, "-m", "app.entry", "convert", str(source), str(dataset), *OPTIONS, *options)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and blocks_done(dataset) < 6:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(30)


def blocks_done(dataset: Path) -> int:
    with suppress(OSError):
        return (dataset / ".glassine/journal").read_bytes().count(b'"gave":')
    return 0


def opened(viewer: Any, url: str, name: str) -> None:
    """Open a dataset by what the server tells of it now."""
    info = parse_volume_info(answer_of(f"{url}/data/{name}/info").raise_for_status().content)
    viewer.open(viewer_link([Layer(name, info)], url))


def answer_of(address: str) -> Any:
    """Ask again as long as the server says to come back."""
    import httpx

    while (answer := httpx.get(address, timeout=60)).status_code == 503:
        time.sleep(0.2)
    return answer


@pytest.mark.parametrize(
    "layout",
    [
        "sharded",
        pytest.param("nested", marks=pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="set GLASSINE_SLOW=1")),
    ],
)
def test_the_picture_is_there_at_once_and_fills_in_by_itself(
    viewer, serving: Callable[[Path], Any], source: Path, volume: Any, tmp_path: Path, layout: str
):
    root = tmp_path / "served"
    with serving(root) as url, converting(source, root / "lab/large", "--layout", layout) as process:
        began = blocks_done(root / "lab/large")
        opened(viewer, url, "lab/large")
        viewer.wait()
        viewer.assert_panels_filled()
        random = np.random.default_rng(6)
        places = random.integers(0, volume.shape, (20, 3))
        assert viewer.values("large", 0, places) == [str(volume[tuple(place)]) for place in places]
        coarsest = len(viewer.scales("large")) - 1
        before = viewer.values("large", coarsest, [(3, 3, 2), (4, 5, 1)])
        assert blocks_done(root / "lab/large") == began, "the conversion stood still all the while"
        assert not (root / "lab/large/info").exists()

        process.send_signal(signal.SIGCONT)
        assert process.wait(240) == 0
        assert (root / "lab/large/info").exists()
        changed = time.monotonic() + 60
        while viewer.values("large", coarsest, [(3, 3, 2), (4, 5, 1)]) == before and time.monotonic() < changed:
            viewer.page.wait_for_timeout(200)
        viewer.wait()
        assert_every_scale(viewer, "large", volume, OFFSET, labels=False)
        viewer.wait()  # no chunk has failed
    # What took longer than a moment was asked for again.
    viewer.traffic.failed = [line for line in viewer.traffic.failed if not line.startswith("503")]
    viewer.traffic.errors = [line for line in viewer.traffic.errors if "503" not in line]
    viewer.assert_clean()


def test_a_conversion_that_is_no_more_at_work_is_not_shown(serving: Callable[[Path], Any], source: Path, tmp_path: Path):
    root = tmp_path / "served"
    with serving(root) as url:
        with converting(source, root / "large") as process:
            assert answer_of(f"{url}/data/large/info").status_code == 200
            process.kill()
            process.wait(30)
        assert (root / "large/.glassine/begun.json").exists()
        deadline = time.monotonic() + 30
        while answer_of(f"{url}/data/large/info").status_code != 404:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert os.listdir(root / "large") == [".glassine"]


def test_view_opens_the_source_at_once_and_goes_on_where_it_was(
    viewer, started: Callable[..., Any], volume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GLASSINE_CACHE", str(tmp_path / "cache"))
    twice = np.concatenate([volume, volume], axis=2)
    np.save(tmp_path / "scan.npy", np.ascontiguousarray(twice.T))
    command = ("view", tmp_path / "scan.npy", "--no-browser", *OPTIONS)
    with started(*command) as process:
        viewer.open(link_of(process))
        viewer.wait()
        viewer.assert_panels_filled()
        places = np.random.default_rng(7).integers(0, twice.shape, (20, 3))
        assert viewer.values("scan", 0, places) == [str(twice[tuple(place)]) for place in places]
        (dataset,) = (tmp_path / "cache").glob("*/scan")
        while not (dataset / "info").exists() and blocks_done(dataset) < 20:
            time.sleep(0.1)
    if (dataset / "info").exists():
        pytest.skip("this machine had converted all before it was looked at")
    done = blocks_done(dataset)
    assert done >= 20
    with started(*command) as process:
        link_of(process)
        while not (dataset / "info").exists() and blocks_done(dataset) == done:
            time.sleep(0.1)
    assert (dataset / "info").exists() or blocks_done(dataset) > done, "it goes on with what was done"


def link_of(process: Any) -> str:
    """Return the link that a command prints among what it says."""
    for line in process.stdout:
        if line.startswith("http"):
            return str(line).strip()
    raise AssertionError("the command ended without a link")


@pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="takes six minutes; set GLASSINE_SLOW=1")
@pytest.mark.timeout(1200)
def test_no_chunk_fails_where_the_source_is_being_unpacked_for_longer_than_the_viewer_asks(
    viewer, serving: Callable[[Path], Any], volume: Any, tmp_path: Path
):
    import nibabel

    large = np.tile(volume, (1, 2, 4))
    image = nibabel.Nifti1Image(large, np.eye(4))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "large.nii.gz")
    root = tmp_path / "served"
    command = (sys.executable, "-m", "app.entry", "convert", str(tmp_path / "large.nii.gz"), str(root / "large"))
    with serving(root) as url:
        process = subprocess.Popen([*command, "--chunk-size", "64,64,64"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not list((root / "large/.glassine").glob("run-*/spool/.*.tmp")):
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGSTOP)
            opened(viewer, url, "large")
            viewer.page.wait_for_timeout(330_000)
            process.send_signal(signal.SIGCONT)
            assert process.wait(240) == 0
        finally:
            process.kill()
            process.wait(30)
        viewer.page.wait_for_timeout(10_000)
        viewer.wait()
        places = np.random.default_rng(8).integers(0, large.shape, (20, 3))
        assert viewer.values("large", 0, places) == [str(large[tuple(place)]) for place in places]
        viewer.assert_panels_filled()


@pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="takes eleven minutes; set GLASSINE_SLOW=1")
@pytest.mark.timeout(1800)
def test_an_image_stays_open_while_its_conversion_takes_more_than_ten_minutes(
    viewer, serving: Callable[[Path], Any], source: Path, volume: Any, tmp_path: Path
):
    root = tmp_path / "served"
    random = np.random.default_rng(9)
    with serving(root) as url, converting(source, root / "large") as process:
        began = time.monotonic()
        opened(viewer, url, "large")
        viewer.wait()
        viewer.assert_panels_filled()
        assert time.monotonic() - began < 60, "seconds, also on a busy machine"
        written = [blocks_done(root / "large")]
        while time.monotonic() < began + 610:
            a_block_more(process, root / "large")
            written.append(blocks_done(root / "large"))
            assert process.poll() is None, "the conversion was over too early"
            places = random.integers(0, volume.shape, (20, 3))
            assert viewer.values("large", 0, places) == [str(volume[tuple(place)]) for place in places]
            viewer.page.wait_for_timeout(8_000)
        assert len(set(written)) > 20, "it went on all the while"
        process.send_signal(signal.SIGCONT)
        assert process.wait(240) == 0
        viewer.page.wait_for_timeout(10_000)
        viewer.wait()
        assert_every_scale(viewer, "large", volume, OFFSET, labels=False)
        viewer.wait()  # no chunk has failed
        viewer.assert_panels_filled()


def a_block_more(process: "subprocess.Popen[bytes]", dataset: Path) -> None:
    """Let a conversion go on until it has written a block, and stop it again."""
    before = blocks_done(dataset)
    process.send_signal(signal.SIGCONT)
    while process.poll() is None and blocks_done(dataset) == before:
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
