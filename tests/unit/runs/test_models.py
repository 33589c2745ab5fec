from pathlib import Path

import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import PromptCursor, read_prompt_set
from coupled_core.runs.models import prompts_of
from tests.coupled_command import write_prompts


@pytest.fixture
def config(tmp_path: Path) -> PromptSetConfig:
    return PromptSetConfig(uri=str(write_prompts(tmp_path / "set.parquet", 6)))


def test_a_process_has_one_cursor_a_prompt_set(config: PromptSetConfig) -> None:
    assert prompts_of(config) is prompts_of(PromptSetConfig(uri=config.uri))


@pytest.mark.parametrize("stretches", [[(0, 2), (2, 2)], [(4, 2), (0, 6)], [(1, 1), (3, 3)]])
def test_any_stretch_of_a_set_can_be_read(
    config: PromptSetConfig, stretches: list[tuple[int, int]]
) -> None:
    expected, cursor = list(read_prompt_set(config)), PromptCursor(config)
    for first, count in stretches:
        assert cursor.read(first, count) == expected[first : first + count]


def test_a_set_that_became_shorter_is_said_to_have_changed(config: PromptSetConfig) -> None:
    with pytest.raises(PromptSetError, match="has 6 rows, expected at least 8"):
        PromptCursor(config).read(4, 4)
