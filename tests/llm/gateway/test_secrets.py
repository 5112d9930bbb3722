"""The key is in one header, and in no byte of anything else."""

import base64
import json
import logging
import pickle
import traceback
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError, HeadraceError
from headrace.environments.secret import Secret
from headrace.llm.gateway.redaction import RedactedStream, quoted, redacted_answer
from headrace.testing import faults

from .conftest import KEY, ask, route

FORMS = [
    KEY,
    urllib.parse.quote(KEY),
    urllib.parse.quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode().rstrip("="),
]


def everything(error):
    """All that can be read of an exception and of what it came from."""
    seen, left, texts = set(), [error], []
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        texts += [str(each), repr(each), repr(vars(each)), repr(each.args)]
        left += [each.__cause__, each.__context__, *(a for a in vars(each).values() if isinstance(a, BaseException))]
    return [*texts, "".join(traceback.format_exception(error)), repr(pickle.dumps(error))]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("how", ["complete", "stream", "embed"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.echo(500),
        faults.echo(401),
        faults.echo(400),
        faults.echo(429),
        faults.echo(200),
        faults.status(500, body=f"{KEY} {FORMS[1]} {FORMS[2]} {FORMS[3]}"),
        faults.status(500, body=KEY * 500),
        faults.status(500, body='{"error": {"message": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}}'),
        faults.status(200, body=f"no json {KEY}"),
        faults.status(200, body=f"data: no json {KEY}\n\n"),
        faults.other_model(KEY),
        faults.disconnect(),
        faults.cut(),
        faults.timeout(),
    ],
)
def test_nothing_that_can_be_read_has_the_key(gateway, endpoint, ledger, key, caplog, fault, how, protocol):
    if how == "embed" and protocol == "anthropic":
        pytest.skip("it has no embeddings")
    caplog.set_level(logging.DEBUG)
    endpoint.set_faults(lambda _request: fault)
    small = route(endpoint, key=key, attempts=2, timeout=1.0, protocol=protocol, cache=60.0)
    one, texts = gateway(small), []
    try:
        if how == "complete":
            texts.append(repr(one.complete(ask(), route="small")))
        elif how == "embed":
            texts.append(repr(one.embed(["a"], route="small")))
        else:
            stream = one.stream(ask(), route="small")
            texts += [*stream, repr(stream.completion), repr(vars(stream))]
    except HeadraceError as error:
        texts += everything(error)
    texts += [
        caplog.text,
        repr(ledger.records),
        repr(ledger.settled),
        repr(ledger.answers),
        repr(one),
        repr(small),
        repr(vars(one)),
    ]

    assert any(KEY in header for header in endpoint.requests[0].headers.values())
    assert [(form, text[:300]) for text in texts for form in FORMS if form in text] == []
    assert KEY not in endpoint.requests[0].body.decode() + endpoint.requests[0].path


def test_a_key_is_not_sent_on_to_where_an_endpoint_points(gateway, endpoint, backup, key):
    endpoint.set_faults(lambda _request: faults.status(307))

    with pytest.raises(HeadraceError):
        gateway(route(endpoint, key=key)).complete(ask(), route="small")
    assert backup.requests == []


def test_a_key_that_is_not_set_is_an_error_before_anything_is_sent(gateway, endpoint, ledger, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)

    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        gateway(route(endpoint, key=Secret("NO_SUCH_KEY"))).complete(ask(), route="small")
    assert endpoint.requests == []
    assert ledger.open == {}


def test_a_quotation_is_short_and_ends_before_half_a_key():
    assert len(quoted(b"x" * 10_000, ())) == 200
    body = (KEY * 1000).encode()[:4096]
    assert KEY[:8] not in quoted(body, (KEY,))


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("how", ["complete", "stream"])
def test_an_answer_that_repeats_the_key_is_shown_without_it(
    gateway, endpoint, ledger, key, caplog, how, protocol, size
):
    caplog.set_level(logging.DEBUG)
    endpoint.set_faults(lambda _request: faults.echo_in_answer(size))
    one = gateway(route(endpoint, key=key, protocol=protocol, cache=60.0))
    if how == "complete":
        completion = one.complete(ask(), route="small")
        texts = [completion.text]
    else:
        stream = one.stream(ask(), route="small")
        texts = list(stream)
        completion = stream.completion
        texts.append("".join(texts))
        assert texts[-1] == completion.text
    texts += [repr(completion), repr(ledger.answers), caplog.text]

    assert "content-type: application/json" in completion.text.lower()
    assert "…" in completion.text
    assert [(form, text[:300]) for text in texts for form in FORMS if form in text] == []
    assert [json.loads(each)["text"] for each in ledger.answers.values()] == [completion.text]


@given(
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    form=st.sampled_from(FORMS),
    cuts=st.lists(st.integers(1, 9), max_size=40),
)
def test_a_key_is_hidden_wherever_pieces_are_cut(before, after, form, cuts):
    text, stream, shown = f"{before}{form}{after}", RedactedStream([KEY]), []
    for size in cuts:
        shown.append(stream.add(text[:size]))
        text = text[size:]
    shown += [stream.add(text), stream.end()]

    assert "".join(shown) == redacted_answer(f"{before}{form}{after}", [KEY])
    assert form not in "".join(shown)


@given(pieces=st.lists(st.text(alphabet="sk-Zq7+ve", max_size=6)))
def test_nothing_else_is_changed_and_only_what_may_be_a_key_waits(pieces):
    stream = RedactedStream([KEY])
    assert "".join([*map(stream.add, pieces), stream.end()]) == "".join(pieces)
    assert RedactedStream([KEY]).add("a whole sentence.") == "a whole sentence."
    assert RedactedStream(["none"]).add("none of them") == redacted_answer("none of them", ["none"]) == "none of them"
