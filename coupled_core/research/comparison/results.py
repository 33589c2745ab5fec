"""The results of a comparison as one Parquet file: a row a method, variant and pair."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.images import encode_image
from coupled_core.errors import StorageError
from coupled_core.records import METRIC_NAMES, Sample
from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.methods.method import Knobs

Part = Literal["comparison", "trade-off", "ablation"]

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
        *((name, pa.float64()) for name in METRIC_NAMES),  # null where there are no images
        ("guards", pa.list_(pa.string())),
        ("right_fraction", pa.float64()),  # null without a judge of entities
        # what surrounds the entities, see `describe_rings`; null where there is nothing to see
        ("rings_0", pa.list_(pa.float64())),
        ("rings_1", pa.list_(pa.float64())),
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


Images = Mapping[str, Sequence[np.ndarray]]
"""Images of some samples, by `key_of`; uint8, (H, W, 3), RGB."""


def build_rows(
    part: Part,
    variant: str,
    knobs: Knobs,
    samples: Sequence[Sample],
    pairs: Sequence[EvaluatedPair],
    images: Images,
) -> pa.Table:
    """Return the rows of evaluated pairs.

    Args:
        part: what they were evaluated for.
        variant: which point of it.
        knobs: those of the method.
        samples: all that the pairs belong to.
        pairs: what `Evaluator.evaluate` returned.
        images: of the samples whose pairs are to be shown.
    """
    by_key = {key_of(sample): sample for sample in samples}
    rows = []
    for pair in pairs:
        key = f"{pair.group_id}:{pair.seed}"
        row = _describe(by_key[key], pair) | {"part": part, "variant": variant}
        row["knobs"] = sorted((name, float(value)) for name, value in knobs.items())
        for side, index in enumerate((pair.image_i, pair.image_j)):
            shown = images.get(key)
            row[f"image_{side}"] = encode_image(shown[index]).data if shown else None
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def key_of(sample: Sample) -> str:
    """Return what tells a sample from the others."""
    return f"{sample.group.group_id}:{sample.seed}"


def _describe(sample: Sample, pair: EvaluatedPair) -> dict[str, Any]:
    scores = {n: getattr(pair.scores, n) if pair.scores else None for n in METRIC_NAMES}
    i, j = pair.image_i, pair.image_j
    rings = pair.rings or (None, None)
    return {
        "method": pair.method,
        "group_id": pair.group_id,
        "seed": pair.seed,
        "image_i": i,
        "image_j": j,
        "prompt_0": sample.group.prompts[i],
        "prompt_1": sample.group.prompts[j],
        "background_prompt": sample.split.background_prompt,
        "entity_prompt_0": sample.split.entity_prompts[i],
        "entity_prompt_1": sample.split.entity_prompts[j],
        **scores,
        "guards": [str(guard) for guard in pair.guards],
        "right_fraction": pair.right_fraction,
        "rings_0": rings[0],
        "rings_1": rings[1],
        "objective": pair.objective,
        "seconds": pair.seconds,
        "model_evaluations": pair.model_evaluations,
    }
