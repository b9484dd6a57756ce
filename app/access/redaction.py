"""Paths as a log may show them: without the grants of links, whoever has one of which may read a dataset."""

import re

_SLASH = r"[/\\]|%(?:25)*(?:2f|5c)"
_GRANT = re.compile(rf"(^|{_SLASH})(?:~|%(?:25)*7e)(?:(?!{_SLASH}).)*", re.IGNORECASE | re.DOTALL)


def redacted(path: str) -> str:
    """Return a path, decoded or not, without its query, and with `~` for each part that begins so, as grants do."""
    return _GRANT.sub(r"\1~", re.split(r"[?#]", path, maxsplit=1)[0])
