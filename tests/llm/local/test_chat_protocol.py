import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.llm.local.chat_protocol import RequestError, read

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "messages",
    "model",
    "n",
    "stop",
    "seed",
    "max_tokens",
    "temperature",
    "top_p",
    "stream",
    "stream_options",
    "tools",
)


def body(**changes):
    return json.dumps({**CHAT, **changes}).encode()


def test_a_request_is_read():
    found = read("chat", body(max_completion_tokens=7, stop="\n", seed=3, stream=True, tools=[]), model="m")

    assert found.messages == ({"role": "user", "content": "Hello"},)
    assert (found.sampling.max_tokens, found.sampling.stops, found.sampling.seed) == (7, ("\n",), 3)
    assert found.sampling.temperature == 0  # greedy unless the client wants something else
    assert found.stream
    assert not found.usage


def test_content_may_come_in_parts_of_text():
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]

    assert read("chat", body(messages=[{"role": "developer", "content": parts}]), model="m").messages == (
        {"role": "system", "content": "Hello"},
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": []}, "messages must be"),
        ({"messages": ["Hello"]}, "the role of a message is None"),
        ({"messages": [{"role": "king", "content": ""}]}, "'king': possible are system"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "must be a text"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"temperature": 3}, "temperature is 3"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"stop": ["a"] * 5}, "up to four"),
        ({"stop": [""]}, "up to four"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"n": 2}, "n must be 1"),
        ({"tools": [{}]}, "tools is not supported"),
    ],
)
def test_a_wrong_request_is_told_which_field_is_wrong(changes, said):
    with pytest.raises(RequestError, match=said) as caught:
        read("chat", body(**changes), model="m")

    assert caught.value.status == 400
    assert said in caught.value.body["error"]["message"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(["chat", "text"]))
def test_whatever_comes_is_read_or_refused(fields, kind):
    try:
        found = read(kind, json.dumps(fields).encode(), model="m")
    except RequestError as error:
        found = error
    assert found.status in {400, 404} if isinstance(found, RequestError) else found.messages or found.text


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_object_is_refused(raw):
    with pytest.raises(RequestError, match=r"not (a )?JSON"):
        read("chat", raw, model="m")
