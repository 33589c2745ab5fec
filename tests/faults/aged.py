"""A store that says of some objects that they were written days ago; S3 cannot be made to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from coupled_core.storage.store import ObjectInfo, ObjectStore

LONG_AGO = timedelta(days=3)


@dataclass(frozen=True)
class AgedStore:
    """Everything else is the other store's."""

    store: ObjectStore
    is_aged: Callable[[ObjectInfo], bool]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def stat(self, key: str) -> ObjectInfo:
        """Return what the store says, and an older date."""
        return self._age(self.store.stat(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Do the same for many."""
        return map(self._age, self.store.list(prefix))

    def _age(self, info: ObjectInfo) -> ObjectInfo:
        if info.modified_at is None or not self.is_aged(info):
            return info
        return replace(info, modified_at=info.modified_at - LONG_AGO)
