"""Every base model that we name states its licence and what may be done with its images."""

import re
from pathlib import Path

import pytest

from coupled_core.export.terms import license_url
from coupled_core.generation.model_files import KNOWN_MODELS, describe_unknown_model

ROOT = Path(__file__).parents[3]
_HUB_NAME = re.compile(r"black-forest-labs/[A-Za-z0-9._-]*[A-Za-z0-9]")


def test_every_base_model_that_code_and_documents_name_is_known() -> None:
    named: set[str] = set()
    for folder in ("coupled_core", "flows", "infra"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md"):
                named.update(_HUB_NAME.findall(path.read_text()))
    assert len(named) >= 2
    assert named <= KNOWN_MODELS.keys()


@pytest.mark.parametrize("name", sorted(KNOWN_MODELS))
def test_a_known_model_has_a_licence_that_can_be_read_and_says_what_it_forbids(name: str) -> None:
    model = KNOWN_MODELS[name]
    assert license_url(model.license)
    assert model.use_restrictions.endswith(".")


def test_the_licence_of_a_model_that_is_not_known_is_not_guessed() -> None:
    model = describe_unknown_model("a/b", {"guidance_embeds": True, "num_layers": 19})
    assert model.license == "unknown"
    assert "see the licence of the base model" in model.use_restrictions
