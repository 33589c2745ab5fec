"""What is left to split, and for how much."""

from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.config import ModelPrice, SplitConfig
from coupled_core.errors import ConfigError, LlmError
from coupled_core.id_set import IdSet
from coupled_core.llm.answers import list_answered
from coupled_core.llm.client import Api
from coupled_core.records import PromptGroup
from coupled_core.reservoir import Reservoir
from coupled_core.runs.forecast import SplitCounter, SplitForecast
from coupled_core.runs.plan import name_requests
from coupled_core.runs.planned import PlannedGroup
from coupled_core.splitting.llm.question import build_question
from coupled_core.splitting.splitter import build_splitter
from coupled_core.storage.local import LocalStore
from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
from tests.messages_server.process import RunningServer

PAID = SplitConfig(splitter="anthropic")
OFFLINE = SplitConfig(splitter="offline")
MEADOW = PromptGroup("a", ("A kite in a meadow", "A car in a meadow"), "set", 0)
FOREST = PromptGroup("b", ("An owl in a forest", "A fox in a forest"), "set", 1)
HOPELESS = PromptGroup("c", ("one", "two"), "set", 2)
GIVEN = replace(MEADOW, background_prompt="a meadow", entity_prompts=("a kite", "a car"))


def _count(config: SplitConfig, *groups: PromptGroup, cached: IdSet | None = None) -> SplitForecast:
    counter = SplitCounter(config, cached or IdSet(), Reservoir(0))
    for group in groups:
        counter.count(_planned(config, group), is_done=False)
    return counter.forecast()


def _planned(config: SplitConfig, group: PromptGroup) -> PlannedGroup:
    return PlannedGroup(group, name_requests(config)[1](group), ())


def _cache_of(store: LocalStore, *groups: PromptGroup) -> IdSet:
    request_of = name_requests(PAID)[1]
    for group in groups:
        sha256 = request_of(group)
        store.write(f"answers/{sha256[:2]}/{sha256}.json", b"{}")
        store.write(f"answers/{sha256[:2]}/{sha256}.repair.json", b"{}")
    found = list_answered(store)
    assert found is not None
    return found


def test_given_and_cached_splits_cost_nothing(tmp_path: Path) -> None:
    cached = _cache_of(LocalStore(tmp_path), FOREST)
    assert len(cached) == 1
    found = _count(PAID, MEADOW, FOREST, GIVEN, HOPELESS, cached=cached)
    assert (found.groups_to_ask, found.groups_cached, found.groups_given) == (2, 1, 1)
    assert found.cached_share == pytest.approx(1 / 3)
    assert found.usd_online == _count(PAID, MEADOW, HOPELESS).usd_online > 0
    nothing = _count(PAID, FOREST, GIVEN, cached=cached)
    assert (nothing.input_tokens, nothing.output_tokens, nothing.usd_online) == (0, 0, 0.0)


def test_a_refresh_pays_for_everything_again(tmp_path: Path) -> None:
    cached = _cache_of(LocalStore(tmp_path), FOREST)
    found = _count(PAID.model_copy(update={"refresh": True}), FOREST, cached=cached)
    assert (found.groups_to_ask, found.groups_cached) == (1, 0)


def test_the_price_follows_the_table_and_batches_are_cheaper() -> None:
    price = ModelPrice(input_usd=3.0, output_usd=15.0, batch_factor=0.4)
    config = PAID.model_copy(update={"prices": {PAID.model: price}})
    found = _count(config, MEADOW, FOREST)
    assert found.usd_online == (3 * found.input_tokens + 15 * found.output_tokens) / 1e6
    assert found.usd_batch == pytest.approx(0.4 * found.usd_online)


def test_a_model_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="no price for the model 'other'"):
        _count(PAID.model_copy(update={"model": "other"}), MEADOW)


def test_the_offline_splitter_is_free_and_tried_on_the_first_groups() -> None:
    found = _count(OFFLINE, MEADOW, HOPELESS, GIVEN)
    assert not found.is_paid
    assert (found.groups_to_ask, found.groups_given, found.usd_online) == (2, 1, 0.0)
    assert (found.groups_tried_offline, found.groups_failed_offline) == (2, 1)


@pytest.mark.parametrize("config", [PAID, OFFLINE])
def test_requests_are_named_as_the_build_names_them(
    config: SplitConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    identity, request_of = name_requests(config)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
    splitter = build_splitter(
        config.model_copy(update={"cache_uri": str(tmp_path), "no_cap": True})
    )
    assert identity == splitter.identity
    for group in (MEADOW, FOREST, GIVEN):
        assert request_of(group) == splitter.request_sha256(group)


def test_with_a_key_the_api_counts_a_sample_of_what_is_left_to_ask(
    messages_server: RunningServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    counter = SplitCounter(PAID, _cache_of(LocalStore(tmp_path), FOREST), Reservoir(64))
    for group in (MEADOW, FOREST, GIVEN, HOPELESS):
        counter.count(_planned(PAID, group), is_done=False)
    found = counter.forecast()
    assert (found.tokens_counted_on_groups, found.input_tokens_margin) == (2, 0.0)
    billed = messages_server.counters()
    assert billed["requests"] == {"count_tokens": 2}
    with Api() as client:
        params = [build_question(PAID, group).params for group in (MEADOW, HOPELESS)]
        usages = [client.sdk.messages.create(**each).usage for each in params]
    assert found.input_tokens == sum(usage.input_tokens for usage in usages)


def test_an_api_that_does_not_count_leaves_the_estimate_unless_it_must(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    messages_server.stop()
    plain = _count(PAID, MEADOW)
    lax, strict = (
        SplitCounter(PAID, IdSet(), Reservoir(64), must_count=must) for must in (False, True)
    )
    lax.count(_planned(PAID, MEADOW), is_done=False)
    strict.count(_planned(PAID, MEADOW), is_done=False)
    assert lax.forecast().input_tokens == plain.input_tokens
    assert "the API answered" in lax.forecast().count_problem
    with pytest.raises(LlmError):
        strict.forecast()
