"""`glassine view`."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from app.commands.convert import convert_and_tell
from app.commands.flags import with_flags
from app.commands.looking import Browser, Port, layers_below, look, served
from app.links import viewer_link
from app.settings import read_settings
from converters.options import ConvertOptions
from converters.sources.opening import absolute, open_source
from converters.volumes.plan import source_options


@with_flags
def view(source: str, /, *, options: ConvertOptions, port: Port = 0, browser: Browser = True) -> int:
    """Convert SOURCE into a cache, serve it and open it in the viewer, until Ctrl-C; a second time it is there at once.

    The cache is the folder GLASSINE_CACHE (~/.cache/glassine when that is not set); it may be deleted at any time.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    """
    folder = read_settings().cache / _cache_key(source, options)
    name = Path(source).name.split(".")[0].strip("*?[]{}") or "volume"
    convert_and_tell(source, folder / name, options)
    # Once it is served there is nothing that Ctrl-C could interrupt: it is how one ends looking, however early.
    with suppress(KeyboardInterrupt), served(folder, port) as base_url:
        look(viewer_link(layers_below(folder, [name]), base_url), browser=browser)
    return 0


def _cache_key(source: str, options: ConvertOptions) -> str:
    """Return a folder's name that is another one when the source, its place or an option changes. Raises ConverterError."""
    opened = open_source(source, source_options(options))
    known = [absolute(source), opened.fingerprint(), options.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
