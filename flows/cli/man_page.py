"""Help laid out as a manual page: a line for the option, and below it what it does.

Typer's own table divides 80 columns among names, types and explanations, and cuts long names off.
"""

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from typer.core import TyperCommand

_MAX_WIDTH = 100
"""Longer lines are hard to read, however wide the terminal is."""


class ManPageCommand(TyperCommand):
    """A command whose help is a manual page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, what the command does, its options by subject, and the notes.

        Args:
            ctx: The command as it was called.
            formatter: Click's, which would lay it out otherwise.
        """
        console = Console(highlight=False)
        console.width = min(console.width, _MAX_WIDTH)
        usage = " ".join(self.collect_usage_pieces(ctx))
        console.print(f"[bold]Usage[/]: {ctx.command_path} ", end="")
        console.print(usage, markup=False)  # its brackets are no markup
        for paragraph in (self.help or "").split("\n\n"):
            console.print(f"\n{paragraph}")
        for title, records in self._list_panels(ctx).items():
            console.print(f"\n[bold]{title}[/]")
            for names, text in records:
                console.print(Padding(Text(names, "cyan"), (0, 0, 0, 2), expand=False))
                console.print(Padding(Text(text), (0, 0, 0, 8), expand=False))
        for paragraph in (self.epilog or "").split("\n\n"):
            console.print(f"\n{paragraph}")

    def _list_panels(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Return names and help of the parameters by subject, in the order of their declaration."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                title = getattr(parameter, "rich_help_panel", None) or usual
                panels.setdefault(title, []).append(record)
        return panels
