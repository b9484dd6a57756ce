"""The web page in Chromium, before a real server: what people do on it, with a mouse, a keyboard, a screen reader, a phone."""

import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import nibabel
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from scipy.ndimage import gaussian_filter

from app.demo import BRAIN, TISSUES, write_sources
from tests.e2e import inspection

WIDTHS = (360, 768, 1280)
THEMES = ("light", "dark")
STRANGE = (
    "<img src=x onerror=document.title='broken'>",
    "\"quoted\" & 'single' `back`",
    "مجلد/脳 🧠 ñandú",
    "lab/" + "a-very-long-name-without-a-single-space-" * 5,
)
"""Names of datasets that are text and nothing else."""
PATIENCE = 240_000
"""ms"""
START = re.compile("^(Start|Show the plan)$")
VIEWS = {
    "datasets": ("#/datasets", "#datasets article"),
    "convert": ("#/new?command=convert&source=scans/brain.nii.gz", "#plan table"),
    "skeletonize": ("#/new?command=skeletonize", "#command-form .field"),
    "import": ("#/new?command=import-mesh", "#command-form .field"),
    "jobs": ("#/jobs", "#ended-jobs li"),
}
"""Name -> address, and what is there as soon as the view is."""


@dataclass(frozen=True)
class Site:
    """A server that runs: the folder it serves and its URL."""

    root: Path
    url: str

    def post(self, command: str, **options: object) -> int:
        """Start a job and return its id."""
        answer = httpx.post(f"{self.url}/api/jobs", json={"command": command, "options": options})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def job(self, number: int) -> dict[str, Any]:
        """Return a job as the API tells it."""
        return dict(httpx.get(f"{self.url}/api/jobs/{number}").json())

    def wait(self, number: int, state: str = "done") -> dict[str, Any]:
        """Wait until a job has ended; fails the test when it has not ended so."""
        for _ in range(2400):
            job = self.job(number)
            if job["state"] in ("done", "failed", "cancelled"):
                assert job["state"] == state, job
                return job
            time.sleep(0.05)
        raise AssertionError(f"job {number} did not end: {job}")


def write_nifti(path: Path, voxels: Any) -> None:
    """Write voxels of 1 mm. An affine that is none of the others' keeps the files apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 1.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.header["intent_code"] = 1002 if voxels.dtype == np.uint32 else 0
    nibabel.save(image, path)


def branching() -> Any:
    """Labels: 7 is a trunk with two branches, 12 a ball; 1 mm voxels, uint32."""
    labels = np.zeros((72, 72, 96), np.uint32)
    x, y, z = np.indices(labels.shape)
    for z_first, z_last, lean in ((8, 48, 0.0), (48, 88, 0.5), (48, 88, -0.5)):
        middle = 36 + lean * np.maximum(z - 48, 0)
        labels[(z >= z_first) & (z < z_last) & ((x - middle) ** 2 + (y - 36) ** 2 <= 25)] = 7
    labels[(x - 14) ** 2 + (y - 14) ** 2 + (z - 70) ** 2 <= 81] = 12
    return labels


def smooth_image() -> Any:
    """A grey image with something in it everywhere."""
    field = gaussian_filter(np.random.default_rng(3).standard_normal((96, 80, 64)), 5)
    return np.uint8(255 * (field - field.min()) / np.ptp(field))


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Give what is expected of the page time: jobs and plans give way to all else that runs on a machine."""
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=None)


@contextmanager
def serving_with_kernels(serving: Any, root: Path) -> Iterator[str]:
    """Serve a folder; its jobs find what other runs compiled for meshes, which takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSINE_CACHE", str(Path(__file__).parents[2] / ".pytest_cache"))
        with serving(root) as url:
            yield url


@pytest.fixture(scope="module")
def site(serving: Any, glassine: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served folder with datasets of strange names, a broken one, sources, and a job in each state that ends one."""
    root = tmp_path_factory.mktemp("page") / "lab"
    write_nifti(root / "scans/brain.nii.gz", smooth_image())
    write_nifti(root / "scans/cells.nii.gz", branching())
    glassine("convert", root / "scans/brain.nii.gz", root / "brain")
    glassine("convert", root / "scans/cells.nii.gz", root / "cells")
    for name in STRANGE:
        shutil.copytree(root / "brain", root / name)
    (root / "lost").mkdir()
    (root / "lost/info").write_text(json.dumps({"type": "image", "data_type": "float64", "num_channels": 1, "scales": []}))
    np.save(root / "scans/unknown.npy", np.zeros((20, 20, 20), np.uint8))
    with serving_with_kernels(serving, root) as url:
        made = Site(root, url)
        first = made.post("convert", source="scans/brain.nii.gz", dataset=f"made/{STRANGE[0]}", scales=1)
        made.wait(made.post("convert", source="scans/unknown.npy", dataset=f"made/{STRANGE[-1]}"), "failed")
        made.wait(first)
        yield made


@dataclass(frozen=True)
class Screen:
    """What the browser is told of the screen and its user."""

    width: int = 1280
    theme: str = "light"
    motion: str = "no-preference"


@pytest.fixture
def opened(browser: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Open a view of the page on a screen; at the end nothing may have gone wrong on any page that was opened."""
    pages = []

    def open_view(view: str = "datasets", screen: Screen = Screen()) -> Any:
        context = browser.new_context(
            viewport={"width": screen.width, "height": 800}, color_scheme=screen.theme, reduced_motion=screen.motion
        )
        inspection.watch(context)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        pages.append(page)
        address, part = VIEWS[view]
        page.goto(f"{site.url}/{address}")
        page.wait_for_selector(part)
        return page

    yield open_view
    for page in pages:
        problems = page.problems
        page.context.close()
        assert problems == []


# What every view keeps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_stands_out_has_names_and_leads_with_headings(opened: Any, view: str):
    page = opened(view)
    for summary in page.locator("summary").all():
        summary.click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert inspection.too_wide(page) == [], width
        assert inspection.small_targets(page, 40) == [], width
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        assert inspection.faint_texts(page) == [], theme
        assert inspection.faint_edges(page) == [], theme
    assert inspection.nameless_controls(page) == []
    levels = inspection.heading_levels(page)
    assert levels[:2] == [1, 2]
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels


def test_the_measures_find_what_is_wrong(opened: Any):
    page = opened("datasets", Screen(360))
    page.evaluate(
        """() => document.querySelector("main").prepend(Object.assign(document.createElement("div"), {
             innerHTML: "<button id=bad></button><p id=faint>faint</p><p id=wide>wide</p>"}))"""
    )
    page.evaluate(
        """() => { for (const [id, name, value] of [["faint", "color", "#999"], ["wide", "width", "500px"],
               ["bad", "border-color", "#fff"], ["bad", "min-height", "8px"], ["bad", "padding", "0"]])
             document.getElementById(id).style.setProperty(name, value); }"""
    )
    assert inspection.faint_texts(page) != []
    assert inspection.faint_edges(page) != []
    assert inspection.too_wide(page) != []
    assert inspection.small_targets(page, 24) != []
    assert inspection.nameless_controls(page) == ["button"]


def test_who_wants_no_motion_sees_none(opened: Any):
    page = opened("jobs", Screen(motion="reduce"))
    durations = page.evaluate("[...document.querySelectorAll('*')].map(element => getComputedStyle(element).transitionDuration)")
    assert set(durations) == {"0s"}


# Datasets ---------------------------------------------------------------------------------------------------------------------


def test_strange_names_are_text(opened: Any):
    page = opened("datasets")
    shown = page.locator("#datasets h3").all_inner_texts()
    assert set(STRANGE) <= set(shown)
    page.goto(page.url.replace("#/datasets", "#/jobs"))
    titles = page.locator("#ended-jobs h4").all_inner_texts()
    assert {f"Convert made/{name}" for name in (STRANGE[0], STRANGE[-1])} <= set(titles)
    assert page.locator("main img:not([src^='/api/thumbnails'])").count() == 0
    assert page.title() == "Jobs · glassine"


def test_a_broken_dataset_is_shown_with_its_sentence(opened: Any):
    page = opened("datasets")
    card = page.locator("#datasets li").filter(has=page.get_by_role("heading", name="lost", exact=True))
    expect(card).to_contain_text("float64")
    expect(card.get_by_role("link")).to_have_count(0)


def test_a_dataset_is_found_by_a_part_of_its_name(opened: Any):
    page = opened("datasets")
    page.get_by_role("searchbox", name="Show only datasets whose name holds").fill("CELL")
    expect(page.locator("#datasets li:visible")).to_have_count(1)
    expect(page.locator("#count")).to_contain_text("1 of ")
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.locator("#nothing-found")).to_be_visible()


def test_the_link_of_a_dataset_is_copied_and_that_is_said(opened: Any, site: Site):
    page = opened("datasets")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    button = page.get_by_role("button", name="Copy the link of cells")
    button.click()
    expect(button).to_have_text("Copied")
    expect(page.locator("#said")).to_have_text("The link of cells is copied.")
    assert page.evaluate("navigator.clipboard.readText()").startswith(f"{site.url}/v/glassine/#!")
    expect(button).to_have_text("Copy link")


def test_several_datasets_are_opened_together_and_put_back(opened: Any):
    page = opened("datasets")
    for name in ("brain", "cells"):
        page.get_by_role("checkbox", name=f"Show {name} together with others").check()
    link = page.get_by_role("link", name="Open together")
    expect(link).to_have_attribute("href", re.compile("brain.*cells"))
    page.get_by_role("button", name="Clear").click()
    expect(link).to_be_hidden()
    expect(page.locator("#datasets input:checked")).to_have_count(0)


def test_meshes_are_asked_for_from_a_dataset(opened: Any):
    page = opened("datasets")
    page.get_by_role("link", name="Make meshes for cells").click()
    expect(page.get_by_role("radio", name="Mesh", exact=True)).to_be_checked()
    expect(page.get_by_role("combobox", name="Dataset")).to_have_value("cells")
    expect(page.get_by_role("heading", name="New job")).to_be_focused()


# The form ---------------------------------------------------------------------------------------------------------------------


def test_every_option_of_every_command_is_in_the_form(opened: Any, site: Site):
    page = opened("convert")
    commands = httpx.get(f"{site.url}/api/commands").json()["commands"]
    radios = page.locator("#commands label")
    assert radios.count() == len(commands) >= 5
    for number, command in enumerate(commands):
        radios.nth(number).click()
        assert page.locator("#command-help").inner_text() == command["help"]
        flags = page.locator("#command-form .field > label code").all_text_contents()
        assert sorted(flags) == sorted(option["flag"] for option in command["options"])
        hints = page.locator("#command-form .hint").all_text_contents()
        for option in command["options"]:
            (hint,) = [hint for hint in hints if hint.startswith(option["help"])][:1]
            told = option["default"] is not None and option["kind"] not in ("switch", "choice")
            assert not told or f"Default: {option['default']}." in hint


def test_the_plan_is_shown_before_anything_runs(opened: Any):
    page = opened("convert")
    plan = page.locator("#plan")
    expect(plan).to_contain_text("96 × 80 × 64 voxels")
    expect(plan).to_contain_text("1 × 1 × 1 mm")
    expect(plan).to_contain_text("image, uint8")
    expect(page.get_by_role("textbox", name="Dataset")).to_have_value("brain")
    page.get_by_role("combobox", name="Encoding").select_option("jpeg")
    expect(plan).to_contain_text("jpeg, nested")


def test_the_first_start_shows_a_plan_that_was_not_seen(opened: Any, site: Site):
    before = len(httpx.get(f"{site.url}/api/jobs").json()["jobs"])
    page = opened("skeletonize")
    page.locator("#commands label").filter(has_text="Convert").first.click()
    page.get_by_role("combobox", name="Source").fill("scans/cells.nii.gz")
    page.get_by_role("textbox", name="Dataset").fill("not-yet")
    page.get_by_role("button", name=START).click()
    expect(page.locator("#plan table")).to_be_visible()
    page.wait_for_timeout(500)
    assert len(httpx.get(f"{site.url}/api/jobs").json()["jobs"]) == before


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("JPEG quality", "500", "--jpeg-quality 500: expected at most 100"),
        ("Chunk size", "64,64", "--chunk-size 64,64: expected three numbers"),
        ("Axes", "yyy", "--axes"),
    ],
)
def test_what_is_refused_is_said_beside_its_field(opened: Any, name: str, value: str, sentence: str):
    page = opened("convert")
    page.get_by_text("More options").click()
    field = page.get_by_role("textbox", name=re.compile(f"^{name}"))
    field.fill(value)
    page.get_by_role("button", name=START).click()
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby").split()[0]
    expect(page.locator(f"#{described}")).to_contain_text(sentence)
    field.fill("")
    field.blur()
    expect(field).not_to_have_attribute("aria-invalid", "true")
    page.problems.clear()  # Chromium tells of the answer 422


def test_a_source_that_tells_no_voxel_size_is_asked_for_it_beside_that_field(opened: Any):
    page = opened("skeletonize")
    page.goto(page.url.replace("command=skeletonize", "command=convert&source=scans/unknown.npy"))
    field = page.get_by_role("textbox", name="Resolution")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("4,4,40")
    field.blur()
    expect(page.locator("#plan")).to_contain_text("4 × 4 × 40 nm")
    page.problems.clear()


def test_what_is_missing_is_asked_for(opened: Any):
    page = opened("skeletonize")
    page.get_by_role("button", name=START).click()
    field = page.get_by_role("combobox", name="Dataset")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")


def test_sources_are_offered_while_one_types(opened: Any):
    page = opened("convert")
    field = page.get_by_role("combobox", name="Source")
    field.fill("cel")
    options = page.locator(".suggestions li:visible")
    expect(options).to_have_count(1)
    field.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    assert field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    field.press("Enter")
    expect(field).to_have_value("scans/cells.nii.gz")
    expect(options).to_have_count(0)
    field.press("ArrowDown")
    expect(options.first).to_be_visible()
    field.press("Escape")
    expect(options).to_have_count(0)


# Uploads ----------------------------------------------------------------------------------------------------------------------


def uploaded(site: Site, name: str) -> Path:
    """Return where an upload lies."""
    return site.root / ".glassine/uploads" / name


def test_an_upload_that_breaks_goes_on_where_it_was(opened: Any, site: Site, tmp_path: Path):
    path = tmp_path / "big.npy"
    np.save(path, np.random.default_rng(1).integers(0, 255, (210, 210, 210), np.uint8))
    page = opened("convert")
    parts: list[str] = []

    def broken_once(route: Any) -> None:
        parts.append(route.request.headers.get("content-range", ""))
        route.abort("connectionreset") if len(parts) == 2 else route.continue_()

    page.route("**/api/uploads/big.npy", broken_once)
    page.locator(".uploader input.file").set_input_files(path)
    expect(page.get_by_role("combobox", name="Source")).to_have_value(re.compile("big"))
    assert uploaded(site, "big.npy").read_bytes() == path.read_bytes()
    starts = [int(part.split()[1].split("-")[0]) for part in parts]
    assert starts[1] == starts[2] > 0
    expect(page.locator("#gone")).to_be_hidden()
    page.problems.clear()


def test_an_upload_goes_through_a_proxy_that_takes_small_requests_only(opened: Any, site: Site, tmp_path: Path):
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(1).integers(0, 255, (150, 100, 100), np.uint8))
    page = opened("convert")

    def proxied(route: Any) -> None:
        too_large = len(route.request.post_data_buffer) > 2**20
        route.fulfill(status=413, content_type="text/html", body="<h1>413</h1>") if too_large else route.continue_()

    page.route("**/api/uploads/small.npy", proxied)
    page.locator(".uploader input.file").set_input_files(path)
    expect(page.get_by_role("combobox", name="Source")).to_have_value(re.compile("small"))
    assert uploaded(site, "small.npy").read_bytes() == path.read_bytes()
    page.problems.clear()


def test_a_folder_of_slices_is_uploaded_as_one_source(opened: Any, site: Site, tmp_path: Path):
    import tifffile

    folder = tmp_path / "slices 1"
    folder.mkdir()
    for n in range(12):
        tifffile.imwrite(folder / f"z{n}.tif", np.full((40, 50), n, np.uint8))
    page = opened("convert")
    page.locator(".uploader input.folder").set_input_files(folder)
    source = page.get_by_role("combobox", name="Source")
    expect(source).to_have_value(re.compile("slices 1$"))
    assert sorted(path.name for path in uploaded(site, "slices 1").iterdir()) == sorted(f"z{n}.tif" for n in range(12))
    page.get_by_role("textbox", name="Resolution").fill("8,8,40")
    page.get_by_role("textbox", name="Resolution").blur()
    expect(page.locator("#plan")).to_contain_text("50 × 40 × 12 voxels")
    page.problems.clear()


def test_what_is_dropped_is_uploaded_under_a_name_that_is_free(opened: Any, site: Site):
    page = opened("convert")
    for _ in range(2):
        transfer = page.evaluate_handle(
            """() => { const transfer = new DataTransfer();
                 transfer.items.add(new File(["not an image"], "dropped.nii.gz")); return transfer; }"""
        )
        page.locator(".uploader").dispatch_event("drop", {"dataTransfer": transfer})
        page.wait_for_timeout(100)
        expect(page.locator(".uploader .choosing")).to_be_visible(timeout=PATIENCE)
    assert uploaded(site, "dropped.nii.gz").read_bytes() == uploaded(site, "dropped-2.nii.gz").read_bytes() == b"not an image"
    page.problems.clear()  # it is no NIfTI, which the plan says


def test_uploads_that_are_no_longer_needed_are_deleted(opened: Any, site: Site):
    url = f"{site.url}/api/uploads/{quote('old <b>.npy')}"
    assert httpx.put(url, content=b"old", headers={"Content-Type": "application/octet-stream"}).status_code == 201
    page = opened("convert")
    page.get_by_text("What was uploaded before").click()
    page.get_by_role("button", name="Delete the upload old <b>.npy").click()
    expect(page.get_by_role("button", name="Delete the upload old <b>.npy")).to_have_count(0)
    expect(page.locator("#said")).to_contain_text("The upload old <b>.npy is deleted.")
    assert not uploaded(site, "old <b>.npy").exists()


def test_an_upload_is_stopped_and_forgotten(opened: Any, site: Site, tmp_path: Path):
    path = tmp_path / "stopped.npy"
    np.save(path, np.zeros((10, 10, 10), np.uint8))
    page = opened("convert")
    held = page.evaluate_handle("() => null")
    page.route("**/api/uploads/stopped.npy", lambda route: route.continue_() if route.request.method == "DELETE" else None)
    page.locator(".uploader input.file").set_input_files(path)
    page.get_by_role("button", name="Stop the upload").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    assert not uploaded(site, "stopped.npy").exists()
    held.dispose()
    page.problems.clear()


# Jobs -------------------------------------------------------------------------------------------------------------------------


def big_source(site: Site) -> str:
    """Return a source whose conversion takes some seconds."""
    edge = 384
    path = site.root / "scans/big.nii"
    if not path.exists():
        write_nifti(path, np.random.default_rng(5).integers(0, 30, (edge, edge, edge), np.uint8))
    return "scans/big.nii"


def test_a_job_is_watched_cancelled_tried_again_and_its_log_read(opened: Any, site: Site):
    page = opened("jobs")
    number = site.post("convert", source=big_source(site), dataset="watched", executor="serial", encoding="jxl")
    item = page.locator("li").filter(has=page.get_by_role("heading", name="Convert watched"))
    bar = item.get_by_role("progressbar", name="Progress of Convert watched")
    expect(bar).to_be_visible(timeout=PATIENCE)
    expect(item.locator(".amount")).to_contain_text(" of ")
    item.get_by_role("button", name="Cancel: Convert watched").click()
    expect(item.locator(".state")).to_have_text("Cancelled")
    expect(item.get_by_role("heading")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("Convert watched: cancelled")
    item.get_by_role("button", name="Retry: Convert watched").click()
    expect(page.locator("#running-jobs")).to_contain_text("watched")
    expect(item.locator(".state")).to_have_text("Done")
    expect(item.get_by_role("link", name="Open watched in the viewer")).to_have_attribute("href", re.compile("/v/glassine/"))
    assert site.job(number)["attempts"] == 2
    item.get_by_role("button", name="Log: Convert watched").click()
    dialog = page.get_by_role("dialog", name="Log: Convert watched")
    expect(dialog.locator("pre")).not_to_have_text("")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(item.get_by_role("button", name="Log: Convert watched")).to_be_focused()
    item.get_by_role("button", name="Remove: Convert watched").click()
    expect(item).to_have_count(0)
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()


def test_the_error_of_a_job_is_shown_and_its_options_changed(opened: Any):
    page = opened("jobs")
    item = page.locator("[data-state=failed]").last
    expect(item.locator(".error").first).to_contain_text("--resolution")
    item.get_by_role("link", name="Edit and run again: Convert made/lab").click()
    expect(page.get_by_role("combobox", name="Source")).to_have_value("scans/unknown.npy")
    expect(page.get_by_role("textbox", name="Resolution")).to_have_attribute("aria-invalid", "true")
    page.problems.clear()


def test_progress_is_said_now_and_then_and_not_with_every_event(opened: Any):
    page = opened("jobs")
    said = page.evaluate(
        """async () => {
             const { spoken } = await import("/static/job.js");
             const job = { command: "convert", dataset: "em", options: {}, state: "queued", step: null, done: null, total: null };
             const events = [job, { ...job, state: "running" }];
             const running = { ...job, state: "running", step: "convert", total: 1000 };
             for (let done = 0; done <= 1000; done++) events.push({ ...running, done });
             events.push({ ...job, state: "done" });
             return events.slice(1).map((event, index) => spoken(events[index], event)).filter(Boolean);
           }"""
    )
    assert said == [
        "Convert em: running.",
        "Convert em: convert, 25 percent.",
        "Convert em: convert, 50 percent.",
        "Convert em: convert, 75 percent.",
        "Convert em: done.",
    ]


def test_what_is_being_converted_is_opened_meanwhile(viewer: Any, site: Site):
    number = site.post("convert", source=big_source(site), dataset="meanwhile", executor="serial", encoding="jxl")
    viewer.open(f"{site.url}/#/jobs")
    button = viewer.page.get_by_role("button", name="Open now: Convert meanwhile")
    with viewer.page.context.expect_page() as popup:
        button.click()
    popup.value.wait_for_url("**/v/glassine/**")
    assert site.job(number)["state"] == "running"
    viewer.go_on_with(popup.value)
    viewer.wait()
    viewer.assert_panels_filled()
    # A chunk that takes longer than a second or two is a 503, after which the viewer asks again; none has failed above.
    viewer.traffic.failed = [line for line in viewer.traffic.failed if not line.startswith("503 ") or "/data/" not in line]
    viewer.traffic.errors = [line for line in viewer.traffic.errors if "503" not in line]
    viewer.assert_clean()
    # Others wait for it, and it has been seen.
    assert httpx.delete(f"{site.url}/api/jobs/{number}").status_code in (200, 202)


# The server goes --------------------------------------------------------------------------------------------------------------


@contextmanager
def served(started: Any, root: Path, port: int) -> Iterator[None]:
    """Serve root while the context lasts, as soon as it is answered."""
    with started("serve", root, "--port", port):
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield


def test_a_server_that_goes_is_told_of_and_one_that_comes_back_is_used(
    browser: Any, started: Any, free_port: Any, glassine: Callable[..., str], tmp_path: Path
):
    port, root = free_port(), tmp_path / "lab"
    write_nifti(root / "brain.nii.gz", smooth_image())
    page = browser.new_context().new_page()
    with served(started, root, port):
        page.goto(f"http://127.0.0.1:{port}/#/jobs")
        expect(page.locator("#no-jobs")).to_be_visible()
    expect(page.locator("#gone")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("#gone")).to_be_visible()
    glassine("convert", root / "brain.nii.gz", root / "brain")
    with served(started, root, port):
        expect(page.locator("#gone")).to_be_hidden(timeout=PATIENCE)
        expect(page.get_by_role("link", name="Open brain in the viewer")).to_be_visible()
        job = {"command": "convert", "options": {"source": "brain.nii.gz", "dataset": "again"}}
        assert httpx.post(f"http://127.0.0.1:{port}/api/jobs", json=job).status_code == 201
        page.get_by_role("link", name="Jobs").click()
        expect(page.locator("#ended-jobs")).to_contain_text("again")
        page.context.close()


# The keyboard -----------------------------------------------------------------------------------------------------------------


class Keys:
    """A person who has no mouse. At each stop of the tab key the focus has to be seen."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def tab_to(self, target: Any) -> None:
        """Press the tab key until a control has the focus."""
        expect(target).to_be_visible()
        for _ in range(120):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
            if self.page.evaluate("document.activeElement !== document.body"):
                focused = inspection.focused(self.page)
                assert focused["outlined"], focused
                assert focused["inView"], focused
        raise AssertionError(f"the tab key does not lead to {target}")

    def press(self, key: str) -> None:
        """Press a key."""
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Type a text over what is in the field."""
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)


def test_all_of_it_goes_without_a_mouse(opened: Any, site: Site):
    page = opened("datasets")
    keys = Keys(page)
    skip = page.get_by_role("link", name="Skip to the content")
    keys.press("Tab")
    expect(skip).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Datasets")).to_be_focused()
    keys.tab_to(page.get_by_role("checkbox", name="Show brain together with others"))
    keys.press("Space")
    keys.tab_to(page.get_by_role("checkbox", name="Show cells together with others"))
    keys.press("Space")
    keys.tab_to(page.get_by_role("button", name="Clear"))
    keys.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.evaluate("document.activeElement.blur()")
    keys.tab_to(page.get_by_role("link", name="New job"))
    keys.press("Enter")
    keys.tab_to(page.get_by_role("radio", name="Convert", exact=True))
    keys.press("ArrowRight")
    expect(page.get_by_role("radio", name="Convert", exact=True)).not_to_be_checked()
    keys.press("ArrowLeft")
    keys.tab_to(page.get_by_role("combobox", name="Source"))
    keys.type("brain.nii")
    expect(page.get_by_role("option", name="scans/brain.nii.gz")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    keys.tab_to(page.get_by_role("textbox", name="Dataset"))
    keys.type("by-keys")
    keys.tab_to(page.get_by_role("combobox", name="Encoding"))
    keys.type("png")
    keys.tab_to(page.locator("summary").filter(has_text="More options"))
    keys.press("Enter")
    keys.tab_to(page.get_by_role("textbox", name="Scales"))
    keys.type("1")
    keys.press("Tab")
    expect(page.locator("#plan")).to_contain_text("png, nested")
    keys.tab_to(page.get_by_role("button", name=START))
    keys.press("Enter")
    title = page.get_by_role("heading", name="Convert by-keys")
    expect(title).to_be_focused(timeout=PATIENCE)
    item = page.locator("li").filter(has=title)
    expect(item.locator(".state")).to_have_text("Done")
    keys.tab_to(item.get_by_role("button", name="Log: Convert by-keys"))
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Log: Convert by-keys")).to_be_visible()
    keys.tab_to(page.get_by_role("button", name="Close"))
    keys.press("Enter")
    expect(item.get_by_role("button", name="Log: Convert by-keys")).to_be_focused()
    info = json.loads((site.root / "by-keys/info").read_text())
    assert [scale["encoding"] for scale in info["scales"]] == ["png"]


# All of it --------------------------------------------------------------------------------------------------------------------

_SKELETONS = """
name => {
  const { layer } = viewer.layerManager.managedLayers.find(managed => managed.name === name);
  return layer.renderLayers.map(renderLayer => renderLayer.base?.source?.chunks).filter(Boolean).flatMap(chunks =>
    [...chunks].filter(([, chunk]) => chunk.state === 0).map(([segment, chunk]) => [String(segment), chunk.numVertices]));
}
"""
_SELECTED = """
name => {
  const { layer } = viewer.layerManager.managedLayers.find(managed => managed.name === name);
  return [...layer.displayState.segmentationGroupState.value.visibleSegments].map(String);
}
"""


def run_from_form(page: Any, title: str) -> None:
    """Start what is in the form once its plan has been seen, and wait on the page until it is done."""
    expect(page.locator("#plan dl")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    item = page.locator("li").filter(has=page.get_by_role("heading", name=title, exact=True))
    expect(item.locator(".state")).to_have_text("Done")


def test_a_file_is_uploaded_converted_meshed_skeletonized_and_looked_at(viewer: Any, site: Site, tmp_path: Path):
    page = viewer.page
    write_nifti(tmp_path / "neuron.nii.gz", branching())
    viewer.open(f"{site.url}/#/new")
    page.locator(".uploader input.file").set_input_files(tmp_path / "neuron.nii.gz")
    expect(page.locator("#plan")).to_contain_text("72 × 72 × 96 voxels")
    expect(page.locator("#plan")).to_contain_text("segmentation, uint32")
    run_from_form(page, "Convert neuron")
    for button, command in (("Make meshes for neuron", "Mesh"), ("Trace skeletons for neuron", "Skeletonize")):
        page.get_by_role("link", name="Datasets").click()
        page.get_by_role("link", name=button).click()
        if command == "Skeletonize":
            page.get_by_text("More options").click()
            page.get_by_role("textbox", name="Dust threshold").fill("10")
            page.keyboard.press("Tab")  # who leaves a field has the plan made anew
        run_from_form(page, f"{command} neuron")
    page.get_by_role("link", name="Datasets").click()
    with page.context.expect_page() as popup:
        page.locator("#datasets").get_by_role("link", name="Open neuron in the viewer").click()
    viewer.go_on_with(popup.value)
    viewer.wait()
    select(viewer, "7")
    assert viewer.meshes("neuron")[7].triangles > 100
    vertices = dict(viewer.page.evaluate(_SKELETONS, "neuron"))
    assert vertices["7"] > 50
    (surface,) = [picture for kind, picture in viewer.panels() if kind == "3d"]
    assert (np.ptp(surface, axis=-1) > 30).mean() > 0.005  # it is in a colour
    viewer.assert_clean()


def select(viewer: Any, segment: str) -> None:
    """Double-click on the segment that lies in the middle of the first panel until it is the chosen one."""
    for _ in range(2):
        viewer.page.mouse.dblclick(320, 220)
        viewer.wait()
        if segment in viewer.page.evaluate(_SELECTED, "neuron"):
            return
    raise AssertionError(f"segment {segment} is not selected by a double click")


@pytest.fixture
def lab(serving: Any, tmp_path: Path) -> Iterator[Site]:
    """What a lab may have: a brain, its tissues, cells of an EM volume with meshes."""
    root = tmp_path / "lab"
    write_sources(root / "scans")
    fields = [gaussian_filter(np.random.default_rng(n).standard_normal((160, 128, 64)), 7) for n in range(24)]
    np.save(root / "scans/cells.npy", np.uint32(1 + np.argmax(fields, axis=0)))
    with serving(root) as url:
        site = Site(root, url)
        jobs = [site.post("convert", source=f"scans/{name}.nii.gz", dataset=name) for name in (BRAIN, TISSUES)]
        jobs.append(site.post("convert", source="scans/cells.npy", dataset="em/cells", resolution="8,8,30", axes="xyz"))
        jobs.append(site.post("mesh", dataset="em/cells"))
        for number in jobs:
            site.wait(number)
        yield site


@pytest.mark.skipif("GLASSINE_PAGE_SCREENSHOTS" not in os.environ, reason="makes the README's pictures, when they are asked for")
def test_pictures_of_the_page(browser: Any, lab: Site):
    """The README's pictures go to the folder GLASSINE_PAGE_SCREENSHOTS."""
    folder = Path(os.environ["GLASSINE_PAGE_SCREENSHOTS"])
    for name, screen, address, seen in (
        ("narrow-dark", Screen(390, "dark"), "#/datasets", "#datasets img"),
        ("wide-light", Screen(1280), "#/datasets", "#datasets img"),
        ("wide-dark", Screen(1280, "dark"), f"#/new?command=convert&source=scans/{BRAIN}.nii.gz", "#plan table"),
        ("narrow-light", Screen(390), "#/jobs", "#running-jobs .amount:not(:empty)"),
    ):
        if address == "#/jobs":
            lab.post("convert", source=big_source(lab), dataset="confocal/stack-3", executor="serial", encoding="jxl")
            lab.post("skeletonize", dataset="em/cells")
        context = browser.new_context(viewport={"width": screen.width, "height": 800}, color_scheme=screen.theme)
        page = context.new_page()
        page.goto(f"{lab.url}/{address}")
        page.wait_for_selector(seen)
        page.wait_for_timeout(1500)  # pictures and progress
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").quantize(256).save(folder / f"page-{name}.png", optimize=True)
        assert 5_000 < (folder / f"page-{name}.png").stat().st_size < 200_000
        context.close()
