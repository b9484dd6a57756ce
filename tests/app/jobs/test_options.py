"""The command line and the API take the same options with the same defaults, and refuse the same mistakes alike."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.cli import command_line, run
from app.commands.flags import form_of
from app.jobs.catalogue import described, job_commands
from app.jobs.places import _INPUTS, _NO_PATHS, _OUTPUTS, _takes_any_text
from app.pages import pages_app

WRONG = {
    "choice": ["nonsense", ""],
    "switch": ["maybe", ""],
    "whole": ["many", "1.5", "-7", "99999999999999999999"],
    "number": ["many", "-7", "inf"],
    "triple": ["1,2", "1,2,x", "0,0,0", "9999,1,1", ""],
    "numbers": ["1,x", "0"],
    "text": ["", "%%"],
}
COMMANDS = sorted(job_commands())
OPTIONS = [(name, option["name"]) for name in COMMANDS for option in described(job_commands()[name])["options"]]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The API of an empty folder; its queue is not running, so that what is accepted stays where it is."""
    app = pages_app(tmp_path_factory.mktemp("served"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join()
    app.state.jobs.store.close()


def words(command: str) -> tuple[list[str], dict[str, Any]]:
    """Return a command's arguments for the command line and for the API; there is nothing at these paths."""
    arguments = job_commands()[command].form.arguments
    given = {argument.name: ["no.swc", "out"] if argument.many else f"no-{argument.name}" for argument in arguments}
    return [word for value in given.values() for word in (value if isinstance(value, list) else [value])], given


def entry(command: str, name: str) -> dict[str, Any]:
    return next(option for option in described(job_commands()[command])["options"] if option["name"] == name)


def as_json(text: str, kind: str) -> Any:
    """Return what the text means in JSON, where it means something else there: a number, numbers."""
    try:
        return json.loads(f"[{text}]" if kind in ("triple", "numbers") and text else text)
    except ValueError:
        return text


@pytest.mark.parametrize(("command", "name"), OPTIONS)
def test_both_refuse_the_same_mistakes_with_the_same_sentence(
    command: str,
    name: str,
    api: httpx.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    option = entry(command, name)
    typed, given = words(command)
    refused = 0
    for text in WRONG[option["kind"]]:
        words_typed = [command, *typed, f"{option['flag']}={text}"]
        for value in [text, *([] if as_json(text, option["kind"]) == text else [as_json(text, option["kind"])])]:
            answer = api.post("/api/jobs", json={"command": command, "options": {**given, name: value}})
            if answer.status_code == 422:
                refused += 1
                assert run(words_typed) == 2
                assert capsys.readouterr().err == f"glassine: {answer.json()['detail']}\n"
            else:
                assert answer.status_code == 201 or (answer.status_code, (command, name) in _OUTPUTS) == (403, True)
                called, bound, _ = command_line(command).parse_args(words_typed, exit_on_error=False, print_error=False)
                form_of(called).keywords(bound.kwargs)  # raises nothing
    assert refused or (option["kind"] == "text" and _takes_any_text(job_commands()[command].form.fields[name]))


@pytest.mark.parametrize("command", COMMANDS)
def test_both_have_the_same_names_and_defaults(command: str) -> None:
    job = job_commands()[command]
    arguments = command_line(command)[command].assemble_argument_collection()
    flags = {argument.name: argument for argument in arguments if argument.name.startswith("--")}
    options = described(job)["options"]
    assert [option["flag"] for option in options if option["flag"] not in flags] == []
    assert len(options) == len(flags)
    assert set(described(job)["schema"]["properties"]) == {option["name"] for option in options} | set(words(command)[1])
    typed, given = words(command)
    # What the help shows as defaults, typed, is the same as nothing typed, and as nothing given.
    shown = {option["flag"]: flags[option["flag"]].field_info.default for option in options}
    defaults = {option["name"]: option["default"] for option in options}
    assert job.form.read({**given, **defaults}) == job.form.read(given)
    told = {name: value for name, value in shown.items() if value is not None}
    assert job.form.read({**given, **{flag[2:].replace("-", "_"): value for flag, value in told.items()}}) == job.form.read(given)
    called, bound, _ = command_line(command).parse_args([command, *typed])
    assert form_of(called).keywords(bound.kwargs) == job.form.read(given)[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_both_tell_what_is_missing_or_unknown_alike(
    command: str, api: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    typed, given = words(command)
    option = described(job_commands()[command])["options"][0]
    for wrong in ("frobnicate", f"{option['name']}x"):
        answer = api.post("/api/jobs", json={"command": command, "options": {**given, wrong: "1"}})
        assert answer.status_code == 422
        assert run([command, *typed, f"--{wrong.replace('_', '-')}=1"]) == 2
        assert capsys.readouterr().err == f"glassine: {answer.json()['detail']}\n"
    if not job_commands()[command].form.arguments[-1].many:
        answer = api.post("/api/jobs", json={"command": command, "options": dict(list(given.items())[:-1])})
        assert answer.status_code == 422
        assert run([command, *typed[:-1]]) == 2
        assert capsys.readouterr().err == f"glassine: {answer.json()['detail']}\n"


def test_of_every_option_that_takes_any_text_it_is_known_whether_it_is_a_path() -> None:
    unknown = [
        (command, name)
        for command, name in OPTIONS
        if _takes_any_text(job_commands()[command].form.fields[name])
        and name not in _NO_PATHS | _INPUTS
        and (command, name) not in _OUTPUTS
    ]
    assert not unknown, (
        "app/jobs/places.py takes it for a file to read: put it there among those that are read, written, or no path"
    )


def test_an_unknown_command_is_one_sentence(api: httpx.Client) -> None:
    answer = api.post("/api/jobs", json={"command": "serve", "options": {}})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("there is no command 'serve' for jobs; these are: convert, ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": 5, "dataset": "a"}, "SOURCE: expected a path as text"),
        ({"source": "", "dataset": "a"}, "SOURCE: expected a path as text"),
        ({"source": "a\0", "dataset": "a"}, "SOURCE: expected a path as text"),
        ({"source": "a", "dataset": ["a"]}, "DATASET: expected a path as text"),
        ({"source": "a", "dataset": "b", "scales": None}, None),
        ({"source": "a", "dataset": "b", "type": None}, "--type null: expected auto, image or segmentation"),
        ({"source": "a", "dataset": "b", "scales": {"x": 1}}, "--scales {'x': 1}: expected a whole number"),
        ({"source": "a", "dataset": "b", "chunk_size": [64, 64]}, "--chunk-size 64,64: expected three numbers with commas"),
        ({"source": "a", "dataset": "b", "memory": 5}, "--memory 5: expected text"),
    ],
)
def test_what_json_alone_can_say_is_refused_too(api: httpx.Client, options: dict[str, Any], said: str | None) -> None:
    answer = api.post("/api/jobs", json={"command": "convert", "options": options})
    assert answer.status_code == (201 if said is None else 422)
    assert said is None or answer.json()["detail"].startswith(said)


def test_files_are_a_list(api: httpx.Client) -> None:
    answer = api.post("/api/jobs", json={"command": "import-mesh", "options": {"files": "1.stl"}})
    assert (answer.status_code, answer.json()["detail"]) == (422, "FILES: expected a list of paths as text")
