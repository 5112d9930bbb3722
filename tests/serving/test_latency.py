"""People are told when answers take longer than declared, once, and not any more when they do not."""

import pytest
from tests.serving.conftest import manifest, serving
from tests.serving.test_drain import SLOWLY, body

from headrace.core.errors import DeclarationError
from headrace.operations.serving import troubles
from headrace.serving.declarations import Serve
from headrace.serving.latency import INTERVALS, Latency
from headrace.serving.metrics import Counters


def intervals(latency, *counts, kind=(1, "primary", 200), p95=0.02):
    """Each interval: how many requests took a millisecond, and how many took 60."""
    counters, said = Counters(), []
    for quick, slow in counts:
        for seconds, many in ((0.001, quick), (0.06, slow)):
            for _ in range(many):
                counters.answered(kind, seconds, 1)
        said.append(latency.add(counters.interval(), p95))
    return said


def test_it_is_told_when_more_than_a_twentieth_is_slower():
    assert intervals(Latency(), (95, 5)) == [""]
    assert intervals(Latency(), (94, 6)) == ["6 of the last 100 requests took longer than 25 ms, p95=20 ms is declared"]
    assert intervals(Latency(), (94, 6), p95=0.06) == [""]  # in the bucket of what is declared: nobody knows


def test_few_requests_say_nothing_and_intervals_are_taken_together():
    assert intervals(Latency(), (0, 60), (0, 39), (0, 1)) == [
        "",
        "",
        "100 of the last 100 requests took longer than 25 ms, p95=20 ms is declared",
    ]


def test_it_is_over_when_the_slow_ones_are_a_minute_ago():
    said = intervals(Latency(), (0, 100), *[(100, 0)] * (INTERVALS + 1))
    assert [bool(each) for each in said] == [True] * INTERVALS + [False, False]


@pytest.mark.parametrize("kind", [(1, "shadow", 200), (1, "primary", 503)])
def test_shadows_and_refusals_do_not_count(kind):
    assert intervals(Latency(), (0, 500), kind=kind) == [""]


def test_what_is_declared_is_at_most_a_second():
    with pytest.raises(DeclarationError, match="more than a second"):
        Serve(p95="1001ms")


def test_a_server_says_so(home):
    manifest(home, p95="50ms")
    with serving(home, program=SLOWLY) as server:
        for _ in range(100):
            assert server.ask("/invocations", body(0.06))[0] == 200
        (told,) = server.until(lambda: troubles(home))
        assert (told.what, "took longer than 50 ms, p95=50 ms is declared" in told.reason) == ("slow", True)
        said = server.end()[1]
    assert said.count("slow: ") == 1
    assert troubles(home) == []
