"""Tokens before anybody is asked: against answers that were written out, and the API's count."""

import json
from collections.abc import Iterator
from itertools import combinations, permutations

import anthropic
import pytest

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmError
from coupled_core.records import GroupSplit, PromptGroup
from coupled_core.splitting.checked_groups import read_checked_groups
from coupled_core.splitting.llm.estimate import TokenEstimator, calibrate, estimate_tokens
from coupled_core.splitting.offline import OfflineSplitter
from tests.messages_server.process import RunningServer

GROUPS = [checked.group for checked in read_checked_groups()]
CONFIG = SplitConfig(splitter="anthropic")


def _write_answer(split: GroupSplit) -> str:
    indices = range(len(split.entity_prompts))
    edits = split.edit_instructions
    pairs = [
        {
            "image_0": i,
            "image_1": j,
            "edit_instruction": edits[i, j],
            "inverse_instruction": edits[j, i],
        }
        for i, j in combinations(indices, 2)
    ]
    answer = {
        "shares_background": True,
        "background_prompt": split.background_prompt,
        "entity_prompts": split.entity_prompts,
        "pairs": pairs,
        "variation_kind": split.variation_kind,
        "flagged": False,
        "flag_reason": "",
    }
    return json.dumps(answer, ensure_ascii=False)


@pytest.fixture(scope="module")
def answered() -> list[tuple[PromptGroup, str]]:
    splits = OfflineSplitter().split(GROUPS)
    pairs = zip(GROUPS, splits, strict=True)
    return [(g, _write_answer(split)) for g, split in pairs if isinstance(split, GroupSplit)]


def test_the_output_estimate_fits_answers_that_were_written_out(
    answered: list[tuple[PromptGroup, str]],
) -> None:
    estimator = TokenEstimator()
    ratios = [estimator.estimate(g).output / estimate_tokens(text) for g, text in answered]
    total = sum(estimator.estimate(group).output for group, _ in answered)
    assert total == pytest.approx(sum(estimate_tokens(text) for _, text in answered), rel=0.03)
    assert sum(0.85 < ratio < 1.15 for ratio in ratios) > 0.9 * len(ratios)


def test_more_prompts_and_longer_prompts_cost_more() -> None:
    estimator = TokenEstimator()
    prompts = ("A cat in a park", "A dog in a park", "An owl in a park")
    two, three = (PromptGroup("g", prompts[:n], "set", 0) for n in (2, 3))
    long = PromptGroup("g", tuple(p * 20 for p in prompts[:2]), "set", 0)
    for larger in (three, long):
        assert estimator.estimate(larger).input > estimator.estimate(two).input
        assert estimator.estimate(larger).output > estimator.estimate(two).output


def test_characters_outside_ascii_count_in_full() -> None:
    assert estimate_tokens("a" * 35) == pytest.approx(10)
    assert estimate_tokens("桜の咲く公園") == 6


def test_the_apis_count_of_a_sample_scales_the_estimate(messages_server: RunningServer) -> None:
    with anthropic.Anthropic(max_retries=0) as client:
        estimator = calibrate(client, CONFIG, GROUPS[:5])
    counters = messages_server.counters()
    assert counters["requests"] == {"count_tokens": 5}
    assert counters["paid"]["online"] == 0
    assert 0.5 < estimator.scale < 1.5
    for plain, scaled in _both(TokenEstimator(), estimator):
        assert scaled == pytest.approx(plain * estimator.scale)


def _both(plain: TokenEstimator, scaled: TokenEstimator) -> Iterator[tuple[float, float]]:
    for group in GROUPS[:3]:
        first, second = plain.estimate(group), scaled.estimate(group)
        yield first.input, second.input
        yield first.output, second.output


def test_an_api_that_refuses_to_count_is_an_error_without_the_key(
    messages_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = messages_server.environment["ANTHROPIC_API_KEY"]
    with anthropic.Anthropic(max_retries=0, base_url=f"{messages_server.base_url}/no") as client:
        with pytest.raises(LlmError, match="404") as caught:
            calibrate(client, CONFIG, GROUPS[:1])
        assert key not in str(caught.value)
        assert caught.value.__context__ is None


def test_pairs_are_counted_once_though_they_are_edited_both_ways() -> None:
    group = next(group for group in GROUPS if len(group.prompts) == 4)
    assert len(list(permutations(group.prompts, 2))) == 12
    per_pair = (150 + 0.2 * sum(map(len, group.prompts)) / 4) / 3.5
    two = PromptGroup("g", group.prompts[:2], "set", 0)
    grown = TokenEstimator().estimate(group).output - TokenEstimator().estimate(two).output
    assert grown > 5 * per_pair * 0.9
