"""Nothing seen is no pass: a rule that sees no labels, or of which nothing can be said, holds the rollout and says so."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from tests.deployment.conftest import MODEL
from tests.registry.test_move import ADA, GUEST, OLGA, promote, stages
from tests.registry.test_traffic import approve

import headrace as hr
from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.events import Outbox
from headrace.deployment import traffic
from headrace.deployment.rollouts import LOOK, judge, outlook, reconcile

HOUR = timedelta(hours=1, minutes=1)
LATE = hr.guardrail("roc_auc", worse_by=0.02, late=True)
RULE = hr.guardrail("roc_auc", worse_by=0.02)


class Scene:
    """Version 1 in Production, version 2 at half of the traffic, which is the only step."""

    def __init__(self, registry, world, *rules, min_requests=100):
        self.registry, self.world = registry, world
        self.plan = hr.Rollout(
            steps=("50%",), every="1h", min_requests=min_requests, by=("customer",), guardrails=rules
        ).plan
        self.asked = datetime.now(UTC) + timedelta(seconds=1)
        promote(registry, 1)
        decision = approve(registry, 2, plan=self.plan)
        registry.rollouts.begin(registry.get("days", 2), decision, self.plan, by="ada", reason="approved")
        self.split = registry.traffic.current("days")

    @property
    def rollout(self):
        return self.registry.rollouts.list("days")[0]

    def count(self, *, candidate=500, primary=500, **how):
        self.world.count(1, "primary", self.split.id, primary, **how)
        self.world.count(2, "candidate", self.split.id, candidate, **how)

    def answer(self, *, away=0, candidate=None, entities=True):
        """500 answers of each, whose probabilities follow the labels; `away` is added to the keys that are logged."""
        draw = np.random.default_rng(1)
        labels = draw.integers(0, 2, 1000)
        given = np.clip(0.3 + 0.4 * labels + draw.normal(0, 0.15, 1000), 0, 1)
        for version, role, ids in ((2, "candidate", range(500)), (1, "primary", range(500, 1000))):
            of = given[list(ids)] if candidate is None or version == 1 else candidate(labels[list(ids)])
            keys = [away + n for n in ids]
            self.world.answer(version, role, self.split.id, keys, of, asked=self.asked)
        return labels

    def decide(self, many=1000):
        """The decisions, as the spine comes to have them."""
        rows = {
            "id": pa.array(range(many), pa.int64()),
            "placed_at": pa.array([self.asked - timedelta(seconds=1)] * many, pa.timestamp("us", "UTC")),
            "amount": pa.array([1.5] * many),
        }
        self.world.commit("shop.orders", pa.table(rows))

    def reconcile(self, after=HOUR):
        at = datetime.now(UTC) + after
        return reconcile(self.registry, self.world.lakehouse, "days", MODEL, at=at, as_of=at)

    def events(self, name):
        return [each for each in Outbox(self.registry.state).events() if each.name == name]


@pytest.fixture
def scene(registry, world):
    return lambda *rules, **how: Scene(registry, world, *rules, **how)


@pytest.mark.parametrize("rule", [RULE, LATE], ids=["due", "late"])
def test_labels_that_are_known_and_find_no_answer_hold_the_rollout(scene, rule):
    it = scene(rule)
    it.count()
    it.decide()
    it.world.label(range(1000), it.answer(away=1_000_000))
    assert it.reconcile(after=timedelta(minutes=2)) is None  # it is told at once, not at the end
    (said,) = it.rollout.held.values()
    assert said.startswith(
        "roc_auc worse by 0.02: it sees 0 labels of 500 answers, while 1,000 labels of 1,000 decisions"
    )
    assert it.reconcile() is None
    assert it.rollout.status == "running"
    (event,) = it.events("rollout.held")
    assert event.payload["rules"] == ["roc_auc worse by 0.02"]
    assert said in outlook(it.registry, it.world.lakehouse, it.rollout, datetime.now(UTC) + HOUR)


def test_labels_that_only_the_primary_finds_hold_it(scene):
    it = scene(LATE)
    it.count()
    labels = it.answer()
    it.world.label(range(500, 1000), labels[500:])
    assert it.reconcile() is None
    assert "0 labels of 500 answers, while 500 of 500 of the version in Production" in it.rollout.held[LATE.name]


def test_labels_that_come_late_to_both_hold_nothing_that_is_declared_so(scene):
    it = scene(LATE)
    it.count()
    it.decide()
    it.answer()
    it.world.label(range(5000, 6000), [1] * 1000)  # of earlier decisions
    assert "is in Production" in it.reconcile()


def test_a_rule_that_saw_no_label_holds_the_end_until_somebody_who_could_approve_waives_it(scene):
    it = scene(RULE)
    it.count()
    it.answer()
    it.world.label([9_999], [1])
    assert it.reconcile(after=timedelta(minutes=2)) is None
    assert it.rollout.held == {}  # not before the end
    assert it.reconcile() is None
    assert "0 labelled answers of the candidate and 0" in it.rollout.held[RULE.name]
    for who, says in ((ADA, "four eyes"), (GUEST, "it takes the role governance")):
        with pytest.raises(RefusedError, match=says):
            traffic.waive(it.registry, "days", (), identity=who, reason="labels come next month")
    with pytest.raises(RefusedError, match="without a reason"):
        traffic.waive(it.registry, "days", (), identity=OLGA, reason=" ")
    with pytest.raises(NotFoundError, match="brier"):
        traffic.waive(it.registry, "days", ("brier",), identity=OLGA, reason="labels come next month")
    traffic.waive(it.registry, "days", (), identity=OLGA, reason="labels come next month")
    assert it.events("rollout.waived")[0].payload["who"] == "olga"
    with pytest.raises(RefusedError, match="no rule holds"):
        traffic.waive(it.registry, "days", (), identity=OLGA, reason="again")
    assert "is in Production" in it.reconcile()
    assert stages(it.registry)[1] == "Production"


def test_a_rule_that_was_waived_still_stops(scene):
    it = scene(RULE)
    it.count()
    labels = it.answer(candidate=lambda labels: 0.7 - 0.4 * labels)
    it.reconcile()
    traffic.waive(it.registry, "days", (), identity=OLGA, reason="labels come next month")
    it.world.label(range(1000), labels)
    assert "was stopped at 50 %: roc_auc worse by 0.02" in it.reconcile()


@pytest.mark.parametrize("rule", [RULE, hr.guardrail("roc_auc", below=0.7)], ids=["worse", "below"])
def test_one_that_answers_the_same_to_everybody_is_stopped(scene, rule):
    it = scene(rule)
    it.count()
    it.world.label(range(1000), it.answer(candidate=lambda labels: [0.5] * len(labels)))
    assert f"was stopped at 50 %: {rule.name}" in it.reconcile()


def test_one_whose_answers_are_null_is_stopped(scene):
    it = scene(RULE)
    it.count()
    it.world.label(range(1000), it.answer(candidate=lambda labels: [None] * len(labels)))
    assert "500 of 500 answers are null" in it.reconcile()


def test_labels_of_one_class_say_nothing_of_a_metric_that_compares_two(scene):
    it = scene(LATE)
    it.count()
    it.answer()
    it.world.label(range(1000), [0] * 1000)
    assert it.reconcile() is None
    assert "nothing can be said by 500 labelled answers" in it.rollout.held[LATE.name]


def test_labels_that_are_none_hold_it_and_are_told(scene):
    it = scene(RULE)
    it.count()
    it.answer()
    it.world.label(range(1000), [7] * 1000)
    assert it.reconcile() is None
    assert "neither true nor false" in it.rollout.held[RULE.name]


def test_a_metric_that_the_model_does_not_have_any_more_holds_it(scene):
    it = scene(RULE)
    plan = replace(it.plan, guardrails=({"metric": "rmse", "worse_by": 0.1},))
    found = judge(
        it.registry,
        it.world.lakehouse,
        replace(it.rollout, plan=plan),
        MODEL,
        at=datetime.now(UTC),
        as_of=datetime.now(UTC),
    )
    assert [hold.reason for hold in found.holds if not hold.at_the_end] == [
        "rmse worse by 0.1 cannot be told: days is declared without such a metric now"
    ]


def test_a_rule_against_a_primary_that_counted_nothing_holds_the_end(scene):
    rule = hr.guardrail("error_rate", worse_by=0.01)
    it = scene(rule)
    it.count(primary=0)
    assert it.reconcile() is None
    assert "servers counted 500 and 0 requests, which says nothing" in it.rollout.held[rule.name]
    it.count()
    assert it.reconcile() is None  # it was looked at just now
    assert "is in Production" in it.reconcile(after=HOUR + LOOK)


def test_a_server_whose_clock_is_behind_is_counted_by_its_split(scene):
    it = scene(hr.guardrail("error_rate", above=0.01))
    it.count(at=datetime.now(UTC) - timedelta(hours=2), errors=100)
    assert "200 of 1,000" not in (said := it.reconcile(after=timedelta(minutes=2)))
    assert "100 of 500 requests failed" in said


def test_a_sample_ratio_that_is_off_stops_it(scene):
    it = scene(hr.guardrail("error_rate", above=0.01))
    it.count()
    it.world.answer(1, "primary", it.split.id, range(600), [0.5] * 600)
    it.world.answer(2, "candidate", it.split.id, range(600, 860), [0.5] * 260)
    assert "sample ratio: version 2 has 260 of 860 entities, 50 % asked" in it.reconcile(after=timedelta(minutes=2))
    assert it.rollout.status == "stopped"
    assert json.loads(json.dumps(it.events("rollout.stopped")[0].payload))["reason"] == it.rollout.reason
