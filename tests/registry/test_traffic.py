"""Who answers: no share without the right to Production, nobody's change lost, one entity with one version."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.registry.test_move import EVIDENCE, OLGA, ask, open_registry, promote, stages

from headrace.access.audit import Audit
from headrace.core.errors import ConflictError, DataError, HeadraceError, NotFoundError, RefusedError
from headrace.core.events import Outbox
from headrace.core.ids import digest
from headrace.registry import tables
from headrace.registry.records import RolloutPlan, Share, TrafficSplit
from headrace.registry.split import _salt

PLAN = RolloutPlan(steps=(0.05, 0.25, 0.5), every=1.0, min_requests=10, guardrails=(), alpha=0.05, by=("customer",))


def approve(registry, version, *, against=1, plan=None, key=None):
    found = registry.get("days", version)
    evidence = {**EVIDENCE, **({"rollout": plan.to_json()} if plan else {})}
    request = registry.requests.ask(
        found,
        "Production",
        key=key or digest(["approve", version, against, str(plan)]),
        by="ada",
        hands=(),
        evidence=evidence,
        against=against,
        roles=("governance",),
    )
    return registry.requests.approve(request.id, OLGA)


def to_staging(registry, version):
    request = ask(registry, version, "Staging", roles=())
    decision = registry.requests.by_gates(request.id, approved=True, reason="green")
    registry.move(registry.get("days", version), "Staging", expect="None", decision=decision, by="ada")


def archive(registry, version):
    found = registry.get("days", version)
    request = registry.requests.ask(
        found, "Archived", key=f"archive {version} {found.stage}", by="ada", hands=(), evidence={}, against=None
    )
    decision = registry.requests.by_gates(request.id, approved=True, reason="bad")
    registry.move(found, "Archived", expect=found.stage, decision=decision, by="ada")


def divide(registry, candidates, *, columns=(), by="ada", reason="to see"):
    expect = registry.traffic.current("days").number
    return registry.traffic.divide("days", candidates, columns=columns, expect=expect, by=by, reason=reason)


def shadow(registry, version, share=1.0):
    expect = registry.traffic.current("days").number
    return registry.traffic.shadow("days", version, share, expect=expect, by="ada", reason="to see")


@pytest.fixture
def approved(registry):
    """Version 1 is in Production, version 2 approved to follow it."""
    promote(registry, 1)
    return registry, approve(registry, 2)


class TestTheRightToAnswer:
    def test_an_approved_version_gets_a_share_and_the_change_is_kept(self, approved):
        registry, _ = approved
        made = divide(registry, {2: 0.1}, columns=("customer",))

        assert registry.traffic.current("days") == made == registry.traffic.history("days")[0]
        assert (made.id, made.primary, made.primary_weight, made.columns) == ("days.1", 1, 0.9, ("customer",))
        assert (made.by, made.reason) == ("ada", "to see")
        entry = Audit(registry.state).entries()[0]
        assert (entry.action, entry.who, entry.details["split"]) == ("traffic.changed", "ada", "days.1")
        event = Outbox(registry.state).events()[-1]
        assert (event.name, event.payload["model"]) == ("traffic.changed", "days")
        assert stages(registry) == ["Production", "None", "None"]

    def test_one_that_nobody_approved_gets_none(self, approved):
        registry, _ = approved
        with pytest.raises(RefusedError, match=r"days/3 is not approved for Production"):
            divide(registry, {3: 0.1})
        assert registry.traffic.current("days").number == 0

    def test_an_approval_against_another_version_in_production_does_not_count(self, approved):
        registry, _ = approved
        approve(registry, 3)
        promote(registry, 2, against=1, key="other")
        with pytest.raises(RefusedError, match="not approved for Production, against version 2"):
            divide(registry, {3: 0.1})

    def test_a_rejected_a_spent_and_an_expired_decision_do_not_count(self, approved):
        registry, decision = approved
        with registry.state.begin() as connection:
            late = sa.update(tables.DECISIONS).where(tables.DECISIONS.c.id == decision.id)
            connection.execute(late.values(expires=decision.at - timedelta(seconds=1)))
        request = ask(registry, 3, against=1)
        registry.requests.reject(request.id, OLGA, reason="no")
        for version in (2, 3):
            with pytest.raises(RefusedError, match="is not approved"):
                divide(registry, {version: 0.1})

    def test_evidence_or_an_artifact_that_was_changed_voids_the_right(self, approved, tmp_path):
        registry, _ = approved
        (tmp_path / "artifacts" / "model2" / "MLmodel").write_text("flavors: {}")
        for call in (lambda: divide(registry, {2: 0.1}), lambda: shadow(registry, 2)):
            with pytest.raises(DataError, match="changed after it was registered"):
                call()

    def test_evidence_that_was_changed_after_the_approval_voids_it(self, approved):
        registry, decision = approved
        with registry.state.begin() as connection:
            mine = sa.update(tables.REQUESTS).where(tables.REQUESTS.c.id == decision.request)
            connection.execute(mine.values(evidence={"roc_auc": 1.0}))
        with pytest.raises(RefusedError, match="evidence"):
            divide(registry, {2: 0.1})

    def test_one_that_was_in_production_before_may_be_compared_with_its_successor(self, approved):
        registry, _ = approved
        promote(registry, 2, against=1, key="other")
        assert stages(registry) == ["Archived", "Production", "None"]

        assert divide(registry, {1: 0.5}).candidates == (Share(version=1, weight=0.5),)

    def test_an_archived_one_that_never_was_there_is_refused(self, approved):
        registry, _ = approved
        archive(registry, 2)
        with pytest.raises(RefusedError, match="archived and has never been in Production"):
            divide(registry, {2: 0.1})
        with pytest.raises(RefusedError, match="is in Archived"):
            shadow(registry, 2)

    def test_the_version_in_production_and_one_that_does_not_exist_are_refused(self, approved):
        registry, _ = approved
        with pytest.raises(RefusedError, match="is in Production"):
            divide(registry, {1: 0.1})
        with pytest.raises(NotFoundError, match="'9'"):
            divide(registry, {9: 0.1})
        with pytest.raises(NotFoundError, match="dayz"):
            registry.traffic.current("dayz")

    def test_with_nothing_in_production_there_is_nothing_to_divide(self, registry):
        approve(registry, 2, against=None)
        with pytest.raises(RefusedError, match="nothing of days is in Production"):
            divide(registry, {2: 0.1})

    @pytest.mark.parametrize(
        "weights", [{2: 0.0}, {2: -0.1}, {2: float("nan")}, {2: float("inf")}, {2: 1.0}, {2: 1e-9}]
    )
    def test_a_share_that_is_none_is_refused(self, approved, weights):
        with pytest.raises(RefusedError, match="cannot have a share of"):
            divide(approved[0], weights)

    def test_shares_that_leave_nothing_are_refused(self, approved):
        registry, _ = approved
        approve(registry, 3)
        with pytest.raises(RefusedError, match="100 % together"):
            divide(registry, {2: 0.5, 3: 0.5})

    def test_an_approved_rollout_is_the_most_that_may_be_given_by_hand(self, registry):
        promote(registry, 1)
        approve(registry, 2, plan=PLAN)
        with pytest.raises(RefusedError, match="a rollout of up to 50 %, not 60 %"):
            divide(registry, {2: 0.6})
        assert divide(registry, {2: 0.5}).weight(2) == 0.5


class TestShadows:
    def test_a_shadow_has_passed_the_gates_before_staging(self, approved):
        registry, _ = approved
        with pytest.raises(RefusedError, match="is in None"):
            shadow(registry, 3)
        to_staging(registry, 3)
        assert shadow(registry, 3, 0.2).shadows == (Share(version=3, weight=0.2),)
        assert shadow(registry, 3, 0).shadows == ()
        with pytest.raises(RefusedError, match="is no shadow"):
            shadow(registry, 3, 0)

    @pytest.mark.parametrize("share", [float("nan"), -0.1, 1.1])
    def test_a_share_that_is_none_is_refused(self, approved, share):
        with pytest.raises(RefusedError, match="not possible"):
            shadow(approved[0], 2, share)

    def test_who_answers_is_no_shadow(self, approved):
        registry, _ = approved
        to_staging(registry, 2)
        shadow(registry, 2)
        assert divide(registry, {2: 0.1}).shadows == ()
        with pytest.raises(RefusedError, match="answers 10 % itself"):
            shadow(registry, 2)
        with pytest.raises(RefusedError, match="no shadow of itself"):
            shadow(registry, 1)


class TestTwoAtOnce:
    def test_one_wins_and_the_other_is_told(self, approved, tmp_path):
        registry, _ = approved

        def change(weight):
            own = open_registry(tmp_path)
            try:
                return own.traffic.divide("days", {2: weight}, expect=0, by=f"at {weight}", reason="mine")
            except ConflictError as error:
                return error
            finally:
                own.state.close()

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(change, (0.1, 0.2)))
        (lost,) = [each for each in found if isinstance(each, ConflictError)]
        (won,) = [each for each in found if isinstance(each, TrafficSplit)]
        assert f"by {won.by}" in str(lost)
        assert registry.traffic.history("days") == [won]

    def test_a_change_after_one_that_was_not_seen_is_told(self, approved):
        registry, _ = approved
        divide(registry, {2: 0.1})
        with pytest.raises(ConflictError, match="to see"):
            registry.traffic.divide("days", {2: 0.3}, expect=0, by="piet", reason="more")

    def test_a_version_that_comes_to_production_meanwhile_keeps_no_share_beside_itself(self, approved, monkeypatch):
        registry, decision = approved
        found = registry.get("days", 2)
        monkeypatch.setattr(
            "headrace.registry.traffic.reach",
            lambda _: registry.move(found, "Production", expect="None", decision=decision, by="ada"),
        )
        with pytest.raises(ConflictError, match="somebody moved it"):
            divide(registry, {2: 0.1})
        assert registry.traffic.current("days").candidates == ()


class TestTheSplitFollows:
    def test_a_candidate_that_comes_to_production_ends_it(self, approved):
        registry, decision = approved
        divide(registry, {2: 0.1})
        registry.move(registry.get("days", 2), "Production", expect="None", decision=decision, by="ada")
        split = registry.traffic.current("days")

        assert (split.number, split.primary, split.candidates, split.salt) == (2, 2, (), "")
        assert split.reason == "version 2 is in Production"
        assert Audit(registry.state).verify() is None

    def test_one_that_is_archived_leaves_and_the_others_stay(self, approved):
        registry, _ = approved
        approve(registry, 3)
        before = divide(registry, {2: 0.1, 3: 0.2})
        archive(registry, 2)
        split = registry.traffic.current("days")

        assert split.candidates == (Share(version=3, weight=0.2),)
        assert split.salt == before.salt
        archive(registry, 3)
        assert registry.traffic.current("days").candidates == ()

    def test_shadows_stay_when_production_changes_but_not_beside_themselves(self, approved):
        registry, decision = approved
        for version in (2, 3):
            to_staging(registry, version)
            shadow(registry, version)
        registry.move(registry.get("days", 2), "Production", expect="Staging", decision=decision, by="ada")

        assert registry.traffic.current("days").shadows == (Share(version=3, weight=1.0),)

    def test_a_move_that_changes_nothing_of_it_writes_nothing(self, approved):
        registry, _ = approved
        divide(registry, {2: 0.1})
        to_staging(registry, 2)
        to_staging(registry, 3)

        assert [split.number for split in registry.traffic.history("days")] == [1]


class TestSalts:
    def test_it_stays_while_a_candidate_stays_and_another_experiment_has_another(self, approved):
        registry, _ = approved
        approve(registry, 3)
        first = divide(registry, {2: 0.1})
        more = divide(registry, {2: 0.3})
        both = divide(registry, {3: 0.1, 2: 0.3})
        other = divide(registry, {3: 0.1})
        by = divide(registry, {3: 0.1}, columns=("customer",))
        none = divide(registry, {})
        again = divide(registry, {3: 0.1}, columns=("customer",))

        assert first.salt == more.salt == both.salt == other.salt != by.salt
        assert [each.version for each in both.candidates] == [2, 3]  # who was there first keeps its place
        assert none.salt == ""
        assert again.salt not in ("", first.salt, by.salt)
        assert [each.number for each in registry.traffic.experiment("days")] == [7]

    @given(
        st.dictionaries(st.integers(2, 6), st.floats(0.01, 0.15)),
        st.dictionaries(st.integers(2, 6), st.floats(0.01, 0.15)),
    )
    def test_as_a_law(self, before, after):
        split = TrafficSplit(
            model="m", number=1, primary=1, shadows=(), salt="s", columns=(), at=None, by="", reason="",
            candidates=tuple(Share(version=v, weight=w) for v, w in before.items()),
        )  # fmt: skip
        salt = _salt(split, tuple(Share(version=v, weight=w) for v, w in after.items()), ())

        assert (salt == "s") == bool(set(before) & set(after))
        assert (salt == "") == (not after)


class TestRollouts:
    @pytest.fixture
    def rolling_out(self, registry):
        promote(registry, 1)
        decision = approve(registry, 2, plan=PLAN)
        version = registry.get("days", 2)
        return registry, decision, registry.rollouts.begin(version, decision, PLAN, by="ada", reason="approved")

    def test_each_step_is_a_change_of_the_split_and_the_entities_stay(self, rolling_out):
        registry, decision, rollout = rolling_out
        assert registry.rollouts.advance(rollout, by="rollout", reason="well") is True
        splits = registry.traffic.history("days")

        assert [split.weight(2) for split in splits] == [0.05, 0.25]
        assert splits[0].salt == splits[1].salt
        assert splits[1].columns == ("customer",)
        assert registry.traffic.experiment("days") == splits
        assert registry.rollouts.begin(registry.get("days", 2), decision, PLAN, by="ada", reason="again").step == 1

    def test_of_two_steps_at_once_one_is_taken(self, rolling_out):
        registry, _, rollout = rolling_out
        assert registry.rollouts.advance(rollout, by="one", reason="well") is True
        assert registry.rollouts.advance(rollout, by="two", reason="well") is False
        assert registry.rollouts.stop(rollout, by="two", reason="bad") is False
        assert registry.rollouts.running("days").step == 1

    def test_production_comes_at_its_end_and_not_before(self, rolling_out):
        registry, decision, rollout = rolling_out
        version = registry.get("days", 2)
        with pytest.raises(RefusedError, match="is at 5 %, step 1 of 3"):
            registry.move(version, "Production", expect="None", decision=decision, by="ada")
        for _ in range(2):
            registry.rollouts.advance(registry.rollouts.running("days"), by="rollout", reason="well")
        registry.move(version, "Production", expect="None", decision=decision, by="rollout")
        registry.move(version, "Production", expect="None", decision=decision, by="rollout")  # again, after a crash

        assert stages(registry) == ["Archived", "Production", "None"]
        assert registry.rollouts.list("days")[0].status == "done"
        assert registry.traffic.current("days").candidates == ()
        assert rollout.started <= registry.rollouts.list("days")[0].ended

    def test_without_its_rollout_the_decision_moves_nothing(self, registry):
        promote(registry, 1)
        decision = approve(registry, 2, plan=PLAN)
        with pytest.raises(RefusedError, match="approved with a rollout, which has not begun"):
            registry.move(registry.get("days", 2), "Production", expect="None", decision=decision, by="ada")

    def test_a_stop_leaves_the_version_in_production_alone(self, rolling_out):
        registry, decision, rollout = rolling_out
        assert registry.rollouts.stop(rollout, by="rollout", reason="error_rate 0.2") is True
        split = registry.traffic.current("days")

        assert (split.candidates, split.reason) == ((), "rollout stopped: error_rate 0.2")
        assert registry.rollouts.of(decision).status == "stopped"
        assert registry.rollouts.advance(rollout, by="rollout", reason="well") is False
        event = next(each for each in Outbox(registry.state).events() if each.name == "rollout.stopped")
        assert (event.subject, event.payload["reason"]) == ("days/2", "error_rate 0.2")

    def test_while_it_runs_nothing_else_sets_shares(self, rolling_out):
        registry, _, _ = rolling_out
        other = approve(registry, 3, plan=PLAN)
        with pytest.raises(RefusedError, match="version 2 of days is on a rollout, at 5 %"):
            registry.rollouts.begin(registry.get("days", 3), other, PLAN, by="ada", reason="me too")
        with pytest.raises(RefusedError, match="is on a rollout, which sets the shares"):
            divide(registry, {2: 0.2})
        assert registry.rollouts.end("days", by="ada", reason="enough").version == 2
        assert registry.rollouts.running("days") is None
        assert divide(registry, {2: 0.2}).weight(2) == 0.2
        with pytest.raises(RefusedError, match="has a share of the traffic, set by ada"):
            registry.rollouts.begin(registry.get("days", 3), other, PLAN, by="ada", reason="now")

    def test_another_version_in_production_ends_it(self, rolling_out):
        registry, decision, rollout = rolling_out
        promote(registry, 3, against=1, key="other")

        ended = registry.rollouts.list("days")[0]
        assert (ended.status, ended.reason) == ("ended", "version 3 is in Production")
        assert registry.traffic.current("days").candidates == ()
        assert registry.rollouts.advance(rollout, by="rollout", reason="well") is False
        with pytest.raises(HeadraceError, match="does not hold any more"):
            registry.rollouts.begin(registry.get("days", 2), decision, PLAN, by="ada", reason="again")

    def test_when_its_version_is_archived_it_ends(self, rolling_out):
        registry, _, _ = rolling_out
        archive(registry, 2)

        assert registry.rollouts.list("days")[0].status == "ended"
        assert registry.traffic.current("days").candidates == ()

    def test_with_nothing_to_end_it_says_so(self, approved):
        with pytest.raises(NotFoundError, match="candidate, shadow or rollout"):
            approved[0].rollouts.end("days", by="ada", reason="enough")

    def test_a_forged_end_is_not_the_end(self, rolling_out):
        registry, decision, _ = rolling_out
        forged = replace(decision, evidence_hash="0" * 32)
        with pytest.raises(RefusedError, match="not the one that is kept"):
            registry.move(registry.get("days", 2), "Production", expect="None", decision=forged, by="ada")
