"""formats <- converters <- app: imports point to the left only, and none goes round in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("formats", "converters", "app")

FORBIDDEN = {
    "formats": {
        "converters", "app", "static", "benchmarks",
        "os", "io", "pathlib", "shutil", "tempfile", "glob", "mmap", "fcntl",
        "socket", "ssl", "http", "urllib", "asyncio", "requests", "httpx", "fastapi", "starlette", "uvicorn",
        "subprocess", "multiprocessing", "threading", "concurrent", "signal", "logging", "warnings", "argparse", "pydantic",
    },
    "converters": {
        "app", "static", "benchmarks",
        "http", "urllib", "fastapi", "starlette", "uvicorn", "httpx", "requests", "asyncio", "argparse", "cyclopts", "rich",
    },
    "app": {"benchmarks"},
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Return every module of the three packages by its dotted name."""
    found = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each dotted name that is imported, also inside functions, and its line; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: write the package's name"
            assert node.module is not None
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def process_state(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each use of the environment or of the command line's words, and its line."""
    names = {("os", "environ"), ("os", "environb"), ("os", "getenv"), ("os", "putenv"), ("sys", "argv")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in names:
            yield f"{node.value.id}.{node.attr}", node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{a.name}", node.lineno) for a in node.names if (node.module, a.name) in names)


def test_every_package_is_read() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(LAYERS)
    assert {"formats.grid", "formats.chunks", "formats.chunks.raw", "converters.geometry", "app.entry"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_to_the_left(name: str) -> None:
    layer = name.split(".")[0]
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    wrong = [f"line {line}: {module}" for module, line in imports(tree) if module.split(".")[0] in FORBIDDEN[layer]]
    assert not wrong, f"{name} must not import {wrong}"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("app")])
def test_only_app_reads_the_environment_and_argv(name: str) -> None:
    used = list(process_state(ast.parse(MODULES[name].read_text("utf-8"))))
    assert not used, f"{name} uses {used}"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("app")])
def test_only_app_prints(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    calls = [
        n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"
    ]
    assert not calls, f"{name} prints in lines {calls}"


def dependencies() -> dict[str, set[str]]:
    """Return which of our modules each one imports, at its top or inside functions.

    `from a import b` is the module a.b where there is one, else a: that a package names its own modules is no circle.
    """
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        named = {module for module, _ in imports(ast.parse(path.read_text("utf-8")))}
        graph[name] = {m if m in MODULES else m.rpartition(".")[0] for m in named} & set(MODULES)
    return graph


def test_no_import_goes_round_in_a_circle() -> None:
    try:
        list(TopologicalSorter(dependencies()).static_order())
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", "os.path"),
        ("def f():\n    from http import server", "http.server"),
        ("if True:\n    import logging as log", "logging"),
    ],
)
def test_the_reader_of_imports_sees_hidden_ones(source: str, expected: str) -> None:
    assert expected in {module for module, _ in imports(ast.parse(source))}


@pytest.mark.parametrize("source", ["import os\nos.environ['A']", "from os import environ", "import sys\nsys.argv[1:]"])
def test_the_reader_of_process_state_sees_it(source: str) -> None:
    assert list(process_state(ast.parse(source)))
