"""A store that counts what it is asked, for tests and benchmarks of how much that is."""

from collections import Counter
from typing import Any

from coupled_core.storage.store import ObjectStore


class CountedStore:
    """Passes everything on to another store; calls of that store to itself do not count."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        """How often each method was called."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def count(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return found(*args, **kwargs)

        return count
