"""What shards are made of: groups with seeds and pair ids, planned once and read by every stage.

The items of a run lie under `work/<run_id>/plan/`; `plan.json` is written last and marks them as
complete. The id of a run covers its input and every setting that its rows depend on, so the items
never change under that id: whoever plans the run again finds them, or writes the same bytes.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from coupled_core.dataset.parts import temporary_folder
from coupled_core.dataset.work import WORK_FOLDER
from coupled_core.documents import DAMAGE, parse_json
from coupled_core.errors import NotFoundError, StorageError
from coupled_core.records import PromptGroup, QuarantinedRow
from coupled_core.storage.store import ObjectStore

PairIds = Mapping[tuple[int, int], str]
"""By pair of image indices (i, j), i < j."""

_ITEMS_A_FILE = 4096
"""A shard reads its file as a whole; so many items are a megabyte or two."""
_ENCODER = json.JSONEncoder(default=str, sort_keys=True)
_SCHEMA = pa.schema([("shard_index", pa.int32()), ("item", pa.string())])


@dataclass(frozen=True)
class PlannedSample:
    """One group with one seed, before anything is made."""

    seed: int
    pair_ids: PairIds

    @property
    def key(self) -> str:
        """The name of the sample in stored batches.

        It is the id of the first pair, which covers everything that the images depend on.
        """
        return self.pair_ids[0, 1]


@dataclass(frozen=True)
class PlannedGroup:
    """A valid group of the prompt set."""

    group: PromptGroup
    request_sha256: str
    """The hash of what a splitter is asked about the group; part of each pair_id."""
    samples: tuple[PlannedSample, ...]
    """One for each requested seed."""

    @property
    def num_pairs(self) -> int:
        """Pairs of all its samples."""
        return sum(len(sample.pair_ids) for sample in self.samples)


@dataclass(frozen=True)
class PlannedBadRow:
    """A row of the prompt set that cannot be used, and the id of the manifest row that says so."""

    pair_id: str
    row: QuarantinedRow


@dataclass(frozen=True)
class ShardInput:
    """All that the stages of a shard need to know of the prompt set."""

    shard_index: int
    groups: tuple[PlannedGroup, ...]
    bad_rows: tuple[PlannedBadRow, ...]

    @property
    def num_items(self) -> int:
        """Groups and bad rows."""
        return len(self.groups) + len(self.bad_rows)

    @property
    def num_pairs(self) -> int:
        """Pairs of all groups, whether or not a dataset holds them."""
        return sum(group.num_pairs for group in self.groups)


class _Marker(BaseModel):
    """Says that all files of a plan are there."""

    model_config = ConfigDict(strict=True)

    num_files: int = Field(ge=0)


class PlanFiles:
    """The stored items of one run."""

    def __init__(self, store: ObjectStore, run_id: str, shard_size: int) -> None:
        self._store, self._folder = store, f"{WORK_FOLDER}{run_id}/plan"
        # Whole shards a file, so that a shard is found by its index alone.
        self._shards_a_file = max(1, _ITEMS_A_FILE // shard_size)

    @property
    def is_complete(self) -> bool:
        """Whether somebody has written all of them."""
        return self._store.exists(f"{self._folder}.json")

    def write(self, shards: Iterable[ShardInput]) -> Iterator[ShardInput]:
        """Yield shards on, and store all of them once the last was taken.

        They wait on local disk: what is refused half way leaves nothing in the dataset.

        Raises:
            StorageError: the temporary folder is full, or the dataset cannot be written.
        """
        with temporary_folder() as folder:
            paths: list[Path] = []
            rest = iter(shards)
            while block := list(islice(rest, self._shards_a_file)):
                paths.append(folder / f"{len(paths):05d}.parquet")
                _write_block(block, paths[-1])
                yield from block
            for path in paths:
                self._store.upload_file(f"{self._folder}/{path.name}", path)
        # The marker last. A generator that its reader leaves early never comes here, and leaves no
        # plan.
        self._store.write(f"{self._folder}.json", json.dumps({"num_files": len(paths)}).encode())

    def refresh(self) -> None:
        """Write the marker again: what is in use must not look old to a collection of garbage."""
        marker = f"{self._folder}.json"
        self._store.write(marker, self._store.read(marker))

    def read(self) -> Iterator[ShardInput]:
        """Yield every shard, in order; one file is in memory at a time.

        Raises:
            StorageError: a file is gone or damaged.
        """
        for number in range(self._count_files()):
            table = self._read_file(number)
            with self._named_damage(number):
                # In the order in which they first occur, which is that of the shards.
                indices = table.column("shard_index").unique().to_pylist()
            for index in indices:
                yield self._parse_shard(table, index, number)

    def _count_files(self) -> int:
        key = f"{self._folder}.json"
        try:
            return _Marker.model_validate(parse_json(self._store.read(key))).num_files
        except ValueError as error:
            raise self._damaged(key) from error

    def _damaged(self, key: str, how: str = "is damaged") -> StorageError:
        return StorageError(
            f"{self._store.uri}/{key} {how}: delete {self._store.uri}/{self._folder}.json to have "
            "the run planned again"
        )

    def read_shard(self, shard_index: int) -> ShardInput:
        """Return one shard.

        Raises:
            StorageError: its file is gone or damaged.
        """
        number = shard_index // self._shards_a_file
        return self._parse_shard(self._read_file(number), shard_index, number)

    def _read_file(self, number: int) -> pa.Table:
        key = self._file_key(number)
        try:
            data = self._store.read(key)
        except NotFoundError as error:
            raise self._damaged(key, "is missing") from error
        with self._named_damage(number):
            return pq.read_table(io.BytesIO(data))

    def _parse_shard(self, table: pa.Table, shard_index: int, number: int) -> ShardInput:
        with self._named_damage(number):
            return _parse_shard(table, shard_index)

    @contextmanager
    def _named_damage(self, number: int) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, *DAMAGE) as error:
            raise self._damaged(self._file_key(number)) from error

    def _file_key(self, number: int) -> str:
        return f"{self._folder}/{number:05d}.parquet"


def _write_block(shards: Iterable[ShardInput], path: Path) -> None:
    indices: list[int] = []
    items: list[str] = []
    for shard in shards:
        plain = (*map(_plain_group, shard.groups), *map(asdict, shard.bad_rows))
        indices += [shard.shard_index] * len(plain)
        items += map(_ENCODER.encode, plain)
    pq.write_table(pa.table([indices, items], schema=_SCHEMA), path, compression="zstd")


def _parse_shard(table: pa.Table, shard_index: int) -> ShardInput:
    mask = pc.equal(table.column("shard_index"), shard_index)
    items = [json.loads(item) for item in table.filter(mask).column("item").to_pylist()]
    groups = tuple(_parse_group(item) for item in items if "group" in item)
    bad_rows = tuple(
        PlannedBadRow(item["pair_id"], QuarantinedRow(**item["row"]))
        for item in items
        if "row" in item
    )
    return ShardInput(shard_index, groups, bad_rows)


def _plain_group(planned: PlannedGroup) -> dict[str, Any]:
    # The pairs themselves follow from the number of prompts: `combinations` in the same order.
    samples = [[sample.seed, list(sample.pair_ids.values())] for sample in planned.samples]
    # `asdict` copies every value, which takes longer than all the rest of planning.
    return {
        "group": vars(planned.group),
        "request_sha256": planned.request_sha256,
        "samples": samples,
    }


def _parse_group(item: dict[str, Any]) -> PlannedGroup:
    plain = item["group"]
    entities = plain["entity_prompts"]
    plain["prompts"] = tuple(plain["prompts"])
    plain["entity_prompts"] = None if entities is None else tuple(entities)
    plain["edit_instructions"] = tuple(map(tuple, plain.get("edit_instructions", ())))
    pairs = list(combinations(range(len(plain["prompts"])), 2))
    samples = tuple(
        PlannedSample(seed, dict(zip(pairs, ids, strict=True))) for seed, ids in item["samples"]
    )
    return PlannedGroup(PromptGroup(**plain), item["request_sha256"], samples)
