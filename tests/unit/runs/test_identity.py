"""Ids follow from content and from nothing else."""

from typing import Any

import pytest

from coupled_core.config import RunConfig, fingerprint
from coupled_core.records import PromptGroup
from coupled_core.runs.identity import (
    _WITHOUT_EFFECT_ON_ROWS,
    generation_fingerprint,
    images_id,
    pair_id,
    quarantined_id,
    run_id,
    sample_seed,
)
from coupled_core.splitting.offline import OfflineSplitter

_PAIR: dict[str, Any] = {
    "group_id": "g",
    "prompts": ("an owl", "a fox"),
    "image_indices": (0, 1),
    "split_request_sha256": "e" * 64,
    "seed": 7,
    "generation_fingerprint": "f" * 64,
}


def test_a_pair_id_is_the_same_in_every_process() -> None:
    assert pair_id(**_PAIR) == "39cf6984c4391eef546758c02c7eae71"


@pytest.mark.parametrize("text", ["plain", 'a "quoted" \\ one', "\u00e9\U0001f98a\t\x00\ud800", ""])
def test_ids_of_rows_are_the_fingerprints_of_their_facts(text: str) -> None:
    facts = {**_PAIR, "group_id": text, "prompts": (text, "a fox"), "split_request_sha256": text}
    assert pair_id(**facts) == fingerprint(facts)[:32]
    for kind in (None, text):
        group = PromptGroup("g", (text, "a fox"), variation_kind=kind)
        splitter = OfflineSplitter()
        asked = {"splitter": splitter.identity, "prompts": group.prompts, "variation_kind": kind}
        assert splitter.request_sha256(group) == fingerprint(asked)


@pytest.mark.parametrize(
    "change",
    [
        {"group_id": "h"},
        {"prompts": ("an owl", "a hare")},
        {"image_indices": (0, 2)},
        {"split_request_sha256": "0" * 64},
        {"seed": 8},
        {"generation_fingerprint": "0" * 64},
    ],
)
def test_a_pair_id_depends_on_all_that_the_pair_depends_on(change: dict[str, Any]) -> None:
    assert pair_id(**_PAIR | change) != pair_id(**_PAIR)


def test_a_run_keeps_its_id_when_only_where_and_how_fast_change() -> None:
    base = run_id(RunConfig(), ["a"])
    same = RunConfig.model_validate(
        {
            "prompts": {"uri": "s3://b/p"},
            "split": {"no_cap": True},
            "generation": {"batch_size": 1, "device": "cpu", "offload": "model"},
            "scoring": {"unfit_judges": True},
            "output": {"uri": "s3://b/d", "single_writer": True},
        }
    )
    assert run_id(same, ["a"]) == base
    assert len(base) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"generation": {"seed": 1}},
        {"generation": {"compile": True}},
        {"filter": {"min_combined": 2.0}},
        {"output": {"shard_size": 3}},
        {"prompts": {"on_bad_row": "quarantine"}},
        {"prompts": {"trust_splits": True}},
        {"filter": {"max_crop_evidence": 0.5}},
        {"output": {"store_background": True}},
        {"scoring": {"dtype": "bfloat16"}},
    ],
)
def test_a_run_id_depends_on_every_other_setting(change: dict[str, Any]) -> None:
    assert run_id(RunConfig.model_validate(change), ["a"]) != run_id(RunConfig(), ["a"])


def test_runs_from_before_settings_that_came_later_keep_their_ids() -> None:
    settings = RunConfig().model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_ROWS)
    del settings["prompts"]["trust_splits"], settings["filter"]["max_crop_evidence"]
    assert "store_background" not in settings["output"]
    assert settings["scoring"].keys() == {"sam_model", "clip_model"}  # of before `dtype`, too
    expected = fingerprint({"settings": settings, "inputs": ["a"]})[:16]
    assert run_id(RunConfig(), ["a"]) == expected


def test_a_run_id_depends_on_the_input() -> None:
    assert run_id(RunConfig(), ["a", "b"]) != run_id(RunConfig(), ["b", "a"])


def test_hardware_and_licence_do_not_change_the_generation_fingerprint() -> None:
    facts = {"base_model": "m", "device_name": "a", "license": "x", "use_restrictions": "y"}
    other = facts | {"device_name": "b", "license": "z", "use_restrictions": ""}
    assert generation_fingerprint(facts) == generation_fingerprint(other)
    assert generation_fingerprint(facts) != generation_fingerprint(facts | {"base_model": "n"})


def test_another_version_of_the_sampler_changes_it_and_the_first_is_as_from_before_versions() -> (
    None
):
    facts = {"base_model": "m", "coupling_mode": "region"}
    first, second = (generation_fingerprint(facts | {"sampler_version": n}) for n in (1, 2))
    assert first == generation_fingerprint(facts)
    assert second != first


def test_an_unusable_row_has_an_id_of_the_same_form() -> None:
    first = quarantined_id(source_file="f", source_row=1, message="m")
    assert len(bytes.fromhex(first)) == 16
    assert first != quarantined_id(source_file="f", source_row=2, message="m")


def test_a_group_seed_goes_before_the_derived_one() -> None:
    assert sample_seed(0, "g", 41, 1) == 42
    derived = sample_seed(0, "g", None, 0)
    assert 0 <= derived < 2**31
    assert sample_seed(0, "g", None, 2) == derived + 2
    assert len({derived, sample_seed(1, "g", None, 0), sample_seed(0, "h", None, 0)}) == 3


@pytest.mark.parametrize(
    ("change", "are_same"),
    [
        ({"scoring": {"clip_model": "ViT-L-14:openai"}}, True),
        ({"scoring": {"dtype": "bfloat16"}}, True),
        ({"filter": {"min_combined": 2.0}}, True),
        ({"selection": {"attempts": 3}, "output": {"store_dropped": True}}, True),
        ({"generation": {"num_inference_steps": 3}}, False),
        ({"output": {"image_format": "webp"}}, False),
        ({"output": {"store_background": True}}, False),
        ({"output": {"shard_size": 3}}, False),
    ],
)
def test_runs_that_only_judge_otherwise_make_the_same_images(
    change: dict[str, Any], are_same: bool
) -> None:
    changed = RunConfig.model_validate(change)
    assert (images_id(changed, ["a"]) == images_id(RunConfig(), ["a"])) == are_same
    assert images_id(changed, ["b"]) != images_id(changed, ["a"])
