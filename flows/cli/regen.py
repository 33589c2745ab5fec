"""`coupled regen`: one pair again from its manifest row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import ValidationError

from coupled_core.config import GenerationConfig, RunConfig
from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.dataset.upkeep.regen import (
    ImageDistance,
    Picture,
    differing_settings,
    find_pair,
    measure_distance,
    sample_of,
    stored_images,
)
from coupled_core.errors import ConfigError, CoupledError, ModelUnavailableError
from coupled_core.records import Rejection, Sample
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def regenerate_and_report(
    dataset: str,
    snapshot: str,
    pair_id: str,
    places: Mapping[str, str | None],
    picture: Path | None,
    terminal: Terminal,
) -> None:
    """Make a pair again and print how far its images are from those that the row describes.

    Args:
        dataset: Folder or s3:// location.
        snapshot: Name of a state of it.
        pair_id: Beginning of the pair's id.
        places: Where base_model and schedule are now, and the device; None: as it was.
        picture: PNG to write.
        terminal: Who asks.

    Raises:
        ModelUnavailableError: the model, its revision, the schedule or a setting is not to be had.
        CoupledError: the pair is not there or cannot be made.
    """
    store = open_store(dataset)
    target = find_snapshot(store, snapshot)
    row, run = find_pair(store, target, pair_id)
    sample, chosen = sample_of(store, target, row)
    made = _generate(row, sample, _settings(row, run, places))
    new = (made[chosen[0]], made[chosen[1]])
    old = stored_images(store, row)
    image_format = run.config.get("output", {}).get("image_format", "png")
    distances = [
        measure_distance(row, number, new[number], old[number] if old else None, image_format)
        for number in (0, 1)
    ]
    if picture is not None:
        _write_picture(picture, [images for images in (old, new) if images])
    for number, distance in enumerate(distances):
        terminal.say(f"image {number}: {_describe(distance)}")
    plain = [asdict(distance) for distance in distances]
    terminal.print_json({"dataset": store.uri, "pair_id": row["pair_id"], "images": plain})


def _settings(row: Row, run: RunInfo, places: Mapping[str, str | None]) -> GenerationConfig:
    """Return the settings of a run with what its row says about model and number format."""
    try:
        config = RunConfig.model_validate(run.config).generation
    except ValidationError as error:
        raise ConfigError(
            f"run {run.run_id} has settings that this version does not know "
            f"({error.errors()[0]['loc']}): use version {run.package_version}"
        ) from error
    given = {name: value for name, value in places.items() if value is not None}
    names = ("coupling_mode", "num_inference_steps", "max_sequence_length", "entity_text", "dtype")
    facts = {name: row[name] for name in names}
    revision = row["base_model_revision"]
    return config.model_copy(update={**facts, "revision": revision, "offload": "none", **given})


def _generate(row: Row, sample: Sample, settings: GenerationConfig) -> tuple[Picture, ...]:
    from coupled_core.generation.generator import load_generator
    from coupled_core.generation.provenance import resolve_generation

    differing = differing_settings(row, resolve_generation(settings))
    if differing:
        what = "; ".join(f"{k} {old!r}, got {new!r}" for k, (old, new) in differing.items())
        raise ModelUnavailableError(
            f"pair {row['pair_id']} cannot be made again here: expected {what}. Name the original "
            "model folder with --base-model, the original schedule file with --schedule"
        )
    made = load_generator(settings).generate([sample])[0]
    if isinstance(made, Rejection):
        raise CoupledError(f"pair {row['pair_id']} was not made: {made.message}")
    return made.images


def _write_picture(path: Path, lines: Sequence[tuple[Picture, ...]]) -> None:
    try:
        Image.fromarray(np.vstack([np.hstack(images) for images in lines])).save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror or error}") from error


def _describe(distance: ImageDistance) -> str:
    if distance.is_identical:
        return f"identical, SHA-256 {distance.sha256}"
    if distance.max_difference is None:
        gap = "the old one is not stored"
    else:
        gap = (
            f"at most {distance.max_difference} of 255, {distance.mean_difference:.4f} on average, "
            f"in {distance.share_different:.2%} of the pixels"
        )
    return f"differs: {gap}; perceptual hash by {distance.phash_distance} of 64 bits"
