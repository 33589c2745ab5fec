"""What names finished work changes with what the code does, and with nothing else about it."""

from pathlib import Path

import pytest

import coupled_core
from coupled_core.research.evaluation.conditions import DECIDING_CODE, digest_code

PACKAGE = Path(coupled_core.__file__).parent
OF_ONE_USE = ("research/comparison/variants.py", "research/optimization/trial.py")


def test_comments_do_not_change_what_the_code_does_and_formulas_do(tmp_path: Path) -> None:
    texts = ("x = 1\n", '"""Say it."""\nx = 1  # why\n', "x = 2\n")
    digests = []
    for index, text in enumerate(texts):
        for name in DECIDING_CODE:
            path = tmp_path / str(index) / name
            path = path if path.suffix else path / "module.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        digests.append(digest_code(tmp_path / str(index)))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize("name", [*DECIDING_CODE, *OF_ONE_USE])
def test_the_code_that_decides_is_where_it_is_looked_for(name: str) -> None:
    assert (PACKAGE / name).exists()


def test_code_that_one_use_adds_counts_for_it() -> None:
    digests = {digest_code(PACKAGE, (*DECIDING_CODE, name)) for name in OF_ONE_USE}
    assert len({*digests, digest_code(PACKAGE)}) == 3
