"""The memory of group ids: exact over growth, and small."""

from coupled_core.prompts.seen_groups import SeenGroups


def test_first_places_survive_growth() -> None:
    seen = SeenGroups()
    for row in range(5000):
        assert seen.remember(f"group-{row}", row % 3, row) is None
    for row in range(5000):
        assert seen.remember(f"group-{row}", 9, 9) == (row % 3, row)


def test_a_group_takes_at_most_64_bytes() -> None:
    seen = SeenGroups()
    for row in range(20000):
        seen.remember(f"group-{row}", 0, row)
    size = seen._hashes.itemsize * (len(seen._hashes) + len(seen._locations))
    assert size <= 64 * 20000
