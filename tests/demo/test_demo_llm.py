"""The shipped assistant through its loop, with a real model on this machine for two of the questions; run again, it is the same."""

import json

import pytest


@pytest.fixture(scope="module")
def demo(headrace, tmp_path_factory):
    parent = tmp_path_factory.mktemp("demo-llm")
    done = headrace.run(parent, "demo", "llm", "--real", "2", "--json")
    assert done.code == 0, done.stderr
    return parent, json.loads(done.stdout)


def test_it_prints_one_object(demo):
    _, found = demo
    assert set(found) == {
        "index",
        "prompts",
        "candidates",
        "rollout",
        "feedback",
        "real",
        "seconds",
        "peak_rss_mb",
    }
    assert 1500 < found["index"]["rows"] < 3000
    assert found["index"]["recall_at_10"] >= 0.95
    assert found["real"]["answers"] == 2
    assert found["real"]["pieces"] > 2  # they were streamed
    assert found["feedback"]["rows"] == 2 * 92
    assert found["peak_rss_mb"] < 3000


def test_the_tuned_prompt_wins_the_experiment(demo):
    _, found = demo
    first, tuned, route = (each for each in found["candidates"] if each["name"] == "assistant")
    assert (first["kind"], tuned["kind"], route["kind"]) == ("prompt", "tuned prompt", "route")
    assert tuned["answer_f1"] > first["answer_f1"] + 0.1
    assert first["passed"]
    assert tuned["passed"]
    assert found["prompts"][1]["score"] == tuned["answer_f1"]
    assert found["rollout"]["winner"] == tuned["version"]
    assert found["rollout"]["requests"] >= 200
    assert found["rollout"]["p_value"] < 0.01


def test_run_again_it_is_the_same(headrace, demo):
    parent, found = demo
    done = headrace.run(parent, "demo", "llm", "--real", "2", "--json")
    assert done.code == 0, done.stderr
    of_the_run = {"seconds", "peak_rss_mb"}
    again = json.loads(done.stdout)
    assert {name: again[name] for name in set(again) - of_the_run} == {
        name: found[name] for name in set(found) - of_the_run
    }
