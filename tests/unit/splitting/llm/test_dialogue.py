"""An answer is judged once on its way from the API to whoever wants the split."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from coupled_core.records import GroupSplit
from coupled_core.splitting.llm import splitter
from coupled_core.splitting.llm.question import Answer
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import make_group, make_groups, make_splitter, split_all

TRANSPORTS = pytest.mark.parametrize("transport", ["online", "auto", "batch"])


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often answers about a prompt have been checked."""
    counts: Counter[str] = Counter()
    find_problems = splitter.find_problems

    def count(answer: Answer, prompts: Sequence[str], **how: bool) -> list[str]:
        counts[prompts[0]] += 1
        return find_problems(answer, prompts, **how)

    monkeypatch.setattr(splitter, "find_problems", count)
    return counts


@TRANSPORTS
def test_an_answer_is_judged_once_from_the_api_to_the_shard(
    messages_server: RunningServer, tmp_path: Path, judged: Counter[str], transport: str
) -> None:
    groups = make_groups(5)
    for _ in range(2):  # the second time all of it is in the cache
        judged.clear()
        asking = make_splitter(tmp_path, transport=transport)
        asking.prepare(lambda: iter(groups), 5)
        splits = [split_all(asking.split(shard)) for shard in (groups[:2], groups[2:])]
        assert [len(shard) for shard in splits] == [2, 3]
        assert judged == {group.prompts[0]: 1 for group in groups}
    assert messages_server.counters()["paid"]["max_by_prompts"] == 1


@TRANSPORTS
def test_what_a_prepared_set_has_no_memory_for_is_read_again(
    messages_server: RunningServer,
    tmp_path: Path,
    judged: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    monkeypatch.setattr(splitter, "_MAX_PREPARED", 2)
    groups = make_groups(5)
    asking = make_splitter(tmp_path, transport=transport)
    asking.prepare(lambda: iter(groups), 5)
    prepared = len(asking._prepared)
    splits = split_all(asking.split(groups))
    assert [split.entity_prompts[0] for split in splits] == [
        f"A fox of kind k{number}." for number in range(5)
    ]
    assert (prepared, len(asking._prepared)) == (2, 0)
    assert Counter(judged.values()) == {1: 2, 2: 3}
    assert messages_server.counters()["paid"]["max_by_prompts"] == 1


@TRANSPORTS
def test_what_prepare_hands_on_is_handed_on_once(
    messages_server: RunningServer, tmp_path: Path, transport: str
) -> None:
    group = make_group(0)
    asking = make_splitter(tmp_path, transport=transport)
    asking.prepare(lambda: iter([group]), 1)
    shutil.rmtree(tmp_path / "answers")
    assert isinstance(asking.split([group])[0], GroupSplit)
    assert messages_server.counters()["paid"]["distinct_prompts"] == 1
    asking.split([group])  # nothing is left of it but the cache, and that is gone
    paid = messages_server.counters()["paid"]
    assert paid["online"] + paid["batch"] == 2
