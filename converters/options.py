"""The options of every command, each with its type, bounds, default and help, once.

The command line and the API are both made from these models.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Encoding = Literal["auto", "raw", "jpeg", "png", "jxl", "compressed_segmentation", "compresso"]


def _numbers(value: object) -> object:
    """Split `64,64,64`; what is no text is left for pydantic to check."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Extents = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2048)], Annotated[int, Field(ge=1, le=2048)], Annotated[int, Field(ge=1, le=2048)]],
    BeforeValidator(_numbers),
]
Voxels = Annotated[tuple[int, int, int], BeforeValidator(_numbers)]
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Nanometres = Annotated[tuple[_Length, _Length, _Length], BeforeValidator(_numbers)]


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def byte_count(text: str) -> int:
    """Return the bytes that a text such as 4GB, 512MiB or 1000000 means; text: as ConvertOptions.memory allows it."""
    number = text.rstrip("bBiIkKmMgGtT ")
    return int(float(number) * _UNITS[text[len(number) :].strip().lower().removesuffix("b")])


_Memory = Annotated[
    str | None,
    Field(
        pattern=r"^\d+(\.\d+)?\s*([kKMGT]i?B?|B)?$",
        description="Memory the whole run may take, e.g. 4GB; what the machine or its container leaves when left out.",
    ),
]
_Executor = Annotated[
    str,
    Field(
        pattern=r"^(serial|processes(:[1-9]\d*)?|(tcp|tls)://\S+:\d+)$",
        description="serial, processes (one a core), processes:N, or tcp://HOST:PORT of a Dask scheduler.",
    ),
]
_PROCESSES = "processes"


class Options(BaseModel):
    """What all option models share."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class _EncodingOptions(Options):
    type: Literal["auto", "image", "segmentation"] = Field(
        "auto", description="What the voxels are; auto takes 32- and 64-bit integers and NIfTI label files for a segmentation."
    )
    encoding: Encoding = Field(
        "auto", description="Chunk encoding; auto is lossless: raw, or compressed_segmentation for labels."
    )
    jpeg_quality: int = Field(85, ge=1, le=100, description="Quality of jpeg chunks.")


class ScaleOptions(Options):
    """How a volume is cut into chunks and scales."""

    chunk_size: Extents | None = Field(
        None, description="Voxels a chunk along x,y,z; near 64,64,64 when left out, flatter where the volume is thin."
    )
    scales: int | None = Field(None, ge=1, le=32, description="How many scales; down to a single chunk when left out.")


class ReadingOptions(Options):
    """What a user says about a source; see converters.sources.source.SourceOptions."""

    axes: str | None = Field(
        None,
        pattern="^[xyzct]{2,5}$",
        description="The array's axes in the order of its shape, e.g. zyx or zyxc, xyzc for NIfTI (c channels, t time).",
    )
    channel: int | None = Field(None, ge=0, description="Take only this channel, counted from 0.")
    time: int | None = Field(None, ge=0, description="Take this point of the time axis, counted from 0.")
    array: str | None = Field(
        None,
        min_length=1,
        description="Which array of the source: a dataset of an HDF5 file, an array or level of a Zarr, N5 or .npz.",
    )
    resolution: Nanometres | None = Field(
        None, description="Voxel size along x,y,z in nm, when the source has none or it is wrong."
    )
    voxel_offset: Voxels | None = Field(
        None,
        description="Coordinate of the first voxel, in voxels along x,y,z; 0,0,0, or a precomputed source's own, when left out.",
    )


class LayoutOptions(Options):
    """How a volume's chunks lie on the disk."""

    layout: Literal["auto", "nested", "flat", "sharded"] = Field(
        "auto",
        description="nested: KEY/X/Y/Z.gz; flat: the viewer's own names, for any static file host; sharded: many chunks a file; "
        "auto is nested, and sharded above 10,000 chunks.",
    )
    skip_empty: bool = Field(
        False,
        description="Leave out chunks whose voxels are all 0; the viewer shows the same, but a lost chunk looks like an empty "
        "one.",
    )


class RunOptions(Options):
    """How a run works, which changes nothing of what it gives."""

    memory: _Memory = None
    executor: _Executor = _PROCESSES
    overwrite: bool = Field(
        False, description="Replace a dataset that came from something else, with its meshes, skeletons and segment properties."
    )


class ConvertOptions(RunOptions, LayoutOptions, ReadingOptions, ScaleOptions, _EncodingOptions):
    """How a source becomes a volume."""


_Table = Annotated[
    str | None,
    Field(min_length=1, description="CSV or TSV file with the columns file and id, and name if segments have names."),
]
_Affine = Annotated[
    str | None,
    Field(min_length=1, description="12 or 16 numbers, row by row, or a file of them: applied to the coordinates first."),
]
_VoxelCentres = Annotated[
    bool, Field(description="0,0,0 is the centre of the dataset's voxel 0,0,0 and not its corner: half a voxel is added.")
]


class ImportMeshOptions(Options):
    """How mesh files become the meshes of segments."""

    format: Literal["multires", "legacy"] = Field(
        "multires", description="multires: the viewer's multi-resolution format; legacy: for tools that need it."
    )
    id: int | None = Field(
        None, ge=1, lt=1 << 64, description="Segment of all files; a file's name is its segment, 123.stl, when left out."
    )
    table: _Table = None
    unit: Literal["auto", "nm", "um", "mm"] = Field(
        "auto", description="Unit of the files' coordinates; auto is mm for GIfTI and for files of 3D Slicer, nm for others."
    )
    space: Literal["auto", "dataset", "world", "ras", "lps"] = Field(
        "auto",
        description="Where coordinates are: dataset (0 at the corner of its voxel 0,0,0), world (of the volume's source), ras or "
        "lps; auto is ras for GIfTI, what 3D Slicer wrote in its files, dataset for others.",
    )
    affine: _Affine = None
    gifti_space: Literal["auto", "stored", "scanner", "aligned", "talairach", "mni"] = Field(
        "auto", description="Which coordinates of a GIfTI file to take; needed only where the file has a matrix to other ones."
    )
    voxel_centres: _VoxelCentres = False
    lods: int | None = Field(
        None, ge=1, le=8, description="Levels of detail of multires meshes, at most; as many as are of use when left out."
    )
    layout: Literal["auto", "files", "sharded"] = Field(
        "auto", description="files: two a segment; sharded: many segments a file; auto is sharded above 10,000 segments."
    )
    overwrite: bool = Field(False, description="Replace meshes of the same segments that are there already.")


class ImportSkeletonOptions(Options):
    """How SWC files become the skeletons of segments."""

    id: int | None = Field(
        None, ge=1, lt=1 << 64, description="Segment of all files; a file's name is its segment, 123.swc, when left out."
    )
    table: _Table = None
    unit: Literal["auto", "nm", "um", "mm"] = Field(
        "auto", description="Unit of the files' coordinates and radii; auto is what a comment of the file tells, um without one."
    )
    space: Literal["auto", "dataset", "world", "ras", "lps"] = Field(
        "auto",
        description="Where coordinates are: dataset (0 at the corner of its voxel 0,0,0), world (of the volume's source), ras or "
        "lps; auto is dataset.",
    )
    affine: _Affine = None
    voxel_centres: _VoxelCentres = False
    layout: Literal["auto", "files", "sharded"] = Field(
        "auto", description="files: one a segment; sharded: many segments a file; auto is sharded above 10,000 segments."
    )
    overwrite: bool = Field(False, description="Replace skeletons and names of the same segments that are there already.")


def _ids(value: object) -> object:
    """Split `12,34`; what is no text is left for pydantic to check."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


SegmentIds = Annotated[tuple[Annotated[int, Field(ge=1, lt=1 << 64)], ...], Field(min_length=1), BeforeValidator(_ids)]


class MeshOptions(Options):
    """How the segments of a volume become meshes."""

    format: Literal["multires", "legacy"] = Field(
        "multires", description="multires: Draco with levels of detail; legacy: one level, for tools that read nothing else."
    )
    max_error: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="How far in nm a mesh may lie from the surface of its voxels; the longest voxel edge when left out.",
    )
    lods: int | None = Field(None, ge=1, le=8, description="Levels of detail of multires meshes; 3 when left out.")
    scale: str | None = Field(
        None,
        min_length=1,
        description="Key of the scale to mesh; the coarsest with edges of at most --max-error when left out, "
        "without --max-error the finest whose voxels are no more than twice as long as wide.",
    )
    segments: SegmentIds | None = Field(None, description="Ids of the only segments to mesh, e.g. 12,34; all when left out.")
    layout: Literal["auto", "files", "sharded"] = Field(
        "auto", description="files: two a segment; sharded: many segments a file; auto is sharded above 10,000 segments."
    )
    memory: _Memory = None
    executor: _Executor = _PROCESSES
    overwrite: bool = Field(False, description="Replace other meshes of the dataset.")


class ExportMeshOptions(Options):
    """How meshes become files for other programs."""

    export: str | None = Field(
        None, min_length=1, description="Folder to write the meshes that are there to, ID.ply each; nothing is meshed then."
    )
    export_format: Literal["ply", "obj", "stl"] = Field("ply", description="Format of exported files; ply and stl are binary.")
    export_unit: Literal["nm", "um", "mm"] = Field("nm", description="Unit of the coordinates in exported files.")


class ServeOptions(Options):
    """How datasets are served."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Server processes.")
    max_connections: int = Field(
        1000, ge=1, le=100_000, description="Connections that each server process has at a time; more are answered with 503."
    )
    preview: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Show datasets while they are converted, with what is not written yet computed from the source; auto is on "
        "where the server listens to this machine alone.",
    )
    log: Literal["auto", "text", "json"] = Field(
        "auto", description="Lines of the log; auto is what GLASSINE_LOG says, text when it is not set."
    )
    log_requests: Literal["errors", "changes", "all"] = Field(
        "changes",
        description="Requests in the log: errors, those that the server failed; changes, also what changes something; or all.",
    )
