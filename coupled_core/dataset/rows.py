"""From the records of the stages to rows of the manifest and of the image parts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coupled_core.dataset.backgrounds import partition_of_background
from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.images import EncodedImage
from coupled_core.filters import name_numbers
from coupled_core.records import (
    Decision,
    EditInstruction,
    EntityMask,
    GenerationProvenance,
    GroupSplit,
    ImageDescriptor,
    PairScores,
    PromptGroup,
    QuarantinedRow,
    Rejection,
    RejectReason,
    Status,
)

Row = dict[str, Any]
"""A row of the manifest, or of a part of images, by column."""
_SCORING_FACTS = ("sam_model", "clip_model", "metric_version", "content_filter_version")
"""Facts of a run that only stand in rows of scored pairs."""


@dataclass(frozen=True)
class RunFacts:
    """What all rows of a run have in common."""

    run_id: str
    config_sha256: str
    created_at: datetime
    """UTC."""
    package_version: str
    torch_version: str
    diffusers_version: str
    code_revision: str | None
    sam_model: str
    clip_model: str
    metric_version: str
    content_filter_version: str | None = None


@dataclass(frozen=True)
class PlannedPair:
    """Two images of a group from one seed, before anything is made."""

    pair_id: str
    group: PromptGroup
    image_indices: tuple[int, int]
    seed: int
    shard_index: int
    attempt: int = 1


_UNWRITTEN = EditInstruction(None, missing="the splitter wrote none")


@dataclass(frozen=True)
class EncodedBackground:
    """What the images of a sample share, as it is stored."""

    image: bytes
    """In the format of the images."""
    regions: tuple[bytes, ...]
    """Of each image, PNG, 8-bit grey: where it is 0 the image is the background, to the last
    bit."""


@dataclass(frozen=True)
class EncodedPair:
    """The images and masks of a pair as they are stored."""

    image_0: EncodedImage
    image_1: EncodedImage
    mask_0: bytes
    """PNG, 8-bit grey, 255 on the entity."""
    mask_1: bytes
    extension: str = "png"
    """What the names of the images end with; masks are PNG."""
    background: EncodedBackground | None = None
    """With the regions of these two images; None: it is not to be stored."""


def complete_row(*stages: Mapping[str, Any]) -> Row:
    """Merge the columns of the stages that ran; the others are null.

    Raises:
        KeyError: a name is not a column of the manifest (our own mistake).
    """
    # All columns in the order of the schema: equal rows give equal bytes.
    row: Row = dict.fromkeys(MANIFEST_SCHEMA.names)
    for columns in stages:
        if unknown := columns.keys() - row.keys():
            raise KeyError(f"not columns of the manifest: {sorted(unknown)}")
        row.update(columns)
    return row


def failed_row(
    pair: PlannedPair, run: RunFacts, rejection: Rejection, split: GroupSplit | None = None
) -> Row:
    """Return the row of a pair that the split stage (`split` is None) or a later one gave up."""
    known: Row = {} if split is None else split_columns(split, pair)
    # Answers that could not be used were paid for all the same.
    if rejection.llm_cost_usd:
        known = {**known, "llm_cost_usd": _llm_share(rejection.llm_cost_usd, pair)}
    return complete_row(plan_columns(pair, run), known, _refusal(Status.FAILED, rejection))


def quarantined_row(bad: QuarantinedRow, pair_id: str, shard_index: int, run: RunFacts) -> Row:
    """Return the row that stands for an unusable row of the prompt set."""
    identity = {
        "pair_id": pair_id,
        "group_id": bad.group_id,
        "shard_index": shard_index,
        "source_file": bad.source_file,
        "source_row": bad.source_row,
    }
    rejection = Rejection(RejectReason.INVALID_INPUT, bad.message)
    return complete_row(identity, _run_columns(run), _refusal(Status.QUARANTINED, rejection))


def plan_columns(pair: PlannedPair, run: RunFacts) -> Row:
    """Return what is known before anything ran."""
    group, (first, second) = pair.group, pair.image_indices
    # Sorted keys, since equal rows must give equal bytes and so parts of the same name.
    extra = json.dumps(dict(group.extra), default=str, sort_keys=True) if group.extra else None
    return {
        "pair_id": pair.pair_id,
        "group_id": group.group_id,
        "image_index_0": first,
        "image_index_1": second,
        "shard_index": pair.shard_index,
        "source_file": group.source_file,
        "source_row": group.source_row,
        "extra": extra,
        "prompt_0": group.prompts[first],
        "prompt_1": group.prompts[second],
        "seed": pair.seed,
        "attempt": pair.attempt,
        **_run_columns(run),
    }


def split_columns(split: GroupSplit, pair: PlannedPair) -> Row:
    """Return what the splitter said about a pair."""
    first, second = pair.image_indices
    written = split.edit_instructions
    forth = written.get((first, second), _UNWRITTEN)
    back = written.get((second, first), _UNWRITTEN)
    return {
        "partition": partition_of_background(split.background_prompt),
        "background_prompt": split.background_prompt,
        "entity_0": split.entity_prompts[first],
        "entity_1": split.entity_prompts[second],
        "edit_instruction": forth.text,
        "inverse_instruction": back.text,
        "instruction_source": forth.source,
        "inverse_source": back.source,
        "instruction_missing": forth.missing,
        "inverse_missing": back.missing,
        "variation_kind": split.variation_kind,
        "split_source": split.source,
        "split_model": split.model,
        "split_prompt_version": split.prompt_version,
        "split_request_sha256": split.request_sha256,
        "llm_cost_usd": _llm_share(split.llm_cost_usd, pair),
    }


def generation_columns(
    provenance: GenerationProvenance,
    *,
    size_px: tuple[int, int],
    generate_seconds: float,
    device_name: str,
    num_pairs: int,
    batch_size: int | None,
    region_fraction: float | None = None,
) -> Row:
    """Return how the images of a pair were made.

    Args:
        provenance: How the generator makes images, unless a group asks for another size.
        size_px: (width, height) of the images.
        generate_seconds: Wall time of the sample.
        num_pairs: Pairs of the sample, which share its cost.
        batch_size: Groups that were denoised together.
        region_fraction: Share of the frame in a region; None without one.
    """
    # A group may ask for a size of its own, and another machine may have made a batch.
    return {
        **vars(provenance),
        "weights": provenance.weights or None,
        "width": size_px[0],
        "height": size_px[1],
        "device_name": device_name,
        "generate_seconds": generate_seconds,
        "gpu_seconds": generate_seconds / num_pairs,
        "batch_size": batch_size,
        "region_fraction": region_fraction,
    }


def image_columns(images: EncodedPair) -> Row:
    """Return what identifies the images; the place in a part follows when the part is written."""
    row: Row = {}
    for name, image in (("image_0", images.image_0), ("image_1", images.image_1)):
        row[f"{name}_sha256"] = image.sha256
        row[f"{name}_bytes"] = len(image.data)
        row[f"{name}_phash"] = image.phash
    return row


def score_columns(
    scores: PairScores,
    masks: tuple[EntityMask, EntityMask],
    run: RunFacts,
    seen: tuple[ImageDescriptor, ...] = (),
) -> Row:
    """Return how a pair was measured; `seen` describes both images, or is empty."""
    row: Row = name_numbers(scores, masks)
    for name, mask in zip(("mask_0", "mask_1"), masks, strict=True):
        row[f"{name}_touches_border"] = mask.touches_border
    row |= {name: getattr(run, name) for name in _SCORING_FACTS}
    for number, descriptor in enumerate(seen):
        row[f"image_{number}_clip_code"] = descriptor.clip_code
    # An empty list says that a filter ran and found nothing; null says that none ran.
    if run.content_filter_version is not None:
        row["content_concepts"] = sorted({c for each in seen for c in each.concepts})
    return row


def decision_columns(decision: Decision) -> Row:
    """Return whether a scored pair is kept, and why not."""
    reasons = [str(reason) for reason in decision.reject_reasons]
    return {"kept": decision.kept, "reject_reasons": reasons, "status": Status.OK.value}


def image_row(pair_id: str, images: EncodedPair) -> Row:
    """Return the row of a pair in an image part."""
    row: Row = {"pair_id": pair_id}
    pictures = {"image_0": images.image_0.data, "image_1": images.image_1.data}
    planes = {"mask_0": images.mask_0, "mask_1": images.mask_1}
    if images.background is not None:
        pictures["background"] = images.background.image
        planes["region_0"], planes["region_1"] = images.background.regions
    for names, extension in ((pictures, images.extension), (planes, "png")):
        for name, data in names.items():
            row[name] = {"bytes": data, "path": f"{pair_id}_{name}.{extension}"}
    return row


def _llm_share(group_usd: float, pair: PlannedPair) -> float:
    """Divide the cost of a group's split among its first attempts, however many follow."""
    if pair.attempt > 1:
        return 0.0
    num_prompts = len(pair.group.prompts)
    # Every two prompts of the group make a pair, once for each seed.
    return group_usd / (num_prompts * (num_prompts - 1) // 2 * pair.group.num_seeds)


def _run_columns(run: RunFacts) -> Row:
    facts = {name: value for name, value in vars(run).items() if name not in _SCORING_FACTS}
    return {**facts, "ai_generated": True}


def _refusal(status: Status, rejection: Rejection) -> Row:
    return {
        "kept": False,
        "reject_reasons": [rejection.reason.value],
        "status": status.value,
        "error_message": rejection.message,
    }
