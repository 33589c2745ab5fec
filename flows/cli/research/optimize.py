"""`coupled optimize`: run the flow, then say what came out and how good it is."""

import time
from typing import TYPE_CHECKING, Annotated

from coupled_core.research.evaluation.power import (
    LEAST_GROUPS_TO_DECIDE,
    TYPICAL_SDS,
    count_groups_to_detect,
    detectable_by,
    detectable_difference,
)
from coupled_core.research.optimization.settings import Objective, OptimizeSettings
from flows.cli.command import command
from flows.cli.setting import OF_DATASETS, Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # these import torch, which can wait until a server is starting
    from coupled_core.research.evaluation.intervals import Interval
    from coupled_core.research.optimization.judgement import Standing
    from flows.optimize_schedule import OptimizeSummary

_WITHOUT_EFFECT = ("generation.schedule", "generation.coupling_mode", *OF_DATASETS)
"""Settings of a build that a search does not read."""
_WORTH_FINDING: dict[Objective, float] = {"combined": 0.05, "background_similarity_clear": 0.4}
"""The difference for which the statement of power says how many groups it takes."""


@command(
    examples="""
    coupled optimize --prompts train.parquet -o schedule.json
    coupled optimize --profile flux-dev --device cuda --prompts train.parquet
      --coupling-mode log_bias --family sine --num-candidates 32 -o flux-dev.json
    """,
)
def optimize(
    terminal: Terminal,
    settings: Annotated[OptimizeSettings, Offer(section="optimize", without=_WITHOUT_EFFECT)],
) -> None:
    """Race schedules against the one in use, and write the winner if there is one.

    Many candidates make few groups of half the prompts, few candidates many; finalists and the
    schedule in use then make the other half. How small a difference that can find is said first.
    Kill it at any moment and run it again: it goes on.
    """
    started_at = time.monotonic()
    kept = f"finished evaluations are kept in {settings.state_folder}"
    with flow_session(terminal, "flows.optimize_schedule", kept):
        summary = _run(settings, terminal)
    seconds = time.monotonic() - started_at
    document = {**summary.to_dict(), "wall_seconds": round(seconds, 1)}
    terminal.answer(render(summary, seconds), document)
    if (warning := describe_unless_better(summary)) is not None:
        terminal.complain(warning)


def describe_power(num_groups: int, objective: Objective = "combined") -> str:
    """Return how small a difference the finals of a search can find."""
    wanted, sd = _WORTH_FINDING[objective], TYPICAL_SDS[objective]
    needed = count_groups_to_detect(wanted, sd)
    name = "J" if objective == "combined" else "S clear of the masks"
    return (
        f"power: {num_groups} groups in the finals can detect a difference of {name} of "
        f"{detectable_difference(num_groups, sd):.3f} with 80 % probability, smaller ones less "
        f"often; {wanted} takes {needed}, so some {2 * needed} groups in the prompt set (half are "
        "raced on). Where pairs differ more from one another than usual (standard deviation "
        f"{sd}), it takes more. On fewer than {LEAST_GROUPS_TO_DECIDE} groups nobody wins"
    )


def describe_unless_better(summary: "OptimizeSummary") -> str | None:
    """Return what to say where nothing better than the schedule in use was found."""
    result = summary.result
    if result.winner is not None:
        return None
    if not result.finals:
        why = "no candidate came to the finals"
    else:
        best = result.finals[0]
        gain = best.differences[result.objective]
        why = f"on the groups of the finals the best candidate differs by {_interval(gain)}"
        if gain.count < LEAST_GROUPS_TO_DECIDE:
            why += f", but {gain.count} groups are too few to decide by"
        elif best.vetoes:
            why += f", and makes worse what must not fall: {', '.join(best.vetoes)}"
        else:
            why += f"; {detectable_by(gain):.3f} would have been found with 80 % probability"
    left = f"; the {summary.left_over} there is an earlier search's" if summary.left_over else ""
    return (
        f"NOTHING BETTER WAS FOUND: {why}. No schedule was written{left}; builds go on with the "
        f"one in use. All figures: {summary.report}"
    )


def render(summary: "OptimizeSummary", wall_seconds: float) -> str:
    """Return a summary as text."""
    result = summary.result
    lines = [f"schedule    {summary.schedule or 'none: nothing better was found'}"]
    lines += [f"report      {summary.report}", f"picture     {summary.picture}", ""]
    lines += [
        f"round {number}     {len(each.standings)} candidates, {each.num_groups} groups: "
        f"{each.num_left} left"
        for number, each in enumerate(result.rounds, 1)
    ]
    for number, each in enumerate(result.finals, 1):
        lines += ["", f"finalist {number}  {_describe_knobs(each)}", *_describe_standing(each)]
    for at in result.at_steps:
        gain = at.standing.differences[result.objective]
        lines.append(f"{at.num_inference_steps:>3} steps   {result.objective} {_interval(gain)}")
    return "\n".join([*lines, "", f"wall time   {wall_seconds:.0f} s"])


def _describe_knobs(standing: "Standing") -> str:
    schedule = standing.schedule
    knobs = vars(schedule.region) if schedule.region else schedule.parameters
    return ", ".join(f"{name} {value}" for name, value in knobs.items())


def _describe_standing(standing: "Standing") -> list[str]:
    """Return a line a measure: mean, and difference to the schedule in use."""
    return [
        f"  {name:28} {standing.means[name].mean:8.3f}  {_interval(difference)}"
        f"{'  VETO' if name in standing.vetoes else ''}"
        for name, difference in standing.differences.items()
    ]


def _run(settings: OptimizeSettings, terminal: Terminal) -> "OptimizeSummary":
    from coupled_core.research.optimization.trial import choose_samples, list_groups
    from flows.optimize_schedule import optimize_schedule

    _, finals = choose_samples(settings)
    terminal.note(describe_power(len(list_groups(finals)), settings.objective))
    return optimize_schedule(
        prompts=list(settings.run.prompts.uris), output=settings.output, settings=settings
    )


def _interval(interval: "Interval") -> str:
    return f"{interval.mean:+.3f} [{interval.low:.3f}, {interval.high:.3f}]"
