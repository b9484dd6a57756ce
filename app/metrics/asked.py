"""What kind of thing a path asks for, and what a request does, in the few words that are labels of metrics."""

# Plain strings: an Enum's members take three times as long to look up, and this is done for each request.
INFO, CHUNK, SHARD, MESH, SKELETON = "info", "chunk", "shard", "mesh", "skeleton"
FILE = "file"
"""Any other file of a dataset."""
PAGE, API = "page", "api"
PROBE = "probe"
"""What watches the server, or asks it for others."""

PREFIXES = ("/data/", "/flat/")
"""What paths of files of datasets begin with."""
_PROBES = frozenset({"/healthz", "/metrics", "/access"})
_METHODS = {"GET": "read", "HEAD": "read", "OPTIONS": "preflight"}
_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_UNDERSCORES = 2


def file_kind(name: str) -> str:
    """Return what a name below a dataset tells of its kind; FILE where its folder tells more."""
    # No more is looked at than takes a tenth of a microsecond: a name of this form in a scale's folder is meant to be a chunk's.
    if name.count("_") == _UNDERSCORES and ":" not in name:
        return CHUNK
    if name == "info":
        return INFO
    return SHARD if name.endswith(".shard") else FILE


def other_kind(path: str) -> str:
    """Return what a path asks for that begins with none of PREFIXES."""
    if path.startswith("/api/") or path == "/api":
        return API
    if path in ("/data", "/flat"):
        return FILE
    return PROBE if path in _PROBES else PAGE


def method_class(method: str) -> str:
    """Return read, preflight or, for all that may change something, write."""
    return _METHODS.get(method, "write")


def status_class(status: int) -> str:
    """Return the class of a status, none for 0: the client had gone before there was one."""
    return _CLASSES[status // 100] if 0 <= status < 600 else "none"
