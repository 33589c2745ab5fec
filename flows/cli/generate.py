"""`coupled generate`: one group from prompts on the command line; no Prefect, no dataset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError
from coupled_core.filtering.decide import decide
from coupled_core.generation.provenance import choose_device
from coupled_core.records import GeneratedSample, Sample
from coupled_core.runs.models import scorer_for
from coupled_core.runs.pair import generate_sample, split_prompts
from flows.cli.terminal import Terminal

_GAP_PX = 8


def generate_and_report(
    prompts: Sequence[str], picture: Path, config: RunConfig, terminal: Terminal
) -> None:
    """Generate the images of a group, write them side by side, and print the scores of its pairs.

    Raises:
        CoupledError: the prompts share no background that could be found, or a model is not there.
    """
    sample = split_prompts(prompts, config)
    generated = generate_sample(sample, config)
    _write_picture(generated, picture)
    pairs = _score_pairs(sample, generated, config)
    terminal.say(f"background  {sample.split.background_prompt}")
    for index, entity in enumerate(sample.split.entity_prompts):
        terminal.say(f"entity {index}    {entity}")
    for pair in pairs:
        terminal.say("  ".join(f"{name} {_short(value)}" for name, value in pair.items()))
    terminal.say(f"picture     {picture}")
    terminal.print_json({"picture": str(picture), "seed": sample.seed, "pairs": pairs})


def _score_pairs(
    sample: Sample, generated: GeneratedSample, config: RunConfig
) -> list[dict[str, object]]:
    scorer = scorer_for(config.scoring, str(choose_device(config.generation.device)))
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
            "reject_reasons": list(decisions[i, j].reject_reasons),
        }
        for (i, j), pair in scores.items()
    ]


def _write_picture(generated: GeneratedSample, path: Path) -> None:
    height = generated.images[0].shape[0]
    gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
    columns = [part for image in generated.images for part in (image, gap)][:-1]
    try:
        Image.fromarray(np.concatenate(columns, axis=1)).save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror or error}") from error


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
