"""`coupled generate`: one group from prompts on the command line; no Prefect, no dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from coupled_core.config import RunConfig
from flows.cli.command import argument, command, option
from flows.cli.output import write_picture
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports numpy or torch waits until the command runs
    from coupled_core.records import GeneratedSample, Sample

_GAP_PX = 8
_SHOWN = ("combined", "background_similarity", "alignment", "joint_entity_fraction")
"""Scores that are printed."""


@command(
    examples="""
    coupled generate "a red fox in a snowy forest" "a grey owl in a snowy forest" -o pair.png
    """
)
def generate(
    terminal: Terminal,
    prompts: Annotated[list[str], argument("PROMPTS...", "Two or more that share a background.")],
    picture: Annotated[Path, option("PNG with the images side by side.", "--output", "-o")],
    config: Annotated[RunConfig, Offer(only=("split", "generation", "scoring", "filter"))],
) -> None:
    """Make one group of images from prompts given here, and print how its pairs score."""
    from coupled_core.runs.pair import generate_sample, split_prompts

    sample = split_prompts(prompts, config)
    generated = generate_sample(sample, config)
    write_picture(picture, [generated.images], _GAP_PX)
    pairs = _score_pairs(sample, generated, config)
    lines = [f"background  {sample.split.background_prompt}"]
    lines += [f"entity {i}    {text}" for i, text in enumerate(sample.split.entity_prompts)]
    lines += ["  ".join(f"{name} {_short(pair[name])}" for name in pair) for pair in pairs]
    document = {"picture": str(picture), "seed": sample.seed, "pairs": pairs}
    terminal.answer("\n".join([*lines, f"picture     {picture}"]), document)


def _score_pairs(
    sample: "Sample", generated: "GeneratedSample", config: RunConfig
) -> list[dict[str, object]]:
    from coupled_core.filtering.decide import decide
    from coupled_core.generation.provenance import choose_device
    from coupled_core.runs.models import scorer_for

    scorer = scorer_for(config.scoring, choose_device(config.generation.device))
    masks, scores = scorer.score(sample, generated)
    found: list[dict[str, object]] = []
    for (i, j), pair in scores.items():
        decision = decide(pair, (masks[i], masks[j]), config.filter)
        shown = {name: getattr(pair, name) for name in _SHOWN}
        reasons = list(decision.reject_reasons)
        found.append({"images": [i, j], **shown, "kept": decision.kept, "reject_reasons": reasons})
    return found


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
