"""The errors of formats.

FormatError
├── InfoError      an `info` file that the viewer would refuse
├── ChunkNameError a name that is no chunk name
├── DecodeError    bytes that are not what their encoding promises
└── EncodeError    an array that the encoding cannot hold
"""


class FormatError(Exception):
    """Base of every error that formats raises."""


class InfoError(FormatError):
    """An `info` file that the viewer would refuse."""


class ChunkNameError(FormatError):
    """A name that is no chunk name."""


class DecodeError(FormatError):
    """Bytes that are not what their encoding promises."""


class EncodeError(FormatError):
    """An array that the encoding cannot hold for the stock viewer."""
