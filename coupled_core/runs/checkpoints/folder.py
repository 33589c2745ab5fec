"""What the stages of a shard ask of the place that keeps their finished batches."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import pyarrow as pa

from coupled_core.errors import StorageError
from coupled_core.records import Sample


class ShardFolder(Protocol):
    """Whole objects under names; `dataset.work.WorkFolder` is one."""

    prefix: str

    def read_json(self, name: str) -> Any | None:
        """Return what was stored under a name; None: nothing yet."""

    def write_json(self, name: str, value: Any) -> None:
        """Store a JSON value as a whole."""

    def read_table(self, stage: str, batch: int) -> pa.Table | None:
        """Return the table of a stage's batch; None: not there yet."""

    def write_table(self, stage: str, batch: int, table: pa.Table) -> None:
        """Store the table of a stage's batch as a whole."""


def split_into_batches(samples: Mapping[str, Sample], batch_size: int) -> list[dict[str, Sample]]:
    """Return the batches of a shard: batch k of every stage holds the same samples, by key.

    Samples stand attempt by attempt, and a batch holds samples of one: those of a later attempt
    are known only when all before are scored.
    """
    batches = []
    for _, found in groupby(samples.items(), key=lambda item: item[1].attempt):
        items = list(found)
        batches += [dict(items[at : at + batch_size]) for at in range(0, len(items), batch_size)]
    return batches


def batches_of_attempt(
    samples: Mapping[str, Sample], batch_size: int, attempt: int
) -> list[tuple[int, dict[str, Sample]]]:
    """Return number and samples of the batches that one attempt of a shard consists of."""
    return [
        (index, batch)
        for index, batch in enumerate(split_into_batches(samples, batch_size))
        if next(iter(batch.values())).attempt == attempt
    ]


def missing_batch(folder: ShardFolder, stage: str, batch: int) -> StorageError:
    """Return the error of a stage that finds the work of the stage before it gone or changed."""
    return StorageError(
        f"{folder.prefix}{stage}/ lacks batch {batch} of this run, or another process works on the "
        "same shard with another batch size: run the command again, what is finished is kept"
    )


def same_keys(table: pa.Table | None, keys: Sequence[str]) -> bool:
    """Say whether a stored batch holds just these samples, in this order."""
    return table is not None and table.column("key").to_pylist() == list(keys)
