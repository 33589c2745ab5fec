import pytest
from pydantic import ValidationError

from coupled_core.config import (
    FilterConfig,
    RunConfig,
    RunSettings,
    ScoringConfig,
    fingerprint,
)
from coupled_core.filters import MIN_COMBINED


def test_the_threshold_fits_the_clip_model_unless_it_is_given():
    assert RunConfig().filter.min_combined == MIN_COMBINED.miniature_default
    assert (
        RunConfig(filter=FilterConfig(max_mask_fraction=0.4)).filter.min_combined
        == MIN_COMBINED.miniature_default
    )
    assert RunConfig(filter=FilterConfig(min_combined=0.7)).filter.min_combined == 0.7
    assert RunConfig(scoring=ScoringConfig(clip_model="ViT-L-14:openai")).filter.min_combined == 1.0


def test_a_config_survives_json_with_its_threshold():
    config = RunConfig()
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert fingerprint(again) == fingerprint(config)


@pytest.mark.parametrize("clip_model", ["miniature", "ViT-L-14:openai"])
def test_defaults_that_are_spelt_out_mean_what_nothing_means(clip_model: str) -> None:
    scoring = {"clip_model": clip_model}
    spelt_out = RunSettings().model_dump(mode="json")
    spelt_out["scoring"] |= scoring
    assert RunConfig.model_validate(spelt_out) == RunConfig.model_validate({"scoring": scoring})


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(ValidationError, match="min_combind"):
        RunConfig.model_validate({"filter": {"min_combind": 1.0}})
