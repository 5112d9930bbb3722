"""How decisions are cut, by the calendar and by their number; and by the version that was in Production."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.inference.partitions import cut, end_of, start_of
from headrace.inference.production_intervals import ProductionInterval, in_production
from headrace.registry.records import StageChange

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = st.sampled_from(["1h", "1d", "1mo"])


@st.composite
def cuts(draw):
    """Hours with decisions, and a stretch that begins and ends anywhere in the first and the last one."""
    places = draw(st.lists(st.integers(0, 24 * 100), min_size=1, max_size=40, unique=True))
    hours = [(NEW_YEAR + timedelta(hours=place), draw(st.integers(1, 50))) for place in sorted(places)]
    since = hours[0][0] + timedelta(minutes=draw(st.integers(0, 59)))
    until = hours[-1][0] + timedelta(minutes=draw(st.integers(60, 100)))
    return hours, since, until


@given(given_=cuts(), every=EVERY, most=st.integers(1, 200))
def test_every_decision_is_in_one_partition(given_, every, most):
    hours, since, until = given_
    found = list(cut(hours, since=since, until=until, every=every, most=most))
    stretches = sorted({(each.since, each.until) for each in found})

    assert sum(each.rows for each in found) == sum(count for _, count in hours)
    assert all(before[1] <= after[0] for before, after in pairwise(stretches))
    for hour, _ in hours:
        inside = [each for each in stretches if each[0] <= max(hour, since) < each[1]]
        assert len(inside) == 1
    for each in found:
        assert since <= each.since < each.until <= until
        assert start_of(each.since, every) == start_of(each.until - timedelta(microseconds=1), every)
    assert len({each.name for each in found}) == len(found)


@given(given_=cuts(), every=EVERY, most=st.integers(1, 200))
def test_no_partition_is_too_large(given_, every, most):
    hours, since, until = given_
    for each in cut(hours, since=since, until=until, every=every, most=most):
        assert each.rows <= most
        if each.part[1] > 1:  # only within one hour decisions are divided by their key
            assert (
                each.until - each.since <= timedelta(hours=1) or len(hours) == 1 or each.rows * each.part[1] > most - 1
            )


def test_partitions_are_called_after_the_calendar():
    hours = [(NEW_YEAR, 5), (NEW_YEAR + timedelta(days=3), 5), (NEW_YEAR + timedelta(days=40), 25)]
    bounds = {"since": NEW_YEAR, "until": NEW_YEAR + timedelta(days=60), "every": "1mo"}

    assert [each.name for each in cut(hours, most=100, **bounds)] == ["2024-01", "2024-02"]
    assert [each.name for each in cut(hours, most=5, **bounds)] == [
        "2024-01",
        "2024-01-04T00:00:00",
        *(f"2024-02 part {part} of 5" for part in range(1, 6)),
    ]


def test_months_have_their_lengths():
    assert end_of(datetime(2024, 2, 1, tzinfo=UTC), "1mo") == datetime(2024, 3, 1, tzinfo=UTC)
    assert end_of(datetime(2024, 12, 1, tzinfo=UTC), "1mo") == datetime(2025, 1, 1, tzinfo=UTC)
    assert start_of(datetime(2024, 2, 29, 23, 59, tzinfo=UTC), "1mo") == datetime(2024, 2, 1, tzinfo=UTC)


def moved(day, version, stage):
    at = NEW_YEAR + timedelta(days=day)
    return StageChange(at=at, version=version, stage=stage, by="eva", reason="", decision=None)


def stretches(*days):
    return [
        ProductionInterval(
            version=version, since=NEW_YEAR + timedelta(days=start), until=NEW_YEAR + timedelta(days=end)
        )
        for version, start, end in days
    ]


def test_the_version_of_then_changes_where_production_changed():
    history = [
        moved(1, 1, "None"),
        moved(2, 1, "Staging"),
        moved(3, 1, "Production"),
        moved(5, 2, "Staging"),
        moved(8, 1, "Archived"),
        moved(8, 2, "Production"),
        moved(9, 3, "Archived"),
        moved(10, 2, "Archived"),
        moved(12, 1, "Production"),  # rolled back
    ]

    def then(since, until):
        return in_production(history, since=NEW_YEAR + timedelta(days=since), until=NEW_YEAR + timedelta(days=until))

    assert then(0, 20) == stretches((None, 0, 3), (1, 3, 8), (2, 8, 10), (None, 10, 12), (1, 12, 20))
    assert then(4, 9) == stretches((1, 4, 8), (2, 8, 9))
    assert then(0, 2) == stretches((None, 0, 2))
    assert then(13, 14) == stretches((1, 13, 14))
    assert then(11, 11) == []
