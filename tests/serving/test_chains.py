"""Servers of models that answer: their gateway, budgets without a state database, the log, and threads."""

import asyncio
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from tests.support.servers import restartable_postgres

from headrace.chains.chain import ChainStream
from headrace.environments.llm import LlmBudgets, LlmConfig, LlmRoute
from headrace.environments.llm_handover import from_json, to_json
from headrace.environments.secret import Secret
from headrace.serving import llm_gateway
from headrace.serving.answer_threads import AnswerThreads
from headrace.serving.loading import load
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .assistants import DOCS, KEY, QUESTION, columns, copied, logged, reply, routes
from .conftest import Server, manifest, serving


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint(reply, key=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_faults(endpoint):
    yield
    endpoint.set_faults(())


def config(endpoint, **budgets):
    key = Secret("ASSISTANT_KEY")
    small = LlmRoute(
        name="small", protocol="openai", url=endpoint.url, model="test", key=key, attempts=1, timeout=8.0,
        input_price=10**9, output_price=10**9, max_tokens=100,
    )  # fmt: skip
    return LlmConfig(routes={"small": small}, budgets=LlmBudgets(**budgets))


def handed(endpoint, url, **budgets):
    return {llm_gateway.HANDED: llm_gateway.handed(config(endpoint, **budgets), url), "ASSISTANT_KEY": KEY}


def ask(server, text=QUESTION, **more):
    body = {"model": "guide", "messages": [{"role": "user", "content": text}], **more}
    return server.ask("/v1/chat/completions", body)[:2]


def test_what_is_handed_over_comes_back_and_holds_no_key(endpoint, monkeypatch):
    monkeypatch.setenv("ASSISTANT_KEY", KEY)
    given = config(endpoint, user=5)
    assert from_json(json.loads(json.dumps(to_json(given)))) == given
    assert KEY not in llm_gateway.handed(given, "sqlite://")


def test_loading_calls_no_language_model(assistants, endpoint, tmp_path, monkeypatch):
    before = len(endpoint.requests)
    monkeypatch.setenv("HEADRACE_LLM_ROUTES", str(routes(tmp_path, endpoint.url)))
    loaded = load(copied(assistants, tmp_path / "dev") / "serving.json")
    assert loaded.primary.predictor.tier == "chain"
    assert not loaded.primary.at_once(1, looks_up=False)
    assert len(endpoint.requests) == before


def test_a_server_starts_by_the_command_with_the_routes_of_its_environment(assistants):
    env = {"ASSISTANT_KEY": KEY}
    server = Server("guide", program=("-m", "headrace.cli"), place="serve", cwd=assistants, env=env)
    try:
        server.wait(lambda _, told: told["version"] is not None)
        status, answer = ask(server, user="ada")
        assert status in (200, 502), answer  # the endpoint of the project may be gone
    finally:
        server.end()
    assert "ASSISTANT_KEY" not in (assistants / ".headrace" / "dev" / "serving" / "guide" / "serving.json").read_text()


def test_rows_are_answered_at_invocations_and_predict(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db")) as server:
        asked = [{"question": f"{QUESTION} {number}"} for number in range(20)]
        for path, body in (("/invocations", {"dataframe_records": asked}), ("/predict", {"rows": asked})):
            status, told, _ = server.ask(path, body)
            assert status == 200, told
            assert [each["prediction"] for each in told["predictions"]] == [
                f"You asked: {each['question']}" for each in asked
            ]
        status, told, _ = server.ask("/invocations", {"dataframe_records": [{"question": None}]})
        assert status == 400
        assert "'question' is missing" in told["message"]
    assert sorted(each["path"] for each in logged(home)) == ["/invocations", "/predict"]


def test_slow_answers_do_not_wait_for_each_other_and_are_not_stuck(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    manifest(home, timeout="1s")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db")) as server:
        endpoint.set_faults(lambda request: faults.timeout() if b"forever" in request.body else None)
        slow = [threading.Thread(target=ask, args=(server, "forever")) for _ in range(5)]
        for each in slow:
            each.start()
        assert ask(server)[0] == 200
        assert server.ask("/ready")[1]["status"] == "ready"
        status, told = ask(server, "forever")
        assert (status, told["error"]["type"]) == (503, "server_error")
        for each in slow:
            each.join()
        assert server.ask("/ready")[1]["status"] == "ready"


def test_a_budget_is_refused_with_its_reason_and_counts_by_user(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db", user=400_000)) as server:
        answers = [ask(server, user="ada") for _ in range(20)]
        assert answers[0][0] == 200
        assert answers[-1][0] == 429
        assert "budget of user 'ada'" in answers[-1][1]["error"]["message"]
        assert answers[-1][1]["error"]["type"] == "rate_limit_error"
        assert ask(server, user="bob")[0] == 200


def test_a_budget_of_all_is_refused_without_its_figures_until_the_next_day(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db", day=1)) as server:
        body = {"model": "guide", "messages": [{"role": "user", "content": QUESTION}], "user": "ada"}
        status, answer, headers = server.ask("/v1/chat/completions", body)
    message = answer["error"]["message"]
    assert status == 429
    assert message.startswith("a budget of today is spent; it resets at ")
    assert "$" not in message
    assert 0 < int({name.lower(): value for name, value in headers.items()}["retry-after"]) <= 86_400


def test_without_the_state_database_budgets_refuse_and_other_calls_are_counted(assistants, endpoint, tmp_path):
    with restartable_postgres(tmp_path / "pg") as postgres:
        home = copied(assistants, tmp_path / "dev")
        with (
            serving(home, env=handed(endpoint, postgres.url, day=10**12)) as budgeted,
            serving(copied(assistants, tmp_path / "free"), env=handed(endpoint, postgres.url)) as free,
        ):
            assert ask(budgeted)[0] == ask(free)[0] == 200
            postgres.stop("fast")
            status, told = ask(budgeted)
            assert status == 503
            assert "state database is away" in told["error"]["message"]
            assert ask(free)[0] == 200
            free.until(lambda: free.counted("llm_calls_unrecorded") >= 1)
            assert free.ask("/ready")[1]["status"] == "ready"
            postgres.start()
            budgeted.until(lambda: ask(budgeted)[0] == 200)


def test_a_file_with_budgets_and_no_database_refuses(assistants, endpoint, tmp_path):
    file = routes(tmp_path, endpoint.url, more='input_price = 1.0\n[budgets]\nday = "5.00"\n')
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env={"HEADRACE_LLM_ROUTES": str(file), "ASSISTANT_KEY": KEY}) as server:
        status, told = ask(server)
        assert status == 503
        assert "no state database" in told["error"]["message"]


def test_without_routes_it_is_said(assistants, tmp_path):
    with serving(copied(assistants, tmp_path / "dev")) as server:
        status, told = ask(server)
        assert (status, told["error"]["type"]) == (503, "server_error")
        assert "no routes are configured" in server.end()[1]


def test_the_key_is_in_no_file_and_no_environment(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db")) as server:
        assert ask(server)[0] == 200
        assert KEY.encode() not in Path(f"/proc/{server.process.pid}/environ").read_bytes()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_answers_are_ingested_and_redacted(assistants, headrace, tmp_path, endpoint):
    import shutil

    project = tmp_path / "project"
    shutil.copytree(assistants, project)
    root = project / ".headrace" / "dev"
    prices = "input_price = 1.0\noutput_price = 3.0\n"
    env = {"HEADRACE_LLM_ROUTES": str(routes(tmp_path, endpoint.url, more=prices)), "ASSISTANT_KEY": KEY}
    with serving(root / "serving" / "guide", env=env) as guide, serving(root / "serving" / "tone", env=env) as tone:
        assert ask(guide)[0] == 200
        body = {"model": "tone", "messages": [{"role": "user", "content": "hidden"}], "tone": "kind"}
        assert tone.ask("/v1/chat/completions", body)[0] == 200
        guide.end()
        tone.end()
    for model, expected in (("guide", QUESTION), ("tone", None)):
        done = headrace.run(project, "run", "ingest-log", "--model", model, env={"ASSISTANT_KEY": KEY})
        assert done.code == 0, done.stderr
        query = f"select * from inference.{model}"
        told = headrace.run(project, "sql", query, "--json")
        assert told.code == 0, told.stderr
        (row,) = json.loads(told.stdout)
        assert (QUESTION in str(row)) == (expected is not None)
        assert "prediction_calls" in str(row)
        trace = traced(project, model)
        called = next(each for each in trace.data.spans if each.span_type == "CHAT_MODEL")
        if expected is None:
            assert trace.data.spans[0].inputs == {"question": None, "tone": "kind"}
            assert called.inputs == {"prompt": "toned"}
            continue
        made = json.loads(row["outputs"])
        root, search, _ = trace.data.spans
        assert (root.inputs, root.outputs) == ({"question": QUESTION}, f"You asked: {QUESTION}")
        assert search.inputs == {"query": QUESTION, "k": 2}
        assert [each["page_content"] for each in search.outputs] == [
            DOCS[0],
            json.loads(made["prediction_passages"])[1]["text"],
        ]
        assert [each["role"] for each in called.inputs["messages"]] == ["system", "user"]
        assert called.inputs["messages"][1]["content"].endswith(f"Question: {QUESTION}")
        assert called.outputs["choices"][0]["message"]["content"] == root.outputs
        (kept,) = json.loads(made["prediction_calls"])
        assert called.attributes["headrace.prompt_version"] == kept["prompt_version"] != ""
        assert called.attributes["mlflow.chat.tokenUsage"]["input_tokens"] == made["prediction_input_tokens"] > 0
        assert (called.model_name, called.attributes["mlflow.llm.provider"]) == ("test", "openai")
        assert called.llm_cost == pytest.approx(
            {
                "input_cost": made["prediction_input_tokens"] / 1e6,
                "output_cost": made["prediction_output_tokens"] * 3 / 1e6,
                "total_cost": made["prediction_cost"],
            }
        )
        assert trace.info.cost == pytest.approx(called.llm_cost)
        assert trace.info.execution_duration == pytest.approx(made["prediction_latency_ms"], abs=1)
        assert 0 < kept["first_ms"] <= kept["latency_ms"]


def traced(project, model):
    """The trace of the only answer that was served, as MLflow's own client has it."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project}/.headrace/dev/mlflow.db")
    experiment = client.get_experiment_by_name(model).experiment_id
    (found,) = client.search_traces(
        locations=[experiment], filter_string="tags.`headrace.origin` = 'served'", include_spans=True
    )
    return found


def test_callers_get_no_texts_of_calls_and_the_log_has_them(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=handed(endpoint, f"sqlite:///{tmp_path}/state.db")) as server:
        status, told, _ = server.ask("/predict", {"rows": [{"question": QUESTION}]})
        assert status == 200, told
        (answer,) = told["predictions"]
        for name in ("prediction_calls", "prediction_searches"):
            assert not {"text", "messages"} & set(json.loads(answer[name])[0])
        record = server.until(lambda: next(iter(logged(home)), None))
    (call,) = json.loads(columns(record)["prediction_calls"])
    assert call["text"] == f"You asked: {QUESTION}"
    assert [role for role, _ in call["messages"]] == ["system", "user"]
    assert json.loads(columns(record)["prediction_searches"])[0]["text"] == QUESTION


def test_an_answer_that_does_not_end_is_stuck_once_nobody_waits():
    """Of a function that waits for something else than a language model."""
    ended = threading.Event()

    class Waits:
        columns = ("prediction",)

        def stream(self, row, gateway, *, user=""):
            return ChainStream(self.pieces(), SimpleNamespace(calls=[], passages=[], searches=[]))

        def pieces(self):
            ended.wait(60)
            yield "late"

    async def run():
        threads = AnswerThreads(2)
        tasks = [asyncio.create_task(threads.many(Waits(), [["q"]], "")) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert not threads.are_stuck(0.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        until = time.monotonic() + 10
        while not threads.are_stuck(0.0):
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        ended.set()
        assert await threads.call(lambda *_: 7, "") == 7
        assert not threads.are_stuck(0.0)

    asyncio.run(run())
