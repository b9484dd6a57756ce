"""Whether a server may read the sources of conversions."""

from ipaddress import ip_address

from converters.options import ServeOptions


def is_allowed(options: ServeOptions) -> bool:
    """Tell whether datasets that are being written are shown: as the options say, else to this machine alone."""
    if options.preview != "auto":
        return options.preview == "on"
    try:
        return ip_address(options.host).is_loopback
    except ValueError:
        return options.host == "localhost"
