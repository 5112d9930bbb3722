"""OpenAI's own client against the process."""

import http.client
import json

import numpy as np
import openai
import pytest

from headrace.testing import faults

from .conftest import KEY, hello


def test_a_completion_says_what_the_endpoint_answered_and_what_it_cost(server, endpoint):
    answer = server.client().chat.completions.create(
        model="small", messages=hello(), temperature=0.5, max_tokens=7, stop="###", seed=3, user="u-1"
    )

    assert (answer.model, answer.choices[0].finish_reason) == ("small", "stop")
    assert answer.choices[0].message.content == "echo of hello there"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.headrace["route"] == "small"
    assert answer.headrace["model"] == "tiny"
    assert answer.headrace["cost_dollars"] == answer.usage.total_tokens * 1000 / 10**6
    (sent,) = endpoint.requests
    body = json.loads(sent.body)
    assert (body["model"], body["temperature"], body["max_tokens"], body["stop"], body["seed"]) == (
        "tiny", 0.5, 7, ["###"], 3,
    )  # fmt: skip
    assert sent.headers["authorization"] == f"Bearer {KEY}"


def test_parts_of_text_and_the_role_developer_are_understood(server, endpoint):
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
    ]
    answer = server.client().chat.completions.create(model="small", messages=messages, n=1, tools=[])

    assert answer.choices[0].message.content == "echo of one two"
    assert [each["role"] for each in json.loads(endpoint.requests[0].body)["messages"]] == ["system", "user"]


@pytest.mark.parametrize("route", ["small", "claude"])
def test_a_stream_comes_in_pieces_and_ends_with_its_usage(server, route):
    stream = server.client().chat.completions.create(
        model=route, messages=hello("a b c d e f"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    texts = [choice.delta.content for each in chunks for choice in each.choices if choice.delta.content]
    assert "".join(texts) == "echo of a b c d e f"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [choice.finish_reason for each in chunks for choice in each.choices if choice.finish_reason] == ["stop"]
    assert {each.id for each in chunks} == {chunks[0].id}
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].headrace["route"] == route


def test_completions_of_a_prompt(server):
    client = server.client()
    whole = client.completions.create(model="small", prompt="hello")
    streamed = list(client.completions.create(model="small", prompt="hello", stream=True))

    assert whole.choices[0].text == "echo of hello"
    assert "".join(each.choices[0].text for each in streamed) == "echo of hello"
    assert streamed[-1].choices[0].finish_reason == "stop"


def test_embeddings_as_numbers_and_as_bytes_are_the_same(server):
    client, texts = server.client(), ["a cat", "a dog", "a cat"]
    numbers = client.embeddings.create(model="small", input=texts, encoding_format="float")
    packed = client.embeddings.create(model="small", input=texts)  # the client asks for bytes and unpacks them

    assert np.allclose([each.embedding for each in packed.data], [each.embedding for each in numbers.data], atol=1e-6)
    assert numbers.data[0].embedding == numbers.data[2].embedding != numbers.data[1].embedding
    assert [each.index for each in numbers.data] == [0, 1, 2]
    assert numbers.usage.prompt_tokens > 0


def test_models_are_the_routes(server):
    client = server.client()

    assert [each.id for each in client.models.list()] == ["small", "claude", "lost", "keyless"]
    assert client.models.retrieve("small").id == "small"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (faults.status(429, retry_after=7), 429, "rate_limit_error"),
        (faults.status(400), 400, "invalid_request_error"),
        (faults.status(401), 502, "api_error"),
        (faults.status(404), 502, "api_error"),
        (faults.status(500), 503, "api_error"),
        (faults.bad_json(), 502, "api_error"),
        (faults.empty(), 502, "api_error"),
        (faults.cut(), 503, "api_error"),
        (faults.disconnect(), 503, "api_error"),
        (faults.timeout(), 504, "timeout_error"),
        (faults.echo(500), 503, "api_error"),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_at_the_endpoint_has_its_status(server, endpoint, fault, status, kind, stream):
    server.client().chat.completions.create(model="small", messages=hello())  # the failures before are forgotten
    endpoint.set_faults(lambda _request: fault)
    if stream and fault.kind in ("bad_json", "empty", "cut"):
        pytest.skip("of a stream these are told otherwise")
    with pytest.raises(openai.APIStatusError) as raised:
        server.client().chat.completions.create(model="small", messages=hello(), stream=stream)

    assert raised.value.status_code == status
    assert raised.value.type == kind
    assert KEY not in raised.value.response.text
    if status == 429:
        assert raised.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("clean", [False, True])
def test_a_stream_that_is_cut_ends_with_an_error_and_without_its_end(server, endpoint, clean):
    endpoint.set_faults([faults.cut(after=2, clean=clean)])
    stream = server.client().chat.completions.create(model="claude", messages=hello("a b c d e f"), stream=True)
    texts = []
    with pytest.raises(openai.APIError, match="was cut after"):
        texts.extend(each.choices[0].delta.content for each in stream)
    assert 0 < len("".join(texts)) < len("echo of a b c d e f")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content"),
        ({"messages": hello(), "tools": [{"type": "function"}]}, "tools"),
        ({"messages": hello(), "n": 2}, "n"),
        ({"messages": hello(), "logprobs": True}, "logprobs"),
        ({"messages": hello(), "temperature": "warm"}, "temperature"),
        ({"messages": hello(), "temperature": True}, "temperature"),
        ({"messages": hello(), "top_p": 1.5}, "top_p"),
        ({"messages": hello(), "max_tokens": 0}, "max_tokens"),
        ({"messages": hello(), "stop": [""]}, "stop"),
        ({"messages": hello(), "user": 7}, "user"),
        ({"messages": hello(), "user": "u" * 513}, "user"),
        ({"messages": hello(), "stream": "yes"}, "stream"),
        ({"messages": hello(), "stream_options": []}, None),
        ({"messages": hello(), "stream_options": [1]}, "stream_options"),
        ({"messages": hello(), "reasoning_effort": "high"}, "reasoning_effort"),
        ({"messages": hello(), "model": ""}, "model"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_sent_on_as_it_is_is_refused_with_the_field(server, endpoint, body, param):
    status, told = post(server, json.dumps({"model": "small", **body}))
    if param is None:
        assert status == 200
        return

    assert (status, told["error"]["param"], told["error"]["type"]) == (400, param, "invalid_request_error")
    assert endpoint.requests == []


@pytest.mark.parametrize("body", ["", "{", "[]", '"text"', "[" * 100_000, "\xff", '{"a": NaN}'], ids=lambda b: b[:9])
def test_a_body_that_is_no_object_is_refused(server, body):
    assert post(server, body)[0] == 400


def test_a_body_that_is_too_large_is_refused_and_one_of_a_megabyte_is_answered(server):
    assert post(server, b" " * (8 * 2**20 + 1))[0] == 413
    answer = server.client().chat.completions.create(model="claude", messages=hello("x" * 2**20), max_tokens=5)
    assert len(answer.choices[0].message.content) > 2**20


def test_unknown_paths_methods_and_routes(server):
    assert post(server, "{}", path="/v1/nothing")[0] == 404
    assert server.get("/v1/chat/completions")[0] == 405
    with pytest.raises(openai.NotFoundError) as raised:
        server.client().chat.completions.create(model="gpt-9", messages=hello())
    assert raised.value.code == "model_not_found"


def test_an_endpoint_that_cannot_be_reached_is_503_and_a_key_that_is_not_set_is_500_without_its_name(server):
    for route, status in (("lost", 503), ("keyless", 500)):
        with pytest.raises(openai.APIStatusError) as raised:
            server.client().chat.completions.create(model=route, messages=hello())
        assert raised.value.status_code == status
        assert "NO_SUCH_KEY" not in raised.value.response.text
    assert "NO_SUCH_KEY" in server.log.read_text()


def test_metrics_count_by_route_and_status(server):
    before = figures(server)
    server.client().chat.completions.create(model="claude", messages=hello())
    with pytest.raises(openai.NotFoundError):
        server.client().chat.completions.create(model="gpt-9", messages=hello())
    after = figures(server)

    def more(name):
        return after.get(name, 0) - before.get(name, 0)

    at = 'headrace_gateway_requests_total{path="/v1/chat/completions",route='
    assert more(f'{at}"claude",status="200"}}') == 1
    assert more(f'{at}"",status="404"}}') == 1
    assert more('headrace_gateway_tokens_total{route="claude",direction="output"}') > 0
    assert more('headrace_gateway_request_duration_seconds_count{route="claude"}') == 1


def figures(server):
    from prometheus_client.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(server.get("/metrics")[1]))
    assert {each.name for each in families} >= {"headrace_gateway_requests", "headrace_gateway_cost_dollars"}
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def post(server, body, path="/v1/chat/completions"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    data = body if isinstance(body, bytes) else body.encode("latin-1")
    connection.request("POST", path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)
