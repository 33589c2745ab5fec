"""Where settings come from, which source wins, and what is said about a wrong one."""

import json
from pathlib import Path
from typing import Any

import pytest

from coupled_core.concepts import SHIPPED
from coupled_core.config import RunConfig, RunSettings
from coupled_core.errors import ConfigError
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.runs.profiles import layer_settings
from flows.cli.setting import Offer
from flows.cli.settings import read_settings


def _read(path: Path | None = None, **given: Any) -> RunConfig:
    options = {key.replace("__", "."): value for key, value in given.items()}
    return read_settings(RunConfig, options, Offer(), path)


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_options_win_over_the_environment_over_the_file_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"seed": 3, "batch_size": 3, "width": 64}
    path = _write(tmp_path, "run.json", json.dumps({"generation": values}))
    monkeypatch.setenv("COUPLED_GENERATION__SEED", "4")
    monkeypatch.setenv("COUPLED_GENERATION__BATCH_SIZE", "4")
    made = _read(path, generation__seed="5", filter__min_combined=None).generation
    assert (made.seed, made.batch_size, made.width, made.height) == (5, 4, 64, None)
    assert _read(path).filter.min_combined == RunConfig().filter.min_combined


def test_a_profile_stands_below_all_other_sources(tmp_path: Path) -> None:
    path = _write(tmp_path, "run.json", json.dumps({"scoring": {"clip_model": "my/clip"}}))
    options: dict[str, Any] = {"generation.seed": "5"}
    made = read_settings(RunConfig, options, Offer(), path, "flux-schnell")
    assert made.generation.base_model == "black-forest-labs/FLUX.1-schnell"
    assert (made.scoring.sam_model, made.scoring.clip_model, made.generation.seed) == (
        "vit_h:sam_vit_h_4b8939.pth",
        "my/clip",
        5,
    )


def test_a_profile_brings_the_threshold_of_its_judges() -> None:
    made = read_settings(RunConfig, {}, Offer(), None, "flux-dev")
    expected = layer_settings("flux-dev", RunSettings(), {})
    assert made == expected
    assert made.filter.min_combined != RunConfig().filter.min_combined


def test_a_profile_reaches_the_run_inside_the_settings_of_a_search() -> None:
    made = read_settings(OptimizeSettings, {}, Offer(section="optimize"), None, "flux-schnell")
    assert made.run.generation.base_model == "black-forest-labs/FLUX.1-schnell"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.toml", "[generation]\nseed = 3\n[split.prices.mine]\ninput_usd = 1\noutput_usd = 2"),
        ("run.yaml", "generation: {seed: 3}\n"
                     "split: {prices: {mine: {input_usd: 1, output_usd: 2}}}"),
        ("run.yml", "generation:\n  seed: 3\n"
                    "split:\n  prices:\n    mine: {input_usd: 1.0, output_usd: 2}"),
        ("run.json", '{"generation": {"seed": 3}, '
                     '"split": {"prices": {"mine": {"input_usd": 1, "output_usd": 2}}}}'),
    ],
)  # fmt: skip
def test_a_file_is_toml_yaml_or_json(tmp_path: Path, name: str, text: str) -> None:
    config = _read(_write(tmp_path, name, text))
    assert config.generation.seed == 3
    assert config.split.prices["mine"].output_usd == 2
    assert "claude-haiku-5-5" in config.split.prices


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.toml", "generation = {", "is not TOML"),
        ("a.yaml", "generation: [", "is not YAML"),
        ("a.json", "[1]", r"expected sections with settings, got \[1\]"),
        ("a.json", '{"seed": 3}', "got seed = 3; did you mean generation.seed"),
        ("a.json", '{"generation": {"num_steps": 3}}',
         r"a\.json: generation\.num_steps: there is no such setting, got 3; "
         r"did you mean generation\.num_inference_steps"),
        ("a.json", '{"split": {"seed": 3}}', "did you mean generation.seed"),
        ("a.json", '{"generatoin": {"seed": 3}}', "generatoin.*did you mean generation"),
        ("a.toml", "[split.prices.mine]\ninput_us = 1",
         r"a\.toml: split\.prices\.mine\.input_us: .*did you mean split\.prices\.mine\.input_usd"),
        ("a.json", '{"filter": {"max_mask_fraction": 2}}',
         r"a\.json: filter\.max_mask_fraction: expected a number less than or equal to 1, got 2"),
        ("a.yaml", "filter: {min_combined: .nan}", "filter.min_combined: expected a finite number"),
        ("a.json", '{"split": {"splitter": "llm"}}',
         r"split\.splitter: .*expected one of auto, offline, anthropic, got 'llm'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_key_value_and_what_was_expected(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        _read(_write(tmp_path, name, text))


def test_all_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.json", '{"generation": {"seed": "x", "width": 1}}')
    with pytest.raises(ConfigError, match=r"width: .*got 1; .*seed: .*got 'x'"):
        _read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.json"):
        _read(tmp_path / "nothing.json")


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUPLED_GENERATION__SEED", "x")
    with pytest.raises(ConfigError, match=r"^COUPLED_GENERATION__SEED: expected a valid integer"):
        _read()
    assert _read(generation__seed="1").generation.seed == 1  # what wins is what is judged


def test_a_misspelt_variable_is_told_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUPLED_GENERATION__STEPS", "4")
    with pytest.raises(ConfigError, match=r"STEPS: .*did you mean generation\.num_inference_steps"):
        _read()


def test_variables_of_others_that_look_alike_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUPLED_PORT", "tcp://10.0.0.1:80")  # as Kubernetes names services
    assert _read() == RunConfig()


def test_a_table_can_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUPLED_SPLIT__PRICES", '{"mine": {"input_usd": 1, "output_usd": 2}}')
    assert _read().split.prices["mine"].input_usd == 1


def test_a_wrong_option_is_named_by_the_name_it_was_given_with() -> None:
    with pytest.raises(ConfigError, match=r"^--split-batch-size: expected .*got '0'$"):
        _read(split__batch_size="0")


def test_one_file_holds_the_settings_of_several_commands(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.toml", "[optimize]\nnum_candidates = 7\n[generation]\nseed = 3\n")
    assert _read(path).generation.seed == 3
    search = read_settings(OptimizeSettings, {}, Offer(section="optimize"), path)
    assert (search.num_candidates, search.run.generation.seed) == (7, 3)


def test_a_content_filter_is_a_file_or_off(tmp_path: Path) -> None:
    mine = SHIPPED.model_copy(update={"name": "mine"}).model_dump_json()
    path = _write(tmp_path, "concepts.json", mine)
    listed = _read(content_filter__concept_list=str(path)).content_filter.concept_list
    assert listed is not None
    assert (listed.name, listed.concepts) == ("mine", SHIPPED.concepts)
    real = {"scoring__clip_model": "ViT-L-14:openai"}
    assert _read(**real).content_filter.concept_list == SHIPPED
    off = _read(**real, content_filter__concept_list="off").content_filter
    assert off.concept_list is None
    yaml = _write(tmp_path, "off.yaml", "content_filter: {concept_list: off}")
    assert _read(yaml, **real).content_filter.concept_list is None
    with pytest.raises(ConfigError, match=r"nothing\.json"):
        _read(content_filter__concept_list="nothing.json")
