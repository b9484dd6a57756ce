"""`glassine demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.commands.convert import convert_and_tell
from app.commands.looking import Browser, Port, layers_below, look, served
from app.demo import check_served, write_sources
from app.links import viewer_link
from converters.options import ConvertOptions, ServeOptions

_DEFAULTS = ServeOptions.model_validate({})


def demo(
    *,
    data: Annotated[Path, Parameter(help="The folder for the demo's files.")] = Path("demo-data"),
    port: Port = _DEFAULTS.port,
    browser: Browser = True,
    exit_: Annotated[bool, Parameter(name="--exit", negative="", show_default=False, help="End after the check.")] = False,
) -> int:
    """Convert a real brain (MNI152, T1 at 1 mm) and labels of its tissues, serve them, check that, open them in the viewer."""
    sources = write_sources(data / "sources")
    for name, source in sources.items():
        convert_and_tell(source, data / name, ConvertOptions.model_validate({}))
    with served(data, port) as base_url:
        chunks = check_served(base_url, sources)
        print(f"checked over HTTP: the info of {len(sources)} datasets and {chunks} chunks of all their scales")
        link = viewer_link(layers_below(data, list(sources)), base_url)
        if exit_:
            print(link)
        else:
            look(link, browser=browser)
    return 0
