"""What kimimaro is told, each parameter once: those that the user gave, the others derived from the voxel size."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Lengths
from converters.skeletons.options import SkeletonizeOptions

_CONST_EDGES = 15
"""Voxel edges, the usual 500 nm in voxels of 32 nm: what is shorter cannot be told from a rough surface."""
_SOMA_DETECTION, _SOMA_ACCEPTANCE, _SOMA_CONST = (750.0, 3), (3500.0, 12), (300.0, 2)
"""nm, and voxel edges that it is at least: a cell body has its size whatever the voxels are, and some voxels make no ball."""
_DIGITS = 2


@dataclass(frozen=True)
class Parameters:
    """Lengths in nm; names and meaning are kimimaro's, except where it is said.

    scale, const: a path takes away what lies within scale * radius + const of it. dust_threshold: voxels of a piece that gets no
    skeleton. max_paths: None for no limit but budget. budget: voxels times paths that one piece of a segment may take in a block.
    tick_threshold: branches that are shorter go. min_cable: pieces with less cable go.
    """

    scale: float
    const: float
    pdrf_scale: float
    pdrf_exponent: int
    soma_detection_threshold: float
    soma_acceptance_threshold: float
    soma_invalidation_scale: float
    soma_invalidation_const: float
    max_paths: int | None
    budget: int
    dust_threshold: int
    tick_threshold: float
    min_cable: float
    fix_branching: bool
    fill_holes: bool
    fix_avocados: bool

    def teasar(self) -> dict[str, float]:
        """Return what kimimaro calls teasar_params, without max_paths."""
        return {
            "scale": self.scale,
            "const": self.const,
            "pdrf_scale": self.pdrf_scale,
            "pdrf_exponent": self.pdrf_exponent,
            "soma_detection_threshold": self.soma_detection_threshold,
            "soma_acceptance_threshold": self.soma_acceptance_threshold,
            "soma_invalidation_scale": self.soma_invalidation_scale,
            "soma_invalidation_const": self.soma_invalidation_const,
        }

    def reach(self, radii: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far, nm, a path takes away what lies around vertices of these radii."""
        exact = radii.astype(np.float64)
        in_soma = self.soma_invalidation_scale * exact + self.soma_invalidation_const
        return np.where(exact > self.soma_acceptance_threshold, in_soma, self.scale * exact + self.const)


def parameters_of(options: SkeletonizeOptions, resolution: Lengths) -> Parameters:
    """Return the parameters for voxels of this size: what the options leave open is a multiple of their edge."""
    edge = math.prod(resolution) ** (1 / 3)
    const = _given(options.const, _round(_CONST_EDGES * edge))
    return Parameters(
        scale=options.invalidation_scale,
        const=const,
        pdrf_scale=options.pdrf_scale,
        pdrf_exponent=options.pdrf_exponent,
        soma_detection_threshold=_given(options.soma_detection_threshold, _at_least(_SOMA_DETECTION, edge)),
        soma_acceptance_threshold=_given(options.soma_acceptance_threshold, _at_least(_SOMA_ACCEPTANCE, edge)),
        soma_invalidation_scale=options.soma_invalidation_scale,
        soma_invalidation_const=_given(options.soma_invalidation_const, _at_least(_SOMA_CONST, edge)),
        max_paths=options.max_paths,
        budget=options.budget,
        dust_threshold=options.dust_threshold,
        tick_threshold=_given(options.tick_threshold, const),
        min_cable=options.min_cable,
        fix_branching=not options.no_fix_branching,
        fill_holes=options.fill_holes,
        fix_avocados=options.fix_avocados,
    )


def _given(value: float | None, derived: float) -> float:
    return derived if value is None else value


def _at_least(size: tuple[float, int], edge: float) -> float:
    nanometres, edges = size
    return max(nanometres, _round(edges * edge))


def _round(length: float) -> float:
    """Return a length with two digits: no more is meant."""
    return float(f"{length:.{_DIGITS}g}")
