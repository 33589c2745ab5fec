"""Settings from a profile, from all settings and one by one: which value wins."""

import pytest

from coupled_core.config import RunConfig, RunSettings
from coupled_core.runs.profiles import PROFILES, Profile, layer_settings


def _settings(**sections: dict[str, object]) -> RunSettings:
    return RunSettings.model_validate(sections)


def test_nothing_given_is_the_default() -> None:
    assert layer_settings("miniature", RunSettings(), {}) == RunConfig()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_the_threshold_and_the_content_filter_of_its_clip(profile: Profile) -> None:
    made = layer_settings(profile, RunSettings(), {"filter.min_combined": None})
    expected = RunConfig.model_validate(PROFILES[profile])
    assert made == expected
    assert (made.filter.min_combined == 4.4) is (profile == "miniature")
    assert (made.content_filter.concepts is None) is (profile == "miniature")


def test_what_differs_from_its_default_wins_over_the_profile() -> None:
    config = _settings(generation={"base_model": "my/flux", "batch_size": 2})
    made = layer_settings("flux-dev", config, {})
    assert (made.generation.base_model, made.generation.batch_size) == ("my/flux", 2)
    assert made.scoring.clip_model == "ViT-L-14:openai"


@pytest.mark.parametrize(
    "given",
    [{"quantize": "int8"}, {"lora": ("a.safetensors",)}, {"transformer": "b"}, {"compile": True}],
)
def test_a_setting_that_dumps_leave_out_by_default_counts_where_it_is_set(
    given: dict[str, object],
) -> None:
    made = layer_settings("flux-dev", _settings(generation=given), {})
    assert made.generation.model_dump().items() >= given.items()


def test_what_is_given_by_itself_wins_over_all_settings() -> None:
    config = _settings(generation={"seed": 3}, output={"uri": "there"})
    given = {"generation.seed": 4, "output.uri": "coupled-dataset", "prompts.uri": ["a", "b"]}
    made = layer_settings("miniature", config, given)
    assert made.generation.seed == 4
    assert made.output.uri == "there"  # the default says nothing
    assert made.prompts.uris == ("a", "b")


def test_a_list_of_the_default_is_the_default() -> None:
    config = _settings(prompts={"uri": "mine.parquet"})
    assert layer_settings("miniature", config, {"prompts.uri": ["miniature"]}).prompts.uris == (
        "mine.parquet",
    )


def test_settings_as_they_were_used_stay_what_they_are() -> None:
    used = RunConfig.model_validate(
        {"scoring": {"clip_model": "ViT-L-14:openai"}, "content_filter": {"concept_list": "off"}}
    )
    assert layer_settings("miniature", used, {}) == used
