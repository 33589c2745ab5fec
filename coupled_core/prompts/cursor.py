"""Reads stretches of a prompt set one after the other without starting over each time."""

import threading
from collections.abc import Iterator
from itertools import islice

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow


class PromptCursor:
    """A place in a prompt set. Reading on is free; only going back starts from the first row."""

    def __init__(self, config: PromptSetConfig) -> None:
        self.config = config
        self._position = 0
        self._items: Iterator[PromptGroup | QuarantinedRow] | None = None
        self._lock = threading.Lock()

    def read(self, first_item: int, num_items: int) -> list[PromptGroup | QuarantinedRow]:
        """Return rows of the set, groups and quarantined ones, in order.

        Raises:
            PromptSetError: the set has become shorter since it was planned.
        """
        with self._lock:
            if self._items is None or first_item < self._position:
                self._position, self._items = 0, read_prompt_set(self.config)
            items, self._items = self._items, None  # after an error the next call starts over
            skipped = sum(1 for _ in islice(items, first_item - self._position))
            found = list(islice(items, num_items))
            self._position, self._items = self._position + skipped + len(found), items
        if len(found) < num_items:
            raise PromptSetError(
                f"{self.config.uri} has {self._position} rows, expected at least "
                f"{first_item + num_items}: it changed during the run; start the run again"
            )
        return found
