"""A project with a business figure, from its declaration to the operation, the command and the page of the model."""

import json
import shutil

import numpy as np
import pytest
from scipy import stats
from tests.operations.kpi_project import KPI, SELECT, run
from tests.operations.loop_project import at

from headrace.core.errors import DeclarationError, NotFoundError, SqlError
from headrace.operations import kpis, monitor, sql


def test_the_stored_figure_is_the_mean_of_the_rows_of_the_select(figured):
    (found,) = kpis.show_kpis(at(figured), "days").kpis
    rows = sql.query(at(figured), SELECT).to_pandas()

    assert [(each.version, each.stage) for each in found.versions] == [(2, "Production"), (1, "Archived")]
    for each in found.versions:
        values = rows.loc[rows["model_version"] == each.version, "value"].dropna()
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert each.counted == len(values) > 30
        assert each.mean == pytest.approx(values.mean())
        assert (each.low, each.high) == pytest.approx((expected.low, expected.high))
    assert sum(each.rows for each in found.windows) == len(rows)
    assert len({each.start for each in found.windows}) > 2


def test_the_better_version_is_named_with_the_interval_of_the_difference(figured):
    (found,) = kpis.show_kpis(at(figured), "days").kpis
    (compared,) = found.comparisons
    rows = sql.query(at(figured), SELECT).to_pandas()
    means = rows.groupby("model_version")["value"].mean()

    assert (compared.a, compared.b, compared.verdict) == (2, 1, "better")
    assert compared.difference == pytest.approx(means[2] - means[1])  # both have the same rows in each window
    assert compared.low < compared.difference < compared.high < 0
    assert compared.sentence.startswith("Version 2 is better than version 1: Days by which we are off is ")
    assert " days lower (" in compared.sentence
    assert (compared.windows, compared.since) == (len({w.start for w in found.windows}), found.windows[0].start)


def test_the_command_says_the_same_to_people_and_programs(headrace, figured):
    people = headrace.run(figured, "monitor", "kpis", "days")
    programs = headrace.run(figured, "monitor", "kpis", "days", "--json", "--windows", "2")
    assert people.code == programs.code == 0, people.stderr
    found = json.loads(programs.stdout)
    assert found == kpis.show_kpis(at(figured), "days", windows=2).to_json()
    assert len({each["start"] for each in found["kpis"][0]["windows"]}) == 2
    assert "all time" in people.stdout
    assert "Version 2 is better than version 1" in people.stdout


def test_the_same_tables_give_the_same_figures_and_no_new_version_of_the_table(headrace, figured, tmp_path):
    copy = shutil.copytree(figured, tmp_path / "mini", symlinks=True)
    before = sql.query(at(copy), "select * from metrics.kpis").to_pandas()
    run(headrace, copy, "monitor", "monitor --as-of 2024-02-29T23:59:59+00:00")
    after = sql.query(at(copy), "select * from metrics.kpis").to_pandas()
    assert before.equals(after)


def test_outcomes_that_come_late_change_the_windows_that_they_belong_to(headrace, figured, tmp_path):
    copy = shutil.copytree(figured, tmp_path / "mini", symlinks=True)
    (before,) = kpis.show_kpis(at(copy), "days").kpis
    data = copy / "data" / "orders.csv"
    lines = data.read_text().splitlines()
    lines = [",".join([*line.split(",")[:-1], "40"]) if line.startswith("70,") else line for line in lines]
    data.write_text("\n".join(lines) + "\n")  # order 70 was placed on 2024-02-05
    run(headrace, copy, "refresh", "monitor")
    (after,) = kpis.show_kpis(at(copy), "days").kpis

    changed = [
        (new.version, new.start.isoformat()[:10])
        for old, new in zip(before.windows, after.windows, strict=True)
        if old.mean != new.mean
    ]
    assert changed == [(1, "2024-02-05"), (2, "2024-02-05")]


def test_sql_that_is_refused_is_told_by_a_dry_run_and_stops_no_other_measurement(headrace, figured, tmp_path):
    copy = shutil.copytree(figured, tmp_path / "mini", symlinks=True)
    program = copy / "mini.py"
    line = 1 + program.read_text().split("shop.labels o")[0].count("\n")
    program.write_text(program.read_text().replace("shop.labels o", "shop.label o"))
    with pytest.raises(SqlError, match=rf"mini.py:{line}: there is no table 'shop.label'"):
        monitor.plan_monitor(at(copy), "days")
    done = headrace.run(copy, "run", "monitor", "--as-of", "2024-02-25")
    assert done.code != 0
    assert f"mini.py:{line}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "quality of version 2" in done.stderr


def test_a_figure_whose_table_is_not_there_yet_says_so_and_one_that_is_gone_is_removed(headrace, figured, tmp_path):
    copy = shutil.copytree(figured, tmp_path / "mini", symlinks=True)
    program = copy / "mini.py"
    text = program.read_text()
    later = 'later = hr.Table("shop.outcomes", key="id", sql="select id, days from shop.labels")\n\n\ndef fit'
    program.write_text(text.replace("def fit(data", later + "(data", 1).replace("shop.labels o", "shop.outcomes o"))
    run(headrace, copy, "monitor")
    (found,) = kpis.show_kpis(at(copy), "days").kpis
    assert (found.versions, found.reason) == ((), "shop.outcomes is not there yet")

    program.write_text(text.replace(f", kpis=[{KPI}]", ""))
    run(headrace, copy, "monitor")
    assert kpis.show_kpis(at(copy), "days").kpis == ()


def test_what_cannot_be_shown_is_refused(figured):
    with pytest.raises(NotFoundError):
        kpis.show_kpis(at(figured), "day")
    with pytest.raises(DeclarationError, match="0 windows"):
        kpis.show_kpis(at(figured), "days", windows=0)


def test_a_difference_is_claimed_only_where_its_interval_supports_it():
    draw = np.random.default_rng(5)
    same = compared(draw.normal(3, 2, 200), draw.normal(3, 2, 200))
    few = compared(draw.normal(9, 1, 200), draw.normal(3, 1, 12))
    one = compared(draw.normal(9, 1, 200), [3.0])
    clear = compared(draw.normal(9, 1, 200), draw.normal(3, 1, 200))
    assert (same.verdict, few.verdict, one.verdict, clear.verdict) == (
        "no difference", "not compared", "not compared", "better",
    )  # fmt: skip
    assert same.sentence.startswith("Whether version 2 or version 1 is better cannot be told: saved differs by -")
    assert few.difference is one.difference is None
    assert "12 values" in few.sentence


def compared(a, b):
    from datetime import UTC, datetime

    from headrace.monitoring.kpis import Figure, StoredKpi

    figures = []
    for version, values in ((1, b), (2, a)):
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        figures.append(
            Figure(
                version=version, rows=len(values), counted=len(values), mean=float(np.mean(values)), deviation=deviation
            )
        )
    kpi = StoredKpi(
        name="saved",
        description="",
        unit="",
        better="higher",
        granularity="1d",
        measured_at=datetime(2024, 1, 1, tzinfo=UTC),
        figures=tuple(figures),
    )
    (found,) = kpis._report(kpi, {1: "Archived", 2: "Production"}).comparisons
    return found
