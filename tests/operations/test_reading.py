"""Questions as operations: feature tables, SELECTs, runs, versions, the audit record, checks and the status."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.operations.loop_project import at, audit, guest

from headrace.core import vault
from headrace.core.errors import ConfigError, LimitError, NotFoundError, RefusedError
from headrace.core.system import user
from headrace.operations import audit as audit_operations
from headrace.operations import comparison, doctor, features, models, runs, sql, status
from headrace.workspace.workspace import open_workspace


def test_a_feature_table_says_how_full_it_is_and_who_uses_it(deployed):
    (report,) = features.list_feature_tables(at(deployed))
    details = features.show_feature_table(at(deployed), "stats.customers")

    assert (report.key, report.used_by, report.env) == (("customer",), ("days",), "dev")
    assert report.newest == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert {column.column: column.null_percent for column in details.columns}["orders"] == 0
    assert details.to_json() == json.loads(json.dumps(details.to_json()))
    with pytest.raises(NotFoundError, match=r"stats\.customers"):
        features.show_feature_table(at(deployed), "stats.customer")


def test_a_select_is_answered_as_arrow_pandas_and_rows(deployed):
    answer = sql.query(at(deployed), "select id, placed_at from shop.orders order by id")

    assert answer.count == answer.to_arrow().num_rows == len(answer.to_pandas()) == 120
    assert answer.rows(2) == [
        {"id": 0, "placed_at": datetime(2024, 1, 1, tzinfo=UTC)},
        {"id": 1, "placed_at": datetime(2024, 1, 1, 12, tzinfo=UTC)},
    ]
    assert answer.to_json()["rows"][0] == {"id": 0, "placed_at": "2024-01-01T00:00:00+00:00"}
    with pytest.raises(LimitError, match="more than 5 rows"):
        sql.query(at(deployed), "select id from shop.orders", max_rows=5)
    with pytest.raises(ConfigError, match="is no") as refused:
        sql.query(at(deployed), "describe shop.orders")
    assert "headrace table show shop.orders" in refused.value.hint


def test_runs_are_shown_with_their_steps_and_their_log(deployed):
    listing = runs.list_runs(at(deployed), limit=2)
    (training,) = [run for run in runs.list_runs(at(deployed)).runs if run.job == "train days"]
    details = runs.show_run(at(deployed), training.run[:14])
    log = runs.show_run_log(at(deployed), training.run)

    assert (listing.env, [run.job for run in listing.runs]) == ("dev", ["deploy days", "train days"])
    assert training.started <= training.ended
    assert [step.step for step in details.steps] == ["training set", "fit", "evaluate", "register"]
    assert log.run == training
    assert any("decisions: 120" in line.line for line in log.lines)
    assert not training.needs_a_person


def test_a_failed_run_needs_a_person_until_it_is_acknowledged_by_whoever_may(headrace, project):
    assert headrace.run(project, "run", "train", "--as-of", "2000-01-01").code == 1
    failed = runs.list_runs(at(project)).runs[0]
    needs = status.show_status(at(project)).needs_a_person
    assert failed.needs_a_person
    assert ("train days failed", failed.ended) in [(need.what, need.since) for need in needs]

    token = guest(headrace, project)
    with vault.bearing(token), pytest.raises(RefusedError, match="guest may not `headrace runs acknowledge`"):
        runs.acknowledge_run(at(project), failed.run, reason="a test")
    assert audit(project)[-1] == ("access.refused", failed.run)

    report = runs.acknowledge_run(at(project), failed.run, reason="a test")
    assert (report.acknowledged_by, report.reason, report.needs_a_person) == (user(), "a test", False)
    assert audit(project)[-1] == ("run.acknowledged", failed.run)
    after = status.show_status(at(project)).needs_a_person
    assert "train days failed" not in [need.what for need in after]


def test_the_status_holds_moments_and_numbers(deployed):
    report = status.show_status(at(deployed))
    tables = {table.table: table for table in report.tables}

    assert (report.project, report.env) == ("mini", "dev")
    assert timedelta() <= report.at - tables["shop.orders"].changed < timedelta(hours=12)
    assert tables["shop.labels"].newest == datetime(2024, 3, 5, 12, tzinfo=UTC)
    assert {job.job: job.status for job in report.jobs} == dict.fromkeys(
        ("refresh", "train days", "deploy days"), "done"
    )
    assert [(model.version, model.stage) for model in report.models] == [(1, "Production")]
    assert json.dumps(report.to_json())


def test_a_version_is_shown_with_its_way_and_its_slices(deployed):
    listing = models.list_versions(at(deployed))
    details = models.show_version(at(deployed), "days")
    slices = {report.value: report for report in details.slices}

    assert [(report.model, report.stage) for report in listing.versions] == [("days", "Production")]
    assert [stage.stage for stage in details.stages] == ["None", "Staging", "Production"]
    assert {report.key for report in details.slices} == {"customer"}
    assert slices["c0"].rows > 0
    assert slices["c0"].metrics["rmse"] >= 0
    assert comparison.list_comparisons(at(deployed), "days") == []
    history = models.show_model_history(at(deployed), "days")
    assert [entry.stage for entry in history] == ["None", "Staging", "Production"]
    assert history[-1].by[0].name == user()
    with pytest.raises(NotFoundError, match="days"):
        models.show_version(at(deployed), "dais")


def test_an_audit_record_that_was_changed_is_not_whole(project):
    head = audit_operations.show_audit_head(at(project))
    whole = audit_operations.verify_audit(at(project), head=head.hash, limit=1)
    assert whole.whole
    assert (len(whole.entries), whole.head) == (1, head)
    assert audit_operations.list_audit_entries(at(project), limit=1) == list(whole.entries)

    lost = audit_operations.verify_audit(at(project), head="f" * 32)
    assert not lost.whole
    assert [(kept.anchor, kept.count, kept.hash) for kept in lost.missing] == [(None, None, "f" * 32)]

    from sqlalchemy import text

    with open_workspace(folder=project) as workspace, workspace.state.begin() as connection:
        connection.execute(text("update audit set object = 'other' where id = 2"))
    broken = audit_operations.verify_audit(at(project))
    assert (broken.whole, broken.broken.id) == (False, 2)


def test_checks_report_an_unknown_token_as_a_finding(deployed):
    well = {finding.check: finding.result for finding in doctor.examine(at(deployed))}
    with vault.bearing("hr_made_up"):
        unknown = {finding.check: finding for finding in doctor.examine(at(deployed))}
        with pytest.raises(RefusedError):
            status.show_status(at(deployed))

    assert well["who acts"] == "ok"
    assert unknown["who acts"].result == "failed"
    assert "hr_made_up" not in str(unknown)
