"""What an unfinished shard has done so far: a killed run loses the batches under way alone."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.documents import DAMAGE, MAX_STORED_BYTES, parse_json
from coupled_core.errors import NotFoundError, StorageError
from coupled_core.storage.store import ObjectStore

WORK_FOLDER = "work/"
GENERATED, SCORED = "generated", "scored"
"""The stages that keep batches, and the folders of their work."""
DONE = "done.json"
"""The marker of a finished shard; the last thing that it writes and the last that is removed."""
LEASES = "leases/"
"""The folder of the leases on a run's shards, or on a backfill's partitions."""
_KEY = re.compile(rf"{WORK_FOLDER}(?P<run>[^/]+)/((?P<shard>\d{{5,}})/)?(?P<name>.+)", re.ASCII)
_BATCH = re.compile(r"/batch-(\d{5,})\.parquet$", re.ASCII)


class WorkKey(NamedTuple):
    """Where an object below `work/` belongs."""

    run_id: str
    shard_index: int | None
    """None: to the run as a whole."""
    name: str
    """What its owner calls it, such as `done.json` or `generated/batch-00000.parquet`."""


class ShardObject(NamedTuple):
    """One object that a shard of a run has stored."""

    shard_index: int
    name: str


def work_prefix(run_id: str, shard_index: int) -> str:
    """Return what the keys of a shard's work begin with.

    The shard has at least five digits, so that keys sort by it; shards from 100,000 on have more.
    """
    return f"{WORK_FOLDER}{run_id}/{shard_index:05d}/"


def parse_work_key(key: str) -> WorkKey | None:
    """Return where an object below `work/` belongs; None: to no run."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    shard = match["shard"]
    return WorkKey(match["run"], None if shard is None else int(shard), match["name"])


def list_work(store: ObjectStore, run_id: str) -> Iterator[ShardObject]:
    """Yield everything that the shards of a run have stored, from one listing."""
    for info in store.list(f"{WORK_FOLDER}{run_id}/"):
        found = parse_work_key(info.key)
        if found is not None and found.shard_index is not None:
            yield ShardObject(found.shard_index, found.name)


def find_kin(store: ObjectStore, images_id: str, run_id: str) -> tuple[str, ...]:
    """Return the other runs that begin with the same images as a run, which `images_id` names."""
    folder = _kin_folder(images_id)
    names = (info.key.removeprefix(folder) for info in store.list(folder))
    return tuple(sorted(name for name in names if name != run_id))


def join_kin(store: ObjectStore, images_id: str, run_id: str) -> None:
    """Let later runs find this one."""
    store.write(_kin_folder(images_id) + run_id, b"makes these images")


def _kin_folder(images_id: str) -> str:
    return f"{WORK_FOLDER}images-{images_id}/"


class WorkFolder:
    """The work of one shard. Each object is written whole: what exists is complete."""

    def __init__(self, store: ObjectStore, run_id: str, shard_index: int) -> None:
        self._store = store
        self.prefix = work_prefix(run_id, shard_index)

    def read_json(self, name: str) -> Any | None:
        """Return what `write_json` stored under a name like "split.json"; None: not there yet."""
        data = self._read(name)
        if data is None:
            return None
        with self.named_damage(name):
            if (value := parse_json(data, MAX_STORED_BYTES)) is None:
                raise ValueError("nobody stores nothing")
            return value

    def write_json(self, name: str, value: Any) -> None:
        """Store a JSON value."""
        self._store.write(self.prefix + name, json.dumps(value, sort_keys=True).encode())

    def read_table(self, stage: str, batch: int) -> pa.Table | None:
        """Return a stage's table of a batch; None: not there yet."""
        name = batch_name(stage, batch)
        data = self._read(name)
        if data is None:
            return None
        with self.named_damage(name):
            return pq.read_table(io.BytesIO(data))

    def read_keys(self, stage: str, batch: int) -> list[str] | None:
        """Return the keys of a batch's samples, without reading their images; None: no batch."""
        name = batch_name(stage, batch)
        try:
            # Parquet keeps columns apart: the images beside the keys are not fetched.
            with (
                self._store.open_input(self.prefix + name) as source,
                self.named_damage(name),
            ):
                keys: list[str] = pq.read_table(source, columns=["key"]).column(0).to_pylist()
                return keys
        except NotFoundError:
            return None

    def write_table(self, stage: str, batch: int, table: pa.Table) -> None:
        """Store a stage's table of a batch; image bytes in it are compressed already."""
        # In memory, not streamed: a batch is small, and a stored object must be complete.
        buffer = io.BytesIO()
        pq.write_table(
            table, buffer, compression="none", use_dictionary=False, write_statistics=False
        )
        self._store.write(self.prefix + batch_name(stage, batch), buffer.getvalue())

    def batches(self, stage: str) -> list[int]:
        """Return the indices of the batches that a stage has finished, ascending."""
        names = (info.key for info in self._store.list(f"{self.prefix}{stage}/batch-"))
        return sorted(int(found[1]) for found in map(_BATCH.search, names) if found)

    def read_done(self) -> Any | None:
        """Return what the finished shard left for the commit; None: it is not finished."""
        return self.read_json(DONE)

    def write_done(self, value: Any) -> None:
        """Mark the shard finished; the last thing that it writes."""
        self.write_json(DONE, value)

    def _read(self, name: str) -> bytes | None:
        try:
            return self._store.read(self.prefix + name)
        except NotFoundError:
            return None

    @contextmanager
    def named_damage(self, name: str) -> Iterator[None]:
        """Name an object whose content is not what was written, when that shows inside.

        Raises:
            StorageError: naming it and what to do.
        """
        try:
            yield
        except (pa.ArrowException, OSError, *DAMAGE) as error:  # OSError: bad pages of pyarrow's
            where = f"{self._store.uri}/{self.prefix}"
            raise StorageError(
                f"{where}{name} is damaged: delete {where} to have the shard made again"
            ) from error


def batch_name(stage: str, batch: int) -> str:
    """Return what a stage's table of a batch is called."""
    return f"{stage}/batch-{batch:05d}.parquet"
