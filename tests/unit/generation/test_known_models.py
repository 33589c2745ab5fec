"""Every base model that we name states its licence and what may be done with its images."""

import re
from pathlib import Path

import pytest

from coupled_core.export.terms import license_url
from coupled_core.generation.families.spec import FLUX_1
from coupled_core.generation.known_models import KNOWN_MODELS, describe_unknown_model
from coupled_core.generation.licences import (
    LICENCES,
    describe_training,
    has_other_weights,
    restrict_training,
)

ROOT = Path(__file__).parents[3]
_HUB_NAME = re.compile(r"black-forest-labs/[A-Za-z0-9._-]*[A-Za-z0-9]")


def test_every_base_model_that_code_and_documents_name_is_known() -> None:
    named: set[str] = set()
    for folder in ("coupled_core", "flows", "infra"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md"):
                named.update(_HUB_NAME.findall(path.read_text()))
    assert len(named) >= 2
    assert named <= KNOWN_MODELS.keys() | LICENCES.keys()


@pytest.mark.parametrize("name", sorted(KNOWN_MODELS))
def test_a_known_model_has_a_licence_that_can_be_read_and_says_what_it_forbids(name: str) -> None:
    model = KNOWN_MODELS[name]
    assert license_url(model.license)
    assert model.use_restrictions.endswith(".")


def test_the_licence_of_a_model_that_is_not_known_is_not_guessed() -> None:
    model = describe_unknown_model("a/b", {"num_layers": 19}, FLUX_1, "embedding")
    assert model.license == "unknown"
    assert "see the licence of the base model" in model.use_restrictions
    assert model.training == "unknown"


def test_what_a_licence_says_of_training_an_editor_is_told_of_every_model() -> None:
    allowed = {name for name, licence in LICENCES.items() if licence.training == "allowed"}
    assert allowed == {
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.2-klein-4B",
        "black-forest-labs/FLUX.2-klein-base-4B",
        "Qwen/Qwen-Image",
        "Tongyi-MAI/Z-Image",
        "Tongyi-MAI/Z-Image-Turbo",
    }
    assert all(LICENCES[name].name == "Apache-2.0" for name in allowed)
    others = {name: each.training for name, each in LICENCES.items() if name not in allowed}
    assert set(others.values()) == {"not competing"}
    assert {name.rpartition("/")[2] for name in others} == {
        "FLUX.1-dev", "FLUX.1-Krea-dev", "FLUX.2-klein-9B", "FLUX.2-klein-base-9B", "FLUX.2-dev",
    }  # fmt: skip
    assert "competes" in describe_training("not competing")


@pytest.mark.parametrize("name", sorted(KNOWN_MODELS))
@pytest.mark.parametrize("mode", ["log_bias", "region"])
def test_a_known_model_has_its_schedules(name: str, mode: str) -> None:
    assert KNOWN_MODELS[name].load_schedule(mode).mode == mode  # type: ignore[arg-type]


def test_a_free_model_with_weights_of_other_files_is_not_said_to_be_free() -> None:
    labels = ("transformer=a.safetensors@1", "int8 lora=a@1*0.5", "gguf transformer=a@1")
    assert all(map(has_other_weights, labels))
    assert not any(map(has_other_weights, ("", "int8", "stored-torchao-Int8WeightOnlyConfig")))
    assert restrict_training("allowed", has_others=True) == "unknown"
    assert restrict_training("not competing", has_others=True) == "not competing"
    assert restrict_training("allowed", has_others=False) == "allowed"
