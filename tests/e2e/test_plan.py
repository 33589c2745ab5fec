"""`coupled plan` beside `coupled build`: it announces what the build does, and then nothing."""

import json
from pathlib import Path

import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from tests.coupled_command import Coupled, build_arguments

pytestmark = pytest.mark.timeout(300)


def test_after_a_build_nothing_is_left_and_the_time_of_a_pair_is_known(undisturbed: Path) -> None:
    before = (undisturbed / "pairs" / "current.json").read_bytes()
    arguments = ["plan", *build_arguments()[1:], "--json"]
    code, output, errors = Coupled(undisturbed).run(*arguments)
    assert code == 0, errors
    plan = json.loads(output)
    assert (plan["pairs"], plan["pairs_done"], plan["pairs_to_make"]) == (6, 6, 0)
    assert (plan["groups_done"], plan["shards"], plan["gpu_seconds"]) == (4, 0, 0.0)
    assert plan["seconds_a_pair"] > 0
    snapshot = current_snapshot(open_store(undisturbed / "pairs"))
    assert snapshot is not None
    assert plan["run_id"] in snapshot.run_ids
    assert (undisturbed / "pairs" / "current.json").read_bytes() == before
