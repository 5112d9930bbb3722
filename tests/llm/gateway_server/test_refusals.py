from datetime import UTC, datetime

import pytest

from headrace.llm.gateway.budget_limits import BudgetExceededError, BudgetStatus
from headrace.llm.gateway_server.refusals import refusal

DOLLAR = 10**9


@pytest.mark.parametrize(("budget", "figures"), [("day", False), ("model", False), ("user", True)])
def test_a_refusal_has_figures_of_the_callers_own_budget_alone(budget, figures):
    today = datetime.now(UTC).date()
    at = BudgetStatus(scope=budget, key="tiny", day=today, limit=3 * DOLLAR, spent=2 * DOLLAR, reserved=0)
    error = refusal(BudgetExceededError(at, 2 * DOLLAR))

    assert (error.status, error.kind, error.code) == (429, "insufficient_quota", "insufficient_quota")
    assert ("$3.00" in error.message, "tiny" in error.message) == (figures, figures)
    assert 0 < int(error.headers["Retry-After"]) <= 86_400
