"""`glassine demo`, its link and the first page, in the real viewer."""

import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.e2e.volumes import assert_every_scale

NAMES = ("mni152_t1", "mni152_tissues")


@dataclass(frozen=True)
class RunningDemo:
    """The command while it serves: the folder that it writes, the first page's URL, and the link that it printed."""

    data: Path
    url: str
    link: str


@pytest.fixture(scope="module")
def demo(started: Any, free_port: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    data, port = tmp_path_factory.mktemp("demo") / "demo-data", free_port()
    with started("demo", "--data", data, "--port", port, "--no-browser") as process:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(f"http://127.0.0.1:{port}/v/"):
                break
        else:
            pytest.fail("\n".join(lines))
        assert any("checked over HTTP: the info of 2 datasets and 1" in line for line in lines), lines
        yield RunningDemo(data, f"http://127.0.0.1:{port}", lines[-1])


def test_the_link_opens_both_layers(viewer, demo: RunningDemo):
    """With GLASSINE_SCREENSHOT the picture is written to that path: the README's."""
    viewer.open(demo.link)
    viewer.wait(layers=2)
    viewer.assert_panels_filled()
    path = os.environ.get("GLASSINE_SCREENSHOT")
    assert viewer.screenshot(Path(path) if path else None).shape == (800, 1280, 3)
    for name in NAMES:
        voxels = np.asarray(nibabel.load(demo.data / "sources" / f"{name}.nii.gz").dataobj)
        assert_every_scale(viewer, name, voxels, (0, 0, 0), labels=name == NAMES[1])
    # The anterior commissure is the world's origin; positions are mm. A voxel's value is nibabel's.
    image = nibabel.load(demo.data / "sources" / "mni152_t1.nii.gz")
    position = (0, -18, 22)
    assert viewer.view()["position"] == list(position)
    index = np.rint(np.linalg.inv(image.affine) @ (*position, 1)).astype(int)[:3]
    assert viewer.values_at(NAMES[0], [position]) == [str(image.dataobj[tuple(index)])]
    viewer.assert_clean()


LEFT, FRONT, BACK, DOWN = np.array([(-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, -1)])
"""Directions in the world of NIfTI, whose axes go to the right, to the front and up."""


def test_the_brain_is_upright(viewer, glassine: Any, demo: RunningDemo):
    """Every pixel of the slices is the voxel that lies there when the head is upright, its right on the left of the picture."""
    viewer.open(glassine("link", demo.data / NAMES[0], "--url", demo.url).strip())
    viewer.wait()
    image = nibabel.load(demo.data / "sources" / "mni152_t1.nii.gz")
    view = viewer.view()
    slices = [picture for kind, picture in viewer.panels() if kind == "slice"]
    for picture, right, down in zip(slices, (LEFT, LEFT, FRONT), (DOWN, BACK, DOWN), strict=True):
        rows, columns = np.indices(picture.shape[:2])
        rows, columns = rows - picture.shape[0] / 2, columns - picture.shape[1] / 2
        world = view["position"] + view["scale"] * (columns[..., None] * right + rows[..., None] * down)
        voxels = np.rint(nibabel.affines.apply_affine(np.linalg.inv(image.affine), world)).astype(int)
        inside = ((voxels >= 0) & (voxels < image.shape)).all(axis=-1)
        inside &= np.ptp(picture, axis=-1) == 0  # the axes and the box are coloured
        expected = np.clip(np.asarray(image.dataobj)[tuple(voxels[inside].T)], 60, 240)
        likeness = np.corrcoef(picture[inside].mean(axis=-1), expected)[0, 1]
        assert likeness > 0.95
    viewer.assert_clean()


def test_the_first_page_lists_the_datasets_and_opens_them(viewer, demo: RunningDemo):
    page = viewer.page
    viewer.open(demo.url)
    page.wait_for_selector("#datasets article")
    assert page.locator("#count").inner_text() == "2 datasets"
    cards = [card.inner_text() for card in page.locator("#datasets article").all()]
    assert "mni152_t1" in cards[0]
    assert "197 × 233 × 189" in cards[0]
    assert "1 × 1 × 1 mm" in cards[0]
    assert "mni152_tissues" in cards[1]
    # Not wait_for_function: it polls by eval, which the page's content security policy forbids.
    for _ in range(100):
        if page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)"):
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("not all pictures of the page were loaded within 10 s")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open mni152_t1 in the viewer").click()
    viewer.go_on_with(opened.value)
    viewer.wait(layers=1)
    viewer.assert_panels_filled()
    viewer.assert_clean()


def test_datasets_are_opened_together_from_the_first_page(viewer, demo: RunningDemo):
    page = viewer.page
    viewer.open(demo.url)
    for name in NAMES:
        page.get_by_role("checkbox", name=f"Show {name} together").check()
    page.wait_for_selector('#together a[href*="mni152_tissues"]')
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open together").click()
    viewer.go_on_with(opened.value)
    viewer.wait(layers=2)
    viewer.assert_clean()


def test_the_link_is_copied(viewer, demo: RunningDemo):
    viewer.open(demo.url)
    viewer.page.get_by_role("button", name="Copy the link of mni152_t1").click()
    expect(viewer.page.locator("#said")).to_have_text("The link of mni152_t1 is copied.")
    viewer.assert_clean()


def test_the_server_still_answers(demo: RunningDemo):
    with urllib.request.urlopen(demo.url + "/healthz") as response:
        assert response.status == 200
