"""A uniform sample of a stream of unknown length."""

import random
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Reservoir(Generic[T]):
    """So many of those that pass, each as likely as any other (Vitter 1985, algorithm R)."""

    size: int
    seed: int = 0
    """The same stream gives the same sample."""
    items: list[T] = field(default_factory=list)
    """In the order of the stream."""
    num_seen: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, item: T) -> None:
        """Let one pass."""
        self.num_seen += 1
        if len(self.items) < self.size:
            self.items.append(item)
        elif (place := self._random.randrange(self.num_seen)) < self.size:
            # Removed and appended, and not exchanged: so the stream's order stays.
            del self.items[place]
            self.items.append(item)
