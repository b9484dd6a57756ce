"""Requests as nobody should send them: paths that try to leave the served folder, ranges that try to be too clever."""

from dataclasses import dataclass

from hypothesis import strategies as st

_PREFIXES = ("/data", "/flat")
_ODD_PREFIXES = (
    "//data",
    "/data/",
    "/Data",
    "/%64ata",
    "/data%2f",
    "/static/../data",
    "/data/../flat",
    "/flat/..",
    "/data//",
    "/./data",
    "/data/.",
    "/data;x",
    "/api/../data",
    "/v/../data",
    "/data/..;",
    "/access",
    "",
    "/",
    "/data%00",
    "/flat%2fdata",
)
_CLIMBING = (
    "..",
    ".",
    "",
    "...",
    "..;",
    ".%2e",
    "%2e.",
    "%2e%2e",
    "%2E%2E",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%u002e%u002e",
    "..%2f..",
    "..%5c..",
    "..\\..",
    "%2e%2e%2f%2e%2e",
    "..%00",
    "%00",
    "%0a",
    "%0d%0a",
    "%ff",
    "%e2%80%a6",
    "%ef%bc%8e%ef%bc%8e",
    "~",
    "~root",
    "%7e",
    ".glassine",
    "%2eglassine",
    ".glassine%2frecord.json",
    ".git",
    ".hidden",
    ".gz",
    ".br",
    "proc",
    "self",
    "etc",
    "passwd",
)
_SEPARATORS = ("/", "/", "/", "/", "%2f", "%2F", "//", "\\", "%5c", "/./", "/../", "%252f", ";/")
_ENDINGS = (
    "",
    "",
    "",
    "",
    "",
    "/",
    ".gz",
    ".br",
    "%00",
    "%00.gz",
    "?",
    "?x=../../secret",
    "#",
    ".",
    "%20",
    "~",
    "/.",
    "/..",
    ":0",
    ".json",
)
_NUMBERS = st.one_of(
    st.integers(0, 600).map(str),
    st.sampled_from(["0", "00", "1" * 30, "18446744073709551615", "9" * 400, "-1", "+1", "1e2", "\xb2", "", " 3", "3 ", "0x10"]),
)
_RANGES = st.one_of(
    st.builds("{}-{}".format, _NUMBERS, _NUMBERS),
    st.builds("{}-".format, _NUMBERS),
    st.builds("-{}".format, _NUMBERS),
    st.sampled_from(["-", "", "--", "a-b", "1-2-3", "0-0", "0-", "-0", "-1"]),
)
_GARBAGE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)


@dataclass(frozen=True)
class Asked:
    """One request. target: as it goes over the wire, ASCII. headers: names in small letters."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    @property
    def range(self) -> str | None:
        return dict(self.headers).get("range")


def ranges() -> st.SearchStrategy[str]:
    """Return values of the header Range, right ones and others."""
    units = st.sampled_from(["bytes=", "bytes=", "bytes=", "bytes=", "Bytes=", "bytes =", "bytes", "lines=", "=", ""])
    joined = st.lists(_RANGES, min_size=1, max_size=4).map(",".join)
    many = st.builds(lambda one, count: ",".join([one] * count), _RANGES, st.sampled_from([63, 64, 65, 1000]))
    spaced = joined.map(lambda text: text.replace(",", " ,\t"))
    return st.one_of(st.builds(str.__add__, units, st.one_of(joined, joined, spaced, many)), _GARBAGE)


def targets(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Return targets made of names, some of which are there, and of what climbs."""
    parts = st.one_of(*[st.sampled_from(names)] * 4, st.sampled_from(_CLIMBING), st.text("abc01-_.:~%/ ", max_size=8))
    climbing = st.lists(st.tuples(st.sampled_from(_SEPARATORS), parts), min_size=1, max_size=6)
    odd = st.builds(
        lambda prefix, steps, ending: prefix + "".join(separator + part for separator, part in steps) + ending,
        st.sampled_from(_PREFIXES * 4 + _ODD_PREFIXES),
        climbing,
        st.sampled_from(_ENDINGS),
    )
    straight = st.builds(
        lambda prefix, name, ending: f"{prefix}/{name}{ending}",
        st.sampled_from(_PREFIXES),
        st.sampled_from(names),
        st.sampled_from(_ENDINGS),
    )
    return st.one_of(straight, odd, odd, st.builds(_escaped, straight, st.integers(0, 200), st.booleans())).map(_wire)


def requests(
    names: tuple[str, ...], more: st.SearchStrategy[tuple[tuple[str, str], ...]] | None = None
) -> st.SearchStrategy[Asked]:
    """Return requests for targets. more: headers besides those of ranges and codings."""
    methods = st.sampled_from(["GET"] * 10 + ["HEAD", "HEAD", "OPTIONS", "POST", "DELETE"])
    coding = st.sampled_from([None, "gzip", "br", "identity", "*", "gzip;q=0", "gzip;q=nan, br;q=1e9", ",;=", "x" * 300])
    header = st.tuples(
        st.one_of(st.none(), ranges()),
        coding,
        st.one_of(st.none(), st.none(), st.sampled_from(["*", '"x"', "W/", '"' * 50, "Thu, 99 Foo 2026 00:00:00 GMT"])),
    )
    return st.builds(_asked, methods, targets(names), header, st.just(()) if more is None else more)


def _asked(method: str, target: str, told: tuple[str | None, str | None, str | None], more: tuple[tuple[str, str], ...]) -> Asked:
    asked_range, coding, condition = told
    headers = [
        ("range", asked_range),
        ("accept-encoding", coding),
        ("if-none-match" if method == "HEAD" else "if-modified-since", condition),
    ]
    return Asked(method, target, (*((name, value) for name, value in headers if value is not None), *more))


def _escaped(target: str, place: int, twice: bool) -> str:
    """Return a target with one of its letters percent-encoded, perhaps twice."""
    place %= len(target)
    letter = "%%25%02x" if twice else "%%%02x"
    return target[:place] + letter % ord(target[place]) + target[place + 1 :] if ord(target[place]) < 128 else target


def _wire(target: str) -> str:
    """Return a target without what would end it; what is no ASCII percent-encoded."""
    return (
        "".join(letter if 32 < ord(letter) < 127 else f"%{byte:02x}" for letter in target for byte in [ord(letter) & 255]) or "/"
    )
