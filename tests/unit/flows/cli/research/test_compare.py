"""Options of `coupled compare` become settings, and the settings name the command again."""

import shlex
from typing import Any

import pytest

from coupled_core.errors import ConfigError
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.methods.registry import METHOD_NAMES
from flows.cli.setting import Offer, list_settings
from flows.cli.settings import read_settings


def _read(**given: Any) -> CompareSettings:
    options = {key.replace("__", "."): value for key, value in given.items()}
    return read_settings(CompareSettings, options, Offer(section="compare"))


def test_without_options_every_method_meets_the_test_set() -> None:
    settings = _read()
    assert settings.run.prompts.uri == "miniature-test"
    assert settings.train_prompts == "miniature-train"
    assert settings.methods == METHOD_NAMES
    assert settings.num_groups is None


def test_options_reach_their_settings() -> None:
    settings = _read(
        compare__num_groups="3",
        compare__sweep_budget="5",
        compare__trade_off=True,
        generation__num_inference_steps="4",
    )
    assert (settings.num_groups, settings.sweep_budget, settings.trade_off) == (3, 5, True)
    assert settings.run.generation.num_inference_steps == 4
    assert settings.run.prompts.uri == "miniature-test"
    assert _read(prompts__uri="x.parquet").run.prompts.uri == "x.parquet"


def test_the_command_that_does_it_again_is_part_of_the_settings() -> None:
    settings = _read(
        compare__num_groups="3",
        compare__methods="p2p",
        compare__ablations=True,
        compare__output="a b",
        generation__num_inference_steps="4",
    )
    program, command, *words = shlex.split(settings.command)
    assert (program, command) == ("coupled", "compare")
    assert "--trade-off" not in words and words[-2:] == ["--output", "a b"]
    known = list_settings(CompareSettings, "compare")
    keys = {name: setting for setting in known for name in setting.option_names}
    given: dict[str, str | bool] = {}
    while words:
        setting = keys[words.pop(0)]
        given[setting.key] = True if setting.is_flag else words.pop(0)
    assert read_settings(CompareSettings, given, Offer(section="compare")) == settings


def test_a_search_is_no_part_of_the_command_where_its_knobs_are_known() -> None:
    words = shlex.split(_read(compare__knobs="earlier.json", compare__sweep_budget="5").command)
    assert words[words.index("--knobs") + 1] == "earlier.json"
    assert not {"--train-prompts", "--num-train-groups", "--sweep-budget"} & set(words)


def test_ours_is_always_compared_and_nothing_twice() -> None:
    assert _read(compare__methods="p2p, random-seed,p2p").methods == (
        "coupled", "p2p", "random-seed",
    )  # fmt: skip


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    expected = r"--methods: unknown method 'p3p'; expected some of coupled, .*p2p"
    with pytest.raises(ConfigError, match=expected):
        _read(compare__methods="p3p")
