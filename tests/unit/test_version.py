"""The code names the commit that it was made from."""

import subprocess
from pathlib import Path

import pytest

from coupled_core.version import code_revision

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _ask_anew() -> None:
    code_revision.cache_clear()


def test_in_a_checkout_it_is_the_commit_that_is_checked_out() -> None:
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    before = subprocess.run(head, capture_output=True, text=True, check=False)
    if before.returncode:
        pytest.skip("these tests do not run in a checkout")
    found = code_revision()
    assert found is not None
    assert found.removesuffix("-dirty") == before.stdout.strip()


def test_an_image_says_what_it_was_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_REVISION", "0123abc")
    assert code_revision() == "0123abc"
    code_revision.cache_clear()
