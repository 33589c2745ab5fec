"""The rows of image parts as any reader of Parquet meets them, in the order of the parts."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from coupled_core.dataset.parts import PartInfo, iter_batches, open_part
from coupled_core.storage.store import ObjectStore


def iter_images(
    store: ObjectStore, parts: Iterable[PartInfo], batch_rows: int = 8, kind: str = "images"
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the parts of a kind, few at a time; other kinds are passed over."""
    for part in parts:
        if part.kind == kind:
            with store.open_input(part.key) as source, open_part(source) as file:
                yield from iter_batches(file, batch_rows)
