"""Ranges of shards, in words and back; whose leases are whose."""

import os
from pathlib import Path

import pytest

from coupled_core.errors import ConfigError
from coupled_core.runs.division import cut_ranges, leases_below, parse_ranges
from coupled_core.storage.local import LocalStore


def test_a_process_has_one_set_of_leases_and_its_fork_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    ours = leases_below(store, "run")
    assert leases_below(store, "run") is ours
    fork = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: fork)
    assert leases_below(store, "run") is not ours


def test_numbers_and_ranges_name_shards_with_both_ends() -> None:
    found = [index for each in parse_ranges("3, 7,20-22") for index in each]
    assert found == [3, 7, 20, 21, 22]


@pytest.mark.parametrize("text", ["", "a", "5-3", "1--2", "-1", "1,", "0-9; rm", "9" * 10])
def test_anything_else_is_refused_with_what_was_given(text: str) -> None:
    with pytest.raises(ConfigError, match="expected numbers and ranges such as 0-99"):
        parse_ranges(text)


def test_ranges_keep_their_names_whatever_is_open() -> None:
    whole, rest = (dict(cut_ranges(open_, 10)) for open_ in (range(25), [3, 24]))
    assert list(whole) == ["0-9", "10-19", "20-29"]
    assert rest == {"0-9": [3], "20-29": [24]}
    for name, inside in whole.items():
        assert set(inside) <= {index for each in parse_ranges(name) for index in each}
