"""Other implementations read, over HTTP from the running server, what `glassine convert` wrote."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.storage.reader import VolumeReader
from converters.storage.storage import open_storage
from formats.info import parse_volume_info

SHAPE = (70, 65, 33)
OFFSET = (-7, 5, -64)

# name, array (from x, y, z indices), flags, and who can read it. cloud-volume scrambles several channels of jpeg and png.
BOTH, TENSORSTORE, CLOUD_VOLUME = ("tensorstore", "cloud-volume"), ("tensorstore",), ("cloud-volume",)
CASES = [
    ("raw-uint8", "uint8", 1, ("--encoding", "raw"), BOTH),
    ("raw-flat", "uint8", 1, ("--encoding", "raw", "--layout", "flat"), BOTH),
    ("raw-int16", "int16", 1, ("--encoding", "raw"), BOTH),
    ("raw-float32", "float32", 1, ("--encoding", "raw"), BOTH),
    ("raw-rgb", "uint8", 3, ("--encoding", "raw"), BOTH),
    ("jpeg", "uint8", 1, ("--encoding", "jpeg"), BOTH),
    ("jpeg-rgb", "uint8", 3, ("--encoding", "jpeg"), TENSORSTORE),
    ("png-uint8", "uint8", 1, ("--encoding", "png"), TENSORSTORE),
    ("png-uint16", "uint16", 1, ("--encoding", "png"), TENSORSTORE),
    ("png-rgb", "uint8", 3, ("--encoding", "png"), TENSORSTORE),
    ("labels-uint32", "uint32", 1, ("--encoding", "compressed_segmentation"), BOTH),
    ("labels-uint64", "uint64", 1, ("--encoding", "compressed_segmentation"), BOTH),
    ("sharded-raw", "uint16", 1, ("--encoding", "raw", "--layout", "sharded", "--chunk-size", "16,8,16"), BOTH),
    ("sharded-jpeg", "uint8", 1, ("--encoding", "jpeg", "--layout", "sharded", "--chunk-size", "16,16,16"), BOTH),
    ("sharded-labels", "uint64", 1, ("--layout", "sharded", "--chunk-size", "8,16,8"), BOTH),
    ("compresso-uint64", "uint64", 1, ("--encoding", "compresso"), CLOUD_VOLUME),
]

_CLOUD_VOLUME = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from cloudvolume import CloudVolume
volume = CloudVolume("precomputed://" + sys.argv[1], mip=int(sys.argv[2]), progress=False, fill_missing=False)
np.save(sys.argv[3], np.asarray(volume[:, :, :]))
"""


def voxels_of(dtype: str, channels: int) -> NDArray[Any]:
    """Return [x, y, z, channel] that differ along each axis; labels come in clumps with ids that use all bits."""
    x, y, z, c = np.indices((*SHAPE, channels))
    if dtype in ("uint32", "uint64"):
        ids = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, 50, dtype, endpoint=True)
        return ids[(x // 9 + 3 * (y // 7) + 5 * (z // 5)) % 50]
    return (x + y + z + 20 * c).astype(dtype)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, glassine: Callable[..., str]) -> Path:
    """A folder with a dataset for each case."""
    folder = tmp_path_factory.mktemp("exchange")
    for name, dtype, channels, flags, _ in CASES:
        np.save(folder / f"{name}.npy", voxels_of(dtype, channels).T)
        axes = ("--axes", "czyx", "--resolution", "4,4,8", "--voxel-offset", ",".join(map(str, OFFSET)))
        glassine("convert", folder / f"{name}.npy", folder / "served" / name, *flags, *axes, "--executor", "serial")
    return folder / "served"


@pytest.fixture(scope="module")
def url(datasets: Path, serving: Callable[[Path], AbstractContextManager[str]]) -> Any:
    with serving(datasets) as base:
        yield base


def by_tensorstore(address: str, scale: int, folder: Path) -> NDArray[Any]:
    import tensorstore

    base, path = address.split("/data/")
    store = {"driver": "http", "base_url": base, "path": f"/data/{path}/"}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": store, "scale_index": scale}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def by_cloud_volume(address: str, scale: int, folder: Path) -> NDArray[Any]:
    """Read in a process of its own: cloud-volume warns, and patches what other tests use."""
    target = folder / "read.npy"
    subprocess.run([sys.executable, "-c", _CLOUD_VOLUME, address, str(scale), str(target)], check=True, timeout=120)
    return np.load(target)


READERS = {"tensorstore": by_tensorstore, "cloud-volume": by_cloud_volume}


@pytest.mark.parametrize(("name", "reader"), [(case[0], reader) for case in CASES for reader in case[4]])
def test_read_over_http(name: str, reader: str, datasets: Path, url: str, tmp_path: Path) -> None:
    info = parse_volume_info((datasets / name / "info").read_bytes())
    layout = json.loads((datasets / name / ".glassine/record.json").read_bytes())["options"]["layout"]
    ours = VolumeReader(open_storage(datasets / name, "nested" if layout == "auto" else layout), info)
    assert info.scales[0].voxel_offset == OFFSET
    assert all((scale.sharding is not None) == (layout == "sharded") for scale in info.scales)
    # tensorstore takes every scale; cloud-volume is slow to start and takes the finest and the coarsest.
    scales = range(len(info.scales)) if reader == "tensorstore" else (0, len(info.scales) - 1)
    for scale in scales:
        expected = ours.read(info.scales[scale], info.scales[scale].grid().box)
        read = READERS[reader](f"{url}/data/{name}", scale, tmp_path)
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)
    case = next(case for case in CASES if case[0] == name)
    original = voxels_of(case[1], case[2])
    finest = ours.read(info.scales[0], info.scales[0].grid().box)
    if "jpeg" in case[3]:
        assert np.abs(finest.astype(int) - original).mean() < 6
    else:
        np.testing.assert_array_equal(finest, original)
