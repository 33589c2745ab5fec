"""Options of `coupled compare` become settings, and the settings name the command again."""

from pathlib import Path
from typing import Any

import pytest

from coupled_core.errors import ConfigError
from coupled_core.research.methods.registry import METHOD_NAMES
from flows.cli.compare_options import read_methods, read_settings

NOT_GIVEN = (
    "prompts", "config", "methods", "groups", "train_prompts", "train_groups", "sweep_budget",
    "trade_off_points", "extra_groups", "picture_rows", "chunk_size", "steps",
)  # fmt: skip
NOTHING: dict[str, Any] = {
    **dict.fromkeys(NOT_GIVEN),
    "trade_off": False,
    "ablations": False,
    "output": Path("comparison"),
}


def test_without_options_every_method_meets_the_test_set() -> None:
    settings = read_settings(NOTHING)
    assert settings.run.prompts.uri == "miniature-test"
    assert settings.train_prompts == "miniature-train"
    assert settings.methods == METHOD_NAMES
    assert settings.num_groups is None


def test_options_reach_their_settings() -> None:
    given = {"groups": 3, "sweep_budget": 5, "trade_off": True, "steps": 4, "prompts": "x.parquet"}
    settings = read_settings({**NOTHING, **given})
    assert (settings.num_groups, settings.sweep_budget, settings.trade_off) == (3, 5, True)
    assert settings.run.generation.num_inference_steps == 4
    assert settings.run.prompts.uri == "x.parquet"


def test_the_command_that_does_it_again_is_part_of_the_settings() -> None:
    given = {"groups": 3, "methods": "p2p", "ablations": True, "output": Path("a b")}
    command = read_settings({**NOTHING, **given}).command
    assert command.startswith("coupled compare --ablations --prompts miniature-test ")
    assert " --methods coupled,p2p --groups 3 " in command
    assert "--trade-off" not in command
    assert command.endswith("--output 'a b'")


def test_ours_is_always_compared_and_nothing_twice() -> None:
    assert read_methods("p2p, random-seed,p2p") == ("coupled", "p2p", "random-seed")


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'p3p'; expected some of coupled, .*p2p"):
        read_methods("p3p")
