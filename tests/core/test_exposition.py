"""Prometheus' text format, read by Prometheus' own client."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.exposition import Sample, metric
from headrace.serving.telling import BUCKETS, Counters

TEXTS = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"),
    max_size=20,
)


def families(text):
    return {each.name: each for each in text_string_to_metric_families(text)}


@given(TEXTS, TEXTS, st.floats(allow_nan=False))
def test_any_text_comes_back(what, label, value):
    found = families(metric("a_total", "counter", what, [Sample({"name": label, "other": 1}, value)]))["a"]
    (sample,) = found.samples
    assert (sample.labels, sample.value) == ({"name": label, "other": "1"}, value)
    assert found.documentation == what


def test_what_a_server_tells():
    counters = Counters(unlogged=3)
    for seconds in (0.00005, 0.003, 7.0):
        counters.answered((2, "primary", 200), seconds, rows=5)
    counters.answered((0, "", 503), 0.1)
    found = families(counters.prometheus(model='a "model"\\', version=2, in_flight=1))
    assert all(each.documentation for each in found.values())
    assert {each.type for each in found.values()} == {"gauge", "counter", "histogram"}
    (rows,) = found["headrace_rows"].samples
    assert (rows.labels["model"], rows.value) == ('a "model"\\', 15)
    histogram = [each for each in found["headrace_request_seconds"].samples if each.labels["version"] == "2"]
    buckets = [each.value for each in histogram if each.name.endswith("_bucket")]
    assert len(buckets) == len(BUCKETS) + 1
    assert (buckets[0], buckets[-1]) == (1, 3)
    assert [each.value for each in histogram if each.name.endswith(("_sum", "_count"))] == [7.00305, 3]
    assert [each.value for each in found["headrace_unlogged_answers"].samples] == [3]
