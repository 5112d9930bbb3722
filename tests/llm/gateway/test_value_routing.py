import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import headrace as hr
from headrace.core.errors import DeadlineError, DeclarationError, UnavailableError, UserCodeError
from headrace.testing import faults

from .conftest import ask, route


def accept(answer):
    return "backup" in answer


@pytest.fixture
def both(gateway, endpoint, backup):
    price = {"input_price": 10**9, "output_price": 10**9}
    return gateway(route(endpoint, **price, attempts=1), route(backup, "large", **price))


def test_the_first_route_answers_unless_its_answer_is_refused(both, ledger):
    plain = both.complete(ask(), route=hr.Route("small", "large"))
    checked = both.complete(ask(), route=hr.Route("small", "large", accept=accept))

    assert (plain.route, plain.attempts) == ("small", 1)
    assert (checked.route, checked.text, checked.attempts) == ("large", "from the backup", 2)
    assert checked.cost_nano == 2 * (4 + 4) * 1_000 - 1_000  # what both attempts used
    assert len(ledger.records) == 2
    assert ledger.records[1].cost_nano == checked.cost_nano


def test_the_last_answer_is_taken_as_it_is(both):
    answer = both.complete(ask(), route=hr.Route("large", "small", accept=lambda _answer: False))

    assert (answer.route, answer.accepted) == ("small", False)


def test_a_route_that_cannot_answer_leaves_it_to_the_next(both, endpoint):
    endpoint.set_faults(lambda _request: faults.status(500))

    assert both.complete(ask(), route=hr.Route("small", "large")).route == "large"
    with pytest.raises(UnavailableError):
        both.complete(ask(), route=hr.Route("large", "small", accept=lambda _answer: False))


def test_a_function_may_answer_without_any_model(both, endpoint, ledger):
    def known(messages):
        return "42" if "answer" in messages[-1].content else None

    by_function = both.complete(ask("the answer"), route=hr.Route(known, "small"))
    by_model = both.complete(ask("something"), route=hr.Route(known, "small"))

    assert (by_function.text, by_function.route, by_function.attempts, by_function.cost_nano) == ("42", "", 0, 0)
    assert by_model.route == "small"
    assert len(endpoint.requests) == 1
    assert len(ledger.records) == 2
    with pytest.raises(UnavailableError):
        both.complete(ask("something"), route=hr.Route(known))


def test_functions_of_the_user_that_fail_say_so(both):
    def broken(_text):
        raise KeyError("no")

    with pytest.raises(UserCodeError, match="broken raised KeyError"):
        both.complete(ask(), route=hr.Route("small", accept=broken))
    with pytest.raises(UserCodeError, match="returned a int"):
        both.complete(ask(), route=hr.Route(lambda _messages: 3, "small"))


@pytest.mark.parametrize(
    ("chosen", "text", "name"),
    [
        (hr.Route("small", "large"), "echo of hello there", "small"),
        (hr.Route("small", "large", accept=accept), "from the backup", "large"),
        (hr.Route("large", "small", accept=accept), "from the backup", "large"),
        (hr.Route(lambda _messages: None, "small", "large"), "echo of hello there", "small"),
        (hr.Route(lambda _messages: "at once", "small"), "at once", ""),
        (hr.Route(lambda _messages: "at once"), "at once", ""),
    ],
)
def test_streams_follow_the_same_rules(both, chosen, text, name):
    stream = both.stream(ask(), route=chosen)

    assert "".join(stream) == text
    assert stream.completion.route == name


def test_a_stream_goes_on_to_the_next_route_before_its_first_piece(both, endpoint):
    endpoint.set_faults(lambda _request: faults.status(500))

    assert "".join(both.stream(ask(), route=hr.Route("small", "large"))) == "from the backup"


@pytest.mark.parametrize("routes", [(), ("",), (3,), ("small", "small"), ("small", accept)])
def test_what_is_no_route_is_refused(routes):
    with pytest.raises(DeclarationError):
        hr.Route(*routes)
    with pytest.raises(DeclarationError):
        hr.Route("small", accept="good")


@pytest.mark.parametrize("how", ["complete", "stream"])
@pytest.mark.parametrize("check", [None, accept])
def test_a_route_that_hangs_leaves_time_for_the_next(gateway, endpoint, backup, how, check):
    endpoint.set_faults(lambda _request: faults.timeout())
    one = gateway(route(endpoint, timeout=3.0), route(backup, "large", timeout=3.0))
    chosen = hr.Route("small", "large", accept=check)

    if how == "complete":
        assert one.complete(ask(), route=chosen).text == "from the backup"
    else:
        assert "".join(one.stream(ask(), route=chosen)) == "from the backup"


def test_without_time_the_error_is_the_deadline_with_all_that_failed(gateway, endpoint, backup):
    for each in (endpoint, backup):
        each.set_faults(lambda _request: faults.timeout())
    one = gateway(route(endpoint, attempts=1), route(backup, "large", attempts=1))

    with pytest.raises(DeadlineError) as error:
        one.complete(ask(), route=hr.Route("small", "large"), timeout=0.5)
    assert [each.split(" did")[0] for each in error.value.findings] == ["route 'small'", "route 'large'"]

    endpoint.set_faults(())
    slow = hr.Route("small", "large", accept=lambda _answer: time.sleep(0.7))
    with pytest.raises(DeadlineError, match="did not return within"):
        one.complete(ask(), route=slow, timeout=0.5)


def test_a_route_without_any_time_left_is_past_its_deadline(gateway, endpoint, backup):
    endpoint.set_faults(lambda _request: faults.timeout())
    one = gateway(route(endpoint), route(backup, "large", requests_per_minute=60))

    with pytest.raises(DeadlineError, match="no time of the call is left for route 'small'"):
        one.complete(ask(), route="small", timeout=1e-9)


def test_functions_of_the_user_may_ask_the_gateway_themselves_many_at_a_time(gateway, endpoint, backup, ledger):
    one = gateway(route(endpoint, timeout=20.0), route(backup, "judge", timeout=20.0))

    def judged(_answer):
        return one.complete(ask("is it good?"), route="judge").text == "from the backup"

    chosen = hr.Route("small", accept=judged)
    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda _: one.complete(ask(), route=chosen), range(64)))
    assert all(each.accepted for each in answers)
    assert len(ledger.records) == 128


def test_a_function_that_hangs_ends_at_the_deadline_and_holds_nobody_else(gateway, endpoint):
    one, ended = gateway(route(endpoint)), threading.Event()
    chosen = hr.Route(lambda _messages: ended.wait(20) and None, "small")

    try:
        answers = [one.complete(ask(), route=chosen, timeout=0.6).route for _ in range(2)]
        with ThreadPoolExecutor(40) as threads:
            for _ in range(40):
                threads.submit(one.complete, ask(), route=chosen, timeout=0.6)
            assert one.complete(ask(), route="small").text == "echo of hello there"
    finally:
        ended.set()
    assert answers == ["small", "small"]  # a function has its share of the time, like a route


def test_a_time_out_of_a_function_itself_is_its_own_error(both):
    def broken(_text):
        raise TimeoutError("its own")

    with pytest.raises(UserCodeError, match="broken raised TimeoutError: its own"):
        both.complete(ask(), route=hr.Route("small", accept=broken))
