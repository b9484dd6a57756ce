"""What may be wrong with files although they can be read, told to the user at the end."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.imports.placing import NM, Unit


@dataclass
class Doubts:
    """What was noticed. bounds: nm, float64 [2, 3], of the volume that the files belong to, None where there is none."""

    bounds: NDArray[np.float64] | None
    files: int = 0
    without_unit: list[Path] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def look(self, path: Path, points: NDArray[np.float32], *, has_unit: bool) -> None:
        """Look at a file's points where they lie in the dataset. has_unit: it is known which unit they are in."""
        self.files += 1
        if not has_unit:
            self.without_unit.append(path)
        low, high = (corner.astype(np.float64) for corner in (points.min(axis=0), points.max(axis=0)))
        if self.bounds is not None and ((high < self.bounds[0]).any() or (low > self.bounds[1]).any()):
            self.outside.append(f"{path} from {_place(low)} to {_place(high)}")

    def notes(self, taken: Unit) -> list[str]:
        """Return the doubts as sentences. taken: the unit of files that tell none."""
        notes = []
        if self.without_unit:
            more = f" and {len(self.without_unit) - 1} more" if len(self.without_unit) > 1 else ""
            others = " or ".join(f"--unit {unit}" for unit in NM if unit != taken)
            notes.append(f"{self.without_unit[0]}{more}: no unit is told, taken for {taken}; add {others} if that is wrong")
        if self.outside and self.bounds is not None:
            low, high = self.bounds
            notes.append(
                f"{len(self.outside)} of {self.files} files lie outside the volume, which goes from {_place(low)} to "
                f"{_place(high)} nm (such as {self.outside[0]}); check --unit, --space and --affine"
            )
        return notes


def _place(corner: NDArray[np.float64]) -> str:
    return ", ".join(f"{length:.6g}" for length in corner)
