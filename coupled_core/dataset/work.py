"""What an unfinished shard has done so far, so that a killed run loses at most one batch."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.errors import NotFoundError, StorageError
from coupled_core.storage.store import ObjectStore

GENERATED, SCORED = "generated", "scored"
"""The stages that keep batches, and the folders of their work."""
_DONE = "done.json"


def _read_or_none(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.read(key)
    except NotFoundError:
        return None


class WorkFolder:
    """Objects below `work/<run_id>/<shard>/`. Each is written whole: what exists is complete."""

    def __init__(self, store: ObjectStore, run_id: str, shard_index: int) -> None:
        self._store = store
        self.prefix = f"work/{run_id}/{shard_index:05d}/"

    def read_json(self, name: str) -> Any | None:
        """Return what `write_json` stored under a name like "split.json"; None: not there yet."""
        data = _read_or_none(self._store, self.prefix + name)
        return None if data is None else self._parsed(name, data)

    def write_json(self, name: str, value: Any) -> None:
        """Store a JSON value."""
        self._store.write(self.prefix + name, json.dumps(value, sort_keys=True).encode())

    def read_table(self, stage: str, batch: int) -> pa.Table | None:
        """Return a stage's table of a batch; None: not there yet."""
        name = _batch_name(stage, batch)
        data = _read_or_none(self._store, self.prefix + name)
        if data is None:
            return None
        try:
            return pq.read_table(io.BytesIO(data))
        except (pa.ArrowException, OSError) as error:  # pyarrow reports bad pages as OSError
            raise self._damaged(name) from error

    def read_keys(self, stage: str, batch: int) -> list[str] | None:
        """Return the keys of a batch's samples, without reading their images; None: no batch."""
        name = _batch_name(stage, batch)
        try:
            with self._store.open_input(self.prefix + name) as source:
                keys: list[str] = pq.read_table(source, columns=["key"]).column(0).to_pylist()
                return keys
        except NotFoundError:
            return None
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(name) from error

    def write_table(self, stage: str, batch: int, table: pa.Table) -> None:
        """Store a stage's table of a batch; image bytes in it are compressed already."""
        buffer = io.BytesIO()
        pq.write_table(
            table, buffer, compression="none", use_dictionary=False, write_statistics=False
        )
        self._store.write(self.prefix + _batch_name(stage, batch), buffer.getvalue())

    def batches(self, stage: str) -> list[int]:
        """Return the indices of the batches that a stage has finished, ascending."""
        found = self._store.list(f"{self.prefix}{stage}/batch-")
        return sorted(int(info.key[-len("00000.parquet") : -len(".parquet")]) for info in found)

    def read_done(self) -> Any | None:
        """Return what the finished shard left for the commit; None: it is not finished."""
        return self.read_json(_DONE)

    def write_done(self, value: Any) -> None:
        """Mark the shard finished; the last thing that it writes."""
        self.write_json(_DONE, value)

    def clear(self) -> None:
        """Remove everything, the marker last: a half-cleared shard still counts as finished."""
        keys = [info.key for info in self._store.list(self.prefix)]
        for key in sorted(keys, key=lambda key: key.endswith("/" + _DONE)):
            self._store.delete(key)

    def _parsed(self, name: str, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> StorageError:
        where = f"{self._store.uri}/{self.prefix}"
        return StorageError(
            f"{where}{name} is damaged: delete {where} to have the shard made again"
        )


def _batch_name(stage: str, batch: int) -> str:
    return f"{stage}/batch-{batch:05d}.parquet"
