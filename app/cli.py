"""The command line: which commands there are, and how what goes wrong is told."""

import sys
import traceback
from difflib import get_close_matches
from typing import TYPE_CHECKING

from app.settings import read_settings
from converters.errors import ConverterError, OptionError
from formats.errors import FormatError

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "demo": ("app.commands.demo:demo", "Convert a real brain, serve it and open it in the viewer."),
    "plan": ("app.commands.convert:plan", "Show what convert would do, and write nothing."),
    "convert": ("app.commands.convert:convert", "Convert a source to a dataset."),
    "import-mesh": ("app.commands.import_mesh:import_mesh", "Add mesh files to a segmentation, or make a dataset of meshes."),
    "import-skeleton": (
        "app.commands.import_skeleton:import_skeleton",
        "Add SWC files to a segmentation, or make a dataset of skeletons.",
    ),
    "mesh": ("app.commands.mesh:mesh", "Give a segmentation a mesh of each segment."),
    "skeletonize": ("app.commands.skeletonize:skeletonize", "Give a segmentation a skeleton of each segment."),
    "label": ("app.commands.label:label", "Label the connected parts of a grey volume that lie above a threshold."),
    "trace": ("app.commands.trace:trace", "Label a grey volume and give what is found meshes, skeletons, SWC files and a table."),
    "link": ("app.commands.link:link", "Print the link that opens a dataset in the viewer."),
    "access": ("app.commands.access:access", "Make a dataset public or private where a server with a token serves it."),
    "view": ("app.commands.view:view", "Convert a source into a cache, serve it and open it in the viewer."),
    "serve": ("app.commands.serve:serve", "Serve every dataset below a folder, the viewer and the web page."),
}
"""Each command's function, imported when the command is called, and its line in the help."""


def run(argv: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 problem found or failed, 2 wrong usage, 130 interrupted.

    Every error is one sentence on standard error; with GLASSINE_DEBUG=1 a traceback comes before it.
    """
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        print("glassine: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if read_settings().debug:
            traceback.print_exc()
        message, status = told(error)
        print(f"glassine: {message}", file=sys.stderr)
        return status


def _dispatch(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        near = get_close_matches(argv[0], COMMANDS, 1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise OptionError(f"there is no command {argv[0]!r}{hint} The commands are {', '.join(COMMANDS)}.")
    status = command_line(argv[0] if argv else "")(argv, exit_on_error=False, print_error=False)
    return status if isinstance(status, int) else DONE


def command_line(called: str) -> "App":
    """Return the parser of the command line; its commands are not imported yet, and the one that is called explains itself."""
    from cyclopts import App

    app = App(
        name="glassine",
        help="Convert volumes to Neuroglancer's precomputed format, serve them, and see them in the viewer.",
        version=_version,
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, (path, text) in COMMANDS.items():
        app.command(path, name=name, help=None if name == called else text)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("glassine")


def told(error: Exception) -> tuple[str, int]:
    """Return the sentence for an error and the exit status."""
    from cyclopts import CycloptsError

    if isinstance(error, OptionError):
        return str(error), WRONG_USAGE
    if isinstance(error, CycloptsError):
        return _wrong_words(error), WRONG_USAGE
    if isinstance(error, (ConverterError, FormatError)):
        return str(error), FAILED
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}", FAILED
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; GLASSINE_DEBUG=1 shows where, please report it", FAILED


def _wrong_words(error: "CycloptsError") -> str:
    """Return the sentence for words that the parser did not take, the API's where it knows the same mistake."""
    from cyclopts import CoercionError, MissingArgumentError, UnknownOptionError

    from app.commands.flags import missing_argument, switch_refusal, unknown_option

    argument = error.argument
    if isinstance(error, UnknownOptionError):
        known = [name.removeprefix("--").replace("-", "_") for one in error.argument_collection for name in one.names]
        return unknown_option((error.token.keyword or error.token.value).partition("=")[0].lstrip("-"), known)
    if isinstance(error, MissingArgumentError) and argument is not None and not argument.name.startswith("-"):
        return missing_argument(argument.name)
    if isinstance(error, CoercionError) and error.target_type is bool and error.token is not None and argument is not None:
        return switch_refusal(error.token.keyword or argument.name, error.token.value, argument.parameter.help)
    return f"{' '.join(str(error).split())} See glassine --help."
