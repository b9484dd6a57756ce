"""The commands that can be run as jobs, and how the API describes them: made from the command line's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import unwrap
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.cli import COMMANDS
from app.commands.flags import Argument, Form, Option, choices_of, form_of, takes_numbers, takes_triple
from converters.errors import OptionError

_NO_JOBS = frozenset({"demo", "plan", "link", "view", "serve", "access", "check"})
"""Commands that look, show or serve; every other one makes something and can be a job."""
PLANNED = ("convert", "mesh", "skeletonize", "label", "trace")
"""Commands that decide what they do before they write anything, which a plan tells."""


@dataclass(frozen=True)
class JobCommand:
    """A command that can be run as a job."""

    name: str
    help: str
    function: Callable[..., int]
    form: Form

    def run(self, given: Mapping[str, Any]) -> None:
        """Run the command with what a JSON object holds, in this process. Raises what the command raises."""
        words, keywords = self.form.read(given)
        unwrap(self.function)(*words, **keywords)


class ArgumentEntry(BaseModel):
    """A word of a command. files: a list, of which the last is the dataset."""

    name: str
    kind: Literal["input", "output", "files"]
    many: bool
    required: bool
    help: str


class OptionEntry(BaseModel):
    """An option: its name in JSON and on the command line, its default there and here, and what it takes."""

    name: str
    flag: str
    kind: Literal["choice", "switch", "whole", "number", "triple", "numbers", "text"]
    default: Any
    choices: list[str] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    help: str


class CommandEntry(BaseModel):
    """A command that can be a job. plan: whether /api/plan knows it. schema: of the `options` of a job."""

    name: str
    help: str
    plan: bool
    arguments: list[ArgumentEntry]
    options: list[OptionEntry]
    # Not `schema`: pydantic's models have a method of that name.
    json_schema: dict[str, Any]


class CommandList(BaseModel):
    """The commands that can be jobs."""

    commands: list[dict[str, Any]]


def job_commands() -> dict[str, JobCommand]:
    """Return the commands that can be jobs by name; the first call imports them all."""
    return {name: _command(name) for name in COMMANDS if name not in _NO_JOBS}


def job_command(name: str) -> JobCommand:
    """Return one of them, the only one that is imported. Raises OptionError."""
    names = [known for known in COMMANDS if known not in _NO_JOBS]
    if name not in names:
        raise OptionError(f"there is no command {name!r} for jobs; these are: {', '.join(names)}")
    return _command(name)


def described(command: JobCommand) -> dict[str, Any]:
    """Return what a form for a command has to know."""
    told = _told_arguments(command)
    arguments = [_argument_entry(argument, told.get(argument.name, "")) for argument in command.form.arguments]
    entry = CommandEntry(
        name=command.name,
        help=command.help,
        plan=command.name in PLANNED,
        arguments=arguments,
        options=[_option_entry(option) for option in command.form.options],
        json_schema=_schema(command, arguments),
    )
    members = entry.model_dump(mode="json")
    members["schema"] = members.pop("json_schema")
    return members


@cache
def _command(name: str) -> JobCommand:
    path, text = COMMANDS[name]
    module, _, function = path.partition(":")
    called = getattr(import_module(module), function)
    return JobCommand(name, text, called, form_of(called))


def _argument_entry(argument: Argument, text: str) -> ArgumentEntry:
    kind: Literal["input", "output", "files"] = "files" if argument.many else "output" if argument.name == "dataset" else "input"
    return ArgumentEntry(
        name=argument.name, kind=kind, many=argument.many, required=argument.required or argument.many, help=text
    )


def _option_entry(option: Option) -> OptionEntry:
    field = option.field
    bounds = {
        name: value
        for part in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(part, name, None)) is not None
    }
    return OptionEntry(
        name=option.name,
        flag=option.flag,
        kind=_kind(field),
        default=field.default,
        choices=list(choices_of(field.annotation)) or None,
        minimum=bounds.get("ge", bounds.get("gt")),
        maximum=bounds.get("le", bounds.get("lt")),
        help=field.description or "",
    )


def _kind(field: FieldInfo) -> Literal["choice", "switch", "whole", "number", "triple", "numbers", "text"]:
    kinds = (field.annotation, *get_args(field.annotation))
    if choices_of(field.annotation):
        return "choice"
    if takes_numbers(field.annotation):
        return "triple" if takes_triple(field.annotation) else "numbers"
    if bool in kinds:
        return "switch"
    return "whole" if int in kinds else "number" if float in kinds else "text"


def _schema(command: JobCommand, arguments: list[ArgumentEntry]) -> dict[str, Any]:
    """Return the JSON schema of all that a job's options may hold. Texts as they are typed are taken too."""
    properties: dict[str, Any] = {
        argument.name: {"type": "array", "items": {"type": "string"}} if argument.many else {"type": "string"}
        for argument in arguments
    }
    names = {(option.argument, option.parameter): option.name for option in command.form.options}
    for argument, model in ((None, command.form.own), *command.form.models.items()):
        members = model.model_json_schema()["properties"]
        properties.update({names[argument, parameter]: member for parameter, member in members.items()})
    required = [argument.name for argument in arguments if argument.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _told_arguments(command: JobCommand) -> dict[str, str]:
    """Return what the command's docstring says of its parameters."""
    _, _, told = (command.function.__doc__ or "").partition("----------\n")
    found: dict[str, str] = {}
    name = ""
    for line in told.splitlines():
        if line.startswith(" " * 8) and name:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        elif line.strip():
            name = line.strip()
    return found
