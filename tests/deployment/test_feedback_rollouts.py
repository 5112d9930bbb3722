"""Rollouts that go by what people say: worse ones are stopped, an experiment has a winner, and silence does not pass."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.deployment.conftest import MODEL
from tests.registry.test_move import promote, stages
from tests.registry.test_traffic import approve

import headrace as hr
from headrace.deployment.experiment import experiment
from headrace.deployment.rollouts import reconcile

HOUR = timedelta(hours=1, minutes=1)
FEEDBACK = hr.Feedback("thumbs", "score", "correction", implicit=["retry"], within="100m")
WORSE = hr.guardrail("feedback.thumbs", worse_by=0.05)


class Scene:
    """Version 1 in Production, version 2 at half of the traffic; 300 people ask each version twice."""

    def __init__(self, registry, world, **declared):
        self.registry, self.world = registry, world
        self.plan = hr.Rollout(steps=("50%",), every="1h", min_requests=100, by=("customer",), **declared).plan
        promote(registry, 1)
        decision = approve(registry, 2, plan=self.plan)
        registry.rollouts.begin(registry.get("days", 2), decision, self.plan, by="ada", reason="approved")
        self.split = registry.traffic.current("days")
        self.asked = datetime.now(UTC) - timedelta(hours=1)
        world.label([9999], [1])
        for version, role in ((2, "candidate"), (1, "primary")):
            world.count(version, role, self.split.id, 600)
            people = [f"{version} {number // 2}" for number in range(600)]
            world.answer(version, role, self.split.id, range(600), [0.5] * 600, customers=people, asked=self.asked)

    @property
    def rollout(self):
        return self.registry.rollouts.list("days")[0]

    def say(self, candidate, primary, *, kind="thumbs", of=(600, 600), seed=1, after=timedelta(minutes=5)):
        """Shares of thumbs up; people say much the same of both of their answers."""
        draw = np.random.default_rng(seed)
        for version, role, share, many in ((2, "candidate", candidate, of[0]), (1, "primary", primary, of[1])):
            content = draw.random(300) < share
            self.world.say(
                version, role, range(many), [content[n // 2] for n in range(many)], kind=kind, at=self.asked + after
            )

    def reconcile(self, *, feedback=FEEDBACK, after=HOUR):
        at = datetime.now(UTC) + after
        return reconcile(self.registry, self.world.lakehouse, "days", MODEL, feedback=feedback, at=at, as_of=at)

    def shown(self):
        at = datetime.now(UTC) + HOUR
        return experiment(
            self.registry,
            self.world.lakehouse,
            "days",
            MODEL,
            since=self.asked - timedelta(minutes=1),
            feedback=FEEDBACK,
            metric=self.plan.metric,
            at=at,
            as_of=at,
        )


@pytest.fixture
def scene(registry, world):
    """`scene(guardrails=[…], metric=…)`."""

    def begun(**declared):
        return Scene(registry, world, **declared)

    return begun


class TestGuardrails:
    def test_a_version_that_people_like_less_is_stopped(self, scene):
        scene = scene(guardrails=[WORSE])
        scene.say(0.5, 0.8)
        assert "feedback.thumbs worse by 0.05: feedback.thumbs is -0.2" in scene.reconcile(after=timedelta(minutes=10))
        assert stages(scene.registry) == ["Production", "None", "None"]
        assert scene.registry.traffic.current("days").candidates == ()

    def test_one_that_they_like_as_much_comes_to_production(self, scene):
        scene = scene(guardrails=[WORSE])
        scene.say(0.8, 0.8)
        assert "is in Production" in scene.reconcile()

    @pytest.mark.parametrize(
        ("rule", "kind", "bad", "good"),
        [
            (hr.guardrail("feedback.thumbs", below=0.6), "thumbs", 0.4, 0.8),
            (hr.guardrail("feedback.score", below=3.5), "score", 0.0, 1.0),
        ],
    )
    def test_a_limit_holds_for_the_candidate_alone(self, scene, rule, kind, bad, good):
        scene = scene(guardrails=[rule])
        if kind == "score":
            for version, role in ((2, "candidate"), (1, "primary")):
                scene.world.say(version, role, range(600), [2, 3] * 300, kind=kind, at=scene.asked)
        else:
            scene.say(bad, good, kind=kind)
        assert rule.name in scene.reconcile()

    def test_what_people_do_is_a_share_of_the_answers(self, scene):
        scene = scene(guardrails=[hr.guardrail("feedback.retry", worse_by=0.05)])
        scene.world.say(2, "candidate", range(200), [1] * 200, kind="retry", at=scene.asked)
        scene.world.say(2, "candidate", range(200), [1] * 200, kind="retry", users=["b"] * 200, at=scene.asked)
        scene.world.say(1, "primary", range(30), [1] * 30, kind="retry", at=scene.asked)
        (mine,) = [each for each in scene.shown().compared if (each.metric, each.version) == ("feedback.retry", 2)]
        assert (mine.value, mine.labelled, mine.verdict) == (pytest.approx(200 / 600), 600, "worse")
        assert "feedback.retry worse by 0.05" in scene.reconcile()

    def test_corrections_are_a_share_of_the_answers(self, scene):
        scene = scene(guardrails=[hr.guardrail("feedback.correction", above=0.1)])
        scene.world.say(2, "candidate", range(200), [None] * 200, kind="correction", at=scene.asked)
        assert "feedback.correction > 0.1: feedback.correction is 0.3333 of 600" in scene.reconcile()

    def test_the_last_word_counts_and_what_comes_late_does_not(self, scene):
        scene = scene(guardrails=[WORSE])
        scene.say(0.1, 0.8, after=timedelta(minutes=1))
        scene.say(0.8, 0.8, after=timedelta(minutes=2))  # they changed their minds
        scene.say(0.0, 0.8, after=timedelta(minutes=110))
        found = {(each.metric, each.version): each.value for each in scene.shown().compared}
        assert found["feedback.thumbs", 2] > 0.7

    def test_far_less_feedback_on_the_candidate_holds_it(self, scene):
        scene = scene(guardrails=[WORSE])
        scene.say(1.0, 0.5, of=(100, 600))
        assert scene.reconcile() is None
        assert "people rated 100 of 600 answers, while they rated 600 of 600" in scene.rollout.held[WORSE.name]

    def test_silence_holds_the_end_unless_feedback_may_be_late(self, scene):
        begun = scene(guardrails=[WORSE])
        assert begun.reconcile() is None
        assert "nobody said thumbs of 1,200 answers" in begun.rollout.held[WORSE.name]

    def test_feedback_that_may_come_later_does_not_hold(self, scene):
        begun = scene(guardrails=[hr.guardrail("feedback.thumbs", worse_by=0.05, late=True)])
        assert "is in Production" in begun.reconcile()

    def test_a_kind_that_is_not_declared_any_more_holds_it(self, scene):
        begun = scene(guardrails=[WORSE])
        begun.say(0.8, 0.8)
        for other in (None, hr.Feedback("score")):
            assert begun.reconcile(feedback=other) is None
            assert "is declared without that feedback now" in begun.rollout.held[WORSE.name]


class TestExperiments:
    def test_the_better_version_comes_to_production_and_the_result_stays(self, scene):
        scene = scene(metric="feedback.thumbs")
        scene.say(0.8, 0.5)
        before = scene.shown().outcome
        assert (before.winner, before.requests, before.known) == (2, 1200, 1200)
        assert before.p_value < 0.05
        said = scene.reconcile()
        assert "days version 2 is in Production: feedback.thumbs is 0.8" in said
        assert "version 2 wins" in said
        assert stages(scene.registry) == ["Archived", "Production", "None"]
        assert scene.registry.traffic.current("days").candidates == ()
        assert scene.shown().outcome == before
        scene.say(0.0, 1.0, seed=9, after=timedelta(minutes=90))  # what comes after the end changes nothing
        assert scene.shown().outcome == before

    def test_a_worse_version_is_stopped_and_production_wins(self, scene):
        scene = scene(metric="feedback.thumbs")
        scene.say(0.5, 0.8)
        assert "version 1 wins" in scene.reconcile()
        assert stages(scene.registry) == ["Production", "None", "None"]
        assert scene.rollout.status == "stopped"
        assert scene.shown().outcome.winner == 1

    def test_equal_versions_wait_at_the_last_step_and_a_person_may_go_on(self, scene):
        scene = scene(metric="feedback.thumbs")
        scene.say(0.7, 0.7)
        assert scene.reconcile() is None
        assert "which is undecided" in scene.rollout.held["feedback.thumbs better"]
        assert scene.shown().outcome.winner is None
        scene.registry.rollouts.waive(scene.rollout, ["feedback.thumbs better"], by="olga", reason="cheaper")
        assert "is in Production" in scene.reconcile()

    def test_before_anybody_said_anything_it_waits(self, scene):
        scene = scene(metric="feedback.thumbs")
        assert scene.reconcile() is None
        assert "too little is known, 0 values" in scene.rollout.held["feedback.thumbs better"]
        assert scene.shown().outcome.p_value is None

    def test_a_metric_of_labels_may_be_the_main_one(self, scene):
        scene = scene(metric="roc_auc")
        assert scene.reconcile() is None
        assert "roc_auc: too little is known" in scene.rollout.held["roc_auc better"]
