"""Where the images of a snapshot come from: model, schedule, licence."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.storage.store import ObjectStore

_COLUMNS = (
    "base_model",
    "base_model_revision",
    "schedule_id",
    "coupling_mode",
    "num_inference_steps",
    "width",
    "height",
    "dtype",
    "license",
    "use_restrictions",
)


@dataclass(frozen=True)
class Origin:
    """One way in which images were made; fields mean what their columns mean."""

    base_model: str
    base_model_revision: str | None
    schedule_id: str
    coupling_mode: str
    num_inference_steps: int
    width: int
    height: int
    dtype: str
    license: str | None
    use_restrictions: str | None
    num_pairs: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return dict(vars(self))


def count_origins(store: ObjectStore, snapshot: Snapshot) -> tuple[Origin, ...]:
    """Return every way in which generated pairs were made, the most frequent first."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for batch in iter_manifest(store, snapshot.parts, _COLUMNS):
        counts.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return tuple(
        Origin(**dict(zip(_COLUMNS, values, strict=True)), num_pairs=number)
        for values, number in counts.most_common()
        if values[0] is not None
    )
