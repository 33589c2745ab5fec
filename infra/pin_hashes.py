"""Writes down the SHA-256 of every package that is installed: `python -m infra.pin_hashes`.

pip takes no hashes in a constraints file beside a folder to install, so they stand in files of
their own, of the versions in `constraints.txt`. pip is asked what it would install on this machine:
one file a package, for CPython 3.11 on Linux x86_64 with PyPI's torch. Run it there when a version
changes; it takes some minutes and installs nothing.
"""

import json
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints.txt"
RUNNING = HERE / "requirements.txt"
"""What a machine needs that runs builds, with every extra but the one for tests."""
TESTING = HERE / "requirements-test.txt"
"""What tests need beyond that; it includes the other file."""
TEST_EXTRA = "test"


def main() -> None:
    """Write both files."""
    here = f"{platform.python_version()} {platform.system()} {platform.machine()}"
    if not re.fullmatch(r"3\.11\.\d+ Linux x86_64", here):
        raise SystemExit(f"the hashes are those of CPython 3.11 on Linux x86_64; this is {here}")
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    extras = sorted(project["optional-dependencies"])
    running = _resolve(extra for extra in extras if extra != TEST_EXTRA)
    everything = _resolve(extras)
    RUNNING.write_text("\n".join(running) + "\n")
    beyond = (line for line in everything if line not in set(running))
    TESTING.write_text("\n".join([f"-r {RUNNING.name}", *beyond]) + "\n")


def _resolve(extras: Iterable[str]) -> list[str]:
    """Return a line a package, in the order of names."""
    asked = f"{HERE.parent}[{','.join(extras)}]"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", "-c", str(CONSTRAINTS), asked]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    found = [each for each in report["install"] if "archive_info" in each["download_info"]]
    return sorted(_describe(each) for each in found)  # without the project itself, a folder


def _describe(package: dict[str, dict[str, str]]) -> str:
    name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
    [digest] = package["download_info"]["archive_info"]["hashes"].values()  # type: ignore[attr-defined]
    return f"{name}=={package['metadata']['version']} --hash=sha256:{digest}"


if __name__ == "__main__":
    main()
