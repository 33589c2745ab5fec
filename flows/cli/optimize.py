"""`coupled optimize`: run the flow, then say what came out and how good it is."""

import time
from typing import TYPE_CHECKING, Any

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.failures import ExitCode
from flows.cli.prefect_session import prefect_session
from flows.cli.terminal import Terminal
from flows.cli.worker_process import end_with_parent

if TYPE_CHECKING:  # these import torch, which can wait until a server is starting
    from coupled_core.research.optimization.judgement import ScheduleScores
    from flows.optimize_schedule import OptimizeSummary


def optimize_and_report(settings: OptimizeSettings, terminal: Terminal) -> None:
    """Find a schedule, write it, and print how it does.

    Raises:
        SystemExit: 130 when interrupted.
        CoupledError: nothing could be done.
    """
    started_at = time.monotonic()
    try:
        with prefect_session("flows.optimize_schedule"), terminal.progress():
            summary = _run(settings)
    except KeyboardInterrupt as error:
        terminal.note(
            f"interrupted: finished evaluations are kept in {settings.state_folder}; run the same "
            "command again to go on"
        )
        raise SystemExit(ExitCode.INTERRUPTED) from error
    wall_seconds = time.monotonic() - started_at
    terminal.say(render(summary, wall_seconds))
    terminal.print_json({**summary.to_dict(), "wall_seconds": round(wall_seconds, 1)})


def render(summary: "OptimizeSummary", wall_seconds: float) -> str:
    """Return a summary as text."""
    report = summary.report
    lines = [
        f"schedule    {summary.schedule}",
        f"found       {summary.family}, after {summary.num_evaluations} evaluations",
        f"picture     {summary.picture}",
        "",
        f"train       {_describe(report.train)}",
        f"validation  {_describe(report.validation)}",
    ]
    if summary.finalists:
        fresh = [_interval(finalist.fresh) for finalist in summary.finalists]
        lines.insert(4, f"finals      J {', '.join(fresh)}  (best first, other noise)")
    if report.against is not None:
        lines += [
            f"before      {_describe(report.against.validation)}",
            f"difference  {_interval(report.against.difference)}  (found minus before, paired)",
        ]
    lines += [
        f"{at.num_inference_steps:>3} steps   {_describe(at.validation)}" for at in report.at_steps
    ]
    return "\n".join([*lines, "", f"wall time   {wall_seconds:.0f} s"])


def _run(settings: OptimizeSettings) -> "OptimizeSummary":
    from flows.optimize_schedule import optimize_schedule

    if settings.workers == 1:
        return optimize_schedule(settings)
    from prefect.task_runners import ProcessPoolTaskRunner

    runner: Any = ProcessPoolTaskRunner(settings.workers, initializer=end_with_parent)
    return optimize_schedule.with_options(task_runner=runner)(settings)


def _describe(scores: "ScheduleScores") -> str:
    parts = [f"J {_interval(scores.objective)}"]
    if scores.background_similarity is not None and scores.alignment is not None:
        parts.append(f"S {scores.background_similarity:.2f}  T {scores.alignment:.2f}")
    parts.append(f"guarded {scores.guarded_fraction:.0%} of {scores.num_pairs} pairs")
    return "  ".join(parts)


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
