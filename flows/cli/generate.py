"""`coupled generate`: one group from prompts on the command line; no Prefect, no dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError
from coupled_core.progress import current_progress
from flows.cli.command import argument, command, option
from flows.cli.output import require_writable, write_picture
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports numpy or torch waits until the command runs
    import numpy as np

    from coupled_core.records import GeneratedSample, Sample

_GAP_PX = 8
_SHOWN = ("combined", "background_similarity", "alignment", "joint_entity_fraction")
"""Scores that are printed."""


@command(
    examples="""
    coupled generate "a red fox in a snowy forest" "a grey owl in a snowy forest" -o pair.png
    coupled generate "a red fox in a snowy forest" "a grey owl in a snowy forest"
      --output-dir foxes --seeds 4
    """
)
def generate(
    terminal: Terminal,
    prompts: Annotated[list[str], argument("PROMPTS...", "Two or more that share a background.")],
    config: Annotated[RunConfig, Offer(only=("split", "generation", "scoring", "filter"))],
    picture: Annotated[
        Path | None, option("PNG with the images side by side, a row a seed.", "--output", "-o")
    ] = None,
    folder: Annotated[
        Path | None,
        option(
            "Folder for each image as a file, SEED-0.png and on, and the sheet.", "--output-dir"
        ),
    ] = None,
    num_seeds: Annotated[
        int,
        option("How often to draw the group, from other noise.", "--seeds", min=1, max=1000),
    ] = 1,
) -> None:
    """Make one group of images from prompts given here, and print how its pairs score.

    Name a picture (--output), a folder (--output-dir), or both.
    """
    from coupled_core.runs.pair import draw_again, split_prompts

    if picture is None and folder is None:
        raise ConfigError("expected --output PICTURE.png or --output-dir FOLDER, got neither")
    if folder is not None:
        _make_folder(folder)
    place = picture or folder / "sheet.png"  # type: ignore[operator]  # one of them is given
    # Before minutes of work, not after.
    require_writable(place)
    first = split_prompts(prompts, config)
    rows, files, pairs = [], [], []
    with terminal.progress():
        for number in range(num_seeds):
            sample = draw_again(first, config, number)
            images, scored = _make(sample, config, number, num_seeds)
            rows.append(images)
            pairs += scored
            if folder is not None:
                files += _write_images(folder, sample.seed, images)
    write_picture(place, rows, _GAP_PX)
    lines = [f"background  {first.split.background_prompt}"]
    lines += [f"entity {i}    {text}" for i, text in enumerate(first.split.entity_prompts)]
    lines += [_describe_pair(pair) for pair in pairs]
    lines += [f"images      {len(files)} in {folder}"] if folder else []
    document = {
        "picture": str(place),
        "seed": first.seed,
        "images": [str(file) for file in files],
        "pairs": pairs,
    }
    terminal.answer("\n".join([*lines, f"picture     {place}"]), document)


def _make(
    sample: "Sample", config: RunConfig, number: int, of: int
) -> tuple[tuple["np.ndarray", ...], list[dict[str, Any]]]:
    """Generate and score one seed, with its steps shown."""
    from coupled_core.runs.pair import generate_sample

    progress, where = current_progress(), f"seed {number + 1} of {of}"
    for stage in ("generate", "score"):
        progress.begin(stage, of)
    generated = generate_sample(
        sample,
        config,
        on_step=lambda step, steps: progress.within(
            "generate", step / steps, f"{where}, step {step} of {steps}"
        ),
    )
    progress.advance("generate")
    pairs = _score_pairs(sample, generated, config)
    progress.advance("score")
    return generated.images, pairs


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error.strerror}") from error


def _write_images(folder: Path, seed: int, images: Sequence["np.ndarray"]) -> list[Path]:
    places = [folder / f"{seed}-{index}.png" for index in range(len(images))]
    for place, image in zip(places, images, strict=True):
        write_picture(place, [(image,)], 0)
    return places


def _score_pairs(
    sample: "Sample", generated: "GeneratedSample", config: RunConfig
) -> list[dict[str, Any]]:
    from coupled_core.filtering.decide import decide
    from coupled_core.generation.provenance import choose_device
    from coupled_core.runs.models import scorer_for

    scorer = scorer_for(config.scoring, choose_device(config.generation.device))
    masks, scores = scorer.score(sample, generated)
    found: list[dict[str, Any]] = []
    for (i, j), pair in scores.items():
        decision = decide(pair, (masks[i], masks[j]), config.filter)
        shown = {name: getattr(pair, name) for name in _SHOWN}
        reasons = list(decision.reject_reasons)
        about = {"seed": sample.seed, "images": [i, j], **shown}
        found.append({**about, "kept": decision.kept, "reject_reasons": reasons})
    return found


def _describe_pair(pair: dict[str, Any]) -> str:
    """Return two lines that fit a narrow terminal."""
    i, j = pair["images"]
    verdict = "kept" if pair["kept"] else f"dropped: {', '.join(pair['reject_reasons'])}"
    scores = ", ".join(f"{name.replace('_', ' ')} {pair[name]:.3f}" for name in _SHOWN)
    return f"pair        seed {pair['seed']}, images {i} and {j}: {verdict}\n            {scores}"
