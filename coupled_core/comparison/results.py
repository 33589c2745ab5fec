"""The results of a comparison as one Parquet file: a row a method, variant and pair.

Tables, pictures and curves are made from this file alone, so they can be made again anywhere.
"""

import io
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.errors import StorageError
from coupled_core.records import PairScores

Part = Literal["comparison", "trade-off", "ablation"]
SCORE_NAMES = tuple(field.name for field in fields(PairScores))

SCHEMA = pa.schema(
    [
        ("part", pa.string()),  # comparison, trade-off or ablation
        ("method", pa.string()),
        ("variant", pa.string()),  # "" in the comparison; else the knob's value, or what is ablated
        ("group_id", pa.string()),
        ("seed", pa.int64()),
        ("image_i", pa.int32()),
        ("image_j", pa.int32()),
        ("prompt_0", pa.string()),
        ("prompt_1", pa.string()),
        ("background_prompt", pa.string()),
        ("entity_prompt_0", pa.string()),
        ("entity_prompt_1", pa.string()),
        *((name, pa.float64()) for name in SCORE_NAMES),  # null where there are no images
        ("guards", pa.list_(pa.string())),
        ("objective", pa.float64()),  # J, or the floor where a guard fired; never null
        ("seconds", pa.float64()),
        ("model_evaluations", pa.float64()),
        ("knobs", pa.map_(pa.string(), pa.float64())),
        ("image_0", pa.binary()),  # PNG; null but for the pairs that the picture shows
        ("image_1", pa.binary()),
    ]
)


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_results(path: Path) -> pa.Table:
    """Read a results file.

    Raises:
        StorageError: it is missing, or is not one of ours.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"cannot read the results {path}: {reason}") from error
    if not table.schema.equals(SCHEMA):
        missing = sorted(set(SCHEMA.names) - set(table.column_names))
        raise StorageError(
            f"{path} does not hold the results of a comparison by this version: it lacks the "
            f"columns {missing}, or their types differ; run the comparison again"
        )
    return table


def rows_of(table: pa.Table, part: Part) -> list[dict[str, Any]]:
    """Return the rows of one part without images, in their order."""
    slim = table.drop_columns(["image_0", "image_1"])
    return [row for row in slim.to_pylist() if row["part"] == part]
