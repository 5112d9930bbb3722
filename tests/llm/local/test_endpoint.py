"""A real model behind a real endpoint, asked by OpenAI's own client."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import openai
import pytest

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
COUNT = [{"role": "user", "content": "Write a very long story about a river, a mill and a town."}]


@pytest.fixture
def client(endpoint):
    with openai.OpenAI(base_url=endpoint.base_url, api_key="none", max_retries=0, timeout=300) as found:
        yield found


def health(endpoint):
    with urlopen(endpoint.base_url.removesuffix("/v1") + "/health") as answer:
        return json.load(answer)


def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_a_chat_is_answered_with_its_tokens_counted(client):
    answer = client.chat.completions.create(model="smollm2", messages=CAPITAL, max_tokens=20)

    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 20


def test_a_stream_has_the_parts_of_the_same_answer(client):
    whole = client.chat.completions.create(model="smollm2", messages=CAPITAL, max_tokens=20)
    chunks = list(
        client.chat.completions.create(
            model="smollm2", messages=CAPITAL, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
    )

    texts = [each.choices[0].delta.content for each in chunks if each.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert len(texts) > 3
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_text_is_continued(client):
    answer = client.completions.create(model="smollm2", prompt="One, two, three, four,", max_tokens=4)

    assert "five" in answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 4


def test_a_stop_sequence_ends_the_answer_and_is_no_part_of_it(client):
    asked = {"model": "smollm2", "messages": CAPITAL, "max_tokens": 20, "stop": ["Paris"]}
    whole = client.chat.completions.create(**asked)
    parts = [each.choices[0].delta.content for each in client.chat.completions.create(**asked, stream=True)]

    assert whole.choices[0].message.content == "".join(parts) == "The capital of France is "
    assert whole.choices[0].finish_reason == "stop"


def test_the_same_seed_draws_the_same_answer(client):
    def draw(seed):
        asked = {"model": "smollm2", "messages": COUNT, "max_tokens": 12, "temperature": 1.5, "seed": seed}
        return client.chat.completions.create(**asked).choices[0].message.content

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_the_model_is_listed(client):
    assert [each.id for each in client.models.list()] == ["smollm2"]


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="'gpt-9': there is 'smollm2'"):
        client.chat.completions.create(model="gpt-9", messages=CAPITAL)


def test_what_does_not_fit_into_its_context_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="do not fit into 8192 tokens"):
        client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "word " * 9000}])


def test_a_client_that_leaves_ends_the_work(client, endpoint):
    before = health(endpoint)["requests"]["cancelled"]
    stream = client.chat.completions.create(model="smollm2", messages=COUNT, max_tokens=4000, stream=True)
    next(iter(stream))
    stream.close()

    until(lambda: health(endpoint)["requests"]["open"] == 0)
    assert health(endpoint)["requests"]["cancelled"] == before + 1


def test_one_is_answered_two_wait_and_the_next_is_sent_away(client, endpoint):
    """A stream that nobody ends is answered; behind it two wait."""
    stream = client.chat.completions.create(model="smollm2", messages=COUNT, max_tokens=4000, stream=True)
    next(iter(stream))
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(client.chat.completions.create, model="smollm2", messages=CAPITAL, max_tokens=2)
            for _ in range(2)
        ]
        until(lambda: health(endpoint)["requests"]["open"] == 3)
        with pytest.raises(openai.RateLimitError, match="3 requests are open"):
            client.chat.completions.create(model="smollm2", messages=CAPITAL, max_tokens=2)
        stream.close()

        assert [each.result().usage.completion_tokens for each in waiting] == [2, 2]
    assert health(endpoint)["requests"]["open"] == 0


def test_when_it_is_killed_its_clients_are_told(client, endpoint):
    """The last test of this file: nothing is left of the endpoint."""
    stream = client.chat.completions.create(model="smollm2", messages=COUNT, max_tokens=4000, stream=True)
    parts = iter(stream)
    next(parts)
    endpoint.process.kill()

    with pytest.raises((openai.APIError, OSError)):
        list(parts)
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
