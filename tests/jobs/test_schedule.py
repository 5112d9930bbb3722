"""When a schedule is due, with what was missed meanwhile."""

from datetime import UTC, datetime

import pytest

import headrace as hr
from headrace.core.errors import DeclarationError

AT_FOUR = hr.cron("0 4 * * *")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [
        ("2024-01-01T05:00", "2024-01-02T03:59", False),
        ("2024-01-01T05:00", "2024-01-02T04:00", True),
        ("2024-01-01T05:00", "2024-01-02T11:00", True),  # the machine was off at four
        ("2024-01-01T05:00", "2024-03-01T11:00", True),  # for two months: once
        ("2024-01-02T04:00", "2024-01-02T11:00", False),  # it began then
    ],
)
def test_what_was_missed_is_due(since, now, due):
    assert AT_FOUR.due(at(since), at(now)) is due


@pytest.mark.parametrize(("now", "due"), [("2024-01-02T05:00", True), ("2024-01-02T05:01", False)])
def test_only_so_late_as_was_declared(now, due):
    assert hr.cron("0 4 * * *", misfire_grace="61m").due(at("2024-01-01T05:00"), at(now)) is due


def test_no_duration_is_told():
    with pytest.raises(DeclarationError, match="misfire_grace='soon'") as told:
        hr.cron("0 4 * * *", misfire_grace="soon")
    assert "90s" in told.value.hint
