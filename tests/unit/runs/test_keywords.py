"""Settings by bare name end where the settings file would have put them."""

from typing import Any

import pytest

from coupled_core.config import FilterConfig, GenerationConfig, OutputConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.filters import MIN_COMBINED
from coupled_core.runs.keywords import config_from_keywords


def test_nothing_given_is_the_default() -> None:
    assert config_from_keywords({}) == RunConfig()


def test_bare_names_go_to_their_sections() -> None:
    config = config_from_keywords({"seed": 7, "attempts": 3, "shard_size": 2})
    assert (config.generation.seed, config.selection.attempts) == (7, 3)
    assert config.output == OutputConfig(shard_size=2)


def test_of_two_number_formats_the_bare_name_is_the_base_models() -> None:
    config = config_from_keywords({"dtype": "float16", "scoring": {"dtype": "bfloat16"}})
    assert (config.generation.dtype, config.scoring.dtype) == ("float16", "bfloat16")


def test_a_section_and_a_bare_name_of_it_go_together() -> None:
    expected = GenerationConfig(batch_size=2, seed=7)
    for section in ({"batch_size": 2}, GenerationConfig(batch_size=2)):
        assert config_from_keywords({"generation": section, "seed": 7}).generation == expected


def test_what_a_section_leaves_out_still_follows_from_the_clip_model() -> None:
    fitted = config_from_keywords({"filter": FilterConfig(min_pixel_mse=1.0)}).filter
    assert fitted.min_combined == RunConfig().filter.min_combined
    other = config_from_keywords({"filter": FilterConfig(), "clip_model": "ViT-L-14:openai"})
    assert other.filter.min_combined == MIN_COMBINED.default
    assert other.content_filter.concept_list is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_steps": 4}, "no setting 'num_steps': did you mean num_inference_steps?"),
        ({"zzz": 4}, "no setting 'zzz': expected one of attempts, "),
        ({"batch_size": 4}, r"split=\{'batch_size': ...\} or generation=\{'batch_size': ...\}"),
        ({"seed": "x"}, r"generation\.seed: .*integer.* \(got 'x'\)"),
        ({"max_mask_fraction": 2.0}, r"max_mask_fraction: .* \(got 2\.0\)"),
        ({"generation": {"sed": 4}}, r"generation\.sed: .*not permitted"),
        ({"generation": 4}, "generation is a section of settings: expected a mapping, got 4"),
    ],
)
def test_what_cannot_be_meant_is_said(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_from_keywords(settings)
