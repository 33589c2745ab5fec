"""What other installed packages add: each is named in an entry point and looks like one of ours."""

from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from coupled_core.errors import ConfigError

PluginKind = Literal["filters", "scores", "base_models", "export_formats", "methods", "splitters"]


def list_plugin_names(kind: PluginKind) -> list[str]:
    """Return the names registered under `coupled_images.<kind>`, without loading anything."""
    return sorted(entry_points(group=f"coupled_images.{kind}").names)


@cache
def find_plugins(kind: PluginKind) -> dict[str, Any]:
    """Return what packages registered under `coupled_images.<kind>`, by name of the entry point.

    The result of an entry point is used like an entry of the table that the kind has in this
    package; each of these tables says what that is.

    Raises:
        ConfigError: a package's entry point does not load, or two packages use one name.
    """
    found: dict[str, Any] = {}
    for entry in entry_points(group=f"coupled_images.{kind}"):
        where = f"entry point {entry.name} = {entry.value} of coupled_images.{kind}"
        if entry.name in found:
            raise ConfigError(f"{where}: another package has registered that name")
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # a plugin can fail in any way: the text must name which
            raise ConfigError(f"{where} does not load: {type(error).__name__}: {error}") from error
    return found
