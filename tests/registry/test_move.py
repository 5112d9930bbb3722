"""One road to Production: everything that is not an approval of this very move, by somebody else, is refused."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.support.states import state_of

from headrace.access.audit import AUDIT, Audit
from headrace.access.identity import Identity
from headrace.core.errors import ConflictError, DataError, NotFoundError, RefusedError
from headrace.core.events import Outbox
from headrace.core.folders import folder_digest
from headrace.core.state import State
from headrace.registry import projection, tables
from headrace.registry.registry import Registry
from headrace.tracking.tracking import Tracking

ADA = Identity(name="ada", roles=frozenset({"ml_engineer", "governance"}))  # who asks; her own role does not help
OLGA = Identity(name="olga", roles=frozenset({"governance"}))
PIET = Identity(name="piet", roles=frozenset({"governance"}))
GUEST = Identity(name="guest", roles=frozenset({"viewer"}))
EVIDENCE = {"roc_auc": {"champion": None, "challenger": 0.73}}


def open_registry(root):
    return Registry(State(state_of(root)), Tracking(f"sqlite:///{root}/mlflow.db", f"{root}/artifacts"))


def logged(root, number):
    """A folder as MLflow keeps a logged model, with a package inside."""
    folder = root / "artifacts" / f"model{number}"
    (folder / "data" / "package").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    data: data/package\n    loader_module: x\n")
    (folder / "data" / "package" / "weights").write_text(f"weights {number}")
    return folder


def ask(registry, version, to="Production", *, roles=("governance",), against=None, key=None, hands=()):
    found = registry.get("days", version)
    return registry.requests.ask(
        found, to, key=key or f"{version} {to}", by="ada", hands=hands, evidence=EVIDENCE, against=against, roles=roles
    )


def promote(registry, version, *, against=None, key=None):
    request = ask(registry, version, against=against, key=key)
    decision = registry.requests.approve(request.id, OLGA)
    found = registry.get("days", version)
    return registry.move(found, "Production", expect=found.stage, decision=decision, by="ada"), decision


def stages(registry):
    return [version.stage for version in registry.versions("days")]


def test_an_approved_version_comes_to_production_and_the_one_before_is_archived(registry):
    promote(registry, 1)
    promote(registry, 2, against=1)

    assert stages(registry) == ["Archived", "Production", "None"]
    assert [(c.version, c.stage) for c in registry.history("days") if c.decision] == [
        (1, "Production"),
        (1, "Archived"),
        (2, "Production"),
    ]


def test_nobody_approves_their_own_request(registry):
    request = ask(registry, 1)
    with pytest.raises(RefusedError, match="four eyes"):
        registry.requests.approve(request.id, ADA)
    assert registry.requests.get(request.id).status == "open"


def test_nobody_approves_without_the_role(registry):
    request = ask(registry, 1)
    with pytest.raises(RefusedError, match="takes the role governance; guest holds viewer"):
        registry.requests.approve(request.id, GUEST)
    with pytest.raises(RefusedError, match="takes the role"):
        registry.requests.reject(request.id, GUEST, reason="no")


def test_gates_alone_do_not_stand_in_for_a_person(registry):
    request = ask(registry, 1)
    with pytest.raises(RefusedError, match="takes the approval of governance"):
        registry.requests.by_gates(request.id, approved=True, reason="all green")


def test_two_roles_take_two_people(registry):
    request = ask(registry, 1, roles=("governance", "business"))
    both = Identity(name="olga", roles=frozenset({"governance", "business"}))
    assert registry.requests.approve(request.id, both) is None
    with pytest.raises(RefusedError, match="signed request"):
        registry.requests.approve(request.id, both)
    decision = registry.requests.approve(request.id, Identity(name="ben", roles=frozenset({"business"})))
    assert decision.by == ("olga", "ben")


def test_a_signature_of_the_same_hands_as_the_request_does_not_count(registry):
    made_by_ada = Identity(name="olga", roles=OLGA.roles, hands=frozenset({"piet", "ada"}))
    request = ask(registry, 1)
    for decide in (registry.requests.approve, registry.requests.reject):
        with pytest.raises(RefusedError, match="the token of olga came through the hands of ada"):
            decide(request.id, made_by_ada, reason="fine")
    beside = ask(registry, 2, hands=("olga", "root"))
    with pytest.raises(RefusedError, match="the token of ada came through the hands of olga"):
        registry.requests.approve(beside.id, OLGA)
    assert [registry.requests.get(each.id).status for each in (request, beside)] == ["open", "open"]
    of_one_admin = Identity(name="olga", roles=OLGA.roles, hands=frozenset({"root"}))
    assert registry.requests.approve(beside.id, Identity(name="piet", roles=PIET.roles, hands=frozenset({"root"})))
    assert registry.requests.approve(request.id, of_one_admin)  # a maker who neither asks nor signs is trusted


def test_two_roles_take_two_pairs_of_hands(registry):
    request = ask(registry, 1, roles=("governance", "business"))
    registry.requests.approve(request.id, OLGA)
    with pytest.raises(RefusedError, match="one of them made the other's token"):
        registry.requests.approve(
            request.id, Identity(name="ben", roles=frozenset({"business"}), hands=frozenset({"olga"}))
        )
    other = ask(registry, 2, roles=("governance", "business"))
    registry.requests.approve(other.id, Identity(name="ben", roles=frozenset({"business"}), hands=frozenset({"olga"})))
    with pytest.raises(RefusedError, match="one of them made the other's token"):
        registry.requests.approve(other.id, OLGA)


@pytest.mark.parametrize("file", ["data/package/weights", "MLmodel"])
def test_an_artifact_that_changed_after_the_approval_is_not_moved(registry, tmp_path, file):
    request = ask(registry, 1)
    decision = registry.requests.approve(request.id, OLGA)
    changed = tmp_path / "artifacts" / "model1" / file
    changed.write_text(f"{changed.read_text()}\n# better, honestly")
    with pytest.raises(DataError, match="changed after it was registered"):
        registry.move(registry.get("days", 1), "Production", expect="None", decision=decision, by="ada")
    assert stages(registry)[0] == "None"


def test_an_artifact_hash_that_is_changed_along_with_the_files_does_not_fit_the_decision(registry, tmp_path):
    request = ask(registry, 1)
    decision = registry.requests.approve(request.id, OLGA)
    package = tmp_path / "artifacts" / "model1" / "data" / "package"
    (package / "weights").write_text("other weights")
    with registry.state.begin() as connection:
        forged = sa.update(tables.VERSIONS).where(tables.VERSIONS.c.version == 1)
        forged_hashes = {"artifact_hash": folder_digest(package), "logged_hash": folder_digest(package.parents[1])}
        connection.execute(forged.values(**forged_hashes))
    with pytest.raises(RefusedError, match="another artifact"):
        registry.move(registry.get("days", 1), "Production", expect="None", decision=decision, by="ada")


def test_evidence_that_was_changed_after_the_approval_voids_it(registry):
    request = ask(registry, 1)
    decision = registry.requests.approve(request.id, OLGA)
    with registry.state.begin() as connection:
        connection.execute(sa.update(tables.REQUESTS).values(evidence={"roc_auc": {"challenger": 0.99}}))
    with pytest.raises(RefusedError, match="evidence"):
        registry.move(registry.get("days", 1), "Production", expect="None", decision=decision, by="ada")


def test_a_decision_is_spent_once(registry):
    _, decision = promote(registry, 1)
    first = registry.get("days", 1)
    again = registry.move(first, "Production", expect="None", decision=decision, by="ada")
    assert again.decision == decision.id  # a repetition of the same move, after a crash for example
    promote(registry, 2, against=1)
    with pytest.raises(RefusedError, match="was spent"):
        registry.move(registry.get("days", 1), "Production", expect="Archived", decision=decision, by="ada")
    assert stages(registry) == ["Archived", "Production", "None"]


def test_a_decision_moves_nothing_else(registry):
    request = ask(registry, 1)
    decision = registry.requests.approve(request.id, OLGA)
    for version, to in ((2, "Production"), (1, "Staging")):
        with pytest.raises(RefusedError, match="not for days"):
            registry.move(registry.get("days", version), to, expect="None", decision=decision, by="ada")
    forged = replace(decision, version=2, seal=registry.get("days", 2).seal)
    with pytest.raises(RefusedError, match="not the one that is kept"):
        registry.move(registry.get("days", 2), "Production", expect="None", decision=forged, by="ada")
    assert stages(registry) == ["None", "None", "None"]


def test_a_rejection_moves_nothing(registry):
    request = ask(registry, 1)
    decision = registry.requests.reject(request.id, OLGA, reason="trained on the wrong year")
    with pytest.raises(RefusedError, match="rejected by olga: trained on the wrong year"):
        registry.move(registry.get("days", 1), "Production", expect="None", decision=decision, by="ada")
    with pytest.raises(RefusedError, match="was rejected by olga"):
        registry.requests.approve(request.id, PIET)


def test_two_approvals_at_once_make_one_decision(registry, tmp_path):
    request = ask(registry, 1)

    def approve(identity):
        own = open_registry(tmp_path)
        try:
            return own.requests.approve(request.id, identity)
        except RefusedError as error:
            return error
        finally:
            own.state.close()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(approve, (OLGA, PIET)))
    refused = [each for each in found if isinstance(each, RefusedError)]
    assert len(refused) == 1
    assert "was approved by" in str(refused[0])


def test_two_promotions_at_once_one_wins_and_the_other_is_told(registry, tmp_path):
    decisions = [registry.requests.approve(ask(registry, number).id, OLGA) for number in (1, 2)]

    def move(decision):
        own = open_registry(tmp_path)
        version = own.get("days", decision.version)
        try:
            return own.move(version, "Production", expect="None", decision=decision, by="ada")
        except RefusedError as error:
            return error
        finally:
            own.state.close()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(move, decisions))
    refused = [each for each in found if isinstance(each, RefusedError)]
    assert len(refused) == 1
    assert "evidence" in str(refused[0])
    assert sorted(stages(registry)) == ["None", "None", "Production"]


def test_a_version_that_was_moved_meanwhile_is_told(registry):
    decision = registry.requests.by_gates(ask(registry, 1, "Staging", roles=()).id, approved=True, reason="green")
    registry.move(registry.get("days", 1), "Staging", expect="None", decision=decision, by="ada")
    later = registry.requests.approve(ask(registry, 1).id, OLGA)
    with pytest.raises(ConflictError, match="is in Staging, not in None"):
        registry.move(registry.get("days", 1), "Production", expect="None", decision=later, by="ada")


def test_a_request_that_nobody_decided_expires(registry):
    version = registry.get("days", 1)
    asked = registry.requests.ask(
        version,
        "Production",
        key="old",
        by="ada",
        hands=(),
        evidence={},
        roles=("governance",),
        valid=timedelta(microseconds=1),
    )
    assert registry.requests.get(asked.id).status == "expired"
    with pytest.raises(RefusedError, match="expired at"):
        registry.requests.approve(asked.id, OLGA)


def test_a_later_request_replaces_an_open_one(registry):
    first = ask(registry, 1, key="a")
    second = ask(registry, 1, key="b")
    assert registry.requests.get(first.id).status == "replaced"
    with pytest.raises(RefusedError, match="replaced by a later one"):
        registry.requests.approve(first.id, OLGA)
    assert [each.id for each in registry.requests.list(status="open")] == [second.id]
    with pytest.raises(NotFoundError):
        registry.requests.get(99)


def test_everything_is_in_the_audit_record_and_a_changed_line_shows(registry):
    promote(registry, 1)
    audit = Audit(registry.state)
    actions = [entry.action for entry in reversed(audit.entries())]
    assert actions[3:] == ["transition.requested", "transition.approved", "stage.changed"]
    assert audit.verify() is None
    edited = audit.entries()[1]
    with registry.state.begin() as connection:
        connection.execute(sa.update(AUDIT).where(AUDIT.c.id == edited.id).values(who="nobody"))
    assert audit.verify().id == edited.id


def test_mlflows_alias_follows_and_is_repaired_when_moved_by_hand(registry):
    promote(registry, 1)
    outbox = Outbox(registry.state)
    assert outbox.deliver({"mlflow": lambda event: projection.follow(registry, event)}) == []
    assert registry.tracking.aliases("days") == {"production": 1}
    registry.tracking.set_alias("days", "production", 3)
    registry.tracking.set_alias("days", "staging", 2)

    repaired = projection.repair(registry)

    assert {(r.alias, r.found, r.set_to) for r in repaired} == {("production", 3, 1), ("staging", 2, None)}
    assert registry.tracking.aliases("days") == {"production": 1}
    assert projection.repair(registry) == []
    assert Audit(registry.state).entries()[0].action == "alias.repaired"


MOVE = """
import sys
from pathlib import Path
from tests.registry.test_move import OLGA, ask, open_registry
registry = open_registry(Path(sys.argv[1]))
request = ask(registry, 1)
decision = registry.requests.decision(request.id) or registry.requests.approve(request.id, OLGA)
registry.move(registry.get("days", 1), "Production", expect="None", decision=decision, by="ada")
"""


@pytest.mark.parametrize("place", ["registry.moving:days/1", "registry.moved:days/1"])
def test_killed_on_the_way_the_same_call_finishes(registry, tmp_path, place, monkeypatch):
    command = [sys.executable, "-W", "ignore", "-c", MOVE, str(tmp_path)]
    monkeypatch.setenv("HEADRACE_FAILPOINT", place)
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    monkeypatch.delenv("HEADRACE_FAILPOINT")
    subprocess.run(command, check=True)

    assert stages(registry) == ["Production", "None", "None"]
    assert [c.stage for c in registry.history("days", 1)] == ["None", "Production"]
