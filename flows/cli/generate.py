"""`coupled generate`: one group from prompts on the command line; no Prefect, no dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError, CoupledError
from flows.cli.command import SETTINGS, command
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports numpy or torch waits until the command runs
    from coupled_core.records import GeneratedSample, Sample

_GAP_PX = 8


@command(
    SETTINGS,
    examples="""
    coupled generate "a red fox in a snowy forest" "a grey owl in a snowy forest" -o pair.png
    """,
)
def generate(
    terminal: Terminal,
    prompts: Annotated[
        list[str], typer.Argument(help="Two or more prompts that share a background.")
    ],
    picture: Annotated[
        Path, typer.Option("--output", "-o", help="PNG with the images side by side.")
    ],
    config: Annotated[RunConfig, Offer(only=("split", "generation", "scoring", "filter"))],
) -> None:
    """Make one group of images from prompts given here, and print how its pairs score."""
    from coupled_core.generation.generator import load_generator
    from coupled_core.records import Rejection

    sample = _split_prompts(prompts, config)
    generated = load_generator(config.generation).generate([sample])[0]
    if isinstance(generated, Rejection):
        raise CoupledError(generated.message)
    _write_picture(generated, picture)
    pairs = _score_pairs(sample, generated, config)
    terminal.say(f"background  {sample.split.background_prompt}")
    for index, entity in enumerate(sample.split.entity_prompts):
        terminal.say(f"entity {index}    {entity}")
    for pair in pairs:
        terminal.say("  ".join(f"{name} {_short(value)}" for name, value in pair.items()))
    terminal.say(f"picture     {picture}")
    terminal.print_json({"picture": str(picture), "seed": sample.seed, "pairs": pairs})


def _split_prompts(prompts: Sequence[str], config: RunConfig) -> "Sample":
    from coupled_core.records import PromptGroup, Rejection, Sample
    from coupled_core.runs.identity import sample_seed
    from coupled_core.splitting.splitter import build_splitter

    if len(prompts) < 2:
        raise ConfigError(
            f"got {len(prompts)} prompt, expected two or more that share a background"
        )
    group = PromptGroup("command-line", tuple(prompts), "command line", 0)
    split = build_splitter(config.split).split([group])[0]
    if isinstance(split, Rejection):
        raise ConfigError(split.message)
    return Sample(group, sample_seed(config.generation.seed, group.group_id, None, 0), split)


def _score_pairs(
    sample: "Sample", generated: "GeneratedSample", config: RunConfig
) -> list[dict[str, object]]:
    from coupled_core.filtering.decide import decide
    from coupled_core.generation.provenance import choose_device
    from coupled_core.scoring.pair_scorer import load_scorer

    scorer = load_scorer(config.scoring, str(choose_device(config.generation.device)))
    masks, scores = scorer.score(sample, generated)
    decisions = {
        (i, j): decide(pair, (masks[i], masks[j]), config.filter) for (i, j), pair in scores.items()
    }
    return [
        {
            "images": [i, j],
            "combined": pair.combined,
            "background_similarity": pair.background_similarity,
            "alignment": pair.alignment,
            "joint_entity_fraction": pair.joint_entity_fraction,
            "kept": decisions[i, j].kept,
            "reject_reasons": [reason.value for reason in decisions[i, j].reject_reasons],
        }
        for (i, j), pair in scores.items()
    ]


def _write_picture(generated: "GeneratedSample", path: Path) -> None:
    import numpy as np
    from PIL import Image

    height = generated.images[0].shape[0]
    gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
    columns = [part for image in generated.images for part in (image, gap)][:-1]
    try:
        Image.fromarray(np.concatenate(columns, axis=1)).save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror or error}") from error


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
