"""What `demo` and `view` share: a server beside which something is looked at until Ctrl-C."""

import os
import signal
import sys
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.commands.flags import options_from
from app.datasets import read_dataset
from app.links import Layer
from app.server import create_app, running
from app.settings import read_settings
from converters.options import ServeOptions

Port = Annotated[int, Parameter(help=ServeOptions.model_fields["port"].description)]
Browser = Annotated[bool, Parameter(help="Open the link in the browser.")]


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """Serve folder to this machine while the context lasts and give the base URL. Raises OptionError for a port that is taken."""
    options = options_from(ServeOptions, {"port": port})
    with running(create_app(folder, read_settings().hosts), port=options.port) as base_url:
        yield base_url


def layers_below(folder: Path, names: Sequence[str]) -> list[Layer]:
    """Return what a link needs to know of the datasets of these names."""
    datasets = [read_dataset(folder / name, name) for name in names]
    return [Layer(dataset.name, dataset.info, dataset.record, dataset.selected) for dataset in datasets]


def look(link: str, *, browser: bool) -> None:
    """Print the link, open it if the user wants that, and return when Ctrl-C is pressed or the process is asked to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(link, flush=True)
    print("Ctrl-C ends the server", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):
        if browser:
            _open_in_browser(link)
        while True:
            time.sleep(3600)


def _open_in_browser(link: str) -> None:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # there is no screen: webbrowser would open a text browser in this very terminal
    with suppress(webbrowser.Error):
        webbrowser.open(link)
