"""Batch scoring of a model that answers: each answer is paid once, whatever ends the run."""

import json
import os
import shutil
import signal
import sqlite3
from contextlib import closing

import mlflow
import pytest
from tests.support import assistant
from tests.support.assistant import ok, refused, rows

from headrace.testing.faults import status

SCORE = ("run", "score", "--since", "2000-01-01")
MANY = 230  # three partitions


@pytest.fixture
def project(assistant_project, tmp_path):
    return shutil.copytree(assistant_project, tmp_path / "mini")


def questions(file, count):
    file.write_text(assistant.lines({"question": f"What returns the square root? ({n})"} for n in range(count)))
    os.utime(file, (1_800_000_000, 1_800_000_000))
    return file


def answers(folder):
    return rows(folder, "gold.answers")


def test_each_question_has_one_row_with_all_that_an_answer_comes_with(headrace, project, answering):
    before = len(answering.requests)
    ok(headrace, project, *SCORE)
    made = answers(project)

    assert len(answering.requests) - before == len(made) == len(assistant.QUESTIONS)
    for row in made:
        assert row["features"]["question"] in {q for q, _, _ in assistant.QUESTIONS}
        assert [each["id"] for each in json.loads(row["prediction_passages"])]
        (call,) = json.loads(row["prediction_calls"])
        assert (call["route"], call["model"], call["prompt"]) == ("small", "small", "answer")
        assert row["prediction_cost"] > 0
        assert row["model_version"] == 1

    ok(headrace, project, *SCORE)
    assert len(answering.requests) - before == len(made)


def test_quality_is_measured_where_right_answers_are_known(headrace, project):
    ok(headrace, project, *SCORE, "--as-of", "2031-01-01")
    found = {row["metric"]: row["value"] for row in rows(project, "metrics.model_quality") if row["slice_key"] is None}
    assert set(found) == {"answer_f1", "recall@2", "brief"}


def test_questions_of_a_file_that_grows_are_paid_once_each(headrace, project, answering, tmp_path):
    before = len(answering.requests)
    file = questions(tmp_path / "new.jsonl", 3)
    ok(headrace, project, "run", "score", "--source", file)
    assert len(answering.requests) - before == 3
    questions(file, 5)
    ok(headrace, project, "run", "score", "--source", file)
    assert len(answering.requests) - before == 5
    assert len(answers(project)) == 5


def test_killed_it_goes_on_and_pays_for_no_more_than_a_block_again(headrace, project, answering, tmp_path):
    before = len(answering.requests)
    command = ("run", "score", "--source", questions(tmp_path / "new.jsonl", MANY))
    steps = ["commit.computed:gold.answers", "commit.committed:gold.answers"]
    for place in steps:
        assert headrace.run(project, *command, failpoint=place).signal == signal.SIGKILL
    ok(headrace, project, *command)
    made = answers(project)

    assert len(made) == len({row["prediction_id"] for row in made}) == MANY
    assert MANY < len(answering.requests) - before <= MANY + 100


def test_a_spent_budget_stops_the_run_and_the_next_day_goes_on_from_there(headrace, project, answering, tmp_path):
    before = len(answering.requests)
    command = ("run", "score", "--source", questions(tmp_path / "new.jsonl", 40))
    assistant.settings(project, answering.url, more='[env.dev.llm.budgets]\nday = "0.004"')
    said = refused(headrace, project, *command)
    paid = len(answering.requests) - before

    assert "budget" in said
    assert "It resets at" in said
    assert 0 < paid < 40
    assert len(answers(project)) == paid

    assistant.settings(project, answering.url)  # as the next day would
    ok(headrace, project, *command)
    assert len(answering.requests) - before == 40
    assert len(answers(project)) == 40


def test_an_endpoint_that_fails_loses_no_answer_that_was_made(headrace, project, answering, tmp_path):
    command = ("run", "score", "--source", questions(tmp_path / "new.jsonl", 30))
    before = len(answering.requests)
    answering.set_faults(lambda _: status(400) if len(answering.requests) - before > 12 else None)
    try:
        refused(headrace, project, *command)
    finally:
        answering.set_faults(())
    kept = len(answers(project))
    assert 0 < kept <= 12
    at = len(answering.requests)
    ok(headrace, project, *command)
    assert len(answering.requests) - at == 30 - kept


def test_a_limited_rate_is_waited_for(headrace, project, answering, tmp_path):
    text = (project / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(
        text.replace('model = "small"', 'model = "small"\nrequests_per_minute = 120\ntimeout = "1s"')
    )
    ok(headrace, project, "run", "score", "--source", questions(tmp_path / "new.jsonl", 126))
    assert len(answers(project)) == 126


def traces(folder, *, origin="batch"):
    """The traces of answers, as MLflow's own client has them."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/.headrace/dev/mlflow.db")
    experiment = client.get_experiment_by_name("assistant").experiment_id
    where = f"tags.`headrace.origin` = '{origin}'"
    return client.search_traces(locations=[experiment], filter_string=where, max_results=500, include_spans=True)


def test_each_answer_is_a_trace_once(headrace, project):
    assert "4 decisions, " in ok(headrace, project, *SCORE).stderr
    made = {row["prediction_id"]: row for row in answers(project)}
    first = traces(project)
    assert {each.info.tags["headrace.prediction_id"] for each in first} == set(made)
    for trace in first:
        row = made[trace.info.tags["headrace.prediction_id"]]
        assert (trace.info.tags["headrace.version"], trace.info.tags["headrace.environment"]) == ("1", "dev")
        root, search, call = trace.data.spans
        assert (root.inputs, root.outputs) == (row["features"], row["prediction"])
        assert [each["id"] for each in search.outputs] == [
            each["id"] for each in json.loads(row["prediction_passages"])
        ]
        assert search.inputs["query"] == row["features"]["question"]
        assert row["features"]["question"] in call.inputs["messages"][1]["content"]
        assert (
            trace.info.token_usage["total_tokens"] == row["prediction_input_tokens"] + row["prediction_output_tokens"]
        )
        assert trace.info.cost["total_cost"] == pytest.approx(row["prediction_cost"])
        assert call.llm_cost["input_cost"] == pytest.approx(row["prediction_input_tokens"] / 1e6)
        assert call.llm_cost["output_cost"] == pytest.approx(row["prediction_output_tokens"] * 2 / 1e6)
        ended = trace.info.request_time + trace.info.execution_duration
        assert ended == pytest.approx(row["scored_at"].timestamp() * 1000, abs=2)
    ok(headrace, project, *SCORE)
    assert {each.info.trace_id for each in traces(project)} == {each.info.trace_id for each in first}


def test_killed_before_its_traces_it_writes_them_and_pays_nothing(headrace, project, answering, tmp_path):
    command = ("run", "score", "--source", questions(tmp_path / "new.jsonl", 3))
    before = len(answering.requests)
    assert headrace.run(project, *command, failpoint="commit.committed:gold.answers").signal == signal.SIGKILL
    assert traces(project) == []
    ok(headrace, project, *command)
    assert len(traces(project)) == len(answering.requests) - before == 3


def test_what_mlflow_does_not_take_is_told_and_written_the_next_time(headrace, project, answering):
    before = len(answering.requests)
    store(project, "create trigger away before insert on spans begin select raise(abort, 'away'); end")
    told = ok(headrace, project, *SCORE).stderr
    assert "the answers have no traces: MLflow does not take traces" in told
    assert len(answers(project)) == len(assistant.QUESTIONS)
    assert traces(project) == []
    store(project, "drop trigger away")
    ok(headrace, project, *SCORE)
    assert len(traces(project)) == len(answering.requests) - before == len(assistant.QUESTIONS)


def store(folder, statement):
    """Changes MLflow's database."""
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "mlflow.db")) as database:
        database.execute(statement)
        database.commit()


@pytest.mark.parametrize(("declared", "share"), [("traces=0.0", 0.0), ("traces=0.3", 0.3)])
def test_a_share_of_them_has_traces(headrace, project, tmp_path, declared, share):
    program = project / "mini.py"
    program.write_text(program.read_text().replace("serve=hr.Serve(), score", f"serve=hr.Serve(), {declared}, score"))
    ok(headrace, project, "run", "score", "--source", questions(tmp_path / "new.jsonl", 60))
    assert len(answers(project)) == 60
    found = traces(project)
    assert len(found) == pytest.approx(60 * share, abs=12 if share else 0)
    assert bool(found) == bool(share)


def test_traces_have_nothing_that_is_redacted(headrace, project):
    program = project / "mini.py"
    program.write_text(program.read_text().replace("serve=hr.Serve()", 'serve=hr.Serve(redact=["question"])'))
    ok(headrace, project, *SCORE)
    found = traces(project)
    assert len(found) == len(assistant.QUESTIONS)
    for trace in found:
        assert trace.data.spans[0].inputs == {"question": None}
        assert trace.data.spans[0].outputs
        assert not any(question in trace.to_json() for question, _, _ in assistant.QUESTIONS)


def test_spark_has_no_routes(headrace, project):
    assert "executors of Spark do not have" in refused(headrace, project, *SCORE, "--engine", "spark")


def test_a_question_that_is_missing_is_named_by_its_row_before_any_is_paid(headrace, project, answering, tmp_path):
    before = len(answering.requests)
    file = tmp_path / "new.jsonl"
    file.write_text('{"question": "What?"}\n{"question": null}\n{"question": "Why?"}\n')
    said = refused(headrace, project, "run", "score", "--source", file)
    assert "new.jsonl: 1 row without a text" in said
    assert "row 2: the input 'question' is missing" in said
    assert "leave the row out" in said
    assert len(answering.requests) == before


def test_a_row_of_the_spine_that_cannot_be_answered_is_named_by_its_key(headrace, project):
    with (project / "qa.jsonl").open("a") as file:
        file.write('{"question": null, "reference": "none", "relevant": "a"}\n')
    ok(headrace, project, "run", "refresh")
    (row,) = [each for each in rows(project, "arrivals.gold_qa") if each["question"] is None]
    said = refused(headrace, project, *SCORE)
    assert f"row_id {row['row_id']}: the input 'question' is missing" in said
    assert "leave it out" in said


def test_rows_of_a_file_that_is_written_again_keep_their_moments_and_are_not_asked_again(
    headrace, project, answering, tmp_path
):
    before = len(answering.requests)
    file = questions(tmp_path / "new.jsonl", 2)
    ok(headrace, project, "run", "score", "--source", file)
    first = answers(project)
    os.utime(file, (1_900_000_000, 1_900_000_000))
    ok(headrace, project, "run", "score", "--source", file)
    assert answers(project) == first

    questions(file, 3)
    os.utime(file, (1_900_000_000, 1_900_000_000))
    ok(headrace, project, "run", "score", "--source", file)
    made = answers(project)
    assert len(answering.requests) - before == len(made) == 3
    assert sorted(int(each["decision_time"].timestamp()) for each in made) == [1_800_000_000] * 2 + [1_900_000_000]


def test_a_table_without_a_key_and_a_time_is_scored_as_a_file_is(headrace, project, answering):
    before = len(answering.requests)
    command = ("run", "score", "--source", "gold.tuning", "--into", "gold.tried")
    ok(headrace, project, *command)
    made = rows(project, "gold.tried")
    assert {row["features"]["question"] for row in made} == {row["question"] for row in rows(project, "gold.tuning")}
    os.utime(project / "tuning.jsonl", (1_900_000_000, 1_900_000_000))
    ok(headrace, project, "run", "score", "--query", "select question from gold.tuning", "--into", "gold.tried")
    ok(headrace, project, "run", "score", "--source", project / "tuning.jsonl", "--into", "gold.tried")
    assert rows(project, "gold.tried") == made
    assert len(answering.requests) - before == len(made)


def test_an_id_of_ones_own_is_kept_and_its_changed_question_is_asked_again(headrace, project, answering, tmp_path):
    before = len(answering.requests)
    file = tmp_path / "new.csv"
    for question in ("What returns the square root?", "What suspends execution?"):
        file.write_text(f"row_id,question,team\nmine-7,{question},a\nmine-8,How do I join path components?,b\n")
        ok(headrace, project, "run", "score", "--source", file, "--into", "gold.tried")
        os.utime(file, (1_900_000_000, 1_900_000_000))
        made = {row["row_id"]: row["features"]["question"] for row in rows(project, "gold.tried")}
        assert made == {"mine-7": question, "mine-8": "How do I join path components?"}
    assert len(rows(project, "gold.tried")) == 2
    assert len(answering.requests) - before == 3
