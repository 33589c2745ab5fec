"""`coupled doctor`: what a build with the same options would miss on this machine."""

from typing import TYPE_CHECKING, Annotated

from coupled_core.config import RunConfig
from coupled_core.redaction import redact
from flows.cli.command import command
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal, exit_code_of

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from coupled_core.runs.checks import Check

_READ = ("split", "generation", "scoring", "output.uri", "output.single_writer")
"""Settings that say what a build needs."""


@command(
    examples="""
    coupled doctor
    coupled doctor --profile flux-schnell --device cuda --output s3://bucket/pairs
    """
)
def doctor(
    terminal: Terminal,
    config: Annotated[RunConfig, Offer(only=_READ)],
) -> None:
    """Say whether this machine has what `coupled build` with the same options needs.

    Python and packages, device and memory, weights, licence, output, disk, Prefect server, key. A
    line each: ok, or what to type. Nothing is built, fetched or spent; a bucket gets two small
    objects, which are removed again.
    """
    from coupled_core.runs.checks import run_check, run_checks

    found: list[Check] = []
    for check in (*run_checks(config), run_check("prefect", _check_server)):
        found.append(check)
        if not terminal.as_json:
            terminal.answer(_describe(check), {})
    if terminal.as_json:
        checks = [{"name": c.name, "ok": c.error is None, "text": redact(c.text)} for c in found]
        terminal.answer("", {"ok": all(c["ok"] for c in checks), "checks": checks})
    for check in found:
        if check.error is not None:
            raise SystemExit(exit_code_of(check.error))


def _describe(check: "Check") -> str:
    state = "ok" if check.error is None else "missing"
    return f"{state:<8} {check.name:<15} {redact(check.text)}"


def _check_server() -> str:
    from flows.cli.prefect_environment import read_api_url, require_server

    url = read_api_url()
    if url is None:
        return "no server is named: a build starts a temporary one (PREFECT_API_URL names one)"
    require_server()
    return f"{url} answers"
