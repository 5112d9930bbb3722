"""What callers got: counts as servers write them, quality on what labels are known, compared within one split."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deployment.conftest import MODEL

from headrace.deployment import traffic_metrics
from headrace.deployment.experiment import experiment
from headrace.deployment.traffic_metrics import Counted, Key, counted, error_gap, estimate, gap, total
from headrace.monitoring.label_join import LABEL
from headrace.registry.records import Share
from headrace.registry.split import write
from headrace.serving.metrics import BUCKETS

SOON = timedelta(minutes=5)
times = st.lists(st.floats(0.00001, 5), min_size=1, max_size=50)


def test_without_a_count_there_is_nothing(world):
    assert counted(world.lakehouse, "days") == {}
    assert total({}, 1, "primary") == Counted()
    assert (Counted().error_rate, Counted().quantile(0.5)) == (None, None)


def test_counts_of_all_servers_and_intervals_are_added_up(world):
    world.count(1, "primary", "days.1", 100, errors=3)
    world.count(1, "primary", "days.1", 50)
    world.count(2, "candidate", "days.1", 10, slow=4)
    world.count(2, "candidate", None, 7)
    world.count(2, "candidate", "days.1", 1000, model="other")
    world.count(2, "candidate", "days.1", 1000, at=datetime(2020, 1, 1, tzinfo=UTC))
    found = counted(world.lakehouse, "days", since=datetime(2021, 1, 1, tzinfo=UTC))

    assert set(found) == {
        Key(version=1, role="primary", split="days.1"),
        Key(version=2, role="candidate", split="days.1"),
        Key(version=2, role="candidate", split=""),
    }
    primary, candidate = total(found, 1, "primary"), total(found, 2, "candidate", ["days.1"])
    assert (primary.requests, primary.errors, primary.rows) == (150, 3, 150)
    assert primary.error_rate == pytest.approx(0.02)
    assert (candidate.requests, candidate.slower_than(0.05), candidate.slower_than(0.5)) == (10, 4, 0)
    assert total(found, 2, "candidate").requests == 17


def test_what_a_server_counted_and_died_with_is_in_the_log(world):
    world.count(1, "primary", "days.1", 100, errors=3)
    world.count(2, "candidate", "days.1", 2)
    world.answer(1, "primary", "days.1", range(40), [0.5] * 40)  # all of them counted
    world.answer(2, "candidate", "days.1", range(9), [0.5] * 9)
    world.answer(2, "shadow", None, range(7), [0.5] * 7)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    world.answer(2, "candidate", "days.1", range(100, 200), [0.5] * 100, asked=old)
    found = counted(world.lakehouse, "days", since=datetime(2021, 1, 1, tzinfo=UTC))

    primary, candidate = (found[Key(version=v, role=r, split="days.1")] for v, r in ((1, "primary"), (2, "candidate")))
    assert (primary.requests, primary.errors) == (100, 3)
    assert (candidate.requests, candidate.rows, candidate.timed) == (9, 9, 2)
    assert found[Key(version=2, role="shadow", split="")].requests == 7


@given(times, st.sampled_from([0.5, 0.95, 0.99]))
def test_quantiles_from_buckets_are_in_the_bucket_of_the_true_one(seconds, q):
    buckets = [0] * (len(BUCKETS) + 1)
    for each in seconds:
        buckets[sum(each > bound for bound in BUCKETS)] += 1
    found = Counted(requests=len(seconds), buckets=tuple(buckets)).quantile(q)
    true = float(np.quantile(seconds, q, method="inverted_cdf"))
    above = [bound for bound in BUCKETS if bound >= true]
    below = [bound for bound in BUCKETS if bound < true]

    assert found <= (above[0] if above else BUCKETS[-1]) + 1e-12
    assert found >= (below[-1] if below else 0.0) - 1e-12


def test_error_rates_are_compared_within_a_split():
    """The candidate's share grew while everything became worse: put in one pot it would look far worse than it is."""

    def count(requests, errors):
        return Counted(requests=requests, errors=errors)

    found = {
        Key(version=1, role="primary", split="a"): count(9500, 95),
        Key(version=2, role="candidate", split="a"): count(500, 5),
        Key(version=1, role="primary", split="b"): count(5000, 500),
        Key(version=2, role="candidate", split="b"): count(5000, 500),
    }

    assert total(found, 2, "candidate").error_rate > 2 * total(found, 1, "primary").error_rate
    assert error_gap(found, 2, 1).value == pytest.approx(0)
    assert error_gap({}, 2, 1) is None


def rows(draw, n, *, noise=0.5, entities=200, split="a", effect=0.0):
    entity = draw.integers(0, entities, n)
    x = draw.normal(size=n) + effect * draw.normal(size=entities)[entity]
    y = (draw.random(n) < 1 / (1 + np.exp(-2 * x))).astype(float)
    p = 1 / (1 + np.exp(-2 * x + draw.normal(0, noise, n)))
    return pd.DataFrame({"probability": p, LABEL: y, "split": split, "group": entity % traffic_metrics.GROUPS})


def test_the_variance_is_that_of_entities_and_not_of_rows():
    """Each entity's rows are alike: the estimate varies from draw to draw more than that many independent rows would."""
    draw = np.random.default_rng(5)
    found = [estimate(MODEL, "brier", rows(draw, 600, noise=3, entities=80, effect=2.0)) for _ in range(60)]
    true = np.var([each.value for each in found], ddof=1)

    assert 0.6 < np.mean([each.variance for each in found]) / true < 1.7


def test_too_few_rows_or_entities_and_one_class_are_no_estimate():
    draw = np.random.default_rng(6)
    enough = rows(draw, 400)

    assert estimate(MODEL, "roc_auc", enough) is not None
    assert estimate(MODEL, "roc_auc", enough.head(99)) is None
    assert estimate(MODEL, "roc_auc", rows(draw, 400, entities=10)) is None
    assert estimate(MODEL, "roc_auc", enough.assign(**{LABEL: 1.0})) is None
    assert gap(MODEL, "roc_auc", enough, enough.assign(split="b")) is None  # never in the same split


def test_labelled_answers_of_a_version_in_a_role(world):
    assert (
        traffic_metrics.answers(
            world.lakehouse,
            MODEL,
            2,
            role="candidate",
            as_of=datetime.now(UTC) + SOON,
            since=datetime(2020, 1, 1, tzinfo=UTC),
        )
        is None
    )
    world.answer(2, "candidate", "days.1", [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], customers=["x", "x", "y", "y"])
    world.answer(2, "shadow", None, [5], [0.5])
    world.label([1, 2, 3, 5, 9], [0, 1, 1, 1, 1])
    asked = {"as_of": datetime.now(UTC) + SOON, "since": datetime(2020, 1, 1, tzinfo=UTC)}
    found = traffic_metrics.answers(world.lakehouse, MODEL, 2, role="candidate", entity=("customer",), **asked)
    shadow = traffic_metrics.answers(world.lakehouse, MODEL, 2, role="shadow", **asked)
    late = traffic_metrics.answers(
        world.lakehouse, MODEL, 2, role="candidate", as_of=asked["as_of"], since=asked["as_of"]
    )

    assert found[["probability", LABEL, "split"]].to_numpy().tolist() == [
        [0.1, 0.0, "days.1"],
        [0.2, 1.0, "days.1"],
        [0.3, 1.0, "days.1"],
    ]
    assert found["group"][0] == found["group"][1]
    assert shadow[["probability", "split"]].to_numpy().tolist() == [[0.5, ""]]
    assert late.empty


class TestTheTable:
    @pytest.fixture
    def divided(self, registry, world):
        """Version 1 is in Production, 2 has 30 %, 3 shadows; 2 answers at random."""
        from tests.registry.test_move import promote

        promote(registry, 1)
        split = registry.traffic.current("days")
        with registry.state.begin() as connection:
            made = write(
                connection, split, candidates=(Share(version=2, weight=0.3),), shadows=(Share(version=3, weight=1.0),),
                columns=("customer",), by="ada", reason="to see",
            )  # fmt: skip
        draw = np.random.default_rng(7)
        labels = draw.integers(0, 2, 3000)
        good = np.clip(0.3 + 0.4 * labels + draw.normal(0, 0.15, 3000), 0, 1)
        bad = draw.random(3000)
        mine, other = list(range(900)), list(range(900, 3000))
        world.answer(2, "candidate", made.id, mine, bad[:900], customers=[f"c{n % 300}" for n in mine])
        world.answer(1, "primary", made.id, other, good[900:], customers=[f"d{n % 700}" for n in other])
        world.answer(3, "shadow", made.id, other, good[900:], customers=[f"d{n % 700}" for n in other])
        world.label(list(range(3000)), labels)
        world.count(1, "primary", made.id, 2100, errors=4)
        world.count(2, "candidate", made.id, 900, errors=300, quick=0.01)
        world.count(3, "shadow", made.id, 2100, errors=4)
        at = datetime.now(UTC) + SOON
        return experiment(registry, world.lakehouse, "days", MODEL, at=at, as_of=at)

    def test_each_version_has_its_counts(self, divided):
        told = {(arm.version, arm.role): arm for arm in divided.arms}

        assert [(arm.share, arm.requests) for arm in divided.arms] == [(0.7, 2100), (0.3, 900), (1.0, 2100)]
        assert told[2, "candidate"].error_rate == pytest.approx(1 / 3)
        assert told[2, "candidate"].p50 > told[1, "primary"].p50

    def test_what_is_worse_is_told_and_what_is_equal_is_not(self, divided):
        told = {(each.version, each.metric): each for each in divided.compared}

        assert told[2, "error_rate"].verdict == "worse"
        assert told[2, "roc_auc"].verdict == "worse"
        assert told[2, "brier"].verdict == "worse"
        assert told[2, "roc_auc"].difference_high < 0 < told[2, "brier"].difference_low
        assert told[2, "roc_auc"].low < told[2, "roc_auc"].value < told[2, "roc_auc"].high
        for metric in ("error_rate", "roc_auc", "brier"):
            assert told[3, metric].verdict == "undecided"
            assert told[3, metric].difference == pytest.approx(0)
        assert told[1, "roc_auc"].difference is None
        assert told[2, "roc_auc"].labelled == 900
