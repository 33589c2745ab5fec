"""Tokens before anybody is asked: against a real tokenizer's counts, and the API's own."""

import json
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmError
from coupled_core.llm.client import Api
from coupled_core.llm.estimate import estimate_tokens
from coupled_core.records import PromptGroup
from coupled_core.research.splitters import read_checked_groups
from coupled_core.reservoir import Reservoir
from coupled_core.splitting.llm.estimate import count_sample, estimate_split
from infra.benchmarks.token_estimate import compare, errors_of
from tests.messages_server.process import RunningServer

GROUPS = [checked.group for checked in read_checked_groups()]
CONFIG = SplitConfig(splitter="anthropic")
COUNTS = json.loads((Path(__file__).parent / "token_counts.json").read_text())
"""By Anthropic's last published tokenizer; written by `infra.benchmarks.token_estimate --write`."""


def sample_of(groups: list[PromptGroup], size: int) -> Reservoir[PromptGroup]:
    sample: Reservoir[PromptGroup] = Reservoir(size)
    for group in groups:
        sample.add(group)
    return sample


@pytest.mark.parametrize(
    ("name", "at_least", "sum_within", "mean", "percentile_90"),
    [
        ("instruction and schema", 2, 0.08, 0.08, 0.10),
        ("English", 180, 0.01, 0.07, 0.12),
        ("other languages", 19, 0.10, 0.12, 0.25),
        ("answers", 120, 0.02, 0.06, 0.105),
    ],
)
def test_the_estimate_is_as_close_to_a_real_tokenizer_as_the_readme_says(
    name: str, at_least: int, sum_within: float, mean: float, percentile_90: float
) -> None:
    pairs = compare(COUNTS)[name]
    share, mean_error, high_error = errors_of(pairs)
    assert len(pairs) >= at_least, "texts have changed: count them again"
    assert share == pytest.approx(1.0, abs=sum_within)
    assert mean_error <= mean
    assert high_error <= percentile_90


def test_more_prompts_and_longer_prompts_cost_more() -> None:
    prompts = ("A cat in a park", "A dog in a park", "An owl in a park")
    two, three = (PromptGroup("g", prompts[:n], "set", 0) for n in (2, 3))
    long = PromptGroup("g", tuple(p * 20 for p in prompts[:2]), "set", 0)
    for larger in (three, long):
        assert estimate_split(larger).input > estimate_split(two).input
        assert estimate_split(larger).output > estimate_split(two).output


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a red fox", 3.36),
        ("extraordinary", 1.12 + 6 * 0.35),
        ("f/1.8", 1.12 + 4 * 0.57),
        ("лис", 1.92),
        ("桜の咲く公園", 7.8),
    ],
)
def test_words_marks_and_other_scripts_have_their_own_weight(text: str, tokens: float) -> None:
    assert estimate_tokens(text) == pytest.approx(tokens)


def test_a_sample_is_drawn_from_the_whole_set_and_all_have_the_same_chance() -> None:
    numbered = [replace(GROUPS[0], group_id=str(n)) for n in range(2000)]
    drawn = [int(group.group_id) for group in sample_of(numbered, 500).items]
    assert len(set(drawn)) == 500
    # The sum of 500 of 0..1999 without repetition has mean 999.5 and standard deviation 22.4.
    assert sum(drawn) / 500 == pytest.approx(999.5, abs=5 * 22.4)
    assert sample_of(numbered[:3], 5).items == numbered[:3]


def test_the_apis_count_of_a_sample_scales_the_estimate_with_an_interval(
    messages_server: RunningServer,
) -> None:
    with Api() as client:
        every = count_sample(client, CONFIG, sample_of(GROUPS, len(GROUPS)))
        part = count_sample(client, CONFIG, sample_of(GROUPS, 30))
    counters = messages_server.counters()
    assert counters["requests"] == {"count_tokens": len(GROUPS) + 30}
    assert counters["paid"]["online"] == 0
    assert (every.num_counted, part.num_counted) == (len(GROUPS), 30)
    assert every.half_width == 0.0
    assert 0.0 < part.half_width < 0.05
    # Twice the 95% interval: a sample of another seed would fail once in ten thousand.
    assert part.ratio == pytest.approx(every.ratio, rel=2 * part.half_width)


def test_one_counted_group_says_nothing_about_how_groups_differ(
    messages_server: RunningServer,
) -> None:
    with Api() as client:
        assert count_sample(client, CONFIG, sample_of(GROUPS, 1)).half_width == 1.0


def test_an_api_that_refuses_to_count_is_an_error_without_the_key(
    messages_server: RunningServer,
) -> None:
    key = messages_server.environment["ANTHROPIC_API_KEY"]
    with Api() as client:
        client.sdk.base_url = f"{messages_server.base_url}/no"
        with pytest.raises(LlmError, match="404") as caught:
            count_sample(client, CONFIG, sample_of(GROUPS[:1], 1))
        assert key not in str(caught.value)
        told = "".join(traceback.format_exception(caught.value))
        assert key not in told


def test_each_pair_is_counted_once_though_it_is_edited_both_ways() -> None:
    four = next(group for group in GROUPS if len(group.prompts) == 4)
    same = [replace(four, prompts=four.prompts[:1] * count) for count in (2, 3, 4)]
    two, three, six_pairs = (estimate_split(group).output for group in same)
    a_pair_and_text = three - two  # two more pairs, one more text
    assert six_pairs - three > a_pair_and_text  # three more pairs, one more text
