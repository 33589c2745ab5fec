"""The numbers of a snapshot's pairs as columns: all that charts and curves are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.filters import NUMBERS, list_filters, read_extra_scores
from coupled_core.records import Status
from coupled_core.storage.store import ObjectStore

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

_REALS = (*NUMBERS, "gpu_seconds", "llm_cost_usd")
_OTHERS = (
    "status", "kept", "reject_reasons", "review_status", "image_part", "device_name",
    "variation_kind", "background_prompt", "group_id", "image_index_1",
    "shard_index",
)  # fmt: skip


@dataclass(frozen=True)
class Labels:
    """A column of texts, each different one held once."""

    names: tuple[str, ...]
    """In the order of their first rows."""
    index: NDArray[np.int64]
    """Into `names`, by row; -1: null."""


@dataclass(frozen=True)
class Measurements:
    """One entry a manifest row, in the order of the parts; some 200 bytes a row."""

    numbers: Mapping[str, Reals]
    """Scores and costs by column, also the registered scores that a filter looks at; NaN where the
    manifest has null."""
    is_scored: Flags
    """The pair went through every stage."""
    is_kept: Flags
    is_reviewed_keep: Flags
    """A person said keep."""
    is_reviewed: Flags
    """A person said anything."""
    has_stored_images: Flags
    """An image part holds its images."""
    reasons: Mapping[str, Flags]
    """Rows that have a reject reason, by reason."""
    num_reasons: NDArray[np.int64]
    devices: Labels
    """Null where nothing was generated."""
    kinds: Labels
    """What varies between the images."""
    backgrounds: Labels
    group_index: NDArray[np.int64]
    """Equal for pairs of one group of prompts; -1: the group has no id."""
    shard_indices: NDArray[np.int64]
    last_image: NDArray[np.float64]
    """Place of image 1 among the images of its group, from 0; NaN: there is none."""

    def __len__(self) -> int:
        return len(self.is_kept)

    def of(self, name: str) -> Reals:
        """Return a column of numbers."""
        return self.numbers[name]

    def combine(self, names: Sequence[str], *, takes_least: bool) -> Reals:
        """Return the least or the largest of some columns in each row; NaN if any is NaN."""
        pick = np.minimum if takes_least else np.maximum
        # (columns, rows) -> (rows,)
        combined: Reals = pick.reduce([self.numbers[name] for name in names])
        return combined

    def has_reason(self, reason: str) -> Flags:
        """Say which rows have a reject reason."""
        return self.reasons.get(reason, np.zeros(len(self), np.bool_))

    def are_finite(self, names: Sequence[str]) -> Flags:
        """Say in which rows all of these columns are finite."""
        finite: Flags = np.all([np.isfinite(self.numbers[name]) for name in names], axis=0)
        return finite


def read_measurements(store: ObjectStore, snapshot: Snapshot) -> Measurements:
    """Read the columns that are needed from the manifest parts of a snapshot."""
    names = (*_REALS, *_OTHERS, "extra_scores")
    schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in names])
    batches = iter_manifest(store, snapshot.parts, schema.names)
    # Numbers of all rows at once: quantiles need all of them, and a million rows take 150 MB.
    table = pa.Table.from_batches(batches, schema)
    return Measurements(
        numbers={name: _to_numpy(table[name]) for name in _REALS}
        | _collect_extra_scores(table["extra_scores"]),
        is_scored=_flag(pc.equal(table["status"], Status.OK.value)),
        is_kept=_flag(table["kept"]),
        is_reviewed_keep=_flag(pc.equal(table["review_status"], "keep")),
        is_reviewed=_flag(table["review_status"].is_valid()),
        has_stored_images=_flag(table["image_part"].is_valid()),
        reasons=_flag_reasons(table["reject_reasons"]),
        num_reasons=_to_numpy(pc.list_value_length(table["reject_reasons"])).astype(np.int64),
        devices=_label(table["device_name"]),
        kinds=_label(table["variation_kind"]),
        backgrounds=_label(table["background_prompt"]),
        group_index=_label(table["group_id"]).index,
        shard_indices=_to_numpy(table["shard_index"]).astype(np.int64),
        last_image=_to_numpy(table["image_index_1"].cast(pa.float64())),
    )


def _collect_extra_scores(column: Any) -> dict[str, Reals]:
    """Return the registered scores that a filter looks at, by name."""
    looked_at = {name for each in list_filters() for name in each.columns}.difference(NUMBERS)
    if not looked_at:
        return {}
    rows = [read_extra_scores(text) for text in column.to_pylist()]
    return {name: np.array([row.get(name) for row in rows], np.float64) for name in looked_at}


def _to_numpy(column: Any) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _label(column: Any) -> Labels:
    encoded = column.combine_chunks().dictionary_encode()
    index = _to_numpy(pc.fill_null(encoded.indices, -1)).astype(np.int64)
    return Labels(tuple(encoded.dictionary.to_pylist()), index)


def _flag(column: Any) -> Flags:
    """Return a column of true, false and null, which counts as false."""
    # With nulls in it, numpy would get a column of Python objects.
    flags: Flags = _to_numpy(pc.fill_null(column, False)).astype(np.bool_)
    return flags


def _flag_reasons(column: Any) -> dict[str, Flags]:
    flags: dict[str, Flags] = {}
    for index, reasons in enumerate(column.to_pylist()):
        for reason in reasons:
            flags.setdefault(reason, np.zeros(len(column), np.bool_))[index] = True
    return flags
