"""A model that answers goes from its declaration to a version, over a real endpoint; what it is asked is counted there."""

import json
import shutil
import signal

import pytest
from tests.support import assistant
from tests.support.assistant import ledger, ok, refused, rows

from headrace.testing.faults import other_model, status


@pytest.fixture(scope="module")
def endpoint():
    with assistant.endpoint() as made:
        yield made


@pytest.fixture(scope="module")
def indexed(headrace, endpoint, tmp_path_factory):
    """A project whose index is built."""
    folder = assistant.write(tmp_path_factory.mktemp("assistant") / "mini", endpoint.url)
    ok(headrace, folder, "run", "refresh")
    return folder


@pytest.fixture(scope="module")
def trained(headrace, indexed, tmp_path_factory):
    folder = shutil.copytree(indexed, tmp_path_factory.mktemp("trained") / "mini")
    ok(headrace, folder, "run", "train", "--as-of", "2030-01-01")
    return folder


@pytest.fixture
def project(indexed, tmp_path):
    return shutil.copytree(indexed, tmp_path / "mini")


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "mini")


def train(headrace, folder, **options):
    return headrace.run(folder, "run", "train", "--as-of", "2030-01-01", **options)


def steps(folder, job):
    run = "select id from job_runs where job = ? order by started limit 1"
    return [name for (name,) in ledger(folder, f"select name from job_steps where run_id = ({run}) order by seq", job)]


def answers(folder):
    found = rows(folder, "metrics.evaluated_answers")
    return sorted((row["question_id"], row["answer"], row["scores"], row["passages"]) for row in found)


def test_a_version_knows_the_models_behind_its_routes(trained, endpoint):
    ((routes, metrics),) = ledger(trained, "select routes, metrics from model_versions")

    assert json.loads(routes) == {"small": {"protocol": "openai", "url": endpoint.url, "model": "small"}}
    assert 0 < json.loads(metrics)["answer_f1"] < 1
    assert json.loads(metrics)["recall@2"] == 1.0
    (described,) = trained.rglob("estimator/chain.json")
    kept = json.loads(described.read_text())["routes"]
    assert {**kept["small"], "url_digest": None} == {"protocol": "openai", "url_digest": None, "model": "small"}
    assert endpoint.url not in described.read_text()


def test_each_answer_is_kept_with_what_it_is_worth(trained):
    kept = rows(trained, "metrics.evaluated_answers")
    ((metrics,),) = ledger(trained, "select metrics from model_versions")

    assert {json.loads(row["inputs"])["question"] for row in kept} == {q for q, _, _ in assistant.QUESTIONS}
    scores = [json.loads(row["scores"]) for row in kept]
    for name, value in json.loads(metrics).items():
        assert sum(each[name] for each in scores) / len(scores) == pytest.approx(value)


def test_training_again_asks_nobody_and_gives_the_version_that_is_there(headrace, copy, endpoint):
    before = len(endpoint.requests)
    done = train(headrace, copy)

    assert done.code == 0, done.stderr
    assert "version 1" in done.stdout + done.stderr
    assert len(endpoint.requests) == before
    assert ledger(copy, "select version from model_versions") == [(1,)]


def test_killed_anywhere_no_answer_is_paid_twice_and_all_is_as_undisturbed(headrace, project, trained, endpoint):
    before, died = len(endpoint.requests), []
    places = ["run.opened:train assistant"]
    for name in steps(trained, "train assistant"):
        inside = {
            "training set": ["commit.computed:training.assistant", "commit.committed:training.assistant"],
            "evaluate": [
                "commit.computed:metrics.evaluations",
                "commit.committed:metrics.evaluations",
                "commit.computed:metrics.evaluated_answers",
                "commit.committed:metrics.evaluated_answers",
            ],
        }.get(name, [])
        places += [f"step.started:{name}", *inside, f"step.executed:{name}", f"step.finished:{name}"]
    places.append("run.closing:train assistant")
    for place in places:
        done = train(headrace, project, failpoint=place)
        assert done.signal == signal.SIGKILL, f"{place}: {done.stderr}"
        died.append(place)
    done = train(headrace, project)

    assert done.code == 0, done.stderr
    assert len(died) > 15
    assert len(endpoint.requests) - before == len(assistant.QUESTIONS)
    assert answers(project) == answers(trained)
    assert rows(project, "metrics.evaluations")[0]["value"] == rows(trained, "metrics.evaluations")[0]["value"]
    assert ledger(project, "select version, artifact_hash, metrics from model_versions") == ledger(
        trained, "select version, artifact_hash, metrics from model_versions"
    )


def test_a_run_that_dies_before_its_answers_are_in_the_ledger_pays_for_none_again(headrace, project, endpoint):
    before = len(endpoint.requests)
    assert train(headrace, project, failpoint="step.executed:answers 1").signal == signal.SIGKILL
    assert train(headrace, project).code == 0
    assert len(endpoint.requests) - before == len(assistant.QUESTIONS)


def test_another_model_under_the_prompt_voids_the_evidence(headrace, copy, endpoint):
    assistant.settings(copy, endpoint.url, model="small-2")
    said = refused(headrace, copy, "run", "deploy")
    assert "'small' was 'small' and is 'small-2' now" in said
    assert "headrace run train --model assistant" in said

    before = len(endpoint.requests)
    assert train(headrace, copy).code == 0  # as another version, which is asked anew
    assert len(endpoint.requests) - before == len(assistant.QUESTIONS)
    assert ledger(copy, "select count(*) from model_versions") == [(2,)]
    ok(headrace, copy, "run", "deploy")


def test_a_version_in_production_stays_there_and_what_changed_is_said(headrace, copy, endpoint):
    ok(headrace, copy, "run", "deploy")
    assistant.settings(copy, endpoint.url, model="small-2")
    done = ok(headrace, copy, "run", "deploy")
    assert "in production" in (done.stdout + done.stderr).lower()


def test_a_fallback_counts_too(headrace, copy, endpoint):
    text = (copy / "headrace.toml").read_text().replace('model = "small"', 'model = "small"\nfallback = "large"')
    (copy / "headrace.toml").write_text(text)
    assert "'large' is a new fallback" in refused(headrace, copy, "run", "deploy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return ctx.complete(prompt, question=question, passages=passages, max_tokens=60)", "return None"), "returned NoneType"),
        (("return ctx.complete(prompt, question=question, passages=passages, max_tokens=60)", "return 7"), "returned int"),
        (("return ctx.complete(prompt, question=question, passages=passages, max_tokens=60)", "raise KeyError(question)"), "KeyError"),
        (("return ctx.complete(prompt, question=question, passages=passages, max_tokens=60)", "yield from [1]"), "returned int"),
        (('hr.Route("small")]', 'hr.Route("tiny")]'), "tiny"),
        (('hr.Route("small")]', "]"), "uses= has no route"),
        (('file="answer.md"', 'file="nowhere.md"'), "nowhere.md"),
        (("ctx.search(index", 'ctx.search("features.other"'), "features.other"),
        (("task=hr.Generation(relevant", 'task=hr.Generation(reference="right", relevant'), "right"),
        (('brief", function=lambda row: len(row.answer) < 90', "brief"), "brief"),
    ],
    ids=["None", "number", "raises", "generator of numbers", "route", "no route", "file", "index", "reference", "judge"],
)  # fmt: skip
def test_a_mistake_is_told_without_a_traceback(headrace, project, change, said):
    text = (project / "mini.py").read_text()
    assert change[0] in text
    (project / "mini.py").write_text(text.replace(*change))
    assert said in refused(headrace, project, "run", "train")


def test_a_generator_of_texts_is_an_answer(headrace, project):
    text = (project / "mini.py").read_text()
    (project / "mini.py").write_text(text.replace("return ctx.complete(prompt", "yield from ctx.stream(prompt"))
    ok(headrace, project, "run", "train")
    assert all(row["answer"] for row in rows(project, "metrics.evaluated_answers"))


def test_without_an_index_it_says_what_builds_one(headrace, endpoint, tmp_path):
    folder = assistant.write(tmp_path / "mini", endpoint.url)
    assert "headrace run refresh" in refused(headrace, folder, "run", "train")


def test_no_questions(headrace, endpoint, tmp_path):
    folder = assistant.write(tmp_path / "mini", endpoint.url, questions=())
    said = refused(headrace, folder, "run", "refresh")
    assert "qa" in said


def test_no_routes_at_all(headrace, project):
    (project / "headrace.toml").write_text('[project]\nname = "mini"\nmodule = "mini"\n[env.dev]\n')
    assert "[env.dev.llm.routes.small]" in refused(headrace, project, "run", "train")


def test_a_budget_of_zero_pays_nothing(headrace, project, endpoint):
    before = len(endpoint.requests)
    assistant.settings(project, endpoint.url, more='[env.dev.llm.budgets]\nday = "0"')
    said = refused(headrace, project, "run", "train")
    assert "budget" in said
    assert len(endpoint.requests) == before


def test_a_question_beyond_all_measure(headrace, endpoint, tmp_path):
    long = ("word " * 250_000, "x", "a")
    folder = assistant.write(tmp_path / "mini", endpoint.url, questions=(*assistant.QUESTIONS, long))
    ok(headrace, folder, "run", "refresh")
    assert "1,250,000 characters" in refused(headrace, folder, "run", "train")


def test_an_endpoint_that_lies_about_its_model(headrace, project):
    with assistant.endpoint(faults=lambda _: other_model("huge-9000")) as liar:
        assistant.settings(project, liar.url)
        said = ok(headrace, project, "run", "train").stderr
    assert "route small answers as 'huge-9000', and 'small' is configured" in said


def test_a_smaller_model_of_the_same_family_is_another_one_and_a_dated_name_is_not(headrace, project):
    for model, told in (("small-mini", True), ("small-2026-11-01", False)):
        with assistant.endpoint(faults=lambda _, model=model: other_model(model)) as liar:
            assistant.settings(project, liar.url)
            said = ok(headrace, project, "run", "train").stderr
        assert (f"answers as {model!r}" in said) == told


def test_answers_of_a_fallback_are_told(headrace, project, endpoint):
    with assistant.endpoint(faults=lambda _: status(503)) as down:
        text = assistant.SETTINGS.format(url=endpoint.url, model="small", more="")
        text = text.replace(endpoint.url, down.url, 1)
        text = text.replace('model = "small"', 'model = "small"\nfallback = "large"\nattempts = 1')
        (project / "headrace.toml").write_text(text)
        said = ok(headrace, project, "run", "train").stderr
    assert "4 of 4 answers came from the fallback 'large' of route 'small'" in said


def test_a_route_that_the_model_names_is_no_fallback(headrace, project, endpoint):
    with assistant.endpoint(faults=lambda _: status(503)) as down:
        text = assistant.SETTINGS.format(url=endpoint.url, model="small", more="")
        text = text.replace(endpoint.url, down.url, 1)
        text = text.replace('model = "small"', 'model = "small"\nfallback = "large"\nattempts = 1')
        (project / "headrace.toml").write_text(text)
        code = (project / "mini.py").read_text()
        (project / "mini.py").write_text(code.replace('hr.Route("small")', 'hr.Route("small", "large")'))
        said = ok(headrace, project, "run", "train").stderr
    assert "4 answers" in said
    assert "fallback" not in said
