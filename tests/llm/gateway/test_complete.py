import anthropic
import openai
import pytest

from headrace.core.errors import (
    DeadlineError,
    DeclarationError,
    EndpointRefusedError,
    LimitError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from headrace.llm.gateway.requests import CallTags, ChatRequest
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .conftest import ask, route


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_an_answer_and_what_it_cost(gateway, endpoint, ledger, protocol):
    small = route(endpoint, protocol=protocol, input_price=2 * 10**9, output_price=10 * 10**9)
    answer = gateway(small).complete(ask(), route="small", user="u1", tags=CallTags(prompt="p", prompt_version="3"))

    assert (answer.text, answer.finish_reason, answer.route, answer.model) == (
        "echo of hello there",
        "stop",
        "small",
        "small",
    )
    assert (answer.input_tokens, answer.output_tokens, answer.attempts) == (4, 4, 1)
    assert answer.cost_nano == 4 * 2_000 + 4 * 10_000
    assert not answer.model_mismatch
    assert not answer.warnings
    (record,) = ledger.records
    assert (record.call_id, record.outcome, record.user, record.prompt_version) == (
        answer.call_id,
        "answered",
        "u1",
        "3",
    )
    assert record.cost_nano == answer.cost_nano
    assert list(ledger.settled.values()) == [answer.cost_nano]
    assert ledger.open == {}


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_requests_are_as_the_vendor_s_own_client_sends_them(gateway, endpoint, key, protocol):
    gateway(route(endpoint, protocol=protocol, key=key, max_tokens=9)).complete(ask(stop=["x"]), route="small")
    secret = key.read("test")
    if protocol == "openai":
        client = openai.OpenAI(base_url=endpoint.url, api_key=secret)
        client.chat.completions.create(model="small", messages=ask().plain_messages, max_tokens=9, stop=["x"])
    else:
        client = anthropic.Anthropic(base_url=endpoint.root, api_key=secret)
        client.messages.create(
            model="small", system="Be kind.", messages=ask().plain_messages[1:], max_tokens=9, stop_sequences=["x"]
        )
    ours, theirs = endpoint.requests

    assert ours.json == theirs.json
    for name in ("authorization", "x-api-key", "anthropic-version", "content-type"):
        assert ours.headers.get(name) == theirs.headers.get(name)


def test_what_a_protocol_does_not_have_is_not_sent_and_said(gateway, endpoint):
    answer = gateway(route(endpoint, protocol="anthropic")).complete(ask(temperature=0.0), route="small")

    assert "temperature" not in endpoint.requests[0].json
    assert answer.warnings == ("The protocol of route 'small' has no temperature; it was not sent.",)


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.status(429), faults.status(408), faults.disconnect(), faults.cut()]
)
def test_what_may_pass_is_tried_again(gateway, endpoint, ledger, fault):
    endpoint.set_faults([fault, fault])
    answer = gateway(route(endpoint, attempts=3)).complete(ask(), route="small")

    assert (answer.text, answer.attempts, len(endpoint.requests)) == ("echo of hello there", 3, 3)
    assert len(ledger.records) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_what_an_endpoint_refuses_is_not_tried_again_anywhere(gateway, endpoint, backup, ledger, status):
    endpoint.set_faults([faults.status(status)])
    routes = route(endpoint, fallback="large"), route(backup, "large")

    with pytest.raises(
        EndpointRefusedError, match=f"route 'small' answered with status {status}: fault {status}"
    ) as error:
        gateway(*routes).complete(ask(), route="small")
    assert error.value.status == status
    assert (len(endpoint.requests), len(backup.requests)) == (1, 0)
    assert [each.outcome for each in ledger.records] == ["failed"]
    assert ledger.open == {}


def test_attempts_that_are_used_up_are_listed(gateway, endpoint, ledger):
    endpoint.set_faults(lambda _request: faults.status(503))

    with pytest.raises(UnavailableError, match="status 503") as error:
        gateway(route(endpoint, attempts=2)).complete(ask(), route="small")
    assert len(error.value.findings) == 2
    assert len(endpoint.requests) == 2
    assert sum(ledger.settled.values()) == 0


def test_an_endpoint_that_never_answers_is_left_at_the_deadline(gateway, endpoint, ledger):
    endpoint.set_faults(lambda _request: faults.timeout())
    small = route(endpoint, timeout=0.3, input_price=10**9, output_price=10**9, max_tokens=10)

    with pytest.raises(DeadlineError, match="did not answer within"):
        gateway(small).complete(ask(), route="small")
    assert [each.outcome for each in ledger.records] == ["failed"]
    assert sum(ledger.settled.values()) == ledger.records[0].cost_nano > 0  # it may have been counted


def test_a_dripping_answer_ends_at_the_deadline(gateway, endpoint):
    endpoint.set_faults(lambda _request: faults.drip(0.05))

    with pytest.raises(DeadlineError):
        gateway(route(endpoint, timeout=0.3, attempts=1)).complete(ask(), route="small")


def test_an_attempt_that_takes_too_long_is_tried_again(gateway, endpoint):
    endpoint.set_faults([faults.timeout()])
    answer = gateway(route(endpoint, attempt_timeout=0.2)).complete(ask(), route="small")

    assert (answer.text, answer.attempts) == ("echo of hello there", 2)


def test_retry_after_beyond_the_deadline_is_not_waited_for(gateway, endpoint):
    endpoint.set_faults([faults.status(429, retry_after=3600)])

    with pytest.raises(RateLimitedError, match="status 429"):
        gateway(route(endpoint)).complete(ask(), route="small")
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500),
        faults.status(429, retry_after=3600),
        faults.timeout(),
        faults.bad_json(),
        faults.empty(),
        faults.disconnect(),
    ],
)
def test_the_fallback_answers_where_a_route_is_exhausted(gateway, endpoint, backup, ledger, fault):
    endpoint.set_faults(lambda _request: fault)
    routes = route(endpoint, fallback="large", attempts=1, timeout=1.0), route(backup, "large")
    answer = gateway(*routes).complete(ask(), route="small")

    assert (answer.text, answer.route, answer.model, answer.attempts) == ("from the backup", "large", "large", 2)
    assert [(each.route, each.outcome) for each in ledger.records] == [("large", "answered")]


def test_where_nobody_listens_there_is_no_answer(gateway):
    with Endpoint() as gone:
        pass
    with pytest.raises(UnavailableError, match="route 'small' cannot be reached: Connect"):
        gateway(route(gone, attempts=1)).complete(ask(), route="small")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.bad_json(), "something that is not JSON"),
        (faults.empty(), "nothing"),
        (faults.huge(20_000_000), "more than"),
    ],
)
def test_an_answer_that_cannot_be_understood_is_an_error_of_its_own(gateway, endpoint, fault, said):
    endpoint.set_faults(lambda _request: fault)

    with pytest.raises(MalformedAnswerError, match=said) as error:
        gateway(route(endpoint)).complete(ask(), route="small")
    assert len(endpoint.requests) == 1
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [3]}',
        '{"choices": [{"message": {"content": 3}}]}',
        "null",
        "NaN",
        "\x00",
    ],
)
def test_json_of_another_shape_is_malformed(gateway, endpoint, body):
    endpoint.set_faults(lambda _request: faults.status(200, body=body))

    with pytest.raises(MalformedAnswerError):
        gateway(route(endpoint)).complete(ask(), route="small")


def test_another_model_is_accepted_and_flagged(gateway, endpoint):
    endpoint.set_faults([faults.other_model("liar"), faults.other_model("small-2026-01-01")])
    one = gateway(route(endpoint))
    liar, dated = one.complete(ask(), route="small"), one.complete(ask(), route="small")

    assert (liar.model, liar.model_mismatch, liar.text) == ("liar", True, "echo of hello there")
    assert liar.warnings == ("Route 'small' requests the model 'small', and 'liar' answered.",)
    assert (dated.model, dated.model_mismatch, dated.warnings) == ("small-2026-01-01", False, ())


def test_the_breaker_leaves_an_endpoint_alone_and_then_sends_one_probe(gateway, endpoint):
    endpoint.set_faults([faults.status(500)] * 3)
    one = gateway(route(endpoint, attempts=1), breaker_failures=3, breaker_pause=0.3)
    for _ in range(3):
        with pytest.raises(UnavailableError, match="status 500"):
            one.complete(ask(), route="small")
    with pytest.raises(UnavailableError, match="is left alone"):
        one.complete(ask(), route="small")
    assert len(endpoint.requests) == 3

    for _ in range(1000):
        try:
            one.complete(ask(), route="small")
            break
        except UnavailableError as error:
            assert "left alone" in str(error)  # noqa: PT017
            import time

            time.sleep(0.01)
    assert len(endpoint.requests) == 4


def test_a_budget_that_is_used_up_sends_nothing(gateway, endpoint, ledger):
    ledger.left = 0

    with pytest.raises(LimitError):
        gateway(route(endpoint, output_price=10**9)).complete(ask(), route="small")
    assert endpoint.requests == []
    assert [(each.outcome, each.attempts) for each in ledger.records] == [("refused", 0)]


def test_an_answer_is_cached_where_the_route_says_so(gateway, endpoint, ledger):
    one = gateway(route(endpoint, cache=60.0, output_price=10**9), route(endpoint, "large"))
    first, second, other = (one.complete(ask(text), route="small") for text in ("a", "a", "b"))

    assert (first.cached, second.cached, other.cached) == (False, True, False)
    assert (second.text, second.cost_nano, second.attempts) == (first.text, 0, 0)
    assert len(endpoint.requests) == 2
    assert [each.outcome for each in ledger.records] == ["answered", "cached", "answered"]


def test_an_unknown_route_and_a_request_that_is_none(gateway, endpoint):
    with pytest.raises(NotFoundError, match="did you mean 'small'"):
        gateway(route(endpoint)).complete(ask(), route="smal")
    for messages in ([], "text", [{"role": "robot", "content": ""}], [{"role": "user"}], [3]):
        with pytest.raises(DeclarationError):
            ChatRequest(messages)


@pytest.mark.parametrize("text", ["", "\x00\x1b\u202e", "\ud800", "x" * 1_000_000])
def test_odd_questions_arrive(gateway, endpoint, text):
    gateway(route(endpoint)).complete(ask(text), route="small")

    assert endpoint.requests[0].json["messages"][-1]["content"] == text


def test_a_thread_is_as_good_as_another_and_connections_are_kept(gateway, endpoint):
    from concurrent.futures import ThreadPoolExecutor

    one = gateway(route(endpoint))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: one.complete(ask(f"n{n}"), route="small").text, range(64)))

    assert answers == [f"echo of n{n}" for n in range(64)]
