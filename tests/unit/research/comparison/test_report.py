"""Ablations as tables: a section a subject, each held against what it was taken from."""

from coupled_core.research.comparison.report import render_ablations
from tests.unit.research.comparison.known_results import build_results, build_row


def _render() -> str:
    values = {
        "": 2.0,
        "mode: log_bias": 1.0,
        "region size: 0.2": 2.5,
        "prefix, in log_bias: 0": 1.5,
    }
    rows = [
        build_row("coupled", group, part="ablation", variant=variant, combined=value)
        for variant, value in values.items()
        for group in ("lake", "forest")
    ]
    text = render_ablations(build_results(rows))
    assert text is not None
    return text


def test_every_subject_has_a_section_headed_by_its_reference() -> None:
    sections = _render().split("\n## ")
    assert [section.splitlines()[0] for section in sections[1:4]] == [
        "Mode", "Region size", "Prefix, in log_bias",
    ]  # fmt: skip
    assert "| **as it is** |" in sections[2]
    assert "| **mode: log_bias** |" in sections[3]


def test_differences_are_taken_to_the_reference_of_the_subject() -> None:
    _, _, size, prefix, *_ = _render().split("\n## ")
    assert "+0.500 [+0.500, +0.500]" in size
    assert "| J less coupled in log_bias |" in prefix
    assert "+0.500 [+0.500, +0.500]" in prefix


def test_results_without_ablations_make_no_section() -> None:
    assert render_ablations(build_results([build_row("coupled", "lake")])) is None
