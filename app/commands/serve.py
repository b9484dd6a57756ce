"""`glassine serve`."""

from pathlib import Path

from app import server
from app.commands.flags import with_flags
from app.settings import read_job_settings, read_settings
from converters.options import ServeOptions


@with_flags
def serve(folder: Path, /, *, options: ServeOptions) -> int:
    """Serve every dataset below FOLDER, the viewer and a web page that lists them, until Ctrl-C.

    Parameters
    ----------
    folder
        The folder that holds the datasets, at any depth.
    """
    server.serve(
        folder,
        options,
        lambda url: print(f"serving {folder} at {url}/ until Ctrl-C", flush=True),
        read_settings().hosts,
        read_job_settings(),
    )
    return 0
