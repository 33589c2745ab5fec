"""Of several attempts at an edit the best are kept."""

from coupled_core.dataset.best_pairs import Candidate, choose_best, unmet_edits


def test_the_best_of_an_edit_are_kept_whenever_they_were_tried() -> None:
    edit, other = ("group", 0, 1), ("group", 0, 2)
    scores = {"a": 1.0, "b": 3.0, "c": 2.0}
    rivals = [Candidate(name, edit, score, n) for n, (name, score) in enumerate(scores.items(), 1)]
    rivals.append(Candidate("alone", other, -5.0, 1))
    assert choose_best(rivals, {edit: 1, other: 1}) == {"b", "alone"}
    assert choose_best(rivals, {edit: 2, other: 1}) == {"b", "c", "alone"}


def test_equal_scores_go_to_the_earlier_attempt_and_then_to_the_earlier_place() -> None:
    edit = ("group", 0, 1)
    rivals = [
        Candidate(name, edit, 1.0, attempt) for name, attempt in [("a", 2), ("b", 1), ("c", 1)]
    ]
    assert choose_best(rivals, {edit: 1}) == {"b"}
    assert choose_best(rivals, {edit: 2}) == {"b", "c"}
    assert unmet_edits(rivals, {edit: 3, ("other", 0, 1): 1}) == {("other", 0, 1)}
