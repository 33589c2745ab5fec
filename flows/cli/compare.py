"""`coupled compare`: run the flow, or only draw again, then print the table."""

import time

from coupled_core.research.comparison.report import (
    RESULTS,
    read_facts,
    render_report,
    summarise_comparison,
    to_plain,
    write_report,
)
from coupled_core.research.comparison.results import read_results
from coupled_core.research.comparison.settings import CompareSettings
from flows.cli.failures import ExitCode
from flows.cli.terminal import Terminal


def compare_and_report(settings: CompareSettings, terminal: Terminal, *, redraw: bool) -> None:
    """Compare the methods and print what came out.

    Args:
        settings: of the comparison.
        terminal: where to say it.
        redraw: draw the results of an earlier run again instead; nothing is evaluated.

    Raises:
        SystemExit: 130 when interrupted.
        CoupledError: nothing could be done.
    """
    started_at = time.monotonic()
    files = write_report(settings.folder) if redraw else _compare(settings, terminal)
    results, facts = read_results(settings.folder / RESULTS), read_facts(settings.folder)
    seconds = time.monotonic() - started_at
    terminal.say(render_report(results, facts))
    terminal.say("\n".join(f"{kind:<11} {path}" for kind, path in files.items()))
    terminal.say(f"wall time   {seconds:.0f} s")
    terminal.print_json(
        {
            "files": files,
            "methods": to_plain(summarise_comparison(results)),
            "tuned": facts["tuned"],
            "command": facts["command"],
            "wall_seconds": round(seconds, 1),
        }
    )


def _compare(settings: CompareSettings, terminal: Terminal) -> dict[str, str]:
    from flows.cli.prefect_session import prefect_session

    try:
        with prefect_session(), terminal.progress():
            from flows.compare_methods import compare_methods

            return compare_methods(settings)
    except KeyboardInterrupt as error:
        terminal.note(
            f"interrupted: finished sweeps and chunks are kept under {settings.output}; run the "
            "same command again to go on"
        )
        raise SystemExit(ExitCode.INTERRUPTED) from error
