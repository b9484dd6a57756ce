"""What is fuzzed: something that reads bytes of which each may be a stranger's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random

from tests.security.mutations import Mutation, Samples


@dataclass(frozen=True)
class Target:
    """One decoder.

    samples: called once, returns valid files. read: decodes a file and checks what came of it. mutate: makes wrong files.
    refuses: the errors that tell that a file is wrong; any other one is a fault.
    """

    name: str
    samples: Callable[[], Samples]
    read: Callable[[bytes], object]
    mutate: Mutation
    refuses: tuple[type[Exception], ...]

    @cached_property
    def valid(self) -> Samples:
        return self.samples()

    def case(self, number: int) -> bytes:
        """Return a wrong file, the same for the same number."""
        return self.mutate(self.valid, Random(f"{self.name} {number}"))
