"""A rollout: what comes next follows from what was observed; a stop comes first, and nothing is done twice."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deployment.conftest import MODEL
from tests.registry.test_move import open_registry, promote, stages
from tests.registry.test_traffic import approve, shadow, to_staging

import headrace as hr
from headrace.core.events import Outbox
from headrace.deployment.rollouts import (
    Abort,
    Facts,
    Promote,
    RuleResult,
    Step,
    Wait,
    by_counts,
    decide,
    outlook,
    reconcile,
)
from headrace.deployment.traffic_metrics import Counted, Key
from headrace.registry.records import RolloutState

AT = datetime(2026, 1, 1, tzinfo=UTC)
DECLARED = hr.Rollout(
    steps=("5%", "25%", "50%"),
    every="1h",
    min_requests=100,
    by=("customer",),
    guardrails=[
        hr.guardrail("error_rate", above=0.01),
        hr.guardrail("p99", above="50ms"),
        hr.guardrail("error_rate", worse_by=0.005),
        hr.guardrail("roc_auc", worse_by=0.02, late=True),
        hr.guardrail("brier", above=0.4, late=True),
    ],
)
HOUR = timedelta(hours=1, minutes=1)


def rollout(**other):
    told = {
        "id": 1,
        "model": "days",
        "version": 2,
        "decision": 1,
        "plan": DECLARED.plan,
        "step": 0,
        "status": "running",
    }
    times = {"started": AT, "step_started": AT, "checked": None, "ended": None}
    return RolloutState(**{**told, **times, "by": "ada", "reason": "", **other})


moments = st.integers(-(10**5), 10**6).map(lambda seconds: AT + timedelta(seconds=seconds))
facts = st.builds(
    Facts,
    requests=st.integers(0, 1000),
    told=st.lists(
        st.builds(RuleResult, rule=st.just("r"), fired=st.booleans(), explanation=st.text(max_size=5)), max_size=3
    ),
    expires=moments,
)


class TestWhatComesNext:
    @given(facts, moments, st.integers(0, 2))
    def test_as_laws(self, known, at, step):
        action = decide(rollout(step=step), known, at)
        over, enough = at >= AT + timedelta(hours=1), known.requests >= 100
        fired = any(told.fired for told in known.told)

        assert isinstance(action, Abort) == (fired or known.expires <= at)
        assert isinstance(action, Step | Promote) == (over and enough and not isinstance(action, Abort))
        assert not isinstance(action, Promote) or step == 2
        assert not isinstance(action, Step) or step < 2
        assert decide(rollout(step=step), known, at) == action

    def test_a_step_needs_its_time_and_its_requests(self):
        def after(minutes, requests):
            return decide(
                rollout(),
                Facts(requests=requests, told=(), expires=AT + timedelta(days=7)),
                AT + timedelta(minutes=minutes),
            )

        assert after(59, 1000) == Wait(
            until=AT + timedelta(hours=1), reason="at 5 % until 2026-01-01 01:00:00 UTC, 1,000 of 100 requests"
        )
        assert after(61, 99).reason == "at 5 %: 99 of 100 requests in this step"
        assert isinstance(after(61, 100), Step)

    def test_a_stop_says_why_even_when_the_step_is_over(self):
        told = [
            RuleResult(rule="a", fired=False, explanation="fine"),
            RuleResult(rule="b", fired=True, explanation="bad"),
        ]
        known = Facts(requests=1000, told=told, expires=AT + timedelta(days=7))
        assert decide(rollout(step=2), known, AT + timedelta(days=1)) == Abort(reason="bad")

    def test_an_approval_that_expired_ends_it(self):
        known = Facts(requests=1000, told=(), expires=AT + timedelta(days=7))
        assert "expired" in decide(rollout(), known, AT + timedelta(days=8)).reason


def counts(candidate, primary):
    return {Key(version=2, role="candidate", split="a"): candidate, Key(version=1, role="primary", split="a"): primary}


def grown(draw, looks, each, *, errors, slow, ratio=4):
    """Counts of two versions at each look, with these rates of errors and of requests beyond 50 ms."""
    requests, failed, late = 0, 0, 0
    others, theirs = 0, 0
    for _ in range(looks):
        requests += each
        failed += int(draw.binomial(each, errors))
        late += int(draw.binomial(each, slow))
        others += ratio * each
        theirs += int(draw.binomial(ratio * each, 0.004))
        buckets = [0] * 14
        buckets[3], buckets[10] = requests - late, late
        yield counts(
            Counted(requests=requests, errors=failed, buckets=tuple(buckets)), Counted(requests=others, errors=theirs)
        )


class TestRulesOnCounts:
    def fired(self, draw, *, alone=None, **rates):
        """The rules that stopped a rollout at some look."""
        plan = DECLARED.plan
        if alone is not None:
            place = [rule.name for rule in DECLARED.guardrails].index(alone)
            plan = replace(plan, guardrails=(plan.guardrails[place],))
        for found in grown(draw, 60, 50, **rates):
            if told := [each.rule for each in by_counts(rollout(plan=plan), found, 1) if each.fired]:
                return told
        return []

    def test_rollouts_of_an_equal_version_stop_less_often_than_alpha(self):
        draw = np.random.default_rng(11)
        stopped = [self.fired(draw, errors=0.004, slow=0.01) for _ in range(150)]

        assert sum(map(bool, stopped)) / 150 <= DECLARED.alpha

    @pytest.mark.parametrize(
        ("rates", "rule"),
        [
            ({"errors": 0.05, "slow": 0.0}, "error_rate > 0.01"),
            ({"errors": 0.004, "slow": 0.1}, "p99 > 50ms"),
            ({"errors": 0.03, "slow": 0.0}, "error_rate worse by 0.005"),
        ],
    )
    def test_a_worse_one_is_stopped_by_the_rule_that_it_breaks(self, rates, rule):
        draw = np.random.default_rng(12)
        stopped = [self.fired(draw, alone=rule, **rates) for _ in range(40)]

        assert stopped.count([rule]) >= 38

    def test_without_a_request_no_rule_fires(self):
        assert [told.fired for told in by_counts(rollout(), {}, 1)] == [False, False]


class Scene:
    """Version 1 in Production, version 2 at the first step of its rollout."""

    def __init__(self, registry, world, root):
        self.registry, self.world, self.root = registry, world, root
        promote(registry, 1)
        self.decision = approve(registry, 2, plan=DECLARED.plan)
        registry.rollouts.begin(registry.get("days", 2), self.decision, DECLARED.plan, by="ada", reason="approved")

    @property
    def split(self):
        return self.registry.traffic.current("days")

    def traffic(self, **how):
        self.world.count(1, "primary", self.split.id, 2000)
        self.world.count(2, "candidate", self.split.id, **{"requests": 200, **how})

    def reconcile(self, after=HOUR, registry=None):
        at = datetime.now(UTC) + after
        return reconcile(registry or self.registry, self.world.lakehouse, "days", MODEL, at=at, as_of=at)


@pytest.fixture
def scene(registry, world, tmp_path):
    return Scene(registry, world, tmp_path)


class TestTending:
    def test_a_good_version_comes_to_production_step_by_step(self, scene):
        said = []
        for _ in range(3):
            scene.traffic()
            said.append(scene.reconcile())

        assert [text.split(":")[0] for text in said] == [
            "days version 2 comes to 25 %", "days version 2 comes to 50 %", "days version 2 is in Production",
        ]  # fmt: skip
        assert stages(scene.registry) == ["Archived", "Production", "None"]
        assert [split.weight(2) for split in scene.registry.traffic.history("days")] == [0.05, 0.25, 0.5, None]
        assert scene.reconcile() is None

    def test_requests_of_the_step_before_do_not_count(self, scene):
        scene.traffic()
        scene.reconcile()
        assert scene.reconcile() is None
        assert "0 of 100 requests" in outlook(
            scene.registry, scene.world.lakehouse, scene.registry.rollouts.running("days"), datetime.now(UTC) + HOUR
        )
        assert scene.split.weight(2) == 0.25

    def test_a_change_of_shadows_in_between_takes_no_request_away(self, scene):
        to_staging(scene.registry, 3)
        scene.traffic(requests=60)
        shadow(scene.registry, 3)
        scene.traffic(requests=60)
        assert "comes to 25 %" in scene.reconcile()
        assert [each.version for each in scene.split.shadows] == [3]

    def test_before_its_time_nothing_happens(self, scene):
        scene.traffic()
        assert scene.reconcile(after=timedelta(minutes=1)) is None
        assert scene.split.weight(2) == 0.05

    @pytest.mark.parametrize(("how", "rule"), [({"errors": 40}, "error_rate > 0.01"), ({"slow": 60}, "p99 > 50ms")])
    def test_a_bad_one_is_stopped_at_once_and_production_answers_everything(self, scene, how, rule):
        scene.traffic(**how)
        said = scene.reconcile(after=timedelta(seconds=2))

        assert said.startswith("the rollout of days version 2 was stopped at 5 %")
        assert rule in said
        assert (scene.split.candidates, scene.split.primary) == ((), 1)
        assert stages(scene.registry) == ["Production", "None", "None"]
        kept = scene.registry.rollouts.of(scene.decision)
        assert kept.status == "stopped"
        assert rule in kept.reason
        event = next(each for each in Outbox(scene.registry.state).events() if each.name == "rollout.stopped")
        assert event.payload["reason"] == kept.reason
        assert scene.reconcile() is None

    def answers(self, scene, noise):
        draw = np.random.default_rng(9)
        labels = draw.integers(0, 2, 4000)
        of = ((2, "candidate", range(1000), noise, 100), (1, "primary", range(1000, 4000), 0.2, 1900))
        for version, role, ids, sigma, customers in of:
            given = np.clip(0.3 + 0.4 * labels[list(ids)] + draw.normal(0, sigma, len(ids)), 0, 1)
            named = [f"{version} {n % customers}" for n in ids]
            scene.world.answer(version, role, scene.split.id, list(ids), given, customers=named)
        scene.world.label(list(range(4000)), labels)

    def test_one_whose_answers_are_worse_is_stopped_where_labels_are_known(self, scene):
        scene.traffic()
        self.answers(scene, noise=3.0)
        assert "roc_auc worse by 0.02" in scene.reconcile()
        assert scene.split.candidates == ()

    def test_one_whose_answers_are_as_good_goes_on(self, scene):
        scene.traffic()
        self.answers(scene, noise=0.2)
        assert "comes to 25 %" in scene.reconcile()

    def test_whose_model_is_not_declared_any_more_it_waits_and_can_still_be_stopped(self, scene):
        scene.traffic()
        at = datetime.now(UTC) + HOUR
        assert reconcile(scene.registry, scene.world.lakehouse, "days", None, at=at, as_of=at) is None
        assert scene.split.weight(2) == 0.05
        scene.traffic(errors=100)
        assert "was stopped" in reconcile(scene.registry, scene.world.lakehouse, "days", None, at=at, as_of=at)

    def test_of_two_schedulers_one_takes_the_step(self, scene):
        scene.traffic()

        def go(_):
            own = open_registry(scene.root)
            try:
                return scene.reconcile(registry=own)
            finally:
                own.state.close()

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(go, range(2)))

        assert len([each for each in found if each]) == 1
        assert scene.split.weight(2) == 0.25
        assert len(scene.registry.traffic.history("days")) == 2


TEND = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from headrace.deployment.rollouts import reconcile
from headrace.lakehouse.lakehouse import Lakehouse
from tests.deployment.conftest import MODEL
from tests.registry.test_move import open_registry
root = Path(sys.argv[1])
at = datetime.now(UTC) + timedelta(hours=1, minutes=1)
reconcile(open_registry(root), Lakehouse("dev", str(root / "lakehouse")), "days", MODEL, at=at, as_of=at)
"""


@pytest.mark.parametrize(
    ("place", "steps", "how", "ends"),
    [
        ("rollout.reconciling:days", 0, {}, "Production"),
        ("rollout.advanced:days", 1, {}, "Production"),
        ("rollout.stopped:days", 0, {"errors": 50}, "None"),
        ("registry.moving:days/2", 2, {}, "Production"),
        ("registry.moved:days/2", 2, {}, "Production"),
    ],
)
def test_killed_anywhere_the_next_one_goes_on(scene, place, steps, how, ends):
    for _ in range(2 if place.startswith("registry") else 0):
        scene.traffic()
        scene.reconcile()
    scene.traffic(**how)
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TEND, str(scene.root)],
        env={**os.environ, "HEADRACE_FAILPOINT": place},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    history = scene.registry.traffic.history("days")
    assert len([split for split in history if split.weight(2)]) == steps + 1

    for _ in range(4):
        if scene.registry.rollouts.running("days"):
            scene.traffic(**how)
            scene.reconcile()
    assert scene.registry.get("days", 2).stage == ends
    shares = [split.weight(2) for split in scene.registry.traffic.history("days")]
    assert shares == ([0.05, 0.25, 0.5, None] if ends == "Production" else [0.05, None])
