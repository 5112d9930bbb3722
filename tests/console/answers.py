"""A project with models that answer, served, with what people asked it and said of it: what the pages about answers show."""

import json

from tests.serving.conftest import Server
from tests.support import assistant
from tests.support.assistant import ok

from headrace.testing.extractive import extractive

HOSTILE = '<script>alert("q")</script> \x1b[31mred\x1b[0m \u202egnp.exe <img src=x onerror=alert(1)> \U0001f600'
LONG = 1_000_000
SECRET = "my password is hunter2"
PLAIN = "How do I join path components?"
BRIEF = ', hr.judge("brief", function=lambda row: len(row.answer) < 90)'
SERVED = """
delivery = hr.Deployment(
    assistant, gates=[hr.at_least("answer_f1", 0.01)], serve=hr.Serve(), feedback=hr.Feedback("thumbs", "correction", "text"),
)
quiet = hr.Model(
    "quiet", predict=answer, task=hr.Generation(relevant="relevant"), uses=[prompt, index, hr.Route("small")],
    evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1"]),
)
second = hr.Deployment(quiet, gates=[hr.at_least("answer_f1", 0.01)], serve=hr.Serve(redact=["question"]))
"""
PROJECT = assistant.PROJECT.partition("delivery = ")[0] + SERVED
MORE = '[env.dev.llm.budgets]\nday = "5.00"\n[env.live]\n'


ELSEWHERE = {
    "id": "far/away",
    "at": "2024-03-01T12:00:00Z",
    "version": 1,
    "rows": [{"question": "Tell me at length"}],
    "predictions": [{"prediction_id": 'p/1?"<i>', "prediction": "very long " * (LONG // 10)}],
}


def reply(messages):
    """From the passages; to a hostile question with the question."""
    question = messages[-1]["content"].rpartition("Question: ")[2]
    if "<script>" in question:
        return f"You asked: {question}"
    return extractive(messages)


def make(folder, headrace, url):
    """Version 1 of both models serves; version 2 of `assistant` has another prompt."""
    assistant.write(folder, url, project=PROJECT, more=MORE)
    ok(headrace, folder, "run", "refresh")
    for model in ("assistant", "quiet"):
        ok(headrace, folder, "run", "train", "--model", model, "--as-of", "2030-01-01")
        ok(headrace, folder, "run", "deploy", "--model", model)
    said = talk(folder)
    for model in ("assistant", "quiet"):
        ok(headrace, folder, "run", "ingest-log", "--model", model)
    (folder / "elsewhere.jsonl").write_text(json.dumps(ELSEWHERE))
    ok(headrace, folder, "run", "ingest-log", "elsewhere.jsonl", "--model", "assistant")
    (folder / "answer.md").write_text(assistant.SHORT)
    ok(headrace, folder, "run", "train", "--model", "assistant", "--as-of", "2030-01-01")
    return folder, said


def talk(folder):
    """Questions to both models, and feedback; gives the ids of the predictions."""
    ids = {}
    with_server = Server("assistant", program=("-m", "headrace.cli"), place="serve", cwd=folder)
    try:
        with_server.wait(lambda _, told: told["version"] is not None)
        asked = {
            "plain": PLAIN,
            "hostile": HOSTILE,
            **{f"n{n}": f"{PLAIN} {n}" for n in range(60)},
        }
        for name, question in asked.items():
            ids[name] = _ask(with_server, question)
        for said in (
            {"prediction_id": ids["plain"], "thumbs": "up", "user": "ann"},
            {"prediction_id": ids["plain"], "thumbs": "down", "user": "bob"},
            {"prediction_id": ids["n1"], "thumbs": "down", "user": "ann"},
            {"prediction_id": ids["n1"], "thumbs": "up", "user": "ann"},  # who has changed their mind
            {"prediction_id": ids["hostile"], "thumbs": "down", "text": "<b>bad</b> \u202eanswer", "user": "eve"},
            {"prediction_id": ids["n2"], "correction": "Use os.path.join.", "user": "ann"},
        ):
            status, told, _ = with_server.ask("/models/assistant/feedback", said)
            assert status == 202, told
    finally:
        with_server.end()
    quiet = Server("quiet", program=("-m", "headrace.cli"), place="serve", cwd=folder)
    try:
        quiet.wait(lambda _, told: told["version"] is not None)
        ids["quiet"] = _ask(quiet, SECRET)
    finally:
        quiet.end()
    return ids


def _ask(server, question):
    status, told, _ = server.ask("/predict", {"rows": [{"question": question}]})
    assert status == 200, json.dumps(told)[:500]
    return told["predictions"][0]["prediction_id"]
