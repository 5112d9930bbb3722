"""Business figures over a table of observations: what is counted, what is refused, and what is written again."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import headrace as hr
from headrace.core.errors import DeclarationError, SqlError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.sql import check
from headrace.lakehouse.writes import Append, Overwrite
from headrace.monitoring import kpis

TABLE = "gold.saved"
FIRST = datetime(2024, 1, 30, tzinfo=UTC)
LATER = datetime(2025, 1, 1, tzinfo=UTC)
ALL = f"select model_version, decision_time, value from {TABLE}"


def declared(sql=ALL, **options):
    return hr.kpi("saved", sql, **{"better": "higher", **options})


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("prod", str(tmp_path / "lakehouse"))


def write(lakehouse, rows, id="made"):  # noqa: A002
    """Rows of (version, day, value)."""
    versions, days, values = zip(*rows, strict=True)
    table = pa.table(
        {
            "model_version": pa.array(versions, pa.int64()),
            "decision_time": pa.array(
                [None if day is None else FIRST + timedelta(days=day) for day in days], pa.timestamp("us", "UTC")
            ),
            "value": pa.array(values, pa.float64()),
        }
    )
    lakehouse.commit(TABLE, id, lambda before: Append(table) if before is None else Overwrite(table))


def measured(lakehouse, kpi=None, *, as_of=LATER, granularity="1mo", predicted=()):
    query = check((kpi or declared()).sql, [TABLE])
    inputs = {TABLE: lakehouse.snapshot(TABLE).version}
    return kpis.measure(lakehouse, query, inputs, granularity=granularity, as_of=as_of, predicted=predicted)


def test_each_version_and_window_has_the_mean_and_the_interval_of_its_rows(lakehouse):
    draw = np.random.default_rng(0)
    rows = [(1 + place % 2, place % 5, value) for place, value in enumerate(draw.normal(3, 2, 400))]
    write(lakehouse, rows)
    found = {(each.version, each.start): each for each in measured(lakehouse)}
    february = datetime(2024, 2, 1, tzinfo=UTC)

    assert set(found) == {(v, s) for v in (1, 2) for s in (None, datetime(2024, 1, 1, tzinfo=UTC), february)}
    for key, values in {
        (1, None): [value for version, _, value in rows if version == 1],
        (2, february): [value for version, day, value in rows if version == 2 and day >= 2],
    }.items():
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        each = found[key]
        assert (each.rows, each.counted) == (len(values), len(values))
        assert each.mean == pytest.approx(np.mean(values))
        assert each.total == pytest.approx(np.sum(values))
        assert (each.low, each.high) == pytest.approx((expected.low, expected.high))
    assert found[2, february].end == datetime(2024, 3, 1, tzinfo=UTC)


def test_what_is_not_finite_is_seen_and_not_counted(lakehouse):
    write(lakehouse, [(1, 0, value) for value in (1.0, 3.0, None, float("nan"), float("inf"))])
    whole, *_ = measured(lakehouse)
    assert (whole.rows, whole.counted, whole.mean, whole.total) == (5, 2, 2.0, 4.0)
    assert whole.low < 2 < whole.high


def test_one_value_has_no_interval_and_none_has_no_mean(lakehouse):
    write(lakehouse, [(1, 0, 5.0), (2, 0, None), (2, 0, None)])
    one, none = (each for each in measured(lakehouse) if each.start is None)
    assert (one.mean, one.low, one.reason) == (5.0, None, "one value has no interval")
    assert (none.rows, none.mean, none.reason) == (2, None, "none of 2 has a value yet")


def test_a_version_that_has_predicted_is_there_before_its_first_outcome(lakehouse):
    write(lakehouse, [(1, 0, 5.0)])
    assert [(each.version, each.reason) for each in measured(lakehouse, predicted=[1, 2]) if each.start is None] == [
        (1, "one value has no interval"),
        (2, "no observation yet"),
    ]


def test_nothing_of_a_later_time_exists_and_a_row_without_a_moment_or_version_is_of_no_window(lakehouse):
    write(lakehouse, [(1, 0, 1.0), (1, 9, 100.0), (1, None, 7.0), (None, 0, 9.0)])
    whole, *_ = measured(lakehouse, as_of=FIRST + timedelta(days=5))
    assert (whole.rows, whole.total) == (1, 1.0)


def test_without_a_moment_there_is_one_figure_for_all_time(lakehouse):
    write(lakehouse, [(1, 0, 1.0), (1, 90, 2.0)])
    found = measured(lakehouse, declared(f"select model_version, value > 1 as value from {TABLE}"))
    assert [(each.start, each.mean) for each in found] == [(None, 0.5)]


def test_values_too_large_for_a_sum_have_no_figure_instead_of_infinity(lakehouse):
    write(lakehouse, [(1, 0, 1.7e308), (1, 0, 1.7e308), (1, 0, -1.0)])
    whole, *_ = measured(lakehouse)
    assert whole.counted == 3
    assert whole.low is None
    assert whole.reason.startswith("its values are too large")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            f"select decision_time, value from {TABLE}",
            "needs the column 'model_version'; there is 'decision_time', 'value'",
        ),
        (f"select model_version, decision_time from {TABLE}", "needs the column 'value'"),
        (f"select model_version, 'much' as value from {TABLE}", "'value' of a business figure is VARCHAR"),
        (
            f"select model_version, value, 'today' as decision_time from {TABLE}",
            "'decision_time' of a business figure is VARCHAR",
        ),
        (f"select model_version, amount as value from {TABLE}", "amount"),
        (f"delete from {TABLE}", "is not a SELECT"),
        (f"select model_version, random() as value from {TABLE}", "random"),
        ("select 1 as model_version, 2 as value from 'x.csv'", "files cannot be read"),
        ("select model_version, value from gold.save", "did you mean 'gold.saved'"),
    ],
    ids=["no version", "no value", "text", "text as moment", "no column", "delete", "chance", "file", "no table"],
)
def test_sql_that_gives_no_figure_is_refused_with_its_file(lakehouse, sql, said):
    write(lakehouse, [(1, 0, 1.0)])
    with pytest.raises(SqlError) as error:
        measured(lakehouse, declared(sql))
    assert said in str(error.value)
    assert "test_kpis.py" in str(error.value)


def test_figures_are_written_once_and_a_late_outcome_changes_its_window_alone(lakehouse):
    kpi = declared(unit="min", description="Minutes saved")
    write(lakehouse, [(1, 0, 1.0), (1, 0, 2.0), (1, 5, 7.0), (1, 5, None)])
    kpis.keep(lakehouse, "late", kpi, "1mo", measured(lakehouse), id="one")
    version = lakehouse.snapshot(kpis.TABLE).version
    (first,) = kpis.stored(lakehouse, "late")
    kpis.keep(lakehouse, "late", kpi, "1mo", measured(lakehouse), id="two")

    assert lakehouse.snapshot(kpis.TABLE).version == version
    assert first.figures == tuple(measured(lakehouse))
    assert (first.unit, first.description, first.better) == ("min", "Minutes saved", "higher")

    write(lakehouse, [(1, 0, 1.0), (1, 0, 2.0), (1, 5, 7.0), (1, 5, 9.0)], id="late outcome")
    kpis.keep(lakehouse, "late", kpi, "1mo", measured(lakehouse), id="three")
    (second,) = kpis.stored(lakehouse, "late")
    assert [each.mean for each in second.figures] == [4.75, 1.5, 8.0]
    assert second.figures[1] == first.figures[1]
    with lakehouse.connect({kpis.TABLE: None}) as connection:
        times = connection.sql(f"select window_start, measured_at from {kpis.TABLE} order by 1 nulls first").fetchall()
    assert times[1][1] < times[2][1]  # January's row was not written again


def test_windows_that_are_gone_and_figures_that_are_not_declared_any_more_are_removed(lakehouse):
    write(lakehouse, [(1, 0, 1.0), (1, 5, 2.0), (2, 5, 2.0)])
    for name in ("late", "other"):
        kpis.keep(lakehouse, name, declared(), "1mo", measured(lakehouse), id=name)
    kpis.keep(lakehouse, "late", declared(), "1mo", measured(lakehouse, as_of=FIRST + timedelta(days=1)), id="less")
    (kept,) = kpis.stored(lakehouse, "late")
    assert [(each.version, each.start) for each in kept.figures] == [(1, None), (1, datetime(2024, 1, 1, tzinfo=UTC))]

    kpis.forget(lakehouse, "late", ["another"], id="forget")
    assert kpis.stored(lakehouse, "late") == []
    assert len(kpis.stored(lakehouse, "other")[0].figures) == 5


def test_the_latest_windows_are_those_of_all_versions(lakehouse):
    write(lakehouse, [(1, day, 1.0) for day in range(0, 120, 10)] + [(2, 119, 1.0)])
    kpis.keep(lakehouse, "late", declared(), "1mo", measured(lakehouse), id="one")
    (kept,) = kpis.stored(lakehouse, "late", since=2)
    assert [(each.version, each.start and each.start.month) for each in kept.figures] == [
        (1, None), (1, 4), (1, 5), (2, None), (2, 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"name": "Saved minutes"}, {"sql": " "}, {"sql": 7}, {"better": "more"}, {"window": "2d"}, {"unit": None}],
    ids=["name", "no sql", "number", "better", "window", "unit"],
)
def test_a_declaration_that_is_not_possible_is_refused(wrong):
    with pytest.raises(DeclarationError) as error:
        hr.kpi(**{"name": "saved", "sql": ALL, "better": "higher", **wrong})
    assert f"kpi({next(iter(wrong))}=" in str(error.value)


def test_two_figures_of_one_name_are_refused_with_both_places():
    with pytest.raises(DeclarationError, match="'saved' is declared twice") as error:
        hr.Monitor(kpis=[declared(), declared()])
    assert len(error.value.findings) == 2
    with pytest.raises(DeclarationError, match="kpis="):
        hr.Monitor(kpis=["saved"])
