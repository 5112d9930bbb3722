"""Judges in a training: no verdict is paid twice, each call says whose it is, and the agreement with people is kept."""

import json
import shutil
import signal
from threading import Lock

import pytest
from tests.support import assistant
from tests.support.assistant import ledger, lines, ok, refused

from headrace.testing.extractive import extractive
from headrace.testing.faults import status

BRIEF = 'hr.judge("brief", function=lambda row: len(row.answer) < 90)'
JUDGED = assistant.PROJECT.replace(BRIEF, 'hr.judge("relevant", route="large")')
ODD = assistant.QUESTIONS[2][0]


class Judge:
    """An endpoint's function that answers and judges, and counts verdicts; `odd`: its reply about one of the questions."""

    def __init__(self):
        self.odd, self.verdicts, self.lock = None, 0, Lock()

    def __call__(self, messages):
        if not messages[0]["content"].startswith("You judge"):
            return extractive(messages)
        with self.lock:
            self.verdicts += 1
        return self.odd if self.odd and ODD in messages[1]["content"] else '{"score": 4, "reason": "It does."}'


def faulty(marker, fault, *, once=False):
    """Requests with a text fail while `failing`, all of them or the first."""

    def faults(request):
        if marker in request.body.decode() and faults.failing:
            faults.failing = not once
            return fault
        return None

    faults.failing = True
    return faults


@pytest.fixture(scope="module")
def indexed(headrace, answering, tmp_path_factory):
    folder = assistant.write(tmp_path_factory.mktemp("judged") / "mini", answering.url, project=JUDGED)
    ok(headrace, folder, "run", "refresh")
    return folder


@pytest.fixture
def project(indexed, tmp_path):
    return shutil.copytree(indexed, tmp_path / "mini")


def train(headrace, folder, **options):
    return headrace.run(folder, "run", "train", "--as-of", "2030-01-01", **options)


def journals(folder):
    return list((folder / ".headrace").rglob("calls.jsonl"))


def test_a_verdict_that_is_none_costs_no_other_one_again(headrace, project):
    judge, count = Judge(), len(assistant.QUESTIONS)
    judge.odd = "It is good."
    with assistant.endpoint(judge) as endpoint:
        assistant.settings(project, endpoint.url)
        assert "gave no verdict on 1 of 4 rows" in train(headrace, project).stderr
        assert judge.verdicts == count + 1  # that one twice
        before, judge.odd = len(endpoint.requests), None
        assert train(headrace, project).code == 0
        assert len(endpoint.requests) - before == 1
        ((metrics,),) = ledger(project, "select metrics from model_versions")
    assert json.loads(metrics)["relevant"] == 4.0
    assert journals(project) == []  # what is in the run ledger is kept once


def test_killed_between_verdicts_those_that_were_kept_are_not_paid_again(headrace, project):
    judge = Judge()
    with assistant.endpoint(judge) as endpoint:
        assistant.settings(project, endpoint.url)
        assert train(headrace, project, failpoint="step.started:evaluate").signal == signal.SIGKILL
        assert judge.verdicts == 0
        died = 0
        while train(headrace, project, failpoint="journal.append:after").signal == signal.SIGKILL:
            died += 1
        answered = len(endpoint.requests) - judge.verdicts
    assert answered == len(assistant.QUESTIONS)
    assert died == 1 + len(assistant.QUESTIONS)  # at the journal's first line, and after each verdict
    # four threads: what was under way when it died is asked for again, and nothing else
    assert judge.verdicts <= 4 + 3 + 2 + 1


def test_a_question_that_fails_costs_no_other_answer_again(headrace, project):
    faults = faulty(ODD, status(400))
    with assistant.endpoint(Judge(), faults=faults) as endpoint:
        assistant.settings(project, endpoint.url)
        assert train(headrace, project).code != 0
        before, faults.failing = len(endpoint.requests), False
        assert train(headrace, project).code == 0
        assert len(endpoint.requests) - before == 1 + len(assistant.QUESTIONS)  # the answer, and the verdicts


def test_a_limit_of_a_rate_is_waited_for_and_calls_say_which_judge_they_are_of(headrace, project):
    with assistant.endpoint(Judge(), faults=faulty("You judge", status(429), once=True)) as endpoint:
        assistant.settings(project, endpoint.url, more="attempts = 1")
        ok(headrace, project, "run", "train", "--as-of", "2030-01-01")
    said = json.loads(ok(headrace, project, "llm", "cost", "--by", "application,prompt", "--json").stdout)
    calls = {(row["by"]["application"], row["by"]["prompt"]): row["calls"] for row in said["rows"]}
    assert calls == {("assistant", "answer"): 4, ("assistant", "judge relevant"): 5}


def labelled(headrace, folder, rows):
    """The project with answers that people scored, for a judge which calls those below 90 characters brief."""
    text = (folder / "mini.py").read_text()
    text = text.replace('hr.judge("relevant", route="large")', f'{BRIEF[:-1]}, labels="gold.labels")')
    text = text.replace("tuning = hr", 'labels = hr.Source("gold.labels", files="labels.jsonl")\ntuning = hr')
    (folder / "mini.py").write_text(text)
    (folder / "labels.jsonl").write_text(lines(rows))
    ok(headrace, folder, "run", "refresh")


def scored(brief, long):
    """Forty answers, half of which are brief, with people's scores of the two kinds."""
    return [
        {"question": f"{n}?", "answer": "a" * (10 + n % 2 * 200), "score": long if n % 2 else brief} for n in range(40)
    ]


def shown(headrace, folder):
    return json.loads(ok(headrace, folder, "model", "show", "assistant", "--json").stdout)["metrics"]


def test_a_judge_that_agrees_with_people(headrace, project):
    labelled(headrace, project, scored(1, 0))
    done = ok(headrace, project, "run", "train", "--as-of", "2030-01-01")
    found = shown(headrace, project)

    assert (found["brief_labels"], found["brief_agreement"], found["brief_kappa"]) == (40, 1, 1)
    assert found["brief_kappa_low"] == found["brief_kappa_high"] == 1
    assert next(iter(found)) == "answer_f1"  # the main metric stays the first
    assert "40 labels of people: the judge gives the same score to 100%" in done.stdout + done.stderr
    assert "by chance alone" not in done.stderr


def test_a_judge_that_does_not_agree_with_people_is_told(headrace, project):
    labelled(headrace, project, scored(0, 1))
    said = ok(headrace, project, "run", "train", "--as-of", "2030-01-01")
    assert "the judge 'brief' may agree with people by chance alone" in said.stdout + said.stderr
    assert shown(headrace, project)["brief_kappa"] == -1


def test_too_few_labels_give_no_figure(headrace, project):
    labelled(headrace, project, [*scored(1, 0)[:5], {"question": "?", "answer": "a", "score": None}])
    said = ok(headrace, project, "run", "train", "--as-of", "2030-01-01")
    assert "5 labels of people, 15 too few" in said.stdout + said.stderr
    assert shown(headrace, project)["brief_kappa"] is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (scored(1, 3), "20 scores in gold.labels are not on the scale of the judge 'brief', 0 to 1"),
        ([{"question": "a?", "reply": "a", "score": 1}], "column of gold.labels"),
    ],
    ids=["scale", "column"],
)
def test_labels_that_are_none_fail_before_anything_is_paid(headrace, project, rows, said):
    labelled(headrace, project, rows)
    with assistant.endpoint(Judge()) as endpoint:
        assistant.settings(project, endpoint.url)
        assert said in refused(headrace, project, "run", "train", "--as-of", "2030-01-01")
        assert endpoint.requests == []


def test_with_a_raised_budget_answers_and_verdicts_that_were_kept_are_not_paid_again(headrace, project):
    faults = faulty(ODD, status(400))
    with assistant.endpoint(Judge(), faults=faults) as endpoint:
        assistant.settings(project, endpoint.url, more='[env.dev.llm.budgets]\nday = "5"')
        assert train(headrace, project).code != 0
        before, faults.failing = len(endpoint.requests), False
        assistant.settings(project, endpoint.url, more='[env.dev.llm.budgets]\nday = "6"  # more')
        assert train(headrace, project, failpoint="step.executed:evaluate").signal == signal.SIGKILL
        assert len(endpoint.requests) - before == 1 + len(assistant.QUESTIONS)  # the answer, and the verdicts
        assistant.settings(project, endpoint.url)
        assert train(headrace, project).code == 0
        assert len(endpoint.requests) - before == 1 + len(assistant.QUESTIONS)
    assert journals(project) == []


@pytest.mark.parametrize("change", ["code", "max_tokens"])
def test_what_answers_depend_on_makes_them_others(headrace, project, change):
    faults = faulty(ODD, status(400))
    with assistant.endpoint(Judge(), faults=faults) as endpoint:
        assistant.settings(project, endpoint.url)
        assert train(headrace, project).code != 0
        before, faults.failing = len(endpoint.requests), False
        file, old, new = {
            "code": ("mini.py", "question, k=2", "question, k=1"),
            "max_tokens": ("headrace.toml", 'model = "small"', 'model = "small"\nmax_tokens = 50'),
        }[change]
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new))
        assert train(headrace, project).code == 0
        assert len(endpoint.requests) - before == 2 * len(assistant.QUESTIONS)  # the answers, and the verdicts


def test_a_judge_whose_route_is_not_there_is_told_before_an_answer_is_paid_for(headrace, project):
    mistyped = JUDGED.replace('hr.judge("relevant", route="large")', 'hr.judge("relevant", route="larg")')
    assert mistyped != JUDGED
    (project / "mini.py").write_text(mistyped)
    with assistant.endpoint(Judge()) as endpoint:
        assistant.settings(project, endpoint.url)
        assert "'larg'" in train(headrace, project).stderr
        assert endpoint.requests == []
