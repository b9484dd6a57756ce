"""Whole conversions of volumes of any shape, place, resolution and size of blocks: nothing is open, ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.conversion import make_meshes
from converters.meshes.reading import open_meshes
from converters.options import ConvertOptions, MeshOptions
from converters.volumes.conversion import convert
from formats.meshes.mesh import boundary_edges, welded
from tests.converters.meshes.measuring import blobs

lengths = st.floats(3, 60).map(lambda length: round(length, 2))


def voxels_of(shape, seed, noise):
    """Smooth objects, or noise of some ids that are large."""
    if noise:
        return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint64) * (2**64 // 4 - 1)
    return blobs(shape, seed, 1.5)


@settings(max_examples=6)
@given(
    shape=st.tuples(*[st.integers(1, 18)] * 3),
    block=st.tuples(*[st.integers(7, 18)] * 3),
    offset=st.tuples(*[st.integers(-50, 50)] * 3),
    resolution=st.tuples(lengths, lengths, lengths) | st.just((11.24, 11.24, 28.0)),
    form=st.sampled_from([{"layout": "files"}, {"layout": "sharded"}, {"format": "legacy"}]),
    room=st.sampled_from([300, 10**6]),
    max_error=st.sampled_from([None, 4.0, 60.0]),
    told=st.tuples(st.integers(0, 1000), st.booleans()),
)
def test_no_seam_is_open_ever(tmp_path_factory, shape, block, offset, resolution, form, room, max_error, told):
    folder, voxels = tmp_path_factory.mktemp("volume"), voxels_of(shape, *told)
    voxels.flat[0] = 7
    np.save(folder / "labels.npy", voxels)
    options = ConvertOptions(
        axes="xyz", type="segmentation", resolution=resolution, voxel_offset=offset, chunk_size=(8, 8, 8), executor="serial",
        scales=1,
    )  # fmt: skip
    convert(folder / "labels.npy", folder / "d", options, lambda progress: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converters.meshes.plan._LARGEST_BLOCK", block)
        patch.setattr("converters.meshes.plan._GROUP_SEGMENTS", 2)
        patch.setattr("converters.meshes.conversion.room_for_triangles", lambda budget: room)
        make_meshes(
            folder / "d", MeshOptions(executor="serial", memory="1GB", max_error=max_error, **form), lambda progress: None
        )
    meshes = open_meshes(folder / "d")
    assert meshes.segments().tolist() == sorted(set(np.unique(voxels).tolist()) - {0})
    for segment in meshes.segments().tolist():
        places = np.argwhere(voxels == segment) + offset
        for lod in range(meshes.levels(segment)):
            mesh = welded(meshes.read(segment, lod))
            assert boundary_edges(mesh) == 0
            assert mesh.volume > 0
            margin = np.array(resolution) * (1 + 3**lod * (max_error or max(resolution)) / min(resolution))
            assert (mesh.box[0] >= places.min(axis=0) * resolution - margin).all()
            assert (mesh.box[1] <= (places.max(axis=0) + 1) * resolution + margin).all()
