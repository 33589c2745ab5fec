"""The version of this package, as installed, and the commit that it was made from."""

import json
import os
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def package_version() -> str:
    """Return the version; "unknown" in a checkout that is not installed."""
    try:
        return version("coupled-images")
    except PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=1)
def code_revision() -> str | None:
    """Return the commit of the running code; None: it is not known.

    It comes from CODE_REVISION, which an image's build sets, or from the checkout that the code
    runs in ("-dirty": with changes that are not committed), or from what pip wrote down when it
    installed from a repository.
    """
    return os.environ.get("CODE_REVISION") or _checked_out() or _installed_from()


def _checked_out() -> str | None:
    if not (_ROOT / ".git").exists():
        return None
    # Below, all tags are left out: it is always the commit.
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        found = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _installed_from() -> str | None:
    try:
        origin = json.loads(distribution("coupled-images").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    commit: str | None = origin.get("vcs_info", {}).get("commit_id")
    return commit
