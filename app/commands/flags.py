"""Options models as flags of a command."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import Parameter
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from converters.errors import OptionError
from converters.options import Options


def with_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command, in the place of each parameter that is an options model, a flag for each field of the model.

    Type, default and help of a flag are the field's. A triple is one token, `--chunk-size 64,64,64`. The command gets
    validated models; a value that a model refuses is an OptionError.
    """
    signature = inspect.signature(command)
    models = {name: kind for name, kind in get_type_hints(command).items() if _is_model(kind)}

    @functools.wraps(command)
    def called(*arguments: Any, **values: Any) -> int:
        own = {name: value for name, value in values.items() if name in signature.parameters}
        options = {
            parameter: options_from(model, {name: values[name] for name in model.model_fields if name in values})
            for parameter, model in models.items()
        }
        return command(*arguments, **own, **options)

    plain = [parameter for parameter in signature.parameters.values() if parameter.name not in models]
    flags = [flag for model in models.values() for flag in _flags(model)]
    called.__signature__ = signature.replace(parameters=[*plain, *flags])  # type: ignore[attr-defined]
    return called


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Options)


def options_from(model: type[Options], given: dict[str, Any]) -> Any:
    """Return the model with these values. Raises OptionError, one sentence that names the flag, for the first that it refuses."""
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        help_text = (model.model_fields[name].description or "").rstrip(".")
        problem = _problem(first["type"], first["msg"], triple=len(first["loc"]) > 1)
        raise OptionError(f"--{name.replace('_', '-')} {given[name]}: {problem} ({help_text})") from None


def _problem(kind: str, message: str, *, triple: bool) -> str:
    if kind in ("missing", "too_long", "tuple_type") or (triple and kind.endswith("_parsing")):
        return "expected three numbers with commas between them, such as 64,64,64"
    if kind == "string_pattern_mismatch":
        return "not understood"
    return message[:1].lower() + message[1:].replace("Input should", "should")


def _flags(model: type[Options]) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, keyword, default=_default(field), annotation=_annotation(field))
        for name, field in model.model_fields.items()
    ]


def _annotation(field: FieldInfo) -> Any:
    """Return what cyclopts reads: switches and choices as they are, anything else as text that the model then checks."""
    plain = field.annotation
    if plain is bool:
        return Annotated[bool, Parameter(help=field.description, negative="", show_default=False)]
    if get_origin(plain) is Literal:
        return Annotated[plain, Parameter(help=field.description)]
    text: Any = str if field.default is not None else str | None
    return Annotated[text, Parameter(help=field.description, metavar=_metavar(plain), allow_leading_hyphen=True)]


def _metavar(annotation: Any) -> str:
    """Return what the help shows in the place of a value."""
    kinds = [annotation, *get_args(annotation)]
    if any(get_origin(kind) in (tuple, Annotated) for kind in kinds):
        return "X,Y,Z"
    return "N" if int in kinds else "TEXT"


def _default(field: FieldInfo) -> Any:
    """Return what the help shows: text, where the flag takes text."""
    value = field.default
    if get_origin(field.annotation) is Literal:
        return value
    if isinstance(value, tuple):
        return ",".join(str(number) for number in value)
    return value if value is None or isinstance(value, bool | str) else str(value)
