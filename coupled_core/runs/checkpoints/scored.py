"""`scored/batch-*.parquet`: masks and metrics of the samples of a batch that were generated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.dataset.images import decode_mask, encode_mask
from coupled_core.records import METRIC_NAMES, EntityMask, ImageDescriptor, PairScores
from coupled_core.runs.checkpoints.folder import ShardFolder

STAGE = "scored"
_MASK = pa.struct(
    [("mask", pa.binary()), ("predicted_iou", pa.float64()), ("touches_border", pa.bool_())]
)
_PAIR = pa.struct(
    [
        ("i", pa.int32()),
        ("j", pa.int32()),
        *((name, pa.float64()) for name in METRIC_NAMES),
        ("extra_scores", pa.map_(pa.string(), pa.float64())),
    ]
)
_DESCRIPTOR = pa.struct([("clip_code", pa.string()), ("concepts", pa.list_(pa.string()))])
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("masks", pa.list_(_MASK)),
        ("pairs", pa.list_(_PAIR)),
        ("descriptors", pa.list_(_DESCRIPTOR)),
    ]
)


@dataclass(frozen=True)
class ScoredSample:
    """How the images of a sample were measured."""

    masks: tuple[EntityMask, ...]
    """One an image, in order."""
    scores: Mapping[tuple[int, int], PairScores]
    """By pair of image indices (i, j), i < j."""
    descriptors: tuple[ImageDescriptor, ...] = ()
    """One an image, in order; none in the work of early versions."""


def write_scored(folder: ShardFolder, batch: int, samples: Mapping[str, ScoredSample]) -> None:
    """Store a finished batch, by key of the sample."""
    rows = [{"key": key, **_plain(sample)} for key, sample in samples.items()]
    folder.write_table(STAGE, batch, pa.Table.from_pylist(rows, schema=_SCHEMA))


def parse_scored(table: pa.Table) -> dict[str, ScoredSample]:
    """Return a stored batch, by key of the sample."""
    return {row["key"]: _parse(row) for row in table.to_pylist()}


def _plain(sample: ScoredSample) -> dict[str, Any]:
    masks = [
        {
            "mask": encode_mask(np.asarray(mask.mask, dtype=np.bool_)),
            "predicted_iou": mask.predicted_iou,
            "touches_border": bool(mask.touches_border),
        }
        for mask in sample.masks
    ]
    pairs = [{"i": i, "j": j, **asdict(scores)} for (i, j), scores in sample.scores.items()]
    return {"masks": masks, "pairs": pairs, "descriptors": list(map(asdict, sample.descriptors))}


def _parse(row: dict[str, Any]) -> ScoredSample:
    masks = tuple(
        EntityMask(decode_mask(mask["mask"]), mask["predicted_iou"], mask["touches_border"])
        for mask in row["masks"]
    )
    scores = {
        (pair.pop("i"), pair.pop("j")): PairScores(
            **{**pair, "extra_scores": dict(pair.get("extra_scores") or ())}
        )
        for pair in row["pairs"]
    }
    descriptors = tuple(
        ImageDescriptor(each["clip_code"], tuple(each["concepts"]))
        for each in row.get("descriptors") or ()
    )
    return ScoredSample(masks, scores, descriptors)
