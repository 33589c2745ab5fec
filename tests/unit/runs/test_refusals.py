"""What a model could not read or tell apart is refused before it is split, let alone made."""

from dataclasses import replace

import pytest

from coupled_core.config import RunConfig
from coupled_core.records import GenerationProvenance, PromptGroup, RejectReason
from coupled_core.runs.models import generation_of
from coupled_core.runs.refusals import TextSurvey, refusal_for
from coupled_core.runs.text_report import describe_losses, describe_readers

LONG = "In a green meadow at noon under a wide blue sky with soft clouds and tall grass " * 2
ALIKE = (f"{LONG} a red kite", f"{LONG} a blue car")
CHINESE = ("傍晚的雪山上有一只红色风筝", "傍晚的雪山上有一个蓝色气球")
BEYOND, UNKNOWN = RejectReason.DIFFERENCE_BEYOND_WINDOW, RejectReason.UNKNOWN_SCRIPT


@pytest.fixture(scope="module")
def generation() -> GenerationProvenance:
    return generation_of(RunConfig().generation)


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        (ALIKE, BEYOND),
        ((f"A red kite {LONG}", f"A blue car {LONG}"), None),
        (("A red kite in a meadow", "A blue car in a meadow"), None),
        (("A red kite in a meadow", "a RED kite in a meadow"), None),
        (CHINESE, UNKNOWN),
        (("Красный воздушный змей", "Синий воздушный шар"), UNKNOWN),
        (("a 红 kite in a meadow", "a 蓝 kite in a meadow"), UNKNOWN),
    ],
)
def test_what_t5_cannot_read_or_tell_apart_is_refused(
    generation: GenerationProvenance, prompts: tuple[str, str], reason: RejectReason | None
) -> None:
    found = refusal_for(RunConfig(), generation)(PromptGroup("g", prompts))
    assert (found and found.reason) == reason
    assert found is None or "T5 of miniature" in found.message


def test_a_longer_t5_window_tells_more_prompts_apart(generation: GenerationProvenance) -> None:
    longer = replace(generation, max_sequence_length=128)
    assert refusal_for(RunConfig(), longer)(PromptGroup("g", ALIKE)) is None


def test_a_given_background_that_t5_does_not_know_is_refused(
    generation: GenerationProvenance,
) -> None:
    kites = ("a red kite in a meadow", "a blue kite in a meadow")
    group = PromptGroup("g", kites, background_prompt=CHINESE[0], entity_prompts=kites)
    found = refusal_for(RunConfig(), generation)(group)
    assert found is not None and found.reason is UNKNOWN


def test_where_t5_reads_entities_alone_it_is_asked_about_those_that_are_given(
    generation: GenerationProvenance,
) -> None:
    refuse = refusal_for(RunConfig(), replace(generation, entity_text="entity_prompt"))
    assert refuse(PromptGroup("g", ALIKE)) is None
    given = PromptGroup("g", ALIKE, background_prompt="a meadow", entity_prompts=CHINESE)
    found = refuse(given)
    assert found is not None and found.reason is UNKNOWN


def test_a_survey_counts_what_is_cut_and_unknown_and_refused(
    generation: GenerationProvenance,
) -> None:
    survey = TextSurvey(RunConfig(), generation)
    good = ("A red kite in a meadow", "A blue car in a meadow")
    found = [survey.take(PromptGroup(str(n), p)) for n, p in enumerate([ALIKE, CHINESE, good])]
    assert [why is not None for why in found] == [True, True, False]
    report = survey.report()
    t5, clip, judge = report.counts
    assert (t5.num_prompts, t5.num_longer, clip.num_longer, judge.num_longer) == (6, 2, 4, 4)
    assert (t5.num_unknown, clip.num_unknown, t5.limit) == (2, 0, 32)
    assert dict(report.num_refused) == {BEYOND: 1, UNKNOWN: 1}
    assert "2 of 6 prompts (33.3%) are cut" in describe_readers(report)[0]
    assert "read in windows" in describe_readers(report)[2]
    assert "2 groups will be refused" in describe_losses(report)


def test_a_sample_of_many_groups_says_that_it_is_one(
    generation: GenerationProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coupled_core.runs.refusals.NUM_COUNTED", 3)
    survey = TextSurvey(RunConfig(), generation)
    for n in range(9):
        survey.take(PromptGroup(str(n), ALIKE))
    report = survey.report()
    assert (report.num_groups, report.num_groups_counted) == (9, 3)
    assert dict(report.num_refused) == {BEYOND: 9}
    assert "sample of 3 groups" in describe_losses(report)
