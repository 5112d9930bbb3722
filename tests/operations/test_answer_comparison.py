"""Two prompts beside each other on the same questions, and the session's way to a model that answers."""

import json
import shutil

import pandas as pd
import pytest
from tests.support import assistant
from tests.support.assistant import ok

import headrace as hr


@pytest.fixture(scope="module")
def two(headrace, assistant_project, tmp_path_factory):
    """A project with two versions: another prompt."""
    folder = shutil.copytree(assistant_project, tmp_path_factory.mktemp("two") / "mini")
    ok(headrace, folder, "run", "deploy")
    (folder / "answer.md").write_text(assistant.SHORT)
    ok(headrace, folder, "run", "train", "--as-of", "2030-01-01")
    return folder


def test_two_prompts_on_the_same_questions(two, headrace, answering):
    before = len(answering.requests)
    done = ok(headrace, two, "model", "compare", "assistant", "1", "2", "--json")
    found = json.loads(done.stdout)["answers"]

    (prompt,) = found["prompts"]
    assert "-Answer from the passages." in prompt["diff"]
    assert "+Answer from the passages in one sentence, directly, word for word." in prompt["diff"]
    assert found["same_questions"] == len(assistant.QUESTIONS)
    metrics = {each["metric"]: each for each in found["metrics"]}
    assert metrics["answer_f1"]["difference"] > 0
    assert metrics["answer_f1"]["low"] <= metrics["answer_f1"]["difference"] <= metrics["answer_f1"]["high"]
    gains = [each["scores_b"]["answer_f1"] - each["scores_a"]["answer_f1"] for each in found["answers"]]
    assert gains == sorted(gains, key=abs, reverse=True)
    assert len(gains) == len(assistant.QUESTIONS)
    assert len(answering.requests) == before


def test_a_person_sees_it_too(two, headrace):
    said = ok(headrace, two, "model", "compare", "assistant", "1", "2").stdout
    for wanted in ("+Answer from the passages in one sentence", "On the same 4 questions", "Answers that differ most"):
        assert wanted in said


def test_a_session_compares_predicts_and_shows_the_training_set(two):
    with hr.open("dev", folder=two) as dev:
        model = dev.models["assistant"]
        compared = model.compare(1, 2)
        assert compared.answers.same_questions == len(assistant.QUESTIONS)
        asked = pd.DataFrame({"question": ["What returns the square root?"]}, index=["mine"])
        for version in (model.production, model.newest):
            found = version.predict(asked)
            assert "math.sqrt" in found.loc["mine", "prediction"]
            assert len(version.training_set().to_pandas()) == len(assistant.QUESTIONS)
        assert (model.production.number, model.newest.number) == (1, 2)
        assert len(dev.training_set("assistant").to_pandas()) == len(assistant.QUESTIONS)
