"""When each stage of a shard was at work, in which thread ever."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Span(NamedTuple):
    """One piece of work."""

    stage: str
    batch: int | None
    """None: the shard as a whole."""
    began: float
    """Seconds on the monotonic clock."""
    ended: float


class Trace:
    """The finished spans of a shard, in the order in which they ended. Safe under threads."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @contextmanager
    def span(self, stage: str, batch: int | None = None) -> Iterator[None]:
        """Note how long the inside takes, whether it fails or not."""
        began = time.monotonic()
        try:
            yield
        finally:
            # Appending to a list is atomic in CPython, so threads need no lock.
            self.spans.append(Span(stage, batch, began, time.monotonic()))

    def seconds(self) -> dict[str, float]:
        """Return what each stage has worked; stages that ran side by side add up to more."""
        found: defaultdict[str, float] = defaultdict(float)
        for span in self.spans:
            found[span.stage] += span.ended - span.began
        return dict(found)
