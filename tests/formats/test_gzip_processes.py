"""The same data gives the same gzip bytes in every process, although each has its memory at other addresses."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each begins with what comes again later, so that where the first bytes are remembered tells in the result.
PACK = """
import hashlib, random
from formats.gzip import compress
numbers = random.Random(1)
for _ in range(10_000):
    begin = numbers.randbytes(400)
    print(hashlib.md5(compress(begin + begin[:30] + begin[200:300])).hexdigest())
"""


def test_the_same_bytes_in_every_process() -> None:
    started = [subprocess.Popen([sys.executable, "-c", PACK], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    results = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert results[0].count("\n") == 10_000
    assert set(results) == {results[0]}


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 16, 17, 300, 1 << 16, (1 << 16) + 1])
def test_packed_in_two_parts_it_is_one_member(length: int) -> None:
    import gzip
    import zlib

    from formats.gzip import compress, decompress

    for data in (bytes(length), bytes(n * n % 251 for n in range(length))):
        packed = compress(data)
        assert gzip.decompress(packed) == data
        assert decompress(packed, length) == data
        reader = zlib.decompressobj(31)
        assert reader.decompress(packed) == data
        assert reader.eof
        assert not reader.unused_data
