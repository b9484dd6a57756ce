"""Files made wrong in the ways in which formats break: bits, ends, lengths and counts, blocks, JSON members, packed streams."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any

Samples = Sequence[bytes]
Mutation = Callable[[Samples, Random], bytes]
"""Returns a wrong file made from valid ones."""

_MOST_BYTES = 1 << 20
_WIDTHS = (1, 2, 4, 8)
_LARGE = (
    "18446744073709551616",
    "-1",
    "0",
    "1e308",
    "1e999",
    "9007199254740993",
    "4294967296",
    "0.5",
    "1" * 400,
    "-0",
    "2147483648",
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    3,
    16,
    1,
    2,
    0.5,
    64,
    65,
    1 << 31,
    1 << 53,
    1 << 64,
    -(1 << 63),
    1e308,
    10**400,
    "",
    "\0",
    "../..",
    "\ud800",
    "é" * 100,
    [],
    {},
    [[]],
    [None],
    [1, 2],
    [1, 2, 3, 4],
    [0, 0, 0],
    ["1"],
    [[1, 1, 1]] * 3,
    {"@type": None},
    [1e308] * 3,
)


def of_bytes(samples: Samples, random: Random) -> bytes:
    """Change a file's bytes, knowing nothing of it."""
    data = bytearray(random.choice(samples))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        data = random.choice(_WAYS)(data, samples, random)
    return bytes(data[:_MOST_BYTES])


def of_words(samples: Samples, random: Random) -> bytes:
    """Change numbers near a file's begin, where formats tell lengths, counts and offsets."""
    data = bytearray(random.choice(samples))
    for _ in range(random.choice((1, 1, 2, 4))):
        data = _set_number(data, samples, random, within=random.choice((16, 64, 256)))
    return bytes(data)


def of_text(samples: Samples, random: Random) -> bytes:
    """Change the numbers that are written out in a text, or its lines."""
    text = random.choice(samples).decode("latin-1")
    lines = text.split("\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        way, place = random.randrange(5), random.randrange(len(lines))
        if way == 0:
            words = lines[place].split(" ")
            words[random.randrange(len(words))] = random.choice((*_LARGE, "nan", "inf", "", "x", "#", "1_0", "\xb2"))
            lines[place] = " ".join(words)
        elif way == 1:
            lines.insert(place, lines[random.randrange(len(lines))])
        elif way == 2:
            del lines[place]
            lines = lines or [""]
        elif way == 3:
            other = random.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        else:
            lines[place] = of_bytes([lines[place].encode("latin-1", "replace") or b" "], random).decode("latin-1")
    return "\n".join(lines).encode("latin-1", "replace")[:_MOST_BYTES]


def of_json(samples: Samples, random: Random) -> bytes:
    """Change members of a JSON file, or its text."""
    if random.random() < 0.1:
        return random.choice((b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"scales":' + b"[" * 950 + b"]" * 950 + b"}"))
    value = json.loads(random.choice(samples))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        value = _json_changed(value, random)
    text = json.dumps(value)
    if random.random() < 0.2:
        digits = [place for place, letter in enumerate(text) if letter.isdigit()] or [0]
        place = random.choice(digits)
        text = text[:place] + random.choice((*_LARGE, "NaN", "-Infinity", "01")) + text[place + 1 :]
    return of_bytes([text.encode()], random) if random.random() < 0.2 else text.encode()


def packed_by_gzip(inner: Mutation) -> Mutation:
    """Change what a gzip file holds, or the gzip itself."""

    def mutate(samples: Samples, random: Random) -> bytes:
        if random.random() < 0.3:
            return of_bytes(samples, random)
        return gzip.compress(inner([gzip.decompress(one) for one in samples], random), 1, mtime=0)

    return mutate


def of_png(samples: Samples, random: Random) -> bytes:
    """Change the chunks of a PNG and make their checksums right again, without which nothing behind them is looked at."""
    chunks = _png_chunks(random.choice(samples))
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(chunks))
        kind, data = chunks[place]
        way = random.randrange(5)
        if way == 0 and kind == b"IDAT":
            chunks[place] = kind, zlib.compress(of_bytes([_inflated(data)], random))
        elif way <= 2:
            chunks[place] = kind, of_bytes([data or b"\0"], random)
        elif way == 3:
            chunks.insert(random.randrange(len(chunks)), (random.choice((b"PLTE", b"tRNS", b"IDAT", b"IHDR", kind)), data))
        elif len(chunks) > 1:
            del chunks[place]
    made = (len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def any_of(*mutations: Mutation) -> Mutation:
    """Change a file in one of several ways."""
    return lambda samples, random: random.choice(mutations)(samples, random)


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def _inflated(data: bytes) -> bytes:
    with suppress(zlib.error):
        return zlib.decompress(data)
    return bytes(len(data))


def _json_changed(value: Any, random: Random) -> Any:
    """Return a JSON value with one of its parts taken out, doubled or replaced; each part is as likely as any other."""
    *above, key = random.choice(list(_paths(value))) or (None,)
    if key is None:
        return deepcopy(random.choice(_ODD))
    holder = value
    for step in above:
        holder = holder[step]
    way = random.random()
    if way < 0.15:
        del holder[key]
    elif way < 0.3 and isinstance(holder, list):
        holder.insert(key, deepcopy(holder[key]))
    elif way < 0.4 and type(holder[key]) is int:
        holder[key] += random.choice((-1, 1, 2, 20, 1 << 32))
    else:
        holder[key] = deepcopy(random.choice(_ODD))
    return value


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a JSON value, the empty one to itself first."""
    yield ()
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        for path in _paths(member):
            yield key, *path


def _flip(data: bytearray, samples: Samples, random: Random) -> bytearray:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data


def _set_byte(data: bytearray, samples: Samples, random: Random) -> bytearray:
    if data:
        data[random.randrange(len(data))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return data


def _set_number(data: bytearray, samples: Samples, random: Random, within: int | None = None) -> bytearray:
    """Write a number as large, small or as near to the file's length as lengths may be."""
    width = random.choice(_WIDTHS)
    if len(data) < width:
        return data
    place = random.randrange(min(len(data), within or len(data)) - width + 1) if within is None or within > width else 0
    if random.random() < 0.5:
        place -= place % width
    length = len(data)
    numbers = (
        0,
        1,
        2,
        -1,
        -2,
        1 << (8 * width - 1),
        (1 << (8 * width - 1)) - 1,
        length,
        length - 1,
        length + 1,
        length // 2,
        1 << 24,
        1 << 16,
        0x10000 // 3,
        random.getrandbits(8 * width),
    )
    number = random.choice(numbers) & ((1 << 8 * width) - 1)
    data[place : place + width] = number.to_bytes(width, random.choice(("little", "little", "big")))
    return data


def _cut(data: bytearray, samples: Samples, random: Random) -> bytearray:
    return data[: random.randrange(len(data) + 1)]


def _grow(data: bytearray, samples: Samples, random: Random) -> bytearray:
    return data + random.choice((bytes(1), bytes(4), bytes(4096), random.randbytes(random.randrange(1, 64))))


def _block(data: bytearray, random: Random) -> slice:
    start = random.randrange(len(data) + 1)
    return slice(start, start + random.choice((1, 2, 4, 8, 12, 16, 64, 1024)))


def _remove(data: bytearray, samples: Samples, random: Random) -> bytearray:
    del data[_block(data, random)]
    return data


def _double(data: bytearray, samples: Samples, random: Random) -> bytearray:
    block = data[_block(data, random)] * random.choice((1, 1, 2, 16))
    place = random.randrange(len(data) + 1)
    data[place:place] = block
    return data


def _swap(data: bytearray, samples: Samples, random: Random) -> bytearray:
    one, other = _block(data, random), _block(data, random)
    data[one], data[other] = data[other], data[one]
    return data


def _splice(data: bytearray, samples: Samples, random: Random) -> bytearray:
    """Go on with another file from the same or another place on."""
    other = random.choice(samples)
    place = random.randrange(len(data) + 1)
    begin = place if random.random() < 0.7 else random.randrange(len(other) + 1)
    return data[:place] + other[begin:]


_WAYS = (_flip, _flip, _set_byte, _set_number, _set_number, _cut, _grow, _remove, _double, _swap, _splice)
