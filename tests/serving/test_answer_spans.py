"""Served answers as OpenTelemetry has them: what a collector receives of searches, calls of language models, and vectors."""

import gzip
import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from headrace.serving import llm_gateway
from headrace.testing.llm_endpoint import Endpoint

from .assistants import DOCS, KEY, QUESTION, copied, reply
from .conftest import serving
from .listening import until
from .test_chains import config
from .test_tracing import SOON, collector, values  # noqa: F401  # a fixture

CONTENTS = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint(reply, key=KEY, pause=0.01) as running:
        yield running


@pytest.fixture
def serve(assistants, endpoint, tmp_path, collector):  # noqa: F811
    """Starts a server of a model that sends its traces to the collector."""

    def started(model="guide", **env):
        handed = llm_gateway.handed(config(endpoint), f"sqlite:///{tmp_path}/state.db")
        env |= {llm_gateway.HANDED: handed, "ASSISTANT_KEY": KEY, **SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        return serving(copied(assistants, tmp_path / "dev", model), env=env, arguments=("--traces",))

    return started


def received(collector, count):  # noqa: F811
    """The spans that have come, by name, when there are so many."""
    until(lambda: len(collector.spans()) == count)
    return {each.name: each for each in collector.spans()}


def texts(attribute):
    """The texts of messages in an attribute."""
    return [part["content"] for message in json.loads(attribute) for part in message["parts"]]


BODIES = {
    "/v1/chat/completions": {"model": "guide", "messages": [{"role": "user", "content": QUESTION}]},
    "/v1/completions": {"model": "guide", "prompt": QUESTION},
    "/v1/responses": {"model": "guide", "input": QUESTION},
    "/invocations": {"dataframe_records": [{"question": QUESTION}]},
    "/predict": {"rows": [{"question": QUESTION}]},
}
STREAMED = [(path, {**BODIES[path], "stream": True}) for path in BODIES if path.startswith("/v1")]


@pytest.mark.parametrize(("path", "body"), [*BODIES.items(), *STREAMED])
def test_an_answer_is_a_search_and_a_call_below_its_request(serve, collector, path, body):  # noqa: F811
    with serve() as server:
        status, told, _ = server.ask(path, body)
        assert status == 200, told
        found = received(collector, 4)
    assert set(found) == {f"POST {path}", "predict guide", "retrieval features.docs_index", "chat test"}
    whole, search, call = (found[name] for name in (f"POST {path}", "retrieval features.docs_index", "chat test"))
    for each in (search, call):
        assert (each.trace_id, each.parent_span_id) == (whole.trace_id, whole.span_id)
        assert each.kind == Span.SPAN_KIND_CLIENT
        assert whole.start_time_unix_nano <= each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= whole.end_time_unix_nano
    assert search.end_time_unix_nano <= call.start_time_unix_nano + 1000
    assert values(search.attributes) == {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "features.docs_index",
        "gen_ai.request.top_k": 2,
        "headrace.retrieval.documents": 2,
    }
    told = values(call.attributes)
    names = ("operation.name", "provider.name", "request.model", "response.model")
    assert [told[f"gen_ai.{name}"] for name in names] == ["chat", "openai", "test", "test"]
    assert told["gen_ai.usage.input_tokens"] > told["gen_ai.usage.output_tokens"] > 0
    assert [each.string_value for each in told["gen_ai.response.finish_reasons"].values] == ["stop"]
    assert told["headrace.route"] == "small"
    assert told["headrace.prompt.name"] == "answer"
    tokens = told["gen_ai.usage.input_tokens"] + told["gen_ai.usage.output_tokens"]
    assert told["headrace.cost.dollars"] == pytest.approx(tokens * 1e-6)
    took = (call.end_time_unix_nano - call.start_time_unix_nano) / 1e9
    assert told["gen_ai.request.stream"] is True
    assert 0 < told["gen_ai.response.time_to_first_chunk"] < took - 0.02  # the words after the first one come later
    assert not any(QUESTION.encode() in each.SerializeToString() for each in collector.spans())


def test_each_row_has_its_own_and_a_call_that_came_whole_no_first_piece(serve, collector):  # noqa: F811
    with serve("tone") as server:
        rows = [{"question": f"{QUESTION} {number}", "tone": "kind"} for number in range(3)]
        assert server.ask("/predict", {"rows": rows})[0] == 200
        until(lambda: len(collector.spans()) == 5)
    calls = [values(each.attributes) for each in collector.spans() if each.name == "chat test"]
    assert len({each["gen_ai.response.id"] for each in calls}) == 3
    assert not any("gen_ai.response.time_to_first_chunk" in each for each in calls)


def test_texts_are_there_where_they_are_asked_for(serve, collector):  # noqa: F811
    with serve(**CONTENTS) as server:
        assert server.ask("/v1/completions", BODIES["/v1/completions"])[0] == 200
        found = received(collector, 4)
    call = values(found["chat test"].attributes)
    assert values(found["retrieval features.docs_index"].attributes)["gen_ai.retrieval.query.text"] == QUESTION
    assert DOCS[0] in texts(call["gen_ai.input.messages"])[1]
    assert texts(call["gen_ai.output.messages"]) == [f"You asked: {QUESTION}"]


def test_texts_are_never_there_of_a_model_that_keeps_values_out_of_its_log(serve, collector):  # noqa: F811
    with serve("tone", **CONTENTS) as server:
        assert server.ask("/predict", {"rows": [{"question": QUESTION, "tone": "kind"}]})[0] == 200
        received(collector, 3)
    assert not any(QUESTION.encode() in each.SerializeToString() for each in collector.spans())


@pytest.mark.parametrize("packed", [False, True])
def test_vectors_are_a_span(serve, collector, packed):  # noqa: F811
    body = json.dumps({"model": "guide", "input": [QUESTION, "What else?"]}).encode()
    with serve() as server:
        headers = {"content-type": "application/json", **({"content-encoding": "gzip"} if packed else {})}
        status, told, _ = server.ask("/v1/embeddings", gzip.compress(body) if packed else body, headers=headers)
        assert status == 200, told
        until(lambda: any(each.name.startswith("embeddings") for each in collector.spans()))
    (span,) = [each for each in collector.spans() if each.name.startswith("embeddings")]
    (whole,) = [each for each in collector.spans() if each.name == "POST /v1/embeddings"]
    attributes = values(span.attributes)
    assert span.name == f"embeddings {attributes['gen_ai.request.model']}"
    assert span.parent_span_id == whole.span_id
    assert attributes["gen_ai.operation.name"] == "embeddings"
    assert attributes["gen_ai.embeddings.dimension.count"] == len(told["data"][0]["embedding"])
    assert attributes["gen_ai.usage.input_tokens"] == told["usage"]["prompt_tokens"] > 0
    assert span.end_time_unix_nano - span.start_time_unix_nano > 0
