"""Prometheus' text format, read by Prometheus' own client."""

import orjson
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.exposition import Sample, metric
from headrace.serving.metrics import BUCKETS, Counters

TEXTS = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"),
    max_size=20,
)


def families(text):
    return {each.name: each for each in text_string_to_metric_families(text)}


SAID = TEXTS.map(str.strip).filter(bool)  # a reader takes the space around it away


@given(SAID, TEXTS, st.floats(allow_nan=False))
def test_any_text_comes_back(what, label, value):
    found = families(metric("a_total", "counter", what, [Sample({"name": label, "other": 1}, value)]))["a"]
    (sample,) = found.samples
    assert (sample.labels, sample.value) == ({"name": label, "other": "1"}, value)
    assert found.documentation == what


def test_what_a_server_tells():
    counters = Counters(log_dropped=3)
    for seconds in (0.00005, 0.003, 7.0):
        counters.answered((2, "primary", 200), seconds, rows=5)
    counters.answered((0, "", 503), 0.1)
    found = families(counters.prometheus(model='a "model"\\', version=2, in_flight=1))
    assert all(each.documentation for each in found.values())
    assert {each.type for each in found.values()} == {"gauge", "counter", "histogram"}
    (rows,) = found["headrace_rows"].samples
    assert (rows.labels["model"], rows.value) == ('a "model"\\', 15)
    histogram = [each for each in found["headrace_request_duration_seconds"].samples if each.labels["version"] == "2"]
    buckets = [each.value for each in histogram if each.name.endswith("_bucket")]
    assert len(buckets) == len(BUCKETS) + 1
    assert (buckets[0], buckets[-1]) == (1, 3)
    assert [each.value for each in histogram if each.name.endswith(("_sum", "_count"))] == [7.00305, 3]
    assert [each.value for each in found["headrace_log_dropped"].samples] == [3]


def test_requests_are_counted_by_path_and_those_of_processes_add_up():
    mine, other = Counters(http={("/predict", "POST", 200): 2}), Counters(http={("/predict", "POST", 200): 3})
    mine.answered((1, "primary", 200), 0.003, rows=2, path="/predict")
    mine.answered((2, "candidate", 200), 0.003, rows=1)  # the same request, answered by two versions
    other.answered((1, "primary", 200), 0.003, rows=1, path="/predict")
    other.answered((1, "primary", 200), 0.003, rows=1, path="/invocations")
    other.http["other", "GET", 404] = 1
    other.access_log_dropped = 4
    total = mine.plus([orjson.loads(orjson.dumps(other.to_json()))])
    found = families(total.prometheus(model="late", version=1, in_flight=0))
    assert {
        (each.labels["path"], each.labels["method"], each.labels["status"]): each.value
        for each in found["headrace_http_requests"].samples
    } == {("/predict", "POST", "200"): 5, ("other", "GET", "404"): 1}
    counts = [each for each in found["headrace_http_request_duration_seconds"].samples if each.name.endswith("_count")]
    assert {each.labels["path"]: each.value for each in counts} == {"/invocations": 1, "/predict": 2}
    assert {each.labels["version"]: each.value for each in found["headrace_requests"].samples} == {"1": 3, "2": 1}
    assert [(kind.version, tally.requests) for kind, tally in total.interval()] == [(1, 3), (2, 1)]
    assert total.interval() == []
    assert [each.value for each in found["headrace_access_log_dropped"].samples] == [4]
