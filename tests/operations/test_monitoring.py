"""Quality and drift by window, as they were stored: the same figures, the same verdicts, nothing measured anew."""

import json

import pytest
from tests.operations.loop_project import at

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.operations import monitoring, runs, sql


def test_quality_is_what_the_metric_table_holds(monitored):
    report = monitoring.show_monitoring(at(monitored), "days")
    kept = sql.query(
        at(monitored),
        """
        select window_start, metric, value, low, high, rows, labelled, label_coverage, judged
        from metrics.model_quality where version = 2 and slice_key is null order by window_start, place
        """,
    ).rows()

    assert (report.model, report.version, report.stage, report.granularity) == ("days", 2, "Production", "1w")
    assert [
        {"window_start": each.start, **{name: getattr(each, name) for name in list(kept[0])[1:]}}
        for each in report.quality
    ] == kept
    assert len({each.start for each in report.quality}) > 1
    assert all(each.reason for each in report.quality if not each.judged)
    assert report.to_json() == json.loads(json.dumps(report.to_json()))


def test_drift_has_the_stored_distances_and_the_verdict_of_the_run_that_measured_it(monitored):
    report = monitoring.show_monitoring(at(monitored), "days")
    kept = sql.query(
        at(monitored),
        """
        select "window".start as start, column_name as name, population_stability_index as psi, js_distance
        from answers.days_drift_metrics
        where model_version = 2 and drift_type = 'BASELINE' and slice_key is null order by start, place
        """,
    ).rows()
    run = next(run.run for run in runs.list_runs(at(monitored)).runs if run.job == "monitor days")
    steps = [step for step in runs.show_run(at(monitored), run).steps if step.step.startswith("window ")]
    judged = [step.output for step in steps if step.step.endswith("of version 2")]

    assert [(each.start, each.column, each.psi, each.js_distance) for each in report.drift] == [
        tuple(row.values()) for row in kept
    ]
    assert {(each.start.isoformat(), each.column): each.verdict for each in report.drift} == {
        (output["start"], column["column"]): column["verdict"] for output in judged for column in output["columns"]
    }
    assert {each.column for each in report.drift} == {"amount", "prediction"}


def test_only_the_latest_windows_are_shown(monitored):
    whole = monitoring.show_monitoring(at(monitored), "days", version=1)
    last = monitoring.show_monitoring(at(monitored), "days", version=1, windows=1)
    starts = sorted({each.start for each in (*whole.quality, *whole.drift)})

    assert (whole.version, whole.stage, whole.windows, whole.earlier) == (1, "Archived", len(starts), 0)
    assert "orders" in {each.column for each in whole.drift}
    assert {each.start for each in last.quality} == {starts[-1]}
    assert (last.windows, last.earlier) == (1, len(starts) - 1)
    assert last.quality == tuple(each for each in whole.quality if each.start == starts[-1])


def test_of_a_version_that_has_predicted_nothing_there_is_nothing(deployed):
    report = monitoring.show_monitoring(at(deployed), "days")

    assert (report.version, report.stage, report.quality, report.drift, report.windows) == (1, "Production", (), (), 0)


@pytest.mark.parametrize(
    ("name", "options", "kind", "says"),
    [
        ("dayz", {}, NotFoundError, "did you mean 'days'"),
        ("days", {"version": 9}, NotFoundError, "no version of days '9'"),
        ("days", {"windows": 0}, DeclarationError, "0 windows cannot be shown"),
    ],
)
def test_what_cannot_be_shown(deployed, name, options, kind, says):
    with pytest.raises(kind, match=says):
        monitoring.show_monitoring(at(deployed), name, **options)
