"""jpeg, png and jxl, with Pillow as the other implementation where it has one."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError

SHAPE = (20, 6, 5)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def smooth(channels: int) -> NDArray[np.uint8]:
    x, y, z, c = np.indices((*SHAPE, channels))
    return (3 * x + 5 * y + 15 * z + 30 * c).astype(np.uint8)


def noise(channels: int, data_type: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(data_type).max, (*SHAPE, channels), data_type, endpoint=True)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(voxels: NDArray[np.uint8], width: int, kind: str, **options: Any) -> bytes:
    """Return voxels as a picture of this width, pixel after pixel in the order x, y, z."""
    pixels = [[tuple(voxels[x, y, z]) for z in range(5) for y in range(6) for x in range(20)]]
    samples = np.array(pixels, np.uint8).reshape(-1, width, voxels.shape[3])
    return saved(Image.fromarray(samples[..., 0] if voxels.shape[3] == 1 else samples), kind, **options)


@pytest.mark.parametrize(("encoding", "channels"), [("jpeg", 1), ("jpeg", 3), ("png", 1), ("png", 2), ("png", 3), ("png", 4)])
def test_pillow_sees_x_wide_and_y_times_z_high(encoding: str, channels: int) -> None:
    voxels = smooth(channels)
    picture = Image.open(io.BytesIO(encode_chunk(voxels, ChunkFormat(encoding, "uint8", channels, jpeg_quality=95))))
    assert (picture.size, picture.mode) == ((20, 30), MODES[channels])
    for x, y, z in ((0, 0, 0), (19, 0, 0), (7, 5, 0), (3, 2, 4), (19, 5, 4)):
        found = np.atleast_1d(picture.getpixel((x, y + 6 * z))).astype(int)
        assert np.abs(found - voxels[x, y, z]).max() <= (0 if encoding == "png" else 24)


def test_pillow_reads_16_bits() -> None:
    voxels = noise(1, "uint16")
    picture = Image.open(io.BytesIO(encode_chunk(voxels, ChunkFormat("png", "uint16"))))
    assert picture.getpixel((3, 2 + 6 * 4)) == voxels[3, 2, 4, 0]


@pytest.mark.parametrize("width", [20, 120, 1, 600, 50])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_any_width_is_read(width: int, channels: int) -> None:
    voxels = noise(channels)
    data = by_pillow(voxels, width, "PNG")
    np.testing.assert_array_equal(decode_chunk(data, SHAPE, ChunkFormat("png", "uint8", channels)), voxels)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [20, 120])
def test_jpeg_of_any_kind_is_read(width: int, channels: int, options: dict[str, Any]) -> None:
    voxels = smooth(channels)
    data = by_pillow(voxels, width, "JPEG", quality=95, **options)
    decoded = decode_chunk(data, SHAPE, ChunkFormat("jpeg", "uint8", channels))
    by_them = np.asarray(Image.open(io.BytesIO(data))).reshape(5, 6, 20, channels).transpose(2, 1, 0, 3)
    assert np.abs(decoded.astype(int) - by_them).max() <= 4
    assert np.abs(decoded.astype(int) - voxels).mean() < 6


def test_jpeg_is_as_libjpeg_makes_it_at_the_same_quality() -> None:
    for channels in (1, 3):
        for quality in (30, 85, 100):
            chunk_format = ChunkFormat("jpeg", "uint8", channels, jpeg_quality=quality)
            ours: Any = Image.open(io.BytesIO(encode_chunk(smooth(channels), chunk_format)))
            theirs: Any = Image.open(io.BytesIO(by_pillow(smooth(channels), 20, "JPEG", quality=quality)))
            assert ours.quantization == theirs.quantization
            assert [layer[1:3] for layer in ours.layer] == [layer[1:3] for layer in theirs.layer]


def test_a_palette_is_read_as_its_colours() -> None:
    picture = Image.fromarray(np.arange(600, dtype=np.uint8).reshape(30, 20) % 16, "P")
    picture.putpalette([n * 5 for n in range(48)])
    decoded = decode_chunk(saved(picture, "PNG"), SHAPE, ChunkFormat("png", "uint8", 3))
    assert decoded[5, 0, 0].tolist() == [75, 80, 85]


def test_grey_of_few_bits_is_read_as_bytes() -> None:
    picture = Image.fromarray(np.indices((30, 20)).sum(0) % 2 == 0)
    assert decode_chunk(saved(picture, "PNG"), SHAPE, ChunkFormat("png", "uint8"))[:3, 0, 0, 0].tolist() == [255, 0, 255]


@pytest.mark.parametrize(
    "size", [(8, 8), (16, 8), (256, 256), (300, 200), (40, 30), (12, 10), (16, 9), (2, 1), (700, 31), (1, 9000)]
)
@pytest.mark.parametrize("container", [False, True])
def test_jxl_of_any_size_is_read(size: tuple[int, int], container: bool) -> None:
    """The header packs sizes in many ways: eighths, ratios of width to height, 9 to 30 bits."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, usecontainer=container))
    assert data.startswith(b"\0\0\0\x0cJXL ") == container
    np.testing.assert_array_equal(decode_chunk(data, (width, height, 1), ChunkFormat("jxl", "uint8"))[..., 0, 0], pixels.T)
    with pytest.raises(DecodeError, match=f"jxl chunk has {width} x {height} pixels of 1 x 8 bits, expected {width + 1} pixels"):
        decode_chunk(data, (width + 1, 1, 1), ChunkFormat("jxl", "uint8"))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int) -> bytes:
    """Return a PNG of this size whose data are those of 600 grey pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(30 * 21))) + png_chunk(b"IEND", b"")


def test_the_png_of_the_tests_is_one() -> None:
    assert not decode_chunk(png(20, 30, 8, 0), SHAPE, ChunkFormat("png", "uint8")).any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(100_000, 1_000_000, 8, 0), "png chunk has 100000 x 1000000 pixels of 1 x 8 bits, expected 600 pixels"),
        (png(20, 30, 16, 0), r"20 x 30 pixels of 1 x 16 bits, expected 600 pixels \(20 x 6 x 5 voxels\) of 1 x 8 bits"),
        (png(20, 30, 8, 6), "20 x 30 pixels of 4 x 8 bits"),
        (png(20, 30, 8, 3), "20 x 30 pixels of 3 x 8 bits"),
        (png(20, 30, 8, 5), "begins with 89504e47.* expected the header of a PNG"),
        (png(40, 15, 8, 4), "of 2 x 8 bits"),
        (png(30, 20, 8, 0)[:-30] + bytes(30), "png chunk of .* bytes is corrupt"),
        (b"GIF89a" + bytes(60), "png chunk of 66 bytes begins with 474946"),
        (b"", "png chunk of 0 bytes begins with , expected the header of a PNG"),
    ],
)
def test_a_wrong_png_is_told_before_it_is_unpacked(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_chunk(data, SHAPE, ChunkFormat("png", "uint8"))


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return a baseline JPEG that says it is of another size."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


GREY = saved(Image.new("L", (20, 30), 77), "JPEG")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_size(GREY, 60_000, 60_000), "jpeg chunk has 60000 x 60000 pixels of 1 x 8 bits, expected 600 pixels"),
        (with_size(GREY, 20, 0), "jpeg chunk has 20 x 0 pixels"),
        (saved(Image.new("RGB", (20, 30)), "JPEG"), "20 x 30 pixels of 3 x 8 bits, expected 600 pixels .* of 1 x 8 bits"),
        (saved(Image.new("CMYK", (20, 30)), "JPEG"), "20 x 30 pixels of 4 x 8 bits"),
        (bytes(imagecodecs.jpeg8_encode(np.zeros((30, 20), np.uint16), bitspersample=12)), "of 1 x 12 bits, expected"),
        (GREY[:-2], "jpeg chunk of .* bytes is cut off: it has no end of image"),
        (GREY[: GREY.index(b"\xff\xda")], "expected the headers of a JPEG"),
        (GREY[: GREY.index(b"\xff\xc0") + 6], "expected the headers of a JPEG"),
        (GREY.replace(b"\xff\xdb", b"\xff\xfe"), "is corrupt"),
        (b"\x89PNG\r\n\x1a\n", "jpeg chunk of 8 bytes begins with 89504e470d0a1a0a, expected the headers of a JPEG"),
        (b"\xff\xd8" + b"\xff\xfe\x00\x00" * 5, "expected the headers of a JPEG"),
        (b"", "expected the headers of a JPEG"),
    ],
)
def test_a_wrong_jpeg_is_told_before_it_is_unpacked(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_chunk(data, SHAPE, ChunkFormat("jpeg", "uint8"))


def jxl(make: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> bytes:
    pixels = np.arange(600, dtype=np.uint8).reshape(30, 20)
    return bytes(imagecodecs.jpegxl_encode(make(pixels), lossless=True))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jxl(lambda pixels: np.dstack([pixels] * 3)), "jxl chunk of .* bytes is corrupt"),
        (jxl(lambda pixels: np.dstack([pixels] * 2)), "is corrupt"),
        (jxl(lambda pixels: pixels.astype(np.uint16) * 250), "is corrupt"),
        (jxl(lambda pixels: pixels[:, :19]), "jxl chunk has 19 x 30 pixels of 1 x 8 bits, expected 600 pixels"),
        # 30 bits each of width and height: the largest that the header can tell.
        (b"\xff\x0a\xfe" + b"\xff" * 3 + b"\xf1" + b"\xff" * 5, "jxl chunk has 1073741824 x"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\0free" * 9, "expected a JPEG XL codestream"),
        (
            b"\0\0\0\x0cJXL \r\n\x87\n",
            "jxl chunk of 12 bytes begins with 0000000c4a584c200d0a870a, expected a JPEG XL codestream",
        ),
        (GREY, "expected a JPEG XL codestream"),
        (b"", "jxl chunk of 0 bytes begins with , expected a JPEG XL codestream"),
    ],
)
def test_a_wrong_jxl_is_told(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_chunk(data, SHAPE, ChunkFormat("jxl", "uint8"))
