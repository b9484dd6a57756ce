"""`glassine serve`."""

from pathlib import Path

from app import server
from app.commands.flags import with_flags
from app.settings import is_loopback, read_site_settings
from converters.errors import OptionError
from converters.options import ServeOptions


@with_flags
def serve(folder: Path, /, *, options: ServeOptions) -> int:
    """Serve every dataset below FOLDER, the viewer and a web page that lists them, until Ctrl-C.

    Parameters
    ----------
    folder
        The folder that holds the datasets, at any depth.
    """
    settings = read_site_settings()
    if settings.access.token is None and not is_loopback(options.host):
        raise OptionError(
            f"--host {options.host} lets others than this machine in, who need a token: set GLASSINE_TOKEN, for example with "
            "`export GLASSINE_TOKEN=$(openssl rand -hex 32)`, and start the server again"
        )
    server.serve(folder, options, lambda url: print(f"serving {folder} at {url}/ until Ctrl-C", flush=True), settings)
    return 0
