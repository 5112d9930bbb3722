"""OpenAI's protocol in front of a model that answers, with OpenAI's own client, and a real endpoint behind it."""

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from headrace.serving.manifest import beside_digest
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .assistants import DOCS, KEY, QUESTION, columns, copied, logged, reply, routes, written
from .conftest import manifest, serving


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint(reply, key=KEY, pause=0.001) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_faults(endpoint):
    yield
    endpoint.set_faults(())


def env(folder, endpoint, **more):
    return {"HEADRACE_LLM_ROUTES": str(routes(folder, endpoint.url)), "ASSISTANT_KEY": KEY, **more}


@pytest.fixture(scope="module")
def guide(assistants, endpoint, tmp_path_factory):
    """Nothing but the copy is there: no project, no lakehouse, no registry, no state database."""
    root = tmp_path_factory.mktemp("guide")
    with serving(copied(assistants, root / "dev"), env=env(root, endpoint)) as server:
        server.home = root / "dev" / "serving" / "guide"
        yield server


@pytest.fixture(scope="module")
def tone(assistants, endpoint, tmp_path_factory):
    root = tmp_path_factory.mktemp("tone")
    with serving(copied(assistants, root / "dev", "tone"), env=env(root, endpoint)) as server:
        server.home = root / "dev" / "serving" / "tone"
        yield server


CLIENTS = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def client(server, api_key="none"):
    made = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=api_key, max_retries=0, timeout=60)
    CLIENTS.append(made)
    return made


def chat(text=QUESTION, **more):
    return {"model": "guide", "messages": [{"role": "user", "content": text}], **more}


def record_of(server, name):
    """The record in the log that has a prediction of this id."""
    return server.until(lambda: next((each for each in logged(server.home) if name in each["ids"]), None))


def test_a_chat_is_answered_and_logged_with_passages_calls_and_tokens(guide):
    raw = client(guide).chat.completions.with_raw_response.create(**chat(user="ada"))
    answer = raw.parse()
    assert answer.choices[0].message.content == f"You asked: {QUESTION}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert raw.headers["x-headrace-version"] == "1"
    record = record_of(guide, answer.id)
    assert record["rows"] == [{"question": QUESTION}]
    assert record["path"] == "/v1/chat/completions"
    outputs = columns(record)
    assert outputs["prediction"] == f"You asked: {QUESTION}"
    assert json.loads(outputs["prediction_passages"])[0]["text"] == DOCS[0]
    (call,) = json.loads(outputs["prediction_calls"])
    assert call["prompt"] == "answer"
    assert outputs["prediction_output_tokens"] == answer.usage.completion_tokens
    status, told, _ = guide.ask("/models/guide/feedback", {"prediction_id": answer.id, "thumbs": "up"})
    assert status == 202, told


def test_a_chat_streams_its_pieces_and_is_logged_before_its_end(guide):
    pieces, usage, name = [], None, ""
    stream = client(guide).chat.completions.create(**chat(stream=True, stream_options={"include_usage": True}))
    for chunk in stream:
        name = chunk.id
        if chunk.usage is not None:
            usage = chunk.usage
            assert chunk.choices == []
            assert written(guide.home, name)  # nothing is waited for
            continue
        pieces.append(chunk.choices[0].delta.content or "")
    assert len(pieces) > 3
    assert "".join(pieces) == f"You asked: {QUESTION}"
    assert usage.completion_tokens > 0
    assert columns(record_of(guide, name))["prediction"] == f"You asked: {QUESTION}"


def test_a_stream_ends_with_done(guide):
    status, text, headers = guide.ask("/v1/chat/completions", chat(stream=True))
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert text.endswith("data: [DONE]\n\n")
    assert headers["x-headrace-version"] == "1"


def test_completions_are_answered_whole_and_streamed(guide):
    made = client(guide).completions.create(model="guide", prompt=QUESTION)
    assert made.choices[0].text == f"You asked: {QUESTION}"
    stream = client(guide).completions.create(
        model="guide", prompt=[QUESTION], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(each.choices[0].text for each in chunks if each.choices) == f"You asked: {QUESTION}"
    assert chunks[-1].usage.completion_tokens == made.usage.completion_tokens


def test_responses_are_answered_whole_and_streamed(guide):
    made = client(guide).responses.create(model="guide", input=QUESTION)
    assert made.output_text == f"You asked: {QUESTION}"
    assert made.status == "completed"
    assert made.usage.output_tokens > 0
    messages = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    events = list(client(guide).responses.create(model="guide", input=messages, stream=True))
    assert [each.sequence_number for each in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(deltas) == events[-1].response.output_text == f"You asked: {QUESTION}"
    assert events[-1].type == "response.completed"
    with client(guide).responses.stream(model="guide", input=QUESTION) as stream:
        assert stream.get_final_response().output_text == f"You asked: {QUESTION}"


def test_embeddings_are_those_of_the_index(guide, tone):
    from headrace.llm.embedding.builtin import MiniLM

    made = client(guide).embeddings.create(model="guide", input=[QUESTION, DOCS[0]])  # base64, as the client asks
    expected = MiniLM().embed([QUESTION, DOCS[0]])
    for each, vector in zip(made.data, expected.tolist(), strict=True):
        assert each.embedding == pytest.approx(vector)
    floats = client(guide).embeddings.create(model="guide", input=QUESTION, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(expected[0].tolist())
    with pytest.raises(openai.BadRequestError, match="no embedder"):
        client(tone).embeddings.create(model="tone", input=QUESTION)


def test_the_model_is_listed(guide):
    assert [each.id for each in client(guide).models.list()] == ["guide"]
    assert client(guide).models.retrieve("guide").owned_by == "headrace"
    with pytest.raises(openai.NotFoundError):
        client(guide).models.retrieve("other")


def test_other_inputs_come_by_name(tone, endpoint):
    messages = [{"role": "system", "content": "no"}, {"role": "user", "content": QUESTION}]
    for more in ({"metadata": {"tone": "kind", "any": "tag"}}, {"extra_body": {"tone": "kind"}}):
        made = client(tone).chat.completions.create(model="tone", messages=messages, **more)
        assert made.choices[0].message.content == f"You asked: {QUESTION}"
        assert "Tone: kind" in endpoint.requests[-1].json["messages"][-1]["content"]
    with pytest.raises(openai.BadRequestError, match=r"'tone'.*missing"):
        client(tone).chat.completions.create(model="tone", messages=messages)


def test_a_function_that_answers_whole_streams_one_piece_and_is_redacted(tone):
    stream = client(tone).chat.completions.create(
        model="tone",
        messages=[{"role": "user", "content": "My secret is 4711"}],
        metadata={"tone": "kind"},
        stream=True,
    )
    chunks = list(stream)
    assert [each.choices[0].delta.content for each in chunks if each.choices[0].delta.content] == [
        "You asked: My secret is 4711"
    ]
    assert record_of(tone, chunks[0].id)["rows"] == [{"question": None, "tone": "kind"}]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 2}, "'n'"),
        ({"logprobs": True}, "'logprobs'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools'"),
        ({"response_format": {"type": "json_object"}}, "'response_format'"),
        ({"stop": ["x"]}, "'stop'"),
        ({"extra_body": {"mood": "kind"}}, "'mood'"),
        ({"messages": []}, "no message"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "not all text",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"user": "u" * 257}, "'user'"),
    ],
)
def test_what_would_change_the_answer_is_refused_in_openais_shape(guide, more, said):
    with pytest.raises(openai.BadRequestError, match=said) as refused:
        client(guide).chat.completions.create(**chat() | more)
    assert refused.value.type == "invalid_request_error"


def test_what_only_tunes_a_model_is_ignored(guide):
    made = client(guide).chat.completions.create(**chat(temperature=0.1, max_tokens=5, seed=3, n=1, tools=[]))
    assert made.choices[0].message.content == f"You asked: {QUESTION}"


def test_another_model_is_not_found(guide):
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' does not exist") as refused:
        client(guide).chat.completions.create(**chat() | {"model": "gpt-4o"})
    assert refused.value.type == "invalid_request_error"


def test_a_model_of_numbers_has_none_of_these_paths(live):
    for path, body in (("/v1/chat/completions", chat()), ("/v1/embeddings", {}), ("/v1/models", None)):
        status, told, _ = live.ask(path, body)
        assert status == 404
        assert "generates no text" in told["error"]["message"]


@pytest.mark.parametrize("text", ["", "a\x00b\x07\x1b[31m\u202eevil\u2066", "ש" * 40, "line\r\nline"])
def test_strange_questions_are_answered_and_logged_as_they_are(guide, text):
    made = client(guide).chat.completions.create(**chat(text))
    assert made.choices[0].message.content.startswith("You asked:")
    assert record_of(guide, made.id)["rows"] == [{"question": text}]


def test_a_question_of_a_megabyte(guide):
    large = "word " * 180_000
    made = client(guide).chat.completions.create(**chat(large))
    assert record_of(guide, made.id)["rows"] == [{"question": large}]
    for longer, status in (("word " * 199_999, 413), ("word " * 200_001, 400)):  # for the prompt, and for the input
        with pytest.raises(openai.APIStatusError, match=r"longer than|characters") as refused:
            client(guide).chat.completions.create(**chat(longer))
        assert refused.value.status_code == status


def test_a_body_that_is_no_text_is_refused(guide):
    for body in (b"", b"[]", b'{"model": "guide", "messages": [{"role": "user", "content": "\\ud800"}]}'):
        status, told, _ = guide.ask("/v1/chat/completions", body)
        assert status == 400
        assert told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fault", "status", "stays_secret"),
    [(faults.status(500), 502, True), (faults.status(401), 502, True), (faults.status(429), 429, False),
     (faults.bad_json(), 502, False)],
)  # fmt: skip
@pytest.mark.parametrize("streams", [False, True])
def test_what_the_endpoint_refuses_has_a_status(guide, endpoint, fault, status, stays_secret, streams):
    endpoint.set_faults([fault])
    with pytest.raises(openai.APIStatusError) as refused:
        client(guide).chat.completions.create(**chat(stream=streams))
    assert refused.value.status_code == status
    assert endpoint.url not in str(refused.value)
    assert KEY not in str(refused.value)
    made = client(guide).chat.completions.create(**chat())  # the server goes on
    assert made.choices[0].message.content == f"You asked: {QUESTION}"


def test_an_answer_that_a_limit_of_tokens_cut_says_so(assistants, endpoint, tmp_path):
    limited = {"HEADRACE_LLM_ROUTES": str(routes(tmp_path, endpoint.url, more="max_tokens = 20")), "ASSISTANT_KEY": KEY}
    long = "word " * 200
    with serving(copied(assistants, tmp_path / "dev"), env=limited) as server:
        ask = client(server)
        assert ask.chat.completions.create(**chat("?")).choices[0].finish_reason == "stop"
        assert ask.chat.completions.create(**chat(long)).choices[0].finish_reason == "length"
        assert list(ask.chat.completions.create(**chat(long, stream=True)))[-1].choices[0].finish_reason == "length"
        assert ask.completions.create(model="guide", prompt=long).choices[0].finish_reason == "length"
        *_, piece = ask.completions.create(model="guide", prompt=long, stream=True)
        assert piece.choices[0].finish_reason == "length"
        made = ask.responses.create(model="guide", input=long)
        assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        *_, last = ask.responses.create(model="guide", input=long, stream=True)
        assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
        assert last.response.output[0].status == "incomplete"


def test_a_stream_that_is_cut_is_an_error_in_the_middle_and_the_log_has_what_there_was(guide, endpoint):
    before = len(logged(guide.home))
    endpoint.set_faults([faults.cut(after=2)])
    stream = client(guide).chat.completions.create(**chat(stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    seen = next(stream).choices[0].delta.content
    with pytest.raises(openai.APIError, match="server's log"):
        seen += "".join(each.choices[0].delta.content or "" for each in stream)
    (record,) = guide.until(lambda: logged(guide.home)[before:])
    made = columns(record)
    assert made["prediction_finish_reason"] == "error"
    assert f"You asked: {QUESTION}".startswith(made["prediction"])
    assert made["prediction"].startswith(seen)


@pytest.mark.parametrize("log", ["required", "best_effort"])
def test_an_answer_whose_caller_leaves_is_in_the_log_as_far_as_it_came(assistants, endpoint, tmp_path, log):
    home = copied(assistants, tmp_path / "dev")
    manifest(home, log=log)
    with serving(home, env=env(tmp_path, endpoint)) as server:
        server.home = home
        endpoint.set_faults([faults.drip(0.01, size=200)])
        stream = client(server).chat.completions.create(**chat("word " * 500, stream=True))
        seen = "".join(next(stream).choices[0].delta.content or "" for _ in range(20))
        stream.response.close()
        (record,) = server.until(lambda: logged(home))
    made = columns(record)
    assert made["prediction_finish_reason"] == "cancelled"
    assert made["prediction"].startswith(seen)
    assert len(made["prediction"]) < 2_000


def test_where_the_log_is_required_the_last_piece_waits_for_it(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    manifest(home, log="required")
    with serving(home, env=env(tmp_path, endpoint)) as server:
        server.home = home
        whole = f"You asked: {QUESTION}"
        text, stream = "", client(server).chat.completions.create(**chat(stream=True))
        while text != whole:
            text += next(stream).choices[0].delta.content or ""
        assert written(home, stream.response.headers["x-headrace-request"])  # before the caller has read on
        assert next(stream).choices[0].finish_reason == "stop"
        stream.response.close()
        (record,) = server.until(lambda: logged(home))
    assert (columns(record)["prediction"], columns(record)["prediction_finish_reason"]) == (whole, "stop")


def test_a_stream_that_drips_comes_whole(guide, endpoint):
    endpoint.set_faults([faults.drip(0.001)])
    chunks = list(client(guide).chat.completions.create(**chat("drip", stream=True)))
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "You asked: drip"


def test_fifty_streams_at_the_same_time(guide):
    def ask(number):
        stream = client(guide).chat.completions.create(**chat(f"question {number}", stream=True))
        return "".join(each.choices[0].delta.content or "" for each in stream)

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(ask, range(50))) == [f"You asked: question {number}" for number in range(50)]
    assert guide.ask("/ready")[1]["status"] == "ready"


def test_a_caller_that_leaves_ends_the_call_of_the_endpoint(guide, endpoint):
    endpoint.set_faults([faults.drip(0.004)])
    before = len(endpoint.requests)
    stream = client(guide).chat.completions.create(**chat("left alone " * 200, stream=True))
    next(iter(stream))
    stream.response.close()
    guide.until(lambda: endpoint.requests[before:] and endpoint.requests[before].outcome == "aborted")
    guide.until(lambda: 'status="499"' in guide.ask("/metrics")[1])


def test_a_caller_that_leaves_an_answer_that_does_not_stream_ends_it_too(tone, endpoint):
    endpoint.set_faults([faults.timeout()])
    before = len(endpoint.requests)
    body = json.dumps({"model": "tone", "messages": [{"role": "user", "content": "?"}], "metadata": {"tone": "kind"}})
    with socket.create_connection(("127.0.0.1", tone.port), 60) as caller:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        caller.sendall((head + body).encode())
        tone.until(lambda: len(endpoint.requests) > before)
    tone.until(lambda: endpoint.requests[before].outcome == "aborted")


def test_a_log_that_is_full_ends_a_stream_with_an_error(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    manifest(home, max_log=16_384)
    with serving(home, env=env(tmp_path, endpoint)) as server:

        def ask():
            return server.ask("/v1/chat/completions", chat("word " * 200, stream=True))[1]

        text = server.until(lambda: next((said for said in [ask()] if "event: error" in said), None))
        assert "[DONE]" not in text
        assert '"server_error"' in text


def test_a_server_that_is_killed_in_the_middle_leaves_no_half_record(assistants, endpoint, tmp_path):
    home = copied(assistants, tmp_path / "dev")
    with serving(home, env=env(tmp_path, endpoint)) as server:
        done = client(server).chat.completions.create(**chat("before"))
        endpoint.set_faults([faults.drip(0.004)])
        stream = iter(client(server).chat.completions.create(**chat("word " * 200, stream=True)))
        next(stream)
        server.end(signal.SIGKILL)
        with pytest.raises(Exception, match=r"peer closed|incomplete|Connection"):
            list(stream)
    endpoint.set_faults(())
    with serving(home, env=env(tmp_path, endpoint)) as server:
        client(server).chat.completions.create(**chat("after"))
    assert [each["rows"][0]["question"] for each in logged(home)] == ["before", "after"]
    assert done.id in logged(home)[0]["ids"]


def test_a_user_stays_with_a_version(assistants, endpoint, tmp_path):
    import shutil

    home = copied(assistants, tmp_path / "dev")
    (first,) = (home / "versions").glob("1-*")
    second = shutil.copytree(first, home / "versions" / "2-other")
    file = home / "serving.json"
    stored = json.loads(file.read_text())
    (primary,) = stored["versions"]
    other = {
        **primary,
        "version": 2,
        "folder": "versions/2-other",
        "role": "candidate",
        "copy_hash": beside_digest(second),
    }
    stored["versions"] = [{**primary, "weight": 0.5}, {**other, "weight": 0.5}]
    stored["split"] = {"id": "s", "salt": "salt", "by": ["user"]}
    file.write_text(json.dumps(stored))
    with serving(home, env=env(tmp_path, endpoint)) as server:

        def version(number, **more):
            made = client(server).chat.completions.with_raw_response.create(**chat(f"q {number}", **more))
            return made.headers["x-headrace-version"]

        by_user = {user: {version(number, user=user) for number in range(3)} for user in map(str, range(12))}
        assert {len(each) for each in by_user.values()} == {1}
        assert {each for found in by_user.values() for each in found} == {"1", "2"}
        records = logged(home)
    assert all(each["divided"][0][0] == "entity" for each in records)
    assert {each["split"] for each in records} == {"s"}


def test_a_wrong_key_of_the_caller_is_refused_in_openais_shape(assistants, endpoint, tmp_path):
    from headrace.access.api_keys import create

    home = copied(assistants, tmp_path / "dev")
    keys = tmp_path / "api-keys.json"
    secret = create(keys, "shop", scopes=["predict"], lasts=None)
    with serving(home, env=env(tmp_path, endpoint), arguments=("--api-keys", keys)) as server:
        with pytest.raises(openai.AuthenticationError) as refused:
            client(server).chat.completions.create(**chat())
        assert refused.value.type == "authentication_error"
        assert (
            client(server, secret).chat.completions.create(**chat()).choices[0].message.content
            == f"You asked: {QUESTION}"
        )
