"""Errors on their way between processes: flows and pools pickle them, servers keep their texts."""

import importlib
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coupled_core.errors import (
    CoupledError,
    NotFoundError,
    StorageError,
    at_stage,
    is_passing,
    stage_of,
)
from coupled_core.redaction import clean_error
from coupled_core.runs.summary import ShardsFailedError

ROOT = Path(__file__).parent.parent.parent
_CLASS = re.compile(r"^class \w+\(\w*(Error|Exception)\b", re.MULTILINE)


def _all_kinds() -> list[type[CoupledError]]:
    """Import what defines errors, and nothing else: the whole program takes half a minute."""
    for package in ("coupled_core", "tasks", "flows"):
        for path in (ROOT / package).rglob("*.py"):
            if _CLASS.search(path.read_text()):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return sorted(_subclasses(CoupledError), key=lambda kind: kind.__qualname__)


def _subclasses(kind: type[CoupledError]) -> Iterator[type[CoupledError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)


@pytest.mark.parametrize("kind", [k for k in _all_kinds() if not issubclass(k, ShardsFailedError)])
def test_every_error_survives_the_way_between_processes(kind: type[CoupledError]) -> None:
    error = kind("what is wrong, and what to do")
    error.__cause__ = ValueError("why")
    with pytest.raises(kind), at_stage("generate"):
        raise error
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), stage_of(again)) == (kind, str(error), "generate")


def test_the_innermost_stage_is_where_it_happened() -> None:
    with pytest.raises(ValueError, match="x") as raised, at_stage("build"), at_stage("score"):
        raise ValueError("x")
    assert stage_of(raised.value) == "score"
    assert stage_of(ValueError("elsewhere")) is None


def test_an_error_that_is_cleaned_of_a_secret_still_knows_its_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "planted-token")
    with pytest.raises(ValueError, match="planted") as raised, at_stage("generate"):
        raise ValueError("401 for planted-token")
    clean = clean_error(raised.value)
    assert stage_of(clean) == "generate"
    assert "planted-token" not in str(clean)


def test_only_what_the_store_may_recover_from_is_passing() -> None:
    assert is_passing(StorageError("503"))
    assert not is_passing(NotFoundError("gone"))
    assert not is_passing(RuntimeError("out of memory"))
