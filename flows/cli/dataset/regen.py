"""`coupled regen`: one pair again from its manifest row."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ValidationError

from coupled_core.config import GenerationConfig, RunConfig
from coupled_core.errors import ConfigError, CoupledError, ModelUnavailableError
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, argument, command, option
from flows.cli.output import require_writable, write_picture
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow or numpy waits until the command runs
    from coupled_core.dataset.rows import Row
    from coupled_core.dataset.snapshot import RunInfo
    from coupled_core.dataset.upkeep.regen import ImageDistance, Picture
    from coupled_core.records import Sample


@command(examples="coupled regen pairs 3f9a --output again.png")
def regen(
    terminal: Terminal,
    store: ObjectStore,
    pair_id: Annotated[str, argument("PAIR_ID", "The beginning of a pair_id.")],
    snapshot: SnapshotName = "current",
    base_model: Annotated[
        str | None, option("Where the base model is now, if it was a folder that moved.")
    ] = None,
    schedule: Annotated[str | None, option("Where the schedule is now, if its file moved.")] = None,
    device: Annotated[str, option("auto, cuda, cuda:N, mps or cpu.")] = "auto",
    picture: Annotated[
        Path | None, option("PNG of the new images, below the stored ones.", "--output", "-o")
    ] = None,
) -> None:
    """Make one pair again from its manifest row and say how far the images are from the stored.

    Refused where the same model revision, schedule or settings are not to be had.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.dataset.upkeep import regen as pairs

    if picture is not None:
        require_writable(picture)
    places = {"base_model": base_model, "schedule": schedule, "device": device}
    target = find_snapshot(store, snapshot)
    row, run = pairs.find_pair(store, target, pair_id)
    sample, chosen = pairs.sample_of(store, target, row)
    made = _generate(row, sample, _settings(row, run, places))
    new = (made[chosen[0]], made[chosen[1]])
    old = pairs.stored_images(store, row)
    image_format = run.config.get("output", {}).get("image_format", "png")
    distances = [
        pairs.measure_distance(row, number, new[number], old[number] if old else None, image_format)
        for number in (0, 1)
    ]
    if picture is not None:
        write_picture(picture, [images for images in (old, new) if images])
    lines = [f"image {number}: {_describe(each)}" for number, each in enumerate(distances)]
    plain = [asdict(distance) for distance in distances]
    document = {"dataset": store.uri, "pair_id": row["pair_id"], "images": plain}
    terminal.answer("\n".join(lines), document)


def _settings(row: "Row", run: "RunInfo", places: Mapping[str, str | None]) -> GenerationConfig:
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


def _generate(row: "Row", sample: "Sample", settings: GenerationConfig) -> "tuple[Picture, ...]":
    from coupled_core.dataset.upkeep.regen import differing_settings
    from coupled_core.generation.generator import load_generator
    from coupled_core.generation.provenance import resolve_generation
    from coupled_core.records import Rejection

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


def _describe(distance: "ImageDistance") -> str:
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
