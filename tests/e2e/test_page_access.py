"""The web page of a server with tokens, in Chromium: what visitors see, signing in and out, what is public, links that expire."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.e2e import inspection

WRITE, READ = "write-token-of-the-tests", "read-token-of-the-tests"
WIDTHS = (360, 768, 1280)
THEMES = ("light", "dark")
PATIENCE = 60_000
"""ms"""


@dataclass(frozen=True)
class Site:
    """A server with tokens: the folder it serves and its URL."""

    root: Path
    url: str

    def call(self, method: str, path: str, **members: object) -> httpx.Response:
        """Ask as somebody who has the token."""
        headers = {"Authorization": f"Bearer {WRITE}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, json=members or None, trust_env=False)

    def publish(self, name: str, access: str) -> None:
        """Make a dataset public or private."""
        assert self.call("POST", "/api/access", name=name, access=access).status_code == 200


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=None)


@pytest.fixture(scope="module")
def site(serving: Any, glassine: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A brain that is public, and cells in a folder that are not."""
    root = tmp_path_factory.mktemp("access") / "lab"
    root.mkdir()
    x, y, z = np.indices((48, 40, 32))
    np.save(root / "ball.npy", np.uint8(255 - 4 * np.hypot(np.hypot(x - 24, y - 20), z - 16)))
    np.save(root / "cells.npy", np.uint32(1 + (x > 20) + 2 * (y > 20)))
    size = ("--resolution", "8,8,8", "--axes", "xyz")
    glassine("convert", root / "ball.npy", root / "brain", *size)
    glassine("convert", root / "cells.npy", root / "em/cells", *size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSINE_TOKEN", WRITE)
        patch.setenv("GLASSINE_READ_TOKEN", READ)
        with serving(root) as url:
            made = Site(root, url)
            made.publish("brain", "public")
            yield made


@pytest.fixture
def opened(browser: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Open the page as somebody: with a session of a token, or with none; at the end nothing may have gone wrong."""
    pages = []

    def open_page(token: str | None = None, address: str = "#/datasets", width: int = 1280) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800})
        inspection.watch(context)
        if token is not None:
            assert context.request.post(f"{site.url}/api/session", data={"token": token}).ok
        page = context.new_page()
        page.problems, page.asked = [], []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url.removeprefix(site.url)))
        pages.append(page)
        page.goto(f"{site.url}/{address}")
        return page

    yield open_page
    for page in pages:
        problems = page.problems
        page.context.close()
        assert problems == []


def card(page: Any, name: str) -> Any:
    """Return the card of a dataset."""
    return page.locator("#datasets li").filter(has=page.get_by_role("heading", name=name, exact=True))


def names(page: Any) -> list[str]:
    """Return the datasets that are shown, as soon as there are some."""
    expect(page.locator("#datasets li").first).to_be_visible()
    return list(page.locator("#datasets h3").all_inner_texts())


def sign_in(page: Any, token: str) -> None:
    """Type a token and press Enter."""
    page.get_by_label("Token", exact=True).fill(token)
    page.keyboard.press("Enter")


# Visitors ---------------------------------------------------------------------------------------------------------------------


def test_a_visitor_sees_what_is_public_and_nothing_of_jobs(opened: Any, site: Site):
    page = opened(address="#/jobs")
    assert names(page) == ["brain"]
    assert page.get_by_role("link", name="Datasets").is_visible()
    for name in ("New job", "Jobs"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    expect(page.get_by_role("switch")).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    asked = {path.partition("?")[0] for path in page.asked if path.startswith("/api/")}
    assert asked <= {"/api/session", "/api/datasets", "/api/thumbnails"}
    assert "em/cells" not in page.content()


def test_nothing_is_shown_before_it_is_known_who_looks(opened: Any, site: Site):
    page = opened()
    names(page)
    held: list[Any] = []
    page.route("**/api/session", lambda route: held.append(route))
    page.reload()
    expect(page.get_by_role("link", name="Datasets")).to_be_visible()
    while not held:
        page.wait_for_timeout(20)
    shown = page.locator("nav a:visible, main > :visible, #sign-out:visible").all_inner_texts()
    assert [text.strip() for text in shown] == ["Datasets"]
    held[0].continue_()
    assert names(page) == ["brain"]


def test_where_nothing_is_public_a_visitor_is_told_so(opened: Any, site: Site):
    site.publish("brain", "private")
    try:
        page = opened()
        expect(page.locator("#nothing-public")).to_be_visible()
        expect(page.locator("#empty")).to_be_hidden()
    finally:
        site.publish("brain", "public")


# Signing in and out -----------------------------------------------------------------------------------------------------------


def test_a_token_is_typed_and_nothing_of_it_is_kept(opened: Any, site: Site):
    page = opened(address="#/jobs")
    field = page.get_by_label("Token", exact=True)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#sign-in-error")).to_have_text("Type the token.")
    sign_in(page, "another-token-than-this")
    expect(page.locator("#sign-in-error")).to_have_text("This is not the token of this server.")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    assert field.get_attribute("type") == "password"
    page.problems.clear()  # Chromium tells of the answer 401
    sign_in(page, WRITE)
    expect(page.locator("#no-jobs")).to_be_visible()
    expect(page.get_by_label("Token", exact=True)).to_be_hidden()
    kept = page.evaluate("[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), location.href]")
    assert kept[:3] == ["", "{}", "{}"]
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert WRITE not in f"{kept} {cookie} {page.asked} {page.content()}"
    page.get_by_role("button", name="Sign out").click()
    assert names(page) == ["brain"]
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert page.context.cookies() == []


def test_who_may_read_sees_all_datasets_and_changes_nothing(opened: Any):
    page = opened(READ)
    assert names(page) == ["brain", "em/cells"]
    expect(card(page, "em/cells").locator(".type")).to_have_text("segmentation, private")
    expect(page.get_by_role("switch")).to_have_count(0)
    expect(page.get_by_role("link", name=re.compile("Jobs|New job|Make meshes"))).to_have_count(0)
    expect(page.get_by_label("Token", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#datasets li")).to_have_count(1)


@pytest.mark.parametrize(
    ("address", "ready", "told"),
    [
        ("#/datasets", "#datasets li", None),
        ("#/new?command=convert", "#command-form .field", "#new-problem"),
        ("#/jobs", "#no-jobs", "#jobs-problem"),
    ],
)
def test_a_session_that_ends_is_told_in_every_view_and_begun_again(
    opened: Any, site: Site, address: str, ready: str, told: str | None
):
    page = opened(WRITE, address)
    page.locator(ready).first.wait_for()
    if "new" in address:
        page.get_by_role("textbox", name="Dataset").fill("typed")
    page.context.request.delete(f"{site.url}/api/session")
    for event in ("hashchange", "visibilitychange"):
        page.evaluate("event => (event === 'hashchange' ? window : document).dispatchEvent(new Event(event))", event)
    expect(page.locator("#sign-in-reason")).to_have_text("Your session has ended. Sign in again to go on.")
    if told is not None:
        expect(page.locator(told)).to_contain_text("You are not signed in, or no longer: sign in above to go on.")
    page.problems.clear()  # Chromium tells of the answers 401
    sign_in(page, WRITE)
    expect(page.locator("#sign-in")).to_be_hidden()
    if told is not None:
        expect(page.locator(told)).to_be_hidden()
    if "new" in address:
        expect(page.get_by_role("textbox", name="Dataset")).to_have_value("typed")
    page.problems.clear()


def test_what_is_answered_too_late_is_not_taken_for_the_next_session(opened: Any, site: Site):
    page = opened(WRITE)
    assert names(page) == ["brain", "em/cells"]
    page.context.request.delete(f"{site.url}/api/session")
    late: dict[str, Any] = {}

    def hold_first(route: Any) -> None:
        path = route.request.url.removeprefix(site.url)
        if path in late:
            route.continue_()
        else:
            late[path] = route, route.fetch()

    page.route(re.compile("/api/(session|datasets)$"), hold_first)
    for _ in range(2):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#sign-in-reason")).to_have_text("Your session has ended. Sign in again to go on.")
    sign_in(page, WRITE)
    expect(page.locator("#sign-in")).to_be_hidden()
    assert sorted(late) == ["/api/datasets", "/api/session"]
    for route, answer in late.values():
        route.fulfill(response=answer)
    page.wait_for_timeout(300)
    page.problems.clear()
    assert page.locator("#sign-in").is_hidden()
    assert names(page) == ["brain", "em/cells"]


def test_an_action_that_is_refused_says_so_beside_its_dataset(opened: Any, site: Site):
    page = opened(WRITE)
    page.context.request.delete(f"{site.url}/api/session")
    card(page, "brain").get_by_role("switch", name="Public: brain").click()
    expect(card(page, "brain").locator(".access-problem")).to_contain_text("You are not signed in")
    expect(card(page, "brain").get_by_role("switch")).to_be_checked()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    page.problems.clear()


# What is public ---------------------------------------------------------------------------------------------------------------


def may_anyone_read(site: Site, name: str) -> bool:
    """Tell whether somebody without a token reads a dataset; every process of a server knows it within a second."""
    seen = [httpx.get(f"{site.url}/data/{name}/info", trust_env=False).status_code for _ in range(3)]
    assert len(set(seen)) == 1
    return seen[0] == 200


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not become so")


def test_a_dataset_becomes_public_when_that_is_confirmed_and_private_at_once(opened: Any, site: Site):
    page = opened(WRITE)
    switch = card(page, "em/cells").get_by_role("switch", name="Public: em/cells")
    expect(switch).not_to_be_checked()
    expect(card(page, "em/cells")).to_contain_text("With a token or a link")
    dialog = page.get_by_role("dialog", name="Make em/cells public?")
    switch.focus()
    page.keyboard.press("Space")
    expect(dialog).to_contain_text("Anyone who reaches this server can then open it")
    page.keyboard.press("Escape")
    expect(switch).not_to_be_checked()
    assert not may_anyone_read(site, "em/cells")
    page.keyboard.press("Space")
    dialog.get_by_role("button", name="Make it public").click()
    expect(switch).to_be_checked()
    expect(switch).to_be_focused()
    expect(card(page, "em/cells")).to_contain_text("Anyone may open it")
    expect(page.locator("#said")).to_contain_text("em/cells is public.")
    wait_until(lambda: may_anyone_read(site, "em/cells"))
    page.keyboard.press("Space")
    expect(switch).not_to_be_checked()
    expect(page.locator("#said")).to_contain_text("em/cells is private.")
    wait_until(lambda: not may_anyone_read(site, "em/cells"))


def test_a_question_that_is_asked_again_at_once_is_answered_anew(opened: Any, site: Site):
    page = opened(WRITE)
    switch = card(page, "em/cells").get_by_role("switch", name="Public: em/cells")
    switch.click()
    dialog = page.get_by_role("dialog", name="Make em/cells public?")
    expect(dialog).to_be_visible()
    # The browser tells that a dialog has closed a little later.
    switch.evaluate("box => { document.getElementById('publish').close(); box.click(); }")
    dialog.get_by_role("button", name="Make it public").click()
    expect(switch).to_be_checked()
    site.publish("em/cells", "private")


# Links ------------------------------------------------------------------------------------------------------------------------


def test_a_link_to_a_private_dataset_lasts_as_long_as_is_chosen_and_opens_it_for_anyone(opened: Any, site: Site, viewer: Any):
    page = opened(WRITE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    card(page, "em/cells").get_by_role("button", name="Copy the link of em/cells").click()
    dialog = page.get_by_role("dialog", name="Share em/cells")
    expect(dialog.get_by_role("radio", name="7 days")).to_be_checked()
    links = []
    for days, name in ((1, "1 day"), (30, "30 days")):
        dialog.get_by_role("radio", name=name, exact=True).check()
        expect(dialog.get_by_label("The link", exact=True)).to_be_hidden()
        dialog.get_by_role("button", name="Copy link").click()
        expect(dialog.get_by_label("The link", exact=True)).to_be_visible()
        expect(dialog).to_contain_text("It works until ")
        links.append(page.evaluate("navigator.clipboard.readText()"))
        assert links[-1] == dialog.get_by_label("The link", exact=True).input_value()
        (layer,) = json.loads(unquote(links[-1].split("#!")[1]))["layers"]
        expires = re.search(r"/data/~([0-9a-z]+)\.2\.[\w-]{22}/em/cells$", layer["source"]["url"])
        assert expires is not None
        assert abs(int(expires[1], 36) - time.time() - days * 86400) < 120
    dialog.get_by_role("button", name="Close").click()
    expect(card(page, "em/cells").get_by_role("button", name="Copy the link of em/cells")).to_be_focused()
    viewer.open(links[-1])
    viewer.wait()
    viewer.assert_panels_filled()
    viewer.assert_clean()


def test_the_link_of_a_public_dataset_is_copied_at_once(opened: Any, site: Site):
    page = opened(WRITE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    card(page, "brain").get_by_role("button", name="Copy the link of brain").click()
    expect(page.locator("#said")).to_have_text("The link of brain is copied.")
    assert "/data/brain" in page.evaluate("navigator.clipboard.readText()")


def test_a_link_that_cannot_be_made_is_one_sentence(opened: Any, site: Site):
    page = opened(WRITE)
    card(page, "em/cells").get_by_role("button", name="Copy the link of em/cells").click()
    page.context.request.delete(f"{site.url}/api/session")
    page.get_by_role("button", name="Copy link", exact=True).last.click()
    expect(page.locator("#share .error")).to_contain_text("You are not signed in, or no longer")
    page.problems.clear()


# What every part keeps --------------------------------------------------------------------------------------------------------


def show_wrong_token(page: Any) -> None:
    sign_in(page, "another-token-than-this")
    expect(page.locator("#sign-in-error")).to_be_visible()
    page.problems.clear()


def show_question(page: Any) -> None:
    card(page, "em/cells").get_by_role("switch").click()
    expect(page.locator("#publish")).to_be_visible()


def show_link(page: Any) -> None:
    card(page, "em/cells").get_by_role("button", name="Copy the link of em/cells").click()
    page.get_by_role("button", name="Copy link", exact=True).last.click()
    expect(page.get_by_label("The link", exact=True)).to_be_visible()
    expect(page.locator("#share .make")).to_have_text("Copy link")


SHOWN: dict[str, tuple[str | None, Callable[[Any], None]]] = {
    "visitor": (None, show_wrong_token),
    "datasets": (WRITE, lambda page: None),
    "question": (WRITE, show_question),
    "link": (WRITE, show_link),
}


@pytest.mark.parametrize("part", SHOWN)
def test_every_part_fits_stands_out_and_has_names(opened: Any, part: str):
    token, show = SHOWN[part]
    page = opened(token)
    names(page)
    show(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert inspection.too_wide(page) == [], width
        assert inspection.small_targets(page, 40) == [], width
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(250)  # switches take a moment
        assert inspection.faint_texts(page) == [], theme
        assert inspection.faint_edges(page) == [], theme
    assert inspection.nameless_controls(page) == []


def test_signing_in_goes_without_a_mouse_and_the_focus_is_seen(opened: Any):
    page = opened(width=360)
    names(page)
    for _ in range(10):
        page.keyboard.press("Tab")
        focused = inspection.focused(page)
        assert focused["outlined"], focused
        if page.get_by_label("Token", exact=True).evaluate("element => element === document.activeElement"):
            break
    page.keyboard.type(WRITE)
    page.keyboard.press("Tab")
    assert inspection.focused(page)["outlined"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="New job")).to_be_visible()
    assert names(page) == ["brain", "em/cells"]
