"""Of several attempts at an edit the best are kept."""

from coupled_core.dataset.best_pairs import Candidate, choose_best, unmet_edits


def test_equal_scores_go_to_the_earlier_attempt_and_then_to_the_earlier_place() -> None:
    edit = ("group", 0, 1)
    rivals = [
        Candidate(name, edit, 1.0, attempt) for name, attempt in [("a", 2), ("b", 1), ("c", 1)]
    ]
    assert choose_best(rivals, {edit: 1}) == {"b"}
    assert choose_best(rivals, {edit: 2}) == {"b", "c"}
    assert unmet_edits(rivals, {edit: 3, ("other", 0, 1): 1}) == {("other", 0, 1)}
