"""A search for better instructions: what is better becomes a version; a search that dies pays for nothing twice."""

import json
import shutil
import signal

import pytest
from tests.support import assistant
from tests.support.assistant import ledger, ok, refused

STEPS = "select name from job_steps where run_id = (select id from job_runs where job = 'tune assistant' order by started limit 1) order by seq"


@pytest.fixture(scope="module")
def tuned(headrace, assistant_project, answering, tmp_path_factory):
    """A project that was tuned, and how many requests that took."""
    folder = shutil.copytree(assistant_project, tmp_path_factory.mktemp("tuned") / "mini")
    before = len(answering.requests)
    ok(headrace, folder, "run", "tune")
    return folder, len(answering.requests) - before


@pytest.fixture
def project(assistant_project, tmp_path):
    return shutil.copytree(assistant_project, tmp_path / "mini")


def prompts(folder):
    return sorted(file.read_text() for file in (folder / ".headrace").rglob("estimator/prompts/answer.md"))


def test_a_better_instruction_becomes_a_version(tuned):
    folder, _ = tuned
    metrics = {
        version: json.loads(found) for version, found in ledger(folder, "select version, metrics from model_versions")
    }

    assert metrics[2]["answer_f1"] > metrics[1]["answer_f1"]
    assert len(set(prompts(folder))) == 2
    assert any(assistant.PROMPT.split("# user")[1] in text for text in prompts(folder))  # what is asked with stays


def test_what_a_search_costs_is_booked_on_the_model(headrace, tuned):
    found = json.loads(ok(headrace, tuned[0], "llm", "cost", "--by", "application,prompt", "--json").stdout)["rows"]
    assert {(row["by"]["application"], row["by"]["prompt"]) for row in found} == {
        ("assistant", "answer"),
        ("assistant", "tuning"),
    }


def test_tuning_again_asks_nobody(headrace, tuned, answering, tmp_path):
    folder = shutil.copytree(tuned[0], tmp_path / "mini")
    before = len(answering.requests)
    ok(headrace, folder, "run", "tune")
    assert len(answering.requests) == before
    assert ledger(folder, "select count(*) from model_versions") == [(2,)]


def test_killed_anywhere_nothing_that_was_noted_is_paid_again(headrace, tuned, project, answering):
    undisturbed, paid = tuned
    before = len(answering.requests)
    places = ["run.opened:tune assistant", "step.started:search", "journal.append:after", "step.executed:search"]
    for (name,) in ledger(undisturbed, STEPS):
        if name not in ("search", "moment"):
            places += [f"step.started:{name}", f"step.finished:{name}"]
    places.append("run.closing:tune assistant")
    for place in places:
        done = headrace.run(project, "run", "tune", failpoint=place)
        assert done.signal == signal.SIGKILL, f"{place}: {done.stderr}"
    ok(headrace, project, "run", "tune")

    assert len(answering.requests) - before == paid
    assert prompts(project) == prompts(undisturbed)
    wanted = "select version, metrics from model_versions"
    assert ledger(project, wanted) == ledger(undisturbed, wanted)


def test_a_death_before_an_answer_is_noted_asks_for_that_one_again(headrace, tuned, project, answering):
    before = len(answering.requests)
    assert headrace.run(project, "run", "tune", failpoint="journal.append:before").signal == signal.SIGKILL
    ok(headrace, project, "run", "tune")
    assert tuned[1] <= len(answering.requests) - before <= tuned[1] + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('tune=hr.PromptTuning(tuning, calls=150, route="large"),', ""), "hr.PromptTuning"),
        (('calls=150, route="large"', 'calls=150, route="huge"'), "huge"),
        (('calls=150, route="large"', 'calls=150, metric="nothing"'), "nothing"),
    ],
    ids=["not declared", "route", "metric"],
)  # fmt: skip
def test_a_mistake_is_told_without_a_traceback(headrace, project, change, said):
    text = (project / "mini.py").read_text()
    assert change[0] in text
    (project / "mini.py").write_text(text.replace(*change))
    assert said in refused(headrace, project, "run", "tune")


def test_a_prompt_without_instructions_cannot_be_tuned(headrace, project):
    (project / "answer.md").write_text("# user\n" + assistant.PROMPT.split("# user\n")[1])
    assert "has no section '# system' to tune" in refused(headrace, project, "run", "tune")


def test_a_spent_budget_stops_the_search_and_it_goes_on_later(headrace, tuned, project, answering):
    before = len(answering.requests)
    assistant.settings(project, answering.url, more='[env.dev.llm.budgets]\nday = "0.002"')
    assert "budget" in refused(headrace, project, "run", "tune")
    assert len(answering.requests) > before
    assistant.settings(project, answering.url)
    ok(headrace, project, "run", "tune")
    assert len(answering.requests) - before == tuned[1]


def test_with_a_raised_budget_a_search_goes_on(headrace, tuned, answering, tmp_path):
    folder, paid = shutil.copytree(tuned[0], tmp_path / "mini"), tuned[1]
    before = len(answering.requests)
    text = (folder / "mini.py").read_text()
    (folder / "mini.py").write_text(text.replace("calls=150,", "calls=170, proposals=25,"))
    ok(headrace, folder, "run", "tune")

    more = len(answering.requests) - before - len(assistant.QUESTIONS)  # a version of other code is evaluated anew
    assert more <= 20 + 5 < paid
    assert len(list(folder.rglob("tuning/*/calls.jsonl"))) == 1


def test_the_same_correction_of_several_people_is_on_one_side(headrace, project, answering):
    text = (project / "mini.py").read_text()
    declared = 'tuning = hr.Source("gold.tuning", files="tuning.jsonl")'
    assert declared in text
    twice = '''asked = hr.Source("bronze.tuning", files="tuning.jsonl")
tuning = hr.Table(
    "gold.corrections", key="question_id", time="known_at",
    sql="""SELECT question || n AS question_id, TIMESTAMPTZ '2020-01-01' AS known_at, question, reference
           FROM bronze.tuning CROSS JOIN range(2) AS twice(n)""",
)'''
    (project / "mini.py").write_text(text.replace(declared, twice).replace("calls=150", "calls=60"))
    ok(headrace, project, "run", "refresh")
    done = ok(headrace, project, "run", "tune", "--json")
    found = json.loads(done.stdout)["found"]
    assert 0 < found["examples"] < 16  # sixteen questions, each twice in the table
    logged = ledger(project, "select line from job_logs where line like '%examples to learn from%'")
    learnt, held_out = (int(word) for word in logged[0][0].split() if word.isdigit())
    assert learnt + held_out == 16


def test_examples_that_are_questions_of_the_evaluation_are_told(headrace, project):
    text = (project / "mini.py").read_text()
    (project / "mini.py").write_text(text.replace("calls=150", "calls=60"))
    with (project / "tuning.jsonl").open("a") as file:
        file.writelines((project / "qa.jsonl").read_text().splitlines(keepends=True)[:3])
    ok(headrace, project, "run", "refresh")
    assert (
        "3 of 19 examples of the tuning are questions of the evaluation" in ok(headrace, project, "run", "tune").stderr
    )
