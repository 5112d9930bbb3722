import json
import subprocess
import sys
import urllib.error
import urllib.request

import anthropic
import numpy as np
import openai
import pytest

from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

ASKED = [{"role": "system", "content": "Shout."}, {"role": "user", "content": "hello  there"}]


def shout(messages):
    return f"{messages[0]['content']} {messages[-1]['content'].upper()}!"


@pytest.fixture
def endpoint():
    with Endpoint(shout, key="k-1") as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint):
    with openai.OpenAI(base_url=endpoint.url, api_key="k-1", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def claude(endpoint):
    with anthropic.Anthropic(base_url=endpoint.root, api_key="k-1", max_retries=0, timeout=5) as client:
        yield client


def test_openai_s_client_reads_a_chat_answer(client, endpoint):
    answer = client.chat.completions.create(model="small", messages=ASKED)

    assert answer.choices[0].message.content == "Shout. HELLO  THERE!"
    assert (answer.model, answer.choices[0].finish_reason) == ("small", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    assert endpoint.requests[0].json["messages"] == ASKED
    assert endpoint.requests[0].headers["authorization"] == "Bearer k-1"


def test_openai_s_client_reads_a_stream_with_its_usage(client):
    stream = client.chat.completions.create(
        model="small", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Shout. HELLO  THERE!"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 3


def test_a_stream_has_no_usage_unless_it_is_requested(client):
    chunks = list(client.chat.completions.create(model="small", messages=ASKED, stream=True))

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_openai_s_client_reads_completions_streamed_or_not(client):
    whole = client.completions.create(model="small", prompt="hello")
    stream = client.completions.create(model="small", prompt="hello", stream=True)

    assert whole.choices[0].text == "hello HELLO!" == "".join(chunk.choices[0].text for chunk in stream)


def test_max_tokens_and_stop_end_an_answer(client):
    cut = client.chat.completions.create(model="small", messages=ASKED, max_tokens=2)
    stopped = client.chat.completions.create(model="small", messages=ASKED, stop="THERE")

    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("Shout. HELLO", "length")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("Shout. HELLO  ", "stop")


def test_embeddings_are_unit_vectors_and_texts_with_common_words_are_near(client):
    answer = client.embeddings.create(model="small", input=["a red car", "the red car", "quite other things"])
    vectors = np.array([each.embedding for each in answer.data])

    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    plain = client.embeddings.create(model="small", input="a red car", encoding_format="float", dimensions=32)
    np.testing.assert_allclose(plain.data[0].embedding, vectors[0], atol=1e-6)


def test_embeddings_may_be_a_function_of_the_test_s_own():
    with (
        Endpoint(embed=lambda text: [len(text), 1.0]) as endpoint,
        openai.OpenAI(base_url=endpoint.url, api_key="-") as client,
    ):
        assert client.embeddings.create(model="m", input="abc").data[0].embedding == [3.0, 1.0]


def test_models_and_health(client, endpoint):
    assert [model.id for model in client.models.list()] == ["test"]
    with urllib.request.urlopen(f"{endpoint.root}/health") as answer:
        assert answer.status == 200


def test_anthropic_s_client_reads_an_answer(claude, endpoint):
    answer = claude.messages.create(model="big", max_tokens=50, system="Shout.", messages=ASKED[1:])

    assert answer.content[0].text == "Shout. HELLO  THERE!"
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 3, 3)
    assert endpoint.requests[0].json["system"] == "Shout."


def test_anthropic_s_client_reads_a_stream(claude):
    with claude.messages.stream(model="big", max_tokens=2, system="Shout.", messages=ASKED[1:]) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()

    assert text == "Shout. HELLO"
    assert (last.stop_reason, last.usage.output_tokens) == ("max_tokens", 2)


def test_a_wrong_key_is_refused_in_both_protocols(endpoint):
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=endpoint.url, api_key="wrong").chat.completions.create(model="m", messages=ASKED)
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=endpoint.root, api_key="wrong").messages.create(
            model="m", max_tokens=1, messages=ASKED[1:]
        )


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": [3]}', b'{"n": 2}'])
def test_a_request_that_is_none_is_refused_and_recorded(body, endpoint):
    request = urllib.request.Request(f"{endpoint.url}/chat/completions", body, headers={"Authorization": "Bearer k-1"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)

    assert error.value.code == 400
    assert "message" in json.loads(error.value.read())["error"]
    assert endpoint.requests[0].body == body


def test_faults_of_a_list_are_used_up_one_a_request(endpoint, client):
    endpoint.set_faults([faults.status(429, retry_after=7), None, faults.status(500)])

    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="m", messages=ASKED)
    assert limited.value.response.headers["retry-after"] == "7"
    client.chat.completions.create(model="m", messages=ASKED)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="m", messages=ASKED)
    client.chat.completions.create(model="m", messages=ASKED)
    assert [each.outcome for each in endpoint.requests] == ["failed", "answered", "failed", "answered"]


def test_faults_may_be_a_rule(endpoint, client):
    endpoint.set_faults(lambda request: faults.status(500) if request.json["model"] == "bad" else None)

    client.chat.completions.create(model="good", messages=ASKED)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="bad", messages=ASKED)


def test_a_request_that_is_never_answered(endpoint):
    endpoint.set_faults([faults.timeout()])
    client = openai.OpenAI(base_url=endpoint.url, api_key="k-1", max_retries=0, timeout=0.2)

    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=ASKED)


def test_a_dripping_answer_is_whole_at_last(endpoint, client):
    endpoint.set_faults([faults.drip(0), faults.drip(0)])

    assert client.chat.completions.create(model="m", messages=ASKED).choices[0].message.content.endswith("THERE!")
    assert len(list(client.chat.completions.create(model="m", messages=ASKED, stream=True))) == 5


def test_a_stream_that_is_cut_breaks_off_after_as_many_pieces(endpoint, client):
    endpoint.set_faults([faults.cut(after=2)])

    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|connection") as error:
        list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
    assert not isinstance(error.value, AssertionError)
    assert endpoint.requests[0].deltas == 2


def test_a_stream_that_is_cut_cleanly_has_no_end(endpoint, client):
    endpoint.set_faults([faults.cut(after=2, clean=True)])
    chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))

    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "Shout. HELLO"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 3


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (faults.other_model("liar"), lambda answer: json.loads(answer)["model"] == "liar"),
        (faults.empty(), lambda answer: answer == b""),
        (faults.bad_json(), lambda answer: answer.startswith(b'{"id": "chatcmpl-1", "choices": [{"mess')),
        (faults.huge(1_000_000), lambda answer: len(answer) > 1_000_000),
    ],
)
def test_answers_that_are_wrong(endpoint, fault, check):
    endpoint.set_faults([fault])
    body = json.dumps({"model": "m", "messages": ASKED}).encode()
    request = urllib.request.Request(f"{endpoint.url}/chat/completions", body, headers={"Authorization": "Bearer k-1"})
    with urllib.request.urlopen(request) as answer:
        assert check(answer.read())


def test_embeddings_of_another_dimension(endpoint, client):
    endpoint.set_faults([faults.dimension(5)])

    assert len(client.embeddings.create(model="m", input="abc").data[0].embedding) == 5


def test_an_error_may_repeat_the_credentials(endpoint, client):
    endpoint.set_faults([faults.echo(500)])

    with pytest.raises(openai.InternalServerError, match="Bearer k-1"):
        client.chat.completions.create(model="m", messages=ASKED)


def test_a_closed_connection_and_a_cut_answer(endpoint, client):
    endpoint.set_faults([faults.disconnect(), faults.cut()])

    for _ in range(2):
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="m", messages=ASKED)


def test_a_client_that_goes_away_is_recorded():
    with Endpoint(lambda _messages: "word " * 1000, pause=0.01) as endpoint:
        with openai.OpenAI(base_url=endpoint.url, api_key="-", max_retries=0) as client:
            stream = client.chat.completions.create(model="m", messages=ASKED, stream=True)
            next(iter(stream))
            stream.close()
        recorded = endpoint.requests[0]
        for _ in range(1000):
            if recorded.outcome != "open":
                break
            urllib.request.urlopen(f"{endpoint.root}/health").close()
        assert recorded.outcome == "aborted"


def test_a_taken_port_is_an_error():
    with Endpoint() as first, pytest.raises(OSError, match="address already in use"), Endpoint(port=first.port):
        pass


def test_it_is_a_program_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text("def reply(messages):\n    return messages[-1]['content'][::-1]\n")
    command = [sys.executable, "-m", "headrace.testing.llm_endpoint", "--reply", "mine:reply"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            url = process.stdout.readline().strip()
            with openai.OpenAI(base_url=url, api_key="-") as client:
                answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "abc"}])
        finally:
            process.terminate()
    assert answer.choices[0].message.content == "cba"


def test_a_reply_that_is_no_function_is_refused(tmp_path):
    command = [sys.executable, "-m", "headrace.testing.llm_endpoint", "--reply", "mine:reply"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("there is no function 'mine:reply'")
