"""Shared runs over any number of sequences; letters stand for words."""

from coupled_core.splitting.offline import Run, find_common_runs


def test_the_longest_run_comes_first() -> None:
    runs = find_common_runs(["xabcyd", "dabc"])
    assert runs == [Run((1, 1), 3), Run((5, 0), 1)]


def test_a_run_must_stand_in_every_sequence() -> None:
    assert find_common_runs(["ab", "ab", "bc"]) == [Run((1, 1, 0), 1)]


def test_no_word_is_used_twice() -> None:
    assert find_common_runs(["aaa", "aa"]) == [Run((0, 0), 2)]


def test_nothing_in_common_gives_no_runs() -> None:
    assert find_common_runs(["ab", "cd"]) == []
