"""Whether a server may read the sources of conversions."""

from app.settings import is_loopback
from converters.options import ServeOptions


def is_allowed(options: ServeOptions) -> bool:
    """Tell whether datasets that are being written are shown: as the options say, else to this machine alone."""
    return is_loopback(options.host) if options.preview == "auto" else options.preview == "on"
