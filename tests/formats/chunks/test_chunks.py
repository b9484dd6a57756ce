"""What holds for every encoding: which go with which voxels, memory order, sizes, and what is imported."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from formats.chunks import GZIPPED, ChunkFormat, check_chunk_format, check_chunk_size, decode_chunk, encode_chunk
from formats.errors import DecodeError, EncodeError
from formats.grid import Triple

ALL_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")

# What the stock viewer decodes, by hand from its decoders.
ACCEPTED = {
    "raw": [(data_type, channels) for data_type in ALL_TYPES for channels in (1, 2, 3, 4, 5)],
    "jpeg": [("uint8", 1), ("uint8", 3)],
    "png": [(data_type, channels) for data_type in ("uint8", "uint16") for channels in (1, 2, 3, 4)],
    "jxl": [("uint8", 1)],
    "compressed_segmentation": [(data_type, channels) for data_type in ("uint32", "uint64") for channels in (1, 2, 3, 4, 5)],
    "compresso": [("uint8", 1), ("uint16", 1), ("uint32", 1), ("uint64", 1)],
}
LOSSLESS = [ChunkFormat(encoding, *rest) for encoding, pairs in ACCEPTED.items() if encoding != "jpeg" for rest in pairs]


def named(chunk_format: ChunkFormat) -> str:
    return f"{chunk_format.encoding}-{chunk_format.data_type}-{chunk_format.num_channels}"


@pytest.mark.parametrize("encoding", ACCEPTED)
def test_each_encoding_is_for_the_voxels_that_the_viewer_takes(encoding: str) -> None:
    taken = []
    for data_type in ALL_TYPES:
        for channels in (1, 2, 3, 4, 5):
            try:
                check_chunk_format(ChunkFormat(encoding, data_type, channels))
            except EncodeError:
                continue
            taken.append((data_type, channels))
    assert taken == ACCEPTED[encoding]


@pytest.mark.parametrize(
    ("chunk_format", "message"),
    [
        (ChunkFormat("jpeg", "uint16"), "encoding jpeg cannot hold uint16 with 1 channel.* use raw or png or compresso$"),
        (ChunkFormat("jxl", "uint8", 3), "encoding jxl cannot hold uint8 with 3 channel.* use raw or jpeg or png$"),
        (ChunkFormat("compressed_segmentation", "uint8"), "use raw or jpeg or png or jxl or compresso$"),
        (ChunkFormat("png", "float32"), "encoding png cannot hold float32 with 1 channel.* use raw$"),
        (ChunkFormat("zfpc", "float32"), "encoding zfpc cannot hold float32 with 1 channel.* use raw$"),
        (ChunkFormat("raw", "int64"), "data type 'int64' is none of the viewer's: uint8, int8"),
        (ChunkFormat("raw", "uint8", 0), "0 channels, expected at least 1"),
        (ChunkFormat("jpeg", "uint8", jpeg_quality=101), "jpeg quality 101, expected 0 to 100"),
        (ChunkFormat("compressed_segmentation", "uint32", 1, (8, 0, 8)), r"block size \(8, 0, 8\), expected 1 to 65536 voxels"),
        (ChunkFormat("compressed_segmentation", "uint32", 1, (64, 64, 64)), "expected 1 to 65536 voxels in all; 8,8,8 is usual"),
    ],
)
def test_a_refusal_says_what_would_do(chunk_format: ChunkFormat, message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        check_chunk_format(chunk_format)
    with pytest.raises(EncodeError, match=message):
        encode_chunk(np.zeros((1, 1, 1, 1), np.uint8), chunk_format)
    with pytest.raises(DecodeError, match=message):
        decode_chunk(b"", (1, 1, 1), chunk_format)


def test_gzip_is_for_encodings_that_do_not_compress_to_the_last_bit() -> None:
    assert {"raw", "compressed_segmentation", "compresso"} == GZIPPED


def test_voxels_of_another_type_or_shape_are_refused() -> None:
    chunk_format = ChunkFormat("raw", "uint16", 2)
    with pytest.raises(EncodeError, match="voxels are >u2, expected uint16"):
        encode_chunk(np.zeros((2, 2, 2, 2), ">u2"), chunk_format)
    for shape in ((2, 2, 2), (2, 2, 2, 1), (2, 0, 2, 2)):
        with pytest.raises(EncodeError, match=r"voxels have shape .* expected \[x, y, z, 2\]"):
            encode_chunk(np.zeros(shape, np.uint16), chunk_format)


@pytest.mark.parametrize(
    ("encoding", "shape", "message"),
    [
        (
            "jpeg",
            (1, 257, 255),
            "jpeg cannot hold chunks of 1 x 257 x 255 voxels: as pictures of 1 x 65535 pixels they are longer",
        ),
        ("jpeg", (65501, 1, 1), "as pictures of 65501 x 1 pixels they are longer than 65500; use smaller chunks"),
        ("png", (1, 1001, 1000), "as pictures of 1 x 1001000 pixels they are longer than 1000000; use smaller chunks"),
        ("compresso", (1, 65536, 1), "voxels: they have more than 65535 along an axis; use smaller chunks"),
    ],
)
def test_chunks_larger_than_their_encoding_holds_are_refused(encoding: str, shape: Triple, message: str) -> None:
    chunk_format = ChunkFormat(encoding, "uint8")
    with pytest.raises(EncodeError, match=message):
        check_chunk_size(shape, chunk_format)
    with pytest.raises(EncodeError, match=message):
        encode_chunk(np.zeros((*shape, 1), np.uint8), chunk_format)


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [
        ("jpeg", (2, 262, 250)),
        ("png", (1, 1000, 1000)),
        ("jxl", (1, 1001, 1000)),
        ("compresso", (65535, 1, 1)),
        ("raw", (1, 1, 70000)),
    ],
)
def test_the_largest_chunks_of_an_encoding_come_back(encoding: str, shape: Triple) -> None:
    chunk_format = ChunkFormat(encoding, "uint8")
    voxels = np.ones((*shape, 1), np.uint8)
    np.testing.assert_array_equal(decode_chunk(encode_chunk(voxels, chunk_format), shape, chunk_format), voxels)


@pytest.mark.parametrize("chunk_format", [*LOSSLESS, ChunkFormat("jpeg", "uint8"), ChunkFormat("jpeg", "uint8", 3)], ids=named)
def test_memory_order_makes_no_difference(chunk_format: ChunkFormat) -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 5, (20, 13, 9, chunk_format.num_channels)).astype(chunk_format.data_type)
    box = np.s_[3:17, 2:13, 4:9]
    cutout = block[box]
    read_only = np.asfortranarray(cutout)
    read_only.flags.writeable = False
    backwards = np.ascontiguousarray(cutout[::-1, :, ::-1])[::-1, :, ::-1]
    ways = [cutout, np.asfortranarray(block)[box], np.ascontiguousarray(cutout), read_only, backwards]
    assert len({encode_chunk(voxels, chunk_format) for voxels in ways}) == 1


@st.composite
def chunks(draw: st.DrawFn) -> tuple[NDArray[Any], ChunkFormat]:
    chunk_format = draw(st.sampled_from(LOSSLESS))
    shape = (*draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=19)), chunk_format.num_channels)
    return draw(hnp.arrays(chunk_format.data_type, shape)), chunk_format


@settings(max_examples=150)
@given(chunks())
def test_lossless_chunks_come_back(chunk: tuple[NDArray[Any], ChunkFormat]) -> None:
    voxels, chunk_format = chunk
    x, y, z, _ = voxels.shape
    decoded = decode_chunk(encode_chunk(voxels, chunk_format), (x, y, z), chunk_format)
    np.testing.assert_array_equal(decoded, voxels)
    assert decoded.dtype == voxels.dtype
    assert decoded.flags.f_contiguous
    assert decoded.flags.writeable


@pytest.mark.parametrize("chunk_format", [*LOSSLESS, ChunkFormat("jpeg", "uint8"), ChunkFormat("jpeg", "uint8", 3)], ids=named)
def test_a_chunk_cut_off_is_refused(chunk_format: ChunkFormat) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (9, 8, 7, chunk_format.num_channels)).astype(chunk_format.data_type)
    data = encode_chunk(voxels, chunk_format)
    # The last chunk of a PNG, 12 bytes, tells nothing but that it is the last.
    least = 13 if chunk_format.encoding == "png" else 1
    for length in {0, 1, 3, 4, 12, 30, len(data) // 2, len(data) - 20, len(data) - least}:
        with pytest.raises(DecodeError, match=chunk_format.encoding):
            decode_chunk(data[:length], (9, 8, 7), chunk_format)


@pytest.mark.parametrize("chunk_format", [*LOSSLESS, ChunkFormat("jpeg", "uint8"), ChunkFormat("jpeg", "uint8", 3)], ids=named)
def test_a_chunk_of_another_size_is_refused(chunk_format: ChunkFormat) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (9, 8, 7, chunk_format.num_channels)).astype(chunk_format.data_type)
    data = encode_chunk(voxels, chunk_format)
    # compressed_segmentation does not tell its size: 9 x 8 x 7 and 10 x 8 x 7 have the same blocks.
    larger = (17, 9, 9) if chunk_format.encoding == "compressed_segmentation" else (10, 8, 7)
    for shape in (larger, (2000, 2000, 2000)):
        with pytest.raises(DecodeError, match="expected"):
            decode_chunk(data, shape, chunk_format)


USES = {
    "raw": set(),
    "jpeg": {"imagecodecs"},
    "compressed_segmentation": {"compressed_segmentation"},
    "compresso": {"compresso"},
}


@pytest.mark.parametrize("encoding", USES)
def test_a_worker_loads_only_the_library_that_it_uses(encoding: str) -> None:
    data_type = "uint32" if encoding == "compressed_segmentation" else "uint8"
    program = f"""
import sys, numpy
from formats.chunks import ChunkFormat, encode_chunk
encode_chunk(numpy.zeros((4, 4, 4, 1), {data_type!r}), ChunkFormat({encoding!r}, {data_type!r}))
print({{"imagecodecs", "compressed_segmentation", "compresso", "pydantic"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(USES[encoding] or "set()")


# Each decoder is given streams with a few bytes changed, cut off or repeated; a crash would end this process.
MUTATIONS = """
import sys, numpy
from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError
encoding, data_type, channels = sys.argv[1], sys.argv[2], int(sys.argv[3])
chunk_format = ChunkFormat(encoding, data_type, channels)
rng = numpy.random.default_rng(0)
labels = rng.integers(0, 250, (6, 4, 3, channels)).repeat(3, 0).repeat(3, 1).repeat(3, 2)[:17, :11, :7]
data = encode_chunk(labels.astype(data_type), chunk_format)
decoded = refused = 0
for n in range(600):
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = rng.integers(len(changed) if n % 2 else min(64, len(changed)))
        changed[place] = rng.integers(256) if n % 3 else rng.choice([0, 1, 127, 128, 255])
    if n % 7 == 0:
        del changed[rng.integers(len(changed)):]
    if n % 11 == 0:
        changed += changed[rng.integers(len(changed) + 1):]
    try:
        voxels = decode_chunk(bytes(changed), (17, 11, 7), chunk_format)
    except DecodeError:
        refused += 1
    else:
        decoded += 1
        assert voxels.shape == (17, 11, 7, channels) and voxels.dtype == data_type
assert refused > 100
print("survived")
"""


@pytest.mark.parametrize(
    "chunk_format",
    [
        *(
            ChunkFormat("compressed_segmentation", data_type, channels)
            for data_type in ("uint32", "uint64")
            for channels in (1, 2)
        ),
        *(ChunkFormat("compresso", data_type) for data_type in ("uint8", "uint64")),
        *(ChunkFormat("jpeg", "uint8", channels) for channels in (1, 3)),
        *(ChunkFormat("png", data_type, 3) for data_type in ("uint8", "uint16")),
        ChunkFormat("jxl", "uint8"),
    ],
    ids=named,
)
def test_no_mutation_crashes_a_decoder(chunk_format: ChunkFormat) -> None:
    arguments = [chunk_format.encoding, chunk_format.data_type, str(chunk_format.num_channels)]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", MUTATIONS, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-3000:]
