"""The page /docs: the API as its own OpenAPI description tells it, with an example of each request; nothing from another host."""

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: 6px; }
h2 { margin-top: 2.5rem; } h3 { margin: 2rem 0 .25rem; }
"""
_TAGS = ("jobs", "sources", "uploads", "datasets", "access")
_MORE = {
    "PUT": ["--upload-file", "scan.nii.gz", "--header", "Content-Type: application/octet-stream"],
    "POST": ["--header", "Content-Type: application/json", "--data"],
}


def api_page(description: Mapping[str, Any], base_url: str) -> str:
    """Return the page for an OpenAPI description, with examples for the server at a URL."""
    parts = [part for tag in _TAGS for part in _section(description, tag, base_url)]
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>glassine: the API</title>\n<style>{_STYLE}</style>\n<h1>The API</h1>\n"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>. Bodies are JSON; errors are '
        '<code>{"detail": "a sentence"}</code>. '
        "The examples are for a shell, with a file <code>scan.nii.gz</code> in its folder. A server with a token wants it "
        'with each: <code>--header "Authorization: Bearer $GLASSINE_TOKEN"</code>.</p>\n' + "\n".join(parts) + "\n</html>\n"
    )


def examples(description: Mapping[str, Any], base_url: str) -> dict[tuple[str, str], str]:
    """Return a command for a shell for each method and path."""
    return {(method, path): _example(description, method, path, base_url) for method, path, _ in _operations(description)}


def _section(description: Mapping[str, Any], tag: str, base_url: str) -> Iterator[str]:
    yield f"<h2>{escape(tag.capitalize())}</h2>"
    for method, path, operation in _operations(description):
        if tag in operation.get("tags", ()):
            yield f"<h3><code>{method} {escape(path)}</code></h3>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield f"<pre>{escape(_example(description, method, path, base_url))}</pre>"


def _operations(description: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _example(description: Mapping[str, Any], method: str, path: str, base_url: str) -> str:
    operation = description["paths"][path][method.lower()]
    query = []
    for parameter in operation.get("parameters", ()):
        value = quote(str(_example_of(parameter)), safe="/")
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", value)
        else:
            query.append(f"{parameter['name']}={value}")
    url = f"{base_url}{path}{'?' if query else ''}{'&'.join(query)}"
    words = ["curl", "--fail-with-body", *(["--request", method] if method == "DELETE" else []), *_MORE.get(method, ())]
    if method == "POST":
        words.append(json.dumps(_body(description, operation)))
    return shlex.join([*words, url])


def _example_of(parameter: Mapping[str, Any]) -> Any:
    return parameter["schema"]["examples"][0]


def _body(description: Mapping[str, Any], operation: Mapping[str, Any]) -> Any:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    return description["components"]["schemas"][name]["examples"][0]
