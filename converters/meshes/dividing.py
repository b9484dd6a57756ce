"""Things in space divided into sets of neighbours, none heavier than can be worked on at once."""

import numpy as np
from numpy.typing import NDArray


def divided(places: NDArray[np.float64], weights: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Return the positions of things in sets that weigh at most so much, and more only where one thing alone does.

    places: [n, 3]. weights: [n]. A set is halved by weight across the axis along which it is longest.
    """
    waiting, found = [np.arange(len(weights))], []
    while waiting:
        some = waiting.pop()
        if len(some) < 2 or int(weights[some].sum()) <= most:
            found.append(some)
            continue
        axis = int(np.ptp(places[some], axis=0).argmax())
        ordered = some[np.argsort(places[some, axis], kind="stable")]
        sums = np.cumsum(weights[ordered])
        middle = int(np.searchsorted(sums, sums[-1] / 2)) + 1
        middle = min(middle, len(some) - 1)
        waiting += [ordered[middle:], ordered[:middle]]
    return [some for some in found if len(some)]


def runs(weights: NDArray[np.int64], most: int) -> list[slice]:
    """Return things that follow one another in runs that weigh at most so much, and more only where one thing alone does."""
    found, begin, sum_ = [], 0, 0
    for place, weight in enumerate(weights.tolist()):
        if place > begin and sum_ + weight > most:
            found.append(slice(begin, place))
            begin, sum_ = place, 0
        sum_ += weight
    return [*found, slice(begin, len(weights))] if len(weights) else []
