"""Where the voxels are: affine, units, half voxel, voxel_offset and every scale's offset, resolution and size.

The one owner of these; volumes, links and later meshes, skeletons and annotations ask it.
"""

import math
from dataclasses import dataclass

from formats.grid import Box, Triple

Lengths = tuple[float, float, float]
Row = tuple[float, float, float, float]
Affine = tuple[Row, Row, Row]


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a source lie.

    resolution: nm a voxel along the array's x, y, z. voxel_offset: the dataset's coordinate of the array's first voxel.
    affine: 3 x 4, from the array's voxel index (an index names the voxel's CENTRE, as NIfTI has it) to `world` in nm;
    None where the source tells no world. world: the names of the world's directions, "RAS" for NIfTI, else "".
    """

    resolution: Lengths
    voxel_offset: Triple = (0, 0, 0)
    affine: Affine | None = None
    world: str = ""

    def transform(self) -> Affine | None:
        """Return 3 x 4, from the dataset's nm (0 at the CORNER of voxel 0, voxel i covers [i, i+1) * resolution) to world nm.

        The array's voxel i, centre, lies at (voxel_offset + i + 0.5) * resolution in the dataset.
        None where there is no affine: the dataset's own nm are then the world.
        """
        if self.affine is None:
            return None
        x, y, z = (self._transform_row(row) for row in self.affine)
        return x, y, z

    def _transform_row(self, row: Row) -> Row:
        a, b, c = row[:3]
        r, s, t = self.resolution
        i, j, k = (offset + 0.5 for offset in self.voxel_offset)
        return a / r, b / s, c / t, row[3] - math.fsum((a * i, b * j, c * k))

    def box(self, shape: Triple) -> Box:
        """Return the voxels of a source of this shape in the dataset's coordinates."""
        return Box((0, 0, 0), shape).shifted(self.voxel_offset)

    def scale_resolution(self, factors: Triple) -> Lengths:
        """Return nm a voxel of the scale that is factors times coarser than the source."""
        x, y, z = (r * f for r, f in zip(self.resolution, factors, strict=True))
        return x, y, z


def pooled_box(box: Box, factors: Triple) -> Box:
    """Return the voxels of the next scale that hold box: pooling on the global grid, begin floored, end raised."""
    start = (box.start[0] // factors[0], box.start[1] // factors[1], box.start[2] // factors[2])
    end = (-(-box.end[0] // factors[0]), -(-box.end[1] // factors[1]), -(-box.end[2] // factors[2]))
    return Box(start, end)


def unpooled_box(box: Box, factors: Triple) -> Box:
    """Return the voxels of the scale before that a box of the next scale is made from."""
    (a, b, c), (d, e, f) = box.start, box.end
    x, y, z = factors
    return Box((a * x, b * y, c * z), (d * x, e * y, f * z))
