"""The repository around the code: what is packaged and installed, and rules that no linter checks."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "converters", "formats")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
SOURCES = sorted(
    path
    for folder in (*PACKAGES, "static", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel built from a copy, so that nothing is left in the work tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "static", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(".*"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "."]
    done = subprocess.run([*command, "--wheel-dir", str(folder)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("glassine-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_packages_and_the_pages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {named(path) for path in MODULES.values()}
    expected |= {named(path) for path in (ROOT / "static").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_the_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    members = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "glassine = app.entry:main" in wheel.read(members["entry_points.txt"]).decode().splitlines()
    assert wheel.read(members["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: BSD-3-Clause" in wheel.read(members["METADATA"]).decode().splitlines()


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("glassine")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == PROJECT["version"]


def requirements() -> list[Requirement]:
    texts = PROJECT["dependencies"] + [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "glassine"]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_a_dependency_has_a_lower_bound_and_no_upper_one(requirement: Requirement) -> None:
    assert [specifier.operator for specifier in requirement.specifier] == [">="]


def test_what_is_imported_is_declared() -> None:
    declared = {normal(Requirement(text).name) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["demo"]}
    distributions = packages_distributions()
    undeclared = {
        f"{name} imports {imported}"
        for name, path in MODULES.items()
        for imported in {module.partition(".")[0] for module in imports(path)}
        if imported not in sys.stdlib_module_names
        and imported not in (*PACKAGES, "static")
        and not declared & {normal(distribution) for distribution in distributions.get(imported, [])}
    }
    assert not undeclared


def normal(distribution: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "docs/architecture.md"])
def test_a_page_is_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_the_page_on_architecture_names_modules_that_are_there() -> None:
    named_there = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/architecture.md").read_text())
    present = [f"/{named(path)}" for path in SOURCES]
    missing = [name for name in named_there if not any(path.endswith(f"/{name}") for path in present)]
    assert named_there
    assert not missing


def test_the_changelog_tells_what_is_not_released_yet() -> None:
    _, _, unreleased = (ROOT / "CHANGELOG.md").read_text().partition("## [Unreleased]\n")
    assert re.match(r"\n### (Added|Changed|Deprecated|Removed|Fixed|Security)\n\n- ", unreleased)


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_what_is_ignored_is_named(path: Path) -> None:
    comments = [
        token for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline) if token.type == tokenize.COMMENT
    ]
    bare = [token.start[0] for token in comments if re.search(r"type:\s*ignore(?!\[)|noqa(?!:\s*[A-Z])", token.string)]
    assert not bare, f"{named(path)}, lines {bare}: say which error is ignored"


LONGEST_FUNCTION = 60


@pytest.mark.parametrize("path", MODULES.values(), ids=named)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{node.name}: {length(node)} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) >= LONGEST_FUNCTION
    ]
    assert not long, f"{named(path)}: {', '.join(long)}"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, its docstring not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return lines - (ast.get_docstring(function, clean=False) or "\n").count("\n")


def imports(path: Path) -> set[str]:
    """Return the full names of the modules that a module imports from, in a function too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_every_target_of_make_is_told_by_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make (\w+)", told, re.MULTILINE)) == set(phony[1].split()) - {"help"}


def test_make_wants_a_new_enough_python(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\ncase "$1" in -V) echo "Python 3.9.2" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    for python, sentence in (
        (str(old), f"glassine needs Python 3.11 or newer, and {old} is Python 3.9.2: name a newer one: make PYTHON=python3.12"),
        ("no-python", "glassine needs Python 3.11 or newer, and there is no no-python here: "),
    ):
        command = ["make", "demo", f"PYTHON={python}", f"VENV={tmp_path}/venv"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert done.stderr.startswith(sentence)
        assert not (tmp_path / "venv").exists()


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().splitlines()[-1] == "make test < /dev/null"
