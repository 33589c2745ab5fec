"""Long answers on narrow terminals, and counts in them."""

from flows.cli.labelled_lines import count_of, fit


def test_a_value_goes_on_beneath_itself() -> None:
    line = "disk            590 kB to 1.18 MB if all pairs are kept; twice that while it builds"
    assert fit(line, 60) == (
        "disk            590 kB to 1.18 MB if all pairs are kept;\n"
        "                twice that while it builds"
    )


def test_a_second_label_counts_and_so_does_the_lack_of_one() -> None:
    lines = "ok       disk            " + "word " * 12 + "\n                " + "more " * 12
    made = fit(lines, 60).split("\n")
    assert all(len(line) <= 60 for line in made)
    assert made[1].startswith(" " * 25 + "word")
    assert made[-1].startswith(" " * 16 + "more")


def test_commands_paths_and_lines_that_fit_stay_whole() -> None:
    path = "manifest       /a" + "/long" * 20
    command = "coupled review --dataset s3://bucket/pairs --apply DECISIONS.json " * 2
    for line in (path, command, "", "a  b", "kept            5"):
        assert fit(line, 40) == line
    assert fit(path, 60) == path


def test_one_of_a_kind_is_no_plural() -> None:
    assert [count_of(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
