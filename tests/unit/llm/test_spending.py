"""The allowance of a process that asks online: it waits for what may turn out cheaper."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from coupled_core.errors import LlmBudgetError
from coupled_core.llm.spending import Ledger, OnlineBudget
from coupled_core.storage.local import LocalStore

UNEVEN = (0.1, 0.2, 0.3)
"""Added up and taken off again in this order, they leave 1e-16 in floating point, not 0."""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(LocalStore(tmp_path), "account")


def _buy(budget: OnlineBudget, max_usd: float, cost_usd: float) -> None:
    with budget.reserve(max_usd) as purchase:
        purchase.cost_usd = cost_usd


def test_the_cap_is_an_error_at_once_when_nothing_is_on_its_way(ledger: Ledger) -> None:
    budget = OnlineBudget(ledger, cap_usd=1.0)
    for usd in UNEVEN:
        _buy(budget, usd, usd)
    with pytest.raises(LlmBudgetError, match="1 USD"):
        _buy(budget, 0.5, 0.0)


def test_those_who_wait_at_the_cap_are_told_when_the_last_request_has_ended(ledger: Ledger) -> None:
    budget = OnlineBudget(ledger, cap_usd=0.7)
    assert sum(UNEVEN) - 0.1 - 0.2 - 0.3 != 0.0
    with ThreadPoolExecutor(4) as pool:
        with ExitStack() as on_their_way:
            purchases = [on_their_way.enter_context(budget.reserve(usd)) for usd in UNEVEN]
            waiting = [pool.submit(_buy, budget, 0.2, 0.2) for _ in range(4)]
            for purchase, usd in zip(purchases, UNEVEN, strict=True):
                purchase.cost_usd = usd
        for each in waiting:
            with pytest.raises(LlmBudgetError, match=r"0\.7 USD"):
                each.result(timeout=20)


def test_a_request_that_turns_out_cheaper_makes_room_for_one_that_waits(ledger: Ledger) -> None:
    budget = OnlineBudget(ledger, cap_usd=0.7)
    with ThreadPoolExecutor(1) as pool:
        with budget.reserve(0.6) as purchase:
            waiting = pool.submit(_buy, budget, 0.3, 0.25)
            purchase.cost_usd = 0.1
        waiting.result(timeout=20)
    budget.settle()
    assert ledger.total() == pytest.approx(0.35)


def test_who_settles_leaves_what_others_have_on_its_way_set_aside(ledger: Ledger) -> None:
    budget = OnlineBudget(ledger, cap_usd=0.7)
    with budget.reserve(0.6) as purchase:
        budget.settle()
        assert ledger.total() == pytest.approx(0.6)
        purchase.cost_usd = 0.1
    budget.settle()
    assert ledger.total() == pytest.approx(0.1)
