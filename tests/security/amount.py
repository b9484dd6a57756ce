"""How many cases the tests of this folder run: enough to notice what breaks, or with GLASSINE_SLOW=1 to find what nobody knew."""

import os

IS_SLOW = os.environ.get("GLASSINE_SLOW") == "1"


def cases(few: int, many: int) -> int:
    """Return how many cases to run: few always, many with GLASSINE_SLOW=1."""
    return many if IS_SLOW else few
