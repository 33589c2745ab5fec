import json
from pathlib import Path

import pytest

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError
from flows.cli.options import read_config


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"generation": {"seed": 3, "batch_size": 2}}))
    config = read_config(path, {"seed": 4, "min_combined": None})
    assert (config.generation.seed, config.generation.batch_size) == (4, 2)
    assert config.filter.min_combined == RunConfig().filter.min_combined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON"),
        ('{"generation": 3}', "expected an object of objects"),
        ('{"generation": {"sed": 3}}', "generation.sed"),
        ('{"filter": {"max_mask_fraction": 2}}', "got 2"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected):
        read_config(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.json"):
        read_config(tmp_path / "nothing.json", {})
