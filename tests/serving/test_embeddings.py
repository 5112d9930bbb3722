"""`/v1/embeddings` of a model whose index embeds by a route: it costs, so somebody pays for it, and whoever leaves ends it."""

import json
import socket
import time

import pytest

from headrace.core.state import State
from headrace.environments.llm import LlmBudgets, LlmConfig, LlmRoute
from headrace.llm.gateway.usage import Usage
from headrace.serving import llm_gateway
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .conftest import Server, serving

TOML = """\
[project]
name = "maps"
module = "maps"
[env.dev]
[env.dev.llm.routes.vectors]
protocol = "openai"
url = "{url}"
model = "test"
"""
PROGRAM = """\
import headrace as hr

bronze = hr.Source("bronze.docs", files="docs.jsonl")
docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs")
index = hr.VectorIndex("features.docs", table=docs, text="body", embed=hr.Embedding(route="vectors", dimension=32))
qa = hr.Source("gold.qa", files="qa.jsonl")


def answer(question: str, ctx: hr.LLMContext) -> str:
    return ctx.search(index, question, k=1)[0].text


maps = hr.Model(
    "maps", predict=answer, task=hr.Generation(), uses=[index], evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1"])
)
delivery = hr.Deployment(maps, gates=[hr.at_least("answer_f1", 0.0)], serve=hr.Serve())
"""


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def home(headrace, endpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    (folder / "headrace.toml").write_text(TOML.format(url=endpoint.url))
    (folder / "maps.py").write_text(PROGRAM)
    (folder / "docs.jsonl").write_text('{"id": "a", "body": "a river"}\n{"id": "b", "body": "a mountain"}\n')
    (folder / "qa.jsonl").write_text('{"question": "a river", "reference": "a river"}\n')
    for step in ("refresh", "train", "deploy"):
        done = headrace.run(folder, "run", step)
        assert done.code == 0, done.stderr
    return folder / ".headrace" / "dev" / "serving" / "maps"


@pytest.fixture(scope="module")
def server(home, endpoint):
    route = LlmRoute(name="vectors", protocol="openai", url=endpoint.url, model="test", timeout=60.0, input_price=10**9)
    config = LlmConfig(routes={"vectors": route}, budgets=LlmBudgets(user=60_000))
    url = f"sqlite:///{home.parent.parent}/serving-state.db"
    with serving(home, env={llm_gateway.HANDED: llm_gateway.handed(config, url)}) as made:
        made.state = url
        yield made


def embed(server: Server, text, user):
    return server.ask("/v1/embeddings", {"model": "maps", "input": text, "user": user})[:2]


def test_it_counts_in_the_budget_of_whoever_asks_and_is_booked_on_the_model(server):
    answers = [embed(server, f"a river of text, number {number}", "ada") for number in range(20)]
    assert answers[0][0] == 200
    assert len(answers[0][1]["data"][0]["embedding"]) == 32
    assert answers[-1][0] == 429, answers[-1]
    assert "budget of user 'ada'" in answers[-1][1]["error"]["message"]
    assert embed(server, "a river", "bob")[0] == 200
    state = State(server.state)

    def booked():
        rows = Usage(state).report(["user", "application", "version"])
        return {(row.by["user"], row.by["application"], row.by["version"]): row.cost_nano for row in rows}

    assert server.until(lambda: booked().get(("bob", "maps", 1), 0)) > 0
    assert set(booked()) == {("ada", "maps", 1), ("bob", "maps", 1)}
    state.close()


def test_a_caller_that_leaves_ends_the_call_of_the_endpoint(server, endpoint):
    endpoint.set_faults([faults.timeout()])
    before = len(endpoint.requests)
    body = json.dumps({"model": "maps", "input": "a river", "user": "eve"})
    with socket.create_connection(("127.0.0.1", server.port), 60) as caller:
        head = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        caller.sendall((head + body).encode())
        server.until(lambda: len(endpoint.requests) > before)
    left = time.monotonic()
    server.until(lambda: endpoint.requests[before].outcome == "aborted")
    assert time.monotonic() - left < 20  # long before the route gives up
    endpoint.set_faults(())
