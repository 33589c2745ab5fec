"""`infra/constraints.txt` pins everything that an installation brings, to versions that agree."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent
LINES = (ROOT / "infra" / "constraints.txt").read_text().splitlines()
PINS = {name: Version(version) for name, version in (line.split("==") for line in LINES)}


def _direct_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts]


def _requirements_of(requirement: Requirement) -> Iterator[Requirement]:
    """Yield what a package wants here, if it is installed in the version of its pin."""
    name = canonicalize_name(requirement.name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return
    if Version(found.version) != PINS.get(name):
        return
    for text in found.requires or ():
        wanted = Requirement(text)
        extras = ("", *requirement.extras)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras):
            yield wanted


def test_every_line_is_a_name_and_a_version_in_order() -> None:
    # pip refuses to install a folder, such as this project's, as soon as one constraint has a hash
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.+]*", line) for line in LINES)
    assert sorted(set(LINES)) == sorted(LINES)
    assert sorted(PINS) == [line.split("==")[0] for line in LINES]


@pytest.mark.parametrize("requirement", _direct_requirements(), ids=str)
def test_every_direct_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_everything_that_dependencies_want_is_pinned_within_its_range() -> None:
    waiting, seen, problems = _direct_requirements(), set(), []
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        pin = PINS.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin, prereleases=True):
            problems.append(f"{requirement} is wanted, {pin} is pinned")
        waiting += _requirements_of(requirement)
    assert problems == []
    assert len(seen) > len(PINS)
