"""`coupled regen` where the pair cannot be made again."""

from tests.unit.flows.cli.invoke import run


def test_regen_of_an_unknown_pair_is_code_2(dataset: str) -> None:
    code, _, errors = run("regen", "ffff", "--dataset", dataset)
    assert code == 2
    assert "0 pairs" in errors


def test_regen_refuses_a_schedule_that_is_not_the_one_of_the_row(dataset: str) -> None:
    pair = f"{0:016x}{1:016x}"
    code, _, errors = run("regen", pair, "--dataset", dataset)
    assert code == 2  # the sample run's settings are not those of a real run
    assert "settings that this version does not know" in errors
