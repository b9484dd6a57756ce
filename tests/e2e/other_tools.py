"""Datasets as other tools write them, each by the tool itself but for igneous' meshes; run as a program: cloud-volume patches
what other tests use.

`python other_tools.py FOLDER`; the voxels are those of FOLDER/image.npy and FOLDER/labels.npy, [x, y, z].
"""

import gzip
import json
import sys
import warnings
from pathlib import Path

import numpy as np

RESOLUTION = (8, 8, 10)
CHUNK = (32, 32, 16)
OFFSET = (4, 5, -6)
ATTRIBUTES = [{"id": "radius", "data_type": "float32", "num_components": 1}]
"""Of skeletons: the viewer refuses the uint8 vertex_types that cloud-volume would add."""
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "hash": "murmurhash3_x86_128",
    "preshift_bits": 1,
    "minishard_bits": 2,
    "shard_bits": 1,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def cloud_volume(folder: Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Write an image in each compression, and labels with skeletons, as cloud-volume does."""
    from cloudvolume import CloudVolume, Skeleton

    for name, compress in (("cloud-volume-gzip", "gzip"), ("cloud-volume-br", "br"), ("cloud-volume-plain", False)):
        info = CloudVolume.create_new_info(
            1, "image", "uint8", "raw", RESOLUTION, OFFSET, chunk_size=CHUNK, volume_size=image.shape
        )
        volume = CloudVolume(f"file://{folder}/{name}", info=info, compress=compress, progress=False)
        volume.commit_info()
        volume.commit_provenance()
        volume[:, :, :] = image[..., np.newaxis]
    info = CloudVolume.create_new_info(
        1, "segmentation", "uint64", "compressed_segmentation", RESOLUTION, OFFSET,
        chunk_size=CHUNK, volume_size=labels.shape, mesh="mesh", skeletons="skeletons",
    )  # fmt: skip
    volume = CloudVolume(f"file://{folder}/cloud-volume-labels", info=info, progress=False)
    volume.commit_info()
    volume.skeleton.meta.info["vertex_attributes"] = ATTRIBUTES
    volume.skeleton.meta.commit_info()
    volume[:, :, :] = labels[..., np.newaxis]
    for segment in np.unique(labels)[1:].tolist():
        vertices, edges = _path(labels, segment)
        volume.skeleton.upload(Skeleton(vertices, edges, segid=segment, extra_attributes=ATTRIBUTES))
    igneous_meshes(folder / "cloud-volume-labels/mesh", labels)


def igneous_image(folder: Path, image: np.ndarray) -> None:
    """Write a sharded image as igneous' ImageShardTransferTask does: with the shards that cloud-volume makes."""
    from cloudfiles import CloudFiles
    from cloudvolume import CloudVolume
    from cloudvolume.lib import Bbox

    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", RESOLUTION, OFFSET, chunk_size=CHUNK, volume_size=image.shape)
    told = {"hash": "identity", "preshift_bits": 0, "minishard_bits": 3, "shard_bits": 0}
    info["scales"][0]["sharding"] = {**SHARDING, **told}
    volume = CloudVolume(f"file://{folder}/igneous-sharded", info=info, progress=False)
    volume.commit_info()
    name, shard = volume.image.make_shard(image[..., np.newaxis], Bbox((0, 0, 0), image.shape) + OFFSET)
    CloudFiles(f"file://{folder}/igneous-sharded/{info['scales'][0]['key']}").put(name, shard, compress=False)


def igneous_skeletons(folder: Path, labels: np.ndarray) -> None:
    """Write sharded skeletons as igneous' ShardedSkeletonMergeTask does: with the shards that cloud-volume makes."""
    from cloudvolume import Skeleton
    from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

    place = folder / "igneous-skeletons"
    place.mkdir()
    skeletons = {}
    for segment in np.unique(labels)[1:].tolist():
        vertices, edges = _path(labels, segment)
        skeletons[segment] = Skeleton(vertices, edges, segid=segment, extra_attributes=ATTRIBUTES).to_precomputed()
    info = {"@type": "neuroglancer_skeletons", "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}
    (place / "info").write_text(json.dumps({**info, "vertex_attributes": ATTRIBUTES, "sharding": SHARDING}))
    spec = {("type" if name == "@type" else name): value for name, value in SHARDING.items()}
    for name, shard in ShardingSpecification(**spec).synthesize_shards(skeletons).items():
        (place / name).write_bytes(shard)


def igneous_meshes(folder: Path, labels: np.ndarray) -> None:
    """Write legacy meshes in igneous' layout (its README, "Meshing"), by hand because it needs an older DracoPy.

    Fragments `ID:0:x0-x1_y0-y1_z0-z1` are gzip with .gz, manifests `ID:0` mostly plain.
    """
    folder.mkdir(exist_ok=True)
    (folder / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    for number, segment in enumerate(np.unique(labels)[1:].tolist()):
        name = f"{segment}:0:0-{labels.shape[0]}_0-{labels.shape[1]}_0-{labels.shape[2]}"
        (folder / f"{name}.gz").write_bytes(gzip.compress(_box(labels, segment)))
        manifest = json.dumps({"fragments": [name]}).encode()
        if number:
            (folder / f"{segment}:0").write_bytes(manifest)
        else:
            (folder / f"{segment}:0.gz").write_bytes(gzip.compress(manifest))


def tensorstore(folder: Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Write an image plain and in shards, and labels in shards, as tensorstore does."""
    import tensorstore as ts

    sharding = {**SHARDING, "hash": "identity", "preshift_bits": 3, "minishard_bits": 0}
    cases = (
        ("tensorstore-plain", image, "raw", None),
        ("tensorstore-sharded", image, "raw", sharding),
        ("tensorstore-raw-shards", image, "raw", {**SHARDING, "minishard_index_encoding": "raw", "data_encoding": "raw"}),
        ("tensorstore-labels", labels, "compressed_segmentation", SHARDING),
    )
    for name, voxels, encoding, told in cases:
        scale = {
            "size": voxels.shape,
            "resolution": RESOLUTION,
            "voxel_offset": OFFSET,
            "chunk_size": CHUNK,
            "encoding": encoding,
            **({"compressed_segmentation_block_size": [8, 8, 8]} if voxels is labels else {}),
            **({"sharding": told} if told else {}),
        }
        metadata = {"type": "segmentation" if voxels is labels else "image", "data_type": str(voxels.dtype), "num_channels": 1}
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{folder}/{name}/",
            "multiscale_metadata": metadata,
            "scale_metadata": scale,
        }
        store = ts.open(spec, create=True).result()
        with ts.Transaction() as transaction:
            store.with_transaction(transaction)[...] = voxels[..., np.newaxis]


def neuroglancer_scripts(folder: Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Write an image in each layout of neuroglancer-scripts, and labels with a mesh whose manifests have no colon."""
    from neuroglancer_scripts.accessor import get_accessor_for_url
    from neuroglancer_scripts.mesh import save_mesh_as_precomputed
    from neuroglancer_scripts.precomputed_io import get_IO_for_existing_dataset, get_IO_for_new_dataset
    from neuroglancer_scripts.scripts.link_mesh_fragments import make_mesh_fragment_links

    cases = (
        ("neuroglancer-scripts-nested", image, {}),
        ("neuroglancer-scripts-flat", image, {"flat": True}),
        ("neuroglancer-scripts-plain", image, {"flat": True, "gzip": False}),
        ("neuroglancer-scripts-sharded", image, {"sharding": "1,1,0"}),
        ("neuroglancer-scripts-labels", labels, {}),
    )
    for name, voxels, options in cases:
        is_labels = voxels is labels
        scale = {
            "key": "8nm",
            "size": list(voxels.shape),
            "resolution": list(RESOLUTION),
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[16, 16, 16]],
            "encoding": "compressed_segmentation" if is_labels else "raw",
            **({"compressed_segmentation_block_size": [8, 8, 8]} if is_labels else {}),
            **(
                {"sharding": {**SHARDING, "hash": "identity", "preshift_bits": 0, "minishard_bits": 1}}
                if "sharding" in options
                else {}
            ),
        }
        info = {
            "type": "segmentation" if is_labels else "image",
            "data_type": str(voxels.dtype),
            "num_channels": 1,
            "scales": [scale],
            **({"mesh": "mesh"} if is_labels else {}),
        }
        (folder / name).mkdir()
        if "sharding" in options:
            # Told of an info that is not there yet, it would write one without the shards' @type.
            (folder / name / "info").write_text(json.dumps(info))
        accessor = get_accessor_for_url(str(folder / name), options)
        written = get_IO_for_existing_dataset(accessor) if "sharding" in options else get_IO_for_new_dataset(info, accessor)
        for x, y, z in np.ndindex(*(-(-n // 16) for n in voxels.shape)):
            begin = 16 * np.array((x, y, z))
            end = np.minimum(begin + 16, voxels.shape)
            chunk = voxels[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))].T[np.newaxis]
            coordinates = tuple(int(n) for pair in zip(begin, end, strict=True) for n in pair)
            written.write_chunk(np.ascontiguousarray(chunk), "8nm", coordinates)
        if "sharding" in options:
            accessor.close()
    mesh = folder / "neuroglancer-scripts-labels/mesh"
    mesh.mkdir()
    rows = []
    for segment in np.unique(labels)[1:].tolist():
        corners, triangles = _corners(labels, segment)
        with gzip.open(mesh / f"part{segment}.gz", "wb") as file:
            save_mesh_as_precomputed(file, corners, triangles)
        rows.append(f"{segment},part{segment}\n")
    (folder / "parts.csv").write_text("".join(rows))
    make_mesh_fragment_links(str(folder / "parts.csv"), str(mesh.parent), no_colon_suffix=True)


def _corners(labels: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Return corners (nm) and triangles of the box around a segment."""
    places = np.argwhere(labels == segment)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    bits = np.array(list(np.ndindex(2, 2, 2)))
    corners = ((low + bits * (high - low)) * RESOLUTION).astype("<f4")
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))], "<u4")


def _box(labels: np.ndarray, segment: int) -> bytes:
    corners, triangles = _corners(labels, segment)
    return np.uint32(len(corners)).tobytes() + corners.tobytes() + triangles.tobytes()


def _path(labels: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (nm) and edges of a path through ten voxels of a segment."""
    places = np.argwhere(labels == segment)[:10] + OFFSET
    return ((places + 0.5) * RESOLUTION).astype("<f4"), np.array([(n, n + 1) for n in range(9)], "<u4")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    where = Path(sys.argv[1])
    image_voxels, label_voxels = np.load(where / "image.npy"), np.load(where / "labels.npy")
    tensorstore(where, image_voxels, label_voxels)
    neuroglancer_scripts(where, image_voxels, label_voxels)
    cloud_volume(where, image_voxels, label_voxels)
    igneous_image(where, image_voxels)
    igneous_skeletons(where, label_voxels)
