"""What the stages of a shard keep of their work: splits, and batches of images and of scores.

`split.json` holds the outcomes of splitting, `generated/batch-*.parquet` the images of a batch,
encoded once and for good, `scored/batch-*.parquet` masks and metrics of those that were made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.dataset.images import (
    EncodedImage,
    ImageFormat,
    decode_image,
    decode_mask,
    encode_image,
    encode_mask,
    encode_pixels,
    encode_weights,
)
from coupled_core.dataset.rows import EncodedBackground
from coupled_core.dataset.work import GENERATED, SCORED, WorkFolder
from coupled_core.errors import StorageError
from coupled_core.records import (
    METRIC_NAMES,
    EditInstruction,
    EntityMask,
    GeneratedSample,
    GroupSplit,
    ImageDescriptor,
    PairScores,
    Rejection,
    RejectReason,
    SplitOutcome,
)

SPLIT = "split.json"


def write_splits(folder: WorkFolder, outcomes: Sequence[SplitOutcome]) -> None:
    """Store what the splitter said about each group of a shard, in order."""
    folder.write_json(SPLIT, {"outcomes": [_plain_outcome(outcome) for outcome in outcomes]})


def read_splits(folder: WorkFolder) -> tuple[SplitOutcome, ...] | None:
    """Return what the splitter said about each group of a shard; None: not split yet."""
    value = folder.read_json(SPLIT)
    if value is None:
        return None
    with folder.named_damage(SPLIT):
        return tuple(map(_parse_outcome, value["outcomes"]))


def missing_batch(folder: WorkFolder, stage: str, batch: int) -> StorageError:
    """Return the error of a stage that finds the work of the stage before it gone or changed."""
    return StorageError(
        f"{folder.prefix}{stage}/ lacks batch {batch} of this run, or another process works on the "
        "same shard with another batch size: run the command again, what is finished is kept"
    )


def _plain_outcome(outcome: SplitOutcome) -> dict[str, Any]:
    if isinstance(outcome, Rejection):
        return {"rejected": asdict(outcome)}
    written = outcome.edit_instructions.items()
    # JSON has no tuples for keys: (i, j) and the instruction's fields become one list.
    instructions = [[*pair, *astuple(instruction)] for pair, instruction in written]
    return {"split": {**vars(outcome), "edit_instructions": instructions}}


def _parse_outcome(plain: dict[str, Any]) -> SplitOutcome:
    if "rejected" in plain:
        why = plain["rejected"]
        return Rejection(RejectReason(why["reason"]), why["message"], why["llm_cost_usd"])
    values = plain["split"]
    instructions = {(i, j): EditInstruction(*rest) for i, j, *rest in values["edit_instructions"]}
    entities = tuple(values["entity_prompts"])
    return GroupSplit(**{**values, "entity_prompts": entities, "edit_instructions": instructions})


_IMAGE = pa.struct([("data", pa.binary()), ("sha256", pa.string()), ("phash", pa.string())])
_GENERATED_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("generate_seconds", pa.float64()),
        ("device_name", pa.string()),
        ("batch_size", pa.int32()),
        ("region_fraction", pa.float64()),
        ("crop_evidence", pa.list_(pa.float64())),
        ("background", pa.binary()),
        ("regions", pa.list_(pa.binary())),
        ("reject_reason", pa.string()),
        ("reject_message", pa.string()),
    ]
)


@dataclass(frozen=True)
class EncodedSample:
    """The images of a sample as they are stored."""

    images: tuple[EncodedImage, ...]
    size_px: tuple[int, int]
    """(width, height)."""
    generate_seconds: float
    device_name: str
    batch_size: int | None
    """None in the work of versions before 2.2 of the manifest."""
    region_fraction: float | None = None
    """None in the work of versions before 2.4, too."""
    crop_evidence: tuple[float, ...] | None = None
    """None in the work of versions before 2.4, too."""
    background: EncodedBackground | None = None
    """Regions of all images; None: it is not to be stored."""

    def decode(self) -> GeneratedSample:
        """Return the pixels."""
        return GeneratedSample(
            images=tuple(decode_image(image.data) for image in self.images),
            generate_seconds=self.generate_seconds,
            device_name=self.device_name,
            batch_size=self.batch_size,
            region_fraction=self.region_fraction,
            crop_evidence=self.crop_evidence,
        )


Generated = EncodedSample | Rejection


def encode_sample(
    sample: GeneratedSample, image_format: ImageFormat, *, with_background: bool = False
) -> EncodedSample:
    """Return the images of a sample as bytes, with their hashes, and if wanted what they share."""
    background = None
    if with_background:
        assert sample.background is not None and sample.regions is not None
        background = EncodedBackground(
            encode_pixels(sample.background, image_format),
            tuple(map(encode_weights, sample.regions)),
        )
    height, width = sample.images[0].shape[:2]
    return EncodedSample(
        images=tuple(encode_image(image, image_format) for image in sample.images),
        size_px=(width, height),
        generate_seconds=sample.generate_seconds,
        device_name=sample.device_name,
        batch_size=sample.batch_size,
        region_fraction=sample.region_fraction,
        crop_evidence=sample.crop_evidence,
        background=background,
    )


def write_generated(folder: WorkFolder, batch: int, samples: Mapping[str, Generated]) -> None:
    """Store a finished batch, by key of the sample."""
    rows = [{"key": key, **_plain_generated(sample)} for key, sample in samples.items()]
    folder.write_table(GENERATED, batch, pa.Table.from_pylist(rows, schema=_GENERATED_SCHEMA))


def parse_generated(table: pa.Table) -> dict[str, Generated]:
    """Return a stored batch, by key of the sample."""
    return {row["key"]: _parse_generated_row(row) for row in table.to_pylist()}


def _plain_generated(sample: Generated) -> dict[str, Any]:
    if isinstance(sample, Rejection):
        return {"reject_reason": sample.reason.value, "reject_message": sample.message}
    shared = sample.background
    return {
        **({"background": shared.image, "regions": shared.regions} if shared else {}),
        "images": [vars(image) for image in sample.images],
        "width": sample.size_px[0],
        "height": sample.size_px[1],
        "generate_seconds": sample.generate_seconds,
        "device_name": sample.device_name,
        "batch_size": sample.batch_size,
        "region_fraction": sample.region_fraction,
        "crop_evidence": sample.crop_evidence,
    }


def _parse_generated_row(row: dict[str, Any]) -> Generated:
    if row["reject_reason"] is not None:
        return Rejection(RejectReason(row["reject_reason"]), row["reject_message"])
    return EncodedSample(
        images=tuple(EncodedImage(**image) for image in row["images"]),
        size_px=(row["width"], row["height"]),
        generate_seconds=row["generate_seconds"],
        device_name=row["device_name"],
        batch_size=row.get("batch_size"),
        region_fraction=row.get("region_fraction"),
        crop_evidence=None if (crops := row.get("crop_evidence")) is None else tuple(crops),
        background=EncodedBackground(row["background"], tuple(row["regions"]))
        if row.get("background") is not None
        else None,
    )


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
_SCORED_SCHEMA = pa.schema(
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


def write_scored(
    folder: WorkFolder, batch: int, samples: Mapping[str, ScoredSample | None]
) -> None:
    """Store a finished batch, by key of the sample; None: it could not be generated."""
    rows = [
        {"key": key, **(_plain_scored(sample) if sample else {})} for key, sample in samples.items()
    ]
    folder.write_table(SCORED, batch, pa.Table.from_pylist(rows, schema=_SCORED_SCHEMA))


def parse_scored(table: pa.Table) -> dict[str, ScoredSample]:
    """Return the samples of a stored batch that were generated and scored, by key."""
    # What could not be generated has a row without masks, so that the batch is known to be
    # complete.
    rows = (row for row in table.to_pylist() if row["masks"] is not None)
    return {row["key"]: _parse_scored_row(row) for row in rows}


def _plain_scored(sample: ScoredSample) -> dict[str, Any]:
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


def _parse_scored_row(row: dict[str, Any]) -> ScoredSample:
    masks = tuple(
        EntityMask(decode_mask(mask["mask"]), mask["predicted_iou"], mask["touches_border"])
        for mask in row["masks"]
    )
    scores = {
        (pair.pop("i"), pair.pop("j")): PairScores(
            # Arrow gives a map as a list of (key, value).
            **{**pair, "extra_scores": dict(pair.get("extra_scores") or ())}
        )
        for pair in row["pairs"]
    }
    descriptors = tuple(
        ImageDescriptor(each["clip_code"], tuple(each["concepts"]))
        for each in row.get("descriptors") or ()
    )
    return ScoredSample(masks, scores, descriptors)
