"""The numbers of a snapshot's pairs as columns: all that charts and curves are made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.records import METRIC_NAMES, Status
from coupled_core.storage.store import ObjectStore

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

SCORES = METRIC_NAMES
"""What the score stage measures; the filter takes one that is not finite for a bad one."""
_MASKS = (
    "mask_0_area_fraction",
    "mask_1_area_fraction",
    "mask_0_predicted_iou",
    "mask_1_predicted_iou",
)
_COSTS = ("gpu_seconds", "llm_cost_usd")
NUMBERS = (*SCORES, *_MASKS, *_COSTS)
_OTHERS = ("status", "kept", "reject_reasons", "review_status", "image_part", "device_name")


@dataclass(frozen=True)
class Measurements:
    """One entry a manifest row, in the order of the parts; some 150 bytes a row."""

    numbers: Mapping[str, Reals]
    """Scores and costs by column; NaN where the manifest has null."""
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
    devices: tuple[str, ...]
    device_index: NDArray[np.int64]
    """Into `devices`; -1 where nothing was generated."""

    def __len__(self) -> int:
        return len(self.is_kept)

    def of(self, name: str) -> Reals:
        """Return a column of numbers."""
        return self.numbers[name]

    def has_finite_scores(self) -> Flags:
        """Say which rows have nothing but finite scores; others are below every minimum."""
        finite = [np.isfinite(self.numbers[name]) for name in SCORES]
        all_finite: Flags = np.logical_and.reduce(finite)
        return all_finite


def read_measurements(store: ObjectStore, snapshot: Snapshot) -> Measurements:
    """Read the columns that are needed from the manifest parts of a snapshot."""
    names = [*NUMBERS, *_OTHERS]
    return measure(iter_manifest(store, snapshot.parts, names))


def measure(batches: Iterable[pa.RecordBatch]) -> Measurements:
    """Collect the columns of manifest batches."""
    collected = [_read_batch(batch) for batch in batches]
    numbers = {
        name: _concatenate([batch.numbers[name] for batch in collected], np.float64)
        for name in NUMBERS
    }
    lists = [reasons for batch in collected for reasons in batch.reasons]
    devices = [name for batch in collected for name in batch.devices]
    known = tuple(sorted({name for name in devices if name is not None}))
    place = {name: index for index, name in enumerate(known)}
    return Measurements(
        numbers=numbers,
        is_scored=_concatenate([batch.is_scored for batch in collected], np.bool_),
        is_kept=_concatenate([batch.is_kept for batch in collected], np.bool_),
        is_reviewed_keep=_concatenate([batch.is_reviewed_keep for batch in collected], np.bool_),
        is_reviewed=_concatenate([batch.is_reviewed for batch in collected], np.bool_),
        has_stored_images=_concatenate([b.has_stored_images for b in collected], np.bool_),
        reasons=_flag_reasons(lists),
        num_reasons=np.array([len(reasons) for reasons in lists], np.int64),
        devices=known,
        device_index=np.array([place.get(name or "", -1) for name in devices], np.int64),
    )


@dataclass(frozen=True)
class _Batch:
    numbers: Mapping[str, Reals]
    is_scored: Flags
    is_kept: Flags
    is_reviewed_keep: Flags
    is_reviewed: Flags
    has_stored_images: Flags
    reasons: Sequence[Sequence[str]]
    devices: Sequence[str | None]


def _read_batch(batch: pa.RecordBatch) -> _Batch:
    return _Batch(
        numbers={name: _reals(batch.column(name)) for name in NUMBERS},
        is_scored=_equals(batch.column("status"), Status.OK.value),
        is_kept=np.array(batch.column("kept").to_pylist(), np.bool_),
        is_reviewed_keep=_equals(batch.column("review_status"), "keep"),
        is_reviewed=np.asarray(batch.column("review_status").is_valid()),
        has_stored_images=np.asarray(batch.column("image_part").is_valid()),
        reasons=batch.column("reject_reasons").to_pylist(),
        devices=batch.column("device_name").to_pylist(),
    )


def _reals(column: Any) -> Reals:
    values: Reals = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def _equals(column: Any, value: str) -> Flags:
    return np.array([found == value for found in column.to_pylist()], np.bool_)


def _flag_reasons(lists: Sequence[Sequence[str]]) -> dict[str, Flags]:
    flags: dict[str, Flags] = {}
    for index, reasons in enumerate(lists):
        for reason in reasons:
            flags.setdefault(reason, np.zeros(len(lists), np.bool_))[index] = True
    return flags


def _concatenate(arrays: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
