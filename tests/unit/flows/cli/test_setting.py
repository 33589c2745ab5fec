"""What settings there are, and what a help page says about them."""

import typing

import pytest
from pydantic import BaseModel

from coupled_core.config import DuplicatesConfig, FilterConfig, RunConfig
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.setting import Setting, list_settings

SECTIONS: dict[type[BaseModel], str] = {
    RunConfig: "",
    OptimizeSettings: "optimize",
    CompareSettings: "compare",
    FilterConfig: "",
    DuplicatesConfig: "",
}
BY_KEY = {setting.key: setting for setting in list_settings(RunConfig)}


@pytest.mark.parametrize("model", SECTIONS)
def test_every_setting_explains_itself(model: type[BaseModel]) -> None:
    for setting in list_settings(model, SECTIONS[model]):
        text = setting.describe(shows_default=False)
        assert text.endswith(".") and text[0].isupper() | text[0].islower(), setting.key
        assert not text.startswith("Of "), setting.key


def test_every_field_of_every_stage_is_an_option_except_tables() -> None:
    fields = {
        f"{stage}.{name}"
        for stage, field in RunConfig.model_fields.items()
        for name, inner in typing.cast(type[BaseModel], field.annotation).model_fields.items()
    }
    assert fields - set(BY_KEY) == {"split.prices"}


@pytest.mark.parametrize("model", SECTIONS)
def test_no_two_settings_share_an_option(model: type[BaseModel]) -> None:
    settings = list(list_settings(model, SECTIONS[model]))
    names = [name for setting in settings for name in _offered(setting)]
    clashes = {name for name in names if names.count(name) > 1}
    # A dataset's place is -o of a build, and no option where -o is something else; nor is the
    # coupling mode of a run where it is what a search is for.
    assert clashes <= {"-o", "--output", "--coupling-mode"}
    assert model is not RunConfig or not clashes


def _offered(setting: Setting) -> tuple[str, ...]:
    return (*setting.option_names, *([setting.off_name] if setting.is_flag else []))


@pytest.mark.parametrize(
    ("key", "value_name"),
    [
        ("generation.offload", "<none|model|disk|group|sequential|auto>"),
        ("generation.num_inference_steps", "<int>"),
        ("split.max_requests_per_minute", "<float>"),
        ("generation.schedule", "<str>"),
        ("content_filter.concept_list", "<FILE|off>"),
    ],
)
def test_a_value_is_shown_by_its_choices_or_its_type(key: str, value_name: str) -> None:
    assert BY_KEY[key].value_name == value_name


@pytest.mark.parametrize(
    ("key", "end"),
    [
        ("generation.batch_size", " From 1. Default: 8."),
        ("generation.num_inference_steps", " From 1 to 1000. Default: the base model's."),
        ("generation.width", " Default: the base model's."),
        ("selection.early_stop", " Default: yes; --no-early-stop for no."),
        ("output.store_dropped", " Default: no."),
    ],
)
def test_the_default_stands_at_the_end_of_the_help(key: str, end: str) -> None:
    assert BY_KEY[key].describe(shows_default=True).endswith(end)
    assert "Default" not in BY_KEY[key].describe(shows_default=False)


def test_a_comparison_says_its_own_default_of_a_setting_of_the_run() -> None:
    settings = {setting.key: setting for setting in list_settings(CompareSettings, "compare")}
    assert settings["prompts.uri"].describe(shows_default=True).endswith("Default: miniature-test.")
