"""One pair again from its manifest row: what it was made of, and how far the new images are."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.columns import IMAGE_FIELDS
from coupled_core.dataset.images import ImageFormat, decode_image, encode_image, hamming_distance
from coupled_core.dataset.reader import (
    iter_manifest,
    iter_rows,
    iter_stored_images,
    part_pair_ids,
)
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.records import EditInstruction, GroupSplit, PromptGroup, Sample
from coupled_core.storage.store import ObjectStore

Picture = NDArray[np.uint8]

REPRODUCED = (
    "base_model_revision",
    "schedule_id",
    "coupling_mode",
    "num_inference_steps",
    "guidance_scale",
    "max_sequence_length",
    "entity_text",
    "dtype",
    "weights",
)
"""Columns that a generator must agree with to make the same images."""


@dataclass(frozen=True)
class ImageDistance:
    """How far an image is from the one that a row describes."""

    sha256: str
    """Hash of the new image as it would be stored."""
    is_identical: bool
    """It has the SHA-256 of the row."""
    phash_distance: int
    """Bits of 64 in which the perceptual hashes differ."""
    max_difference: int | None
    """Largest difference of a value, 0..255. None: the old image is not stored."""
    mean_difference: float | None
    share_different: float | None
    """Share of the pixels that differ at all, [0, 1]."""


def find_pair(store: ObjectStore, snapshot: Snapshot, pair_id: str) -> tuple[Row, RunInfo]:
    """Return the row of a pair, named by its id or the beginning of one, and its run.

    Raises:
        ConfigError: none or several begin like that.
        DatasetError: its images were never made.
    """
    # Ids alone are read from all parts, then one part in full.
    found = [
        (part, index)
        for part in snapshot.parts_of("manifest")
        for index, name in enumerate(part_pair_ids(store, part))
        if name.startswith(pair_id)
    ]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} pairs of snapshot {snapshot.snapshot_id} begin with {pair_id!r}: "
            "expected one; take the id from the manifest"
        )
    part, index = found[0]
    row = next(islice(iter_rows(iter_manifest(store, [part])), index, None))
    if row["image_0_sha256"] is None:
        raise DatasetError(
            f"pair {row['pair_id']} was never made: its status is {row['status']} "
            f"({row['error_message']})"
        )
    return row, snapshot.run_of(part)


def sample_of(store: ObjectStore, snapshot: Snapshot, row: Row) -> tuple[Sample, tuple[int, int]]:
    """Return what the generator was given for a pair: its whole group with its seed.

    Returns:
        The sample, and which of its images are the pair's. Images of a group that no row of the
        part names any more (pairs of another run had been there before) are left out.
    """
    texts: dict[int, tuple[str, str]] = {}
    # Rows name two images each; together the pairs of a sample name all that were made at once.
    # These share a noise and a region, so none can be made without the others.
    for each in _same_sample(store, snapshot, row):
        for side in (0, 1):
            texts[each[f"image_index_{side}"]] = (each[f"prompt_{side}"], each[f"entity_{side}"])
    order = sorted(texts)
    first, second = order.index(row["image_index_0"]), order.index(row["image_index_1"])
    group = PromptGroup(
        group_id=row["group_id"],
        prompts=tuple(texts[index][0] for index in order),
        source_file=row["source_file"],
        source_row=row["source_row"],
        width=row["width"],
        height=row["height"],
    )
    split = GroupSplit(
        background_prompt=row["background_prompt"],
        entity_prompts=tuple(texts[index][1] for index in order),
        edit_instructions={
            (first, second): EditInstruction(
                row["edit_instruction"], row["instruction_source"], row["instruction_missing"]
            ),
            (second, first): EditInstruction(
                row["inverse_instruction"], row["inverse_source"], row["inverse_missing"]
            ),
        },
        variation_kind=row["variation_kind"],
        source=row["split_source"],
        request_sha256=row["split_request_sha256"],
    )
    return Sample(group, row["seed"], split), (first, second)


def _same_sample(store: ObjectStore, snapshot: Snapshot, row: Row) -> Iterator[Row]:
    """Yield the pairs that were made together with one, itself among them."""
    wanted = (row["group_id"], row["seed"])
    for part in (each for each in snapshot.parts_of("manifest") if each.run_id == row["run_id"]):
        # Two columns are read of all parts, and one part in full: a compacted part holds shards
        # that its name does not tell.
        keys = iter_rows(iter_manifest(store, [part], ["group_id", "seed"]))
        if any((each["group_id"], each["seed"]) == wanted for each in keys):
            rows = iter_rows(iter_manifest(store, [part]))
            yield from (each for each in rows if (each["group_id"], each["seed"]) == wanted)


def differing_settings(row: Row, generation: Any) -> dict[str, tuple[Any, Any]]:
    """Return what a generator has otherwise than a row asks for: by name, wanted and found."""
    pairs = {name: (row[name], getattr(generation, name)) for name in REPRODUCED}
    # Early versions did not write every column down; what is not known cannot differ.
    return {name: (old, new) for name, (old, new) in pairs.items() if old not in (None, new)}


def stored_images(store: ObjectStore, row: Row) -> tuple[Picture, ...] | None:
    """Return the images of a pair as they are stored; None: they are not."""
    if row["image_part"] is None:
        return None
    ((_, found),) = iter_stored_images(store, [row], IMAGE_FIELDS[:2])
    return tuple(decode_image(found[name]["bytes"]) for name in ("image_0", "image_1"))


def measure_distance(
    row: Row, number: int, new: Picture, old: Picture | None, image_format: ImageFormat
) -> ImageDistance:
    """Compare image `number` (0 or 1) of a pair with its row, and with the stored image."""
    encoded = encode_image(new, image_format)
    known = f"image_{number}"
    # int16, because differences of unsigned bytes would wrap round.
    gap = None if old is None else np.abs(new.astype(np.int16) - old.astype(np.int16))
    return ImageDistance(
        sha256=encoded.sha256,
        is_identical=encoded.sha256 == row[f"{known}_sha256"],
        phash_distance=hamming_distance(encoded.phash, row[f"{known}_phash"]),
        max_difference=None if gap is None else int(gap.max()),
        mean_difference=None if gap is None else float(gap.mean()),
        share_different=None if gap is None else float((gap.max(axis=2) > 0).mean()),
    )
