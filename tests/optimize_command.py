"""A tiny `coupled optimize`, as users run it: what tests of its end and of its faults share."""

from pathlib import Path

import pytest

from tests.coupled_command import Coupled

SCHEDULE = Path("found") / "mine.json"
REPORT = SCHEDULE.with_suffix(".report.json")


def optimize_arguments(*more: str) -> list[str]:
    """Return the small search; its paths are relative, so that it is the same in all folders."""
    small = ["--num-candidates", "3", "--first-groups", "1", "--num-finalists", "2"]
    finals = ["--num-final-groups", "2", "--num-inference-steps", "2", "--check-steps", "2"]
    mode = ["--coupling-mode", "key_scale"]  # not the default: the option has to arrive
    prompts = ["--prompts", "miniature"]
    return ["optimize", *prompts, *small, *finals, *mode, "-o", str(SCHEDULE), *more]


def read_trials(folder: Path) -> dict[str, bytes]:
    """Return the finished trials of the search in a folder."""
    found = folder.glob(f"{SCHEDULE.with_suffix('.state')}/*/trials/*.json")
    return {path.name: path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def optimised(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Path:
    """A folder in which a search ran to its end, undisturbed; what it printed is in two files."""
    folder = tmp_path_factory.mktemp("optimised")
    command = Coupled(folder, {"PREFECT_API_URL": prefect_url})
    code, output, errors = command.run(*optimize_arguments("--json"))
    assert code == 0, errors
    (folder / "output.json").write_text(output)
    (folder / "errors.txt").write_text(errors)
    return folder
