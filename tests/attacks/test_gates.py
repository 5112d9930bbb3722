"""A version comes to Production through the gates that are declared now, all of them, whatever was decided before."""

from dataclasses import replace

from .world import GATES, PEOPLE, TOML

PROD = ("--env", "prod")
HARD = GATES.replace("0.5", "0.9999999")


def deployed(world, *, code):
    """Version 2 on its way as far as it comes."""
    return world.ok("run", "deploy", "--model", "late", "--version", "2", *PROD, by="eng", code=code)


def request_of(world):
    """The request for Production of version 2 that was made last."""
    found = world.ok("request", "list", "--all", *PROD, "--json").json()
    return next(each for each in found if (each["version"], each["to"]) == (2, "Production"))


def test_a_gate_that_is_raised_holds_for_a_version_that_waits_for_approval(world):
    deployed(world, code=3)
    old = request_of(world)["request"]
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    refused = world.refused("request", "approve", old, *PROD, by="gov")
    assert "was replaced" in refused.stderr or "other gates" in refused.stderr
    assert world.stages() == {1: "Production", 2: "Staging"}
    assert "features are made from age" in deployed(world, code=1).stderr
    assert world.stages() == {1: "Production", 2: "Archived"}


def test_a_gate_that_is_added_holds_for_a_version_in_staging(world):
    deployed(world, code=3)
    world.release("v1.1.0", gates=GATES + ', hr.at_least("log_loss", 0.0001)')
    assert "log_loss" in deployed(world, code=1).stderr
    assert world.stages() == {1: "Production", 2: "Archived"}


def test_an_approval_that_is_added_is_asked_for(world):
    deployed(world, code=3)
    old = request_of(world)["request"]
    world.release("v1.1.0", gates=GATES + ', hr.approval("legal")')
    world.refused("request", "approve", old, *PROD, by="gov")
    deployed(world, code=3)
    new = request_of(world)
    assert new["request"] != old
    assert new["missing"] == ["governance", "legal"]
    world.ok("request", "approve", new["request"], *PROD, by="gov")
    assert world.stages()[2] == "Staging"
    world.ok("request", "approve", new["request"], *PROD, by="law")
    assert world.stages() == {1: "Archived", 2: "Production"}


def test_the_gates_of_an_older_release_are_no_way_round(world):
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    world.refused("run", "deploy", "--version", "2", "--release", "v1.0.0", *PROD, by="eng")
    world.refused("run", "retrain", "--force", "--release", "v1.0.0", *PROD, by="eng")
    assert world.stages()[2] == "None"


def test_a_dry_run_says_what_will_run(world):
    def runs():
        plan = world.ok("run", "deploy", "--version", "2", "--dry-run", "--json", *PROD, by="eng").json()
        return {each["step"]: each["runs"] for each in plan}

    assert runs()["check"] == "yes"
    deployed(world, code=3)
    assert runs()["check"].startswith("no: decision ")
    assert runs()["ask for Production"].endswith("stands, open")
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    assert runs()["check"] == "again: the gates have changed"
    assert runs()["ask for Production"] == "yes"


def test_a_decision_names_the_code_and_the_gates_that_made_it(world):
    deployed(world, code=3)
    request = request_of(world)["request"]
    world.ok("request", "approve", request, *PROD, by="gov")
    shown = world.ok("request", "show", request, *PROD, "--json").json()
    assert shown["decision"]["code"].startswith("v1.0.0 (")
    assert shown["evidence"]["gates"] == [
        "Signature()",
        "AtLeast(metric='roc_auc', limit=0.5)",
        "Approval(role='governance')",
    ]
    declared = [each for each in world.audit() if each["action"] == "policy.declared"]
    assert declared[-1]["details"]["roles"] == ["governance"]


def test_a_rejection_is_not_forgotten(world):
    deployed(world, code=3)
    first = request_of(world)["request"]
    world.ok("request", "reject", first, "--reason", "age is a proxy", *PROD, by="gov")
    again = deployed(world, code=3)
    assert "age is a proxy" in again.stderr
    assert "reopen" in again.stderr
    assert request_of(world)["request"] == first
    for name in PEOPLE:
        if name in ("guest", "law"):
            world.refused("request", "reopen", first, "--reason", "I say so", *PROD, by=name)
    world.ok("request", "reopen", first, "--reason", "age was audited", *PROD, by="eng")
    deployed(world, code=3)
    second = request_of(world)["request"]
    assert second != first
    shown = world.ok("request", "show", second, *PROD).stdout
    assert "age is a proxy" in shown
    assert "age was audited" in shown
    assert "age is a proxy" in world.ok("model", "history", "late", *PROD).stdout
    rejected = world.ok("model", "show", "late", "--version", "2", "--json", *PROD).json()["rejected"]
    assert [each["reason"] for each in rejected] == ["age is a proxy"]


def test_who_may_not_sign_does_not_change_what_is_in_force(world):
    deployed(world, code=3)
    request = request_of(world)["request"]
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    for name in ("guest", "eng", "law"):
        world.refused("request", "approve", request, *PROD, by=name)
    assert request_of(world)["status"] == "open"


def test_a_version_that_other_gates_let_into_staging_is_no_shadow(world):
    deployed(world, code=3)
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    world.refused("traffic", "shadow", "late", "2", "--reason", "to see", *PROD, by="eng")


def elsewhere(world, folder):
    """The same environment, used from another checkout."""
    root = str(world.folder / ".headrace" / "prod")
    return replace(world, folder=folder, variables={**world.variables, "HEADRACE_ENV__prod__root": root})


def test_another_repository_with_tags_of_its_own_is_no_release_here(world, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "headrace.toml").write_text(TOML)
    other = elsewhere(world, mine)
    other.git("init", "-q", "-b", "main")
    other.release("v9.9.9", gates="")
    for command in (("run", "deploy", "--version", "2"), ("run", "train"), ("run", "score")):
        assert "shares no history" in other.refused(*command, *PROD, by="eng").stderr
    assert world.stages() == {1: "Production", 2: "None"}


def test_a_stale_clone_does_not_bring_the_gates_of_before_back(world, tmp_path):
    world.git("clone", "-q", ".", str(tmp_path / "stale"))
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    deployed(world, code=1)
    stale = elsewhere(world, tmp_path / "stale")
    assert "not the newest release" in stale.refused("run", "deploy", "--version", "2", *PROD, by="eng").stderr
    assert world.stages() == {1: "Production", 2: "Archived"}


def test_a_moved_tag_is_another_release(world):
    world.release("v1.1.0", gates=GATES + ', hr.forbid_inputs("age")')
    deployed(world, code=1)
    world.release("v1.2.0-rc1", gates="")
    world.git("tag", "-f", "v1.1.0")
    world.refused("run", "deploy", "--version", "2", *PROD, by="eng")
    for left in (world.folder / ".headrace" / "code").glob("release-*"):
        left.unlink()
    assert "ran here before" in world.refused("run", "deploy", "--version", "2", *PROD, by="eng").stderr


def test_an_earlier_moment_is_no_new_evidence(world):
    deployed(world, code=3)
    first = request_of(world)["request"]
    world.ok("request", "reject", first, "--reason", "age is a proxy", *PROD, by="gov")
    asked = ("run", "deploy", "--version", "2", "--as-of", "2024-02-24", *PROD)
    assert "age is a proxy" in world.ok(*asked, by="eng", code=3).stderr
    assert request_of(world)["request"] == first
