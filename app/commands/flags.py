"""Options models as flags of a command, and as members of a JSON object: the same names, defaults and sentences for both."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from cyclopts import Parameter
from pydantic import Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from converters.errors import OptionError
from converters.options import Options

_NO_SWITCH = "expected true or false"


@dataclass(frozen=True)
class Argument:
    """A word of a command that has no flag. kind: str or Path. many: all the words there are."""

    name: str
    kind: type
    many: bool
    required: bool


@dataclass(frozen=True)
class Option:
    """A flag. name: as it is typed, without hyphens, and in JSON. parameter: the field of its model.

    argument: the command's parameter that takes the model; None for a flag that is a parameter itself.
    """

    name: str
    parameter: str
    field: FieldInfo
    argument: str | None

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Form:
    """What a command can be given. models: the command's parameters that take models. own: the model of all its other flags."""

    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    models: Mapping[str, type[Options]]
    own: type[Options]

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields of the options by name."""
        return {option.name: option.field for option in self.options}

    def keywords(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the command's keyword arguments for flags by their parameters. Raises OptionError for the first refused."""
        own = options_from(self.own, {name: given[name] for name in self.own.model_fields if name in given}, self._name)
        values = {name: getattr(own, name) for name in self.own.model_fields}
        for argument, model in self.models.items():
            values[argument] = options_from(model, {name: given[name] for name in model.model_fields if name in given})
        return values

    def read(self, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the command's arguments and keyword arguments for what a JSON object holds. Raises OptionError."""
        parameters = {option.name: option.parameter for option in self.options}
        names = {argument.name for argument in self.arguments}
        for name in given:
            if name not in parameters and name not in names:
                raise OptionError(unknown_option(name, parameters))
        words = [word for argument in self.arguments for word in _words(argument, given)]
        return words, self.keywords({parameters[name]: value for name, value in given.items() if name in parameters})

    def _name(self, parameter: str) -> str:
        return next(option.name for option in self.options if option.parameter == parameter)


def with_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command, in the place of each parameter that is an options model, a flag for each field of the model.

    Type, default and help of a flag are the field's. A triple is one token, `--chunk-size 64,64,64`. The command gets
    validated models; a value that a model refuses is an OptionError.
    """
    form = _form(command)

    @functools.wraps(command)
    def called(*arguments: Any, **values: Any) -> int:
        return command(*arguments, **form.keywords(values))

    words = [p for p in inspect.signature(command).parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    own = [option for option in form.options if option.argument is None]
    flags = [_flag(option) for option in (*own, *(option for option in form.options if option.argument is not None))]
    called.__signature__ = inspect.Signature([*words, *flags])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*words, *flags)}
    called.form = form  # type: ignore[attr-defined]
    return called


def form_of(command: Callable[..., int]) -> Form:
    """Return what a command made by with_flags can be given."""
    return cast(Form, command.form)  # type: ignore[attr-defined]


def options_from(model: type[Options], given: Mapping[str, Any], named: Callable[[str], str] = str) -> Any:
    """Return the model with these values. Raises OptionError, one sentence that names the flag, for the first that it refuses.

    named: gives a field's name as it is typed, where that is another one.
    """
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise OptionError(_problem(first["type"], first["msg"], first.get("ctx", {}))) from None
        name = str(first["loc"][0])
        field = model.model_fields[name]
        problem = _numbers_wanted(field, first["type"], first["loc"])
        problem = problem or _problem(first["type"], first["msg"], first.get("ctx", {}))
        flag = f"--{named(name).replace('_', '-')}"
        raise OptionError(refusal(flag, given.get(name), problem, field.description)) from None


def refusal(flag: str, value: Any, problem: str, help_text: str | None) -> str:
    """Return the sentence for a value that an option does not take."""
    return f"{flag} {_typed(value)}: {problem} ({(help_text or '').rstrip('.')})"


def switch_refusal(flag: str, value: str, help_text: str | None) -> str:
    """Return the sentence for a value that a switch does not take."""
    return refusal(flag, value, _NO_SWITCH, help_text)


def unknown_option(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """Return the sentence for an option that there is not. name: without the hyphens in front."""
    near = get_close_matches(name.replace("-", "_"), known, 1)
    hint = f"; did you mean --{near[0].replace('_', '-')}?" if near else ""
    return f"there is no option --{name.replace('_', '-')}{hint or ', see --help for those that there are'}"


def missing_argument(name: str) -> str:
    """Return the sentence for a word that is not there."""
    return f"{name.upper()} is missing, see --help"


def _typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(_typed(part) for part in value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


_PROBLEMS: Mapping[str, str] = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "expected a whole number of fewer digits",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "finite_number": "expected a number that is neither infinite nor undefined",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "bool_parsing": _NO_SWITCH,
    "bool_type": _NO_SWITCH,
    "string_pattern_mismatch": "not understood",
    "string_type": "expected text",
    "string_too_short": "expected a text that is not empty",
    "path_type": "expected a path",
    "value_error": "{error}",
}
"""pydantic's kinds of errors -> sentences, with what pydantic tells of each in braces."""


def _problem(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind not in _PROBLEMS:
        return message[:1].lower() + message[1:].replace("Input should", "should")
    told = {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in context.items()}
    return _PROBLEMS[kind].format_map({**told, "expected": str(told.get("expected", "")).replace("'", "")})


def _numbers_wanted(field: FieldInfo, kind: str, place: Sequence[int | str]) -> str | None:
    """Return what is wrong with a value that should be several numbers; None where one of its numbers is out of bounds."""
    if not takes_numbers(field.annotation):
        return None
    if kind not in ("missing", "too_long", "too_short", "tuple_type") and not (
        len(place) > 1 and kind.startswith(("int_", "float_"))
    ):
        return None
    if takes_triple(field.annotation):
        return "expected three numbers with commas between them, such as 64,64,64"
    return "expected whole numbers with commas between them, such as 12,34"


def _words(argument: Argument, given: Mapping[str, Any]) -> list[Any]:
    """Return what a JSON object holds for an argument, as the command takes it."""
    if argument.name not in given:
        if argument.required:
            raise OptionError(missing_argument(argument.name))
        return []
    value = given[argument.name]
    texts = value if argument.many else [value]
    if not isinstance(texts, list) or not all(isinstance(text, str) and text and "\0" not in text for text in texts):
        raise OptionError(f"{argument.name.upper()}: expected {'a list of paths' if argument.many else 'a path'} as text")
    return [argument.kind(text) for text in texts]


def _form(command: Callable[..., int]) -> Form:
    hints = get_type_hints(command, include_extras=True)
    models = {name: kind for name, kind in hints.items() if _is_model(kind)}
    plain = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name not in models]
    own = {p.name: (hints[p.name], _field(p, hints[p.name])) for p in plain if p.kind is inspect.Parameter.KEYWORD_ONLY}
    own_model = create_model(f"{command.__name__}_flags", __base__=Options, **cast(Any, own))
    options = [
        Option(name, name, field, argument) for argument, kind in models.items() for name, field in kind.model_fields.items()
    ]
    options += [Option(_option_name(name, hints[name]), name, field, None) for name, field in own_model.model_fields.items()]
    return Form(
        tuple(_argument(p, hints[p.name]) for p in plain if p.kind is not inspect.Parameter.KEYWORD_ONLY),
        tuple(options),
        models,
        own_model,
    )


def _argument(parameter: inspect.Parameter, hint: Any) -> Argument:
    many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
    return Argument(
        parameter.name,
        Path if hint is Path else str,
        many,
        required=not many and parameter.default is inspect.Parameter.empty,
    )


def _field(parameter: inspect.Parameter, hint: Any) -> Any:
    texts = [metadata.help for metadata in getattr(hint, "__metadata__", ()) if isinstance(metadata, Parameter) and metadata.help]
    return Field(parameter.default, description=texts[-1] if texts else None)


def _option_name(parameter: str, hint: Any) -> str:
    """Return the name that a flag gives itself, else its parameter's."""
    names = [
        name for metadata in getattr(hint, "__metadata__", ()) if isinstance(metadata, Parameter) for name in metadata.name or ()
    ]
    return names[0].removeprefix("--").replace("-", "_") if names else parameter


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Options)


def _flag(option: Option) -> inspect.Parameter:
    default = _default(option.field)
    return inspect.Parameter(option.parameter, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_annotation(option))


def _annotation(option: Option) -> Any:
    """Return what cyclopts reads: switches as they are, anything else as text that the model then checks."""
    field = option.field
    if field.annotation is bool:
        negative = "" if field.default is False else None
        return Annotated[
            bool, Parameter(name=option.flag, help=field.description, negative=negative, show_default=field.default is True)
        ]
    text: Any = str if field.default is not None else str | None
    shown = Parameter(name=option.flag, help=_help(field), metavar=_metavar(field.annotation), allow_leading_hyphen=True)
    return Annotated[text, shown]


def _help(field: FieldInfo) -> str | None:
    choices = choices_of(field.annotation)
    return f"{field.description} [choices: {', '.join(choices)}]" if choices else field.description


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the texts that an annotation allows, none where it is no Literal."""
    return tuple(str(choice) for choice in get_args(annotation)) if get_origin(annotation) is Literal else ()


def _metavar(annotation: Any) -> str:
    """Return what the help shows in the place of a value."""
    if choices_of(annotation):
        return "CHOICE"
    if takes_numbers(annotation):
        return "X,Y,Z" if takes_triple(annotation) else "N,N"
    if Path in _kinds(annotation):
        return "PATH"
    return "N" if int in _kinds(annotation) else "TEXT"


def takes_numbers(annotation: Any) -> bool:
    """Tell whether an option takes several numbers."""
    return any(get_origin(kind) is tuple for kind in _kinds(annotation))


def takes_triple(annotation: Any) -> bool:
    """Tell whether an option takes three numbers, x, y and z."""
    return any(get_origin(kind) is tuple and len(get_args(kind)) == 3 for kind in _kinds(annotation))


def _kinds(annotation: Any) -> list[Any]:
    """Return an annotation and what its unions and Annotated hold."""
    inner = get_args(annotation) if get_origin(annotation) is not tuple else ()
    return [annotation, *(kind for part in inner for kind in _kinds(part))]


def _default(field: FieldInfo) -> Any:
    """Return what the help shows: text, where the flag takes text."""
    value = field.default
    if isinstance(value, tuple):
        return ",".join(str(number) for number in value)
    return value if value is None or isinstance(value, bool | str) else str(value)
