"""Kinds of things asked for, of methods and of statuses."""

import pytest

from app.metrics.asked import file_kind, method_class, other_kind, status_class


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("info", "info"),
        ("0-64_0-64_0-64", "chunk"),
        ("-64-0_-64-0_0-1", "chunk"),
        ("0a3.shard", "shard"),
        ("1:0", "file"),
        ("1:0:0-448_0-448_0-512", "file"),
        ("17.index", "file"),
        ("17", "file"),
        ("", "file"),
        ("info.gz", "file"),
        ("segment_names", "file"),
        ("by_id_and_more", "file"),
    ],
)
def test_names_below_a_dataset(name: str, kind: str) -> None:
    assert file_kind(name) == kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "page"),
        ("/static/page.js", "page"),
        ("/v/1/", "page"),
        ("/apis", "page"),
        ("/healthz/", "page"),
        ("/api", "api"),
        ("/api/jobs/1/log", "api"),
        ("/healthz", "probe"),
        ("/metrics", "probe"),
        ("/access", "probe"),
        ("/data", "file"),
        ("/flat", "file"),
        ("/database", "page"),
        ("*", "page"),
    ],
)
def test_paths_that_are_no_files(path: str, kind: str) -> None:
    assert other_kind(path) == kind


def test_methods_that_change_something_are_told_apart() -> None:
    found = {method: method_class(method) for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PROPFIND")}
    assert found == {
        "GET": "read",
        "HEAD": "read",
        "OPTIONS": "preflight",
        "POST": "write",
        "PUT": "write",
        "DELETE": "write",
        "PROPFIND": "write",
    }


@pytest.mark.parametrize(("status", "told"), [(0, "none"), (200, "2xx"), (304, "3xx"), (451, "4xx"), (599, "5xx"), (999, "none")])
def test_classes_of_statuses(status: int, told: str) -> None:
    assert status_class(status) == told
