"""`infra/constraints.txt` pins everything that an installation brings, to versions that agree.

`infra/requirements.txt` and `requirements-test.txt` say the same with a hash for each file.
"""

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
HASHED = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+) --hash=sha256:[0-9a-f]{64}")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def _direct_requirements() -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    return [Requirement(text) for text in texts]


def _hashed(name: str) -> dict[str, Version]:
    """Return what a file of requirements with hashes names; each line is of that form."""
    lines = (ROOT / "infra" / name).read_text().splitlines()
    found = [(line, HASHED.fullmatch(line)) for line in lines if line != "-r requirements.txt"]
    assert [line for line, match in found if match is None] == []
    return {match["name"]: Version(match["version"]) for _, match in found if match}


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


def test_what_is_installed_with_hashes_is_what_is_pinned() -> None:
    running, testing = _hashed("requirements.txt"), _hashed("requirements-test.txt")
    assert not running.keys() & testing.keys()
    # pip is there before anything is installed
    assert running | testing == {name: pin for name, pin in PINS.items() if name != "pip"}


@pytest.mark.parametrize("extra", ["", *sorted(set(EXTRAS) - {"test"})])
def test_every_direct_dependency_of_a_build_has_its_hash_in_the_file_of_the_image(
    extra: str,
) -> None:
    wanted = EXTRAS[extra] if extra else PROJECT["dependencies"]
    names = {canonicalize_name(Requirement(text).name) for text in wanted}
    assert names <= _hashed("requirements.txt").keys()
