"""Traffic by the real commands: approved with a rollout, stepwise into Production, stopped, by hand, and what is refused."""

import json
import shutil
import signal
import time

import pytest
from tests.deployment.conftest import World
from tests.support.people import enrol

from headrace.workspace.workspace import open_workspace

from .mini import write
from .test_after_training import ok

DEPLOYMENT = """
    gates=[hr.signature(), hr.approval("governance")],
    serve=hr.Serve(),
    rollout=hr.Rollout(
        steps=("5%", "50%"), every="1s", min_requests=10, by=("customer",),
        guardrails=[hr.guardrail("error_rate", above=0.01), hr.guardrail("rmse", worse_by=0.5, late=True)],
    ),
"""


EVERY = 1.0  # seconds


@pytest.fixture(scope="module")
def approved(headrace, tmp_path_factory):
    """Version 1 is in Production, 2 on its rollout since eva approved it, 3 in no stage. Gives the folder and her token."""
    folder = write(tmp_path_factory.mktemp("approved") / "mini", deployment=DEPLOYMENT)
    ok(headrace, folder, "run", "refresh")
    token = enrol(headrace, folder, {"eva": "governance"})["eva"]
    said = []
    for number, day in enumerate(("2024-02-01", "2024-02-10"), start=1):
        ok(headrace, folder, "run", "train", "--as-of", day)
        ok(headrace, folder, "run", "deploy", "--as-of", day, code=3)
        said.append(ok(headrace, folder, "request", "approve", 2 * number, env={"HEADRACE_TOKEN": token}).stderr)
    ok(headrace, folder, "run", "train", "--as-of", "2024-02-15")
    assert "days version 1 is in Production" in said[0]  # the first one: there is no traffic to divide yet
    assert "days version 2 is on its rollout" in said[1]
    return folder, token


@pytest.fixture
def folder(approved, tmp_path):
    return shutil.copytree(approved[0], tmp_path / "mini")


def manifest(folder):
    return json.loads((folder / ".headrace/dev/serving/days/serving.json").read_text())


def served(folder):
    return [(each["version"], each["role"], each["weight"]) for each in manifest(folder)["versions"]]


def shown(headrace, folder):
    return ok(headrace, folder, "traffic", "show", "days", "--json").json()


def count(folder, split, requests, *, errors=0):
    """Both versions are asked as often in this split; the candidate fails so often."""
    with open_workspace("dev", folder=folder) as workspace:
        world = World(workspace.lakehouse)
        world.commits = int(requests * 1000 + errors)
        world.count(1, "primary", split, requests)
        world.count(2, "candidate", split, requests, errors=errors)
    time.sleep(EVERY)  # the rollout takes a step as often as this, whatever was counted


def test_servers_are_told_who_answers_what(headrace, approved):
    folder, _ = approved
    found = shown(headrace, folder)

    assert served(folder) == [(1, "primary", 0.95), (2, "candidate", 0.05)]
    assert manifest(folder)["split"] == {"id": "days.1", "salt": found["salt"], "by": ["customer"]}
    assert [(each["version"], each["share"]) for each in found["versions"]] == [(1, 0.95), (2, 0.05)]
    assert found["rollout"]["step"] == 1
    assert "0 of 10 requests" in ok(headrace, folder, "status").stdout
    assert "version 2 5 %" in ok(headrace, folder, "traffic", "show", "days").stdout


def test_up_takes_the_steps_and_brings_it_to_production(headrace, folder):
    count(folder, "days.1", 20)
    first = ok(headrace, folder, "up", "--once")
    between = served(folder)
    count(folder, "days.2", 21)
    second = ok(headrace, folder, "up", "--once")

    assert "days version 2 comes to 50 %: 20 requests at 5 % and no reason to stop" in first.stderr
    assert between == [(1, "primary", 0.5), (2, "candidate", 0.5)]
    assert "days version 2 is in Production" in second.stderr
    assert served(folder) == [(2, "primary", 1.0)]
    assert manifest(folder)["split"] is None
    (rollout,) = ok(headrace, folder, "traffic", "history", "days", "--json").json()["rollouts"]
    assert rollout["status"] == "done"
    assert ok(headrace, folder, "run", "deploy", "--version", "2").code == 0


def test_a_stop_needs_a_person_and_begins_again_only_when_asked_for_by_number(headrace, folder):
    count(folder, "days.1", 40, errors=30)
    stopped = ok(headrace, folder, "traffic", "reconcile")
    status = ok(headrace, folder, "status", code=1)
    history = ok(headrace, folder, "traffic", "history", "days")
    shutil.rmtree(folder / ".headrace/dev/lakehouse/metrics/serving")
    again = ok(headrace, folder, "run", "deploy", "--version", "2")

    assert "error_rate > 0.01: 30 of 40 requests failed" in stopped.stderr
    assert "the rollout of days version 2 was stopped at 5 %" in status.stdout
    assert "30 of 40 requests failed" in history.stdout
    assert "on its rollout" in again.stderr
    assert served(folder) == [(1, "primary", 0.95), (2, "candidate", 0.05)]


def test_after_a_person_ended_it_deploy_alone_says_so_and_the_same_person_may_begin_it_again(headrace, folder):
    """The newest version that is not archived is the one whose rollout was ended."""
    salt = manifest(folder)["split"]["salt"]
    ok(headrace, folder, "traffic", "stop", "days", "--reason", "enough")
    with open_workspace("dev", folder=folder) as workspace, workspace.state.begin() as connection:
        connection.exec_driver_sql("delete from model_versions where version = 3")
    refused = ok(headrace, folder, "run", "deploy", code=1)
    assert served(folder) == [(1, "primary", 1.0)]
    begun = ok(headrace, folder, "traffic", "rollout", "days", "2", "--reason", "now")

    assert "the rollout of days version 2 was stopped; it begins again by headrace run deploy" in refused.stderr
    assert "enough" in refused.stderr
    assert "days version 2 has 5 %" in begun.stderr
    assert manifest(folder)["split"]["salt"] != salt


def test_by_hand_a_candidate_keeps_its_entities_and_the_copy_that_was_broken_holds_up_nothing(headrace, folder):
    ok(headrace, folder, "traffic", "stop", "days", "--reason", "by hand")
    ok(headrace, folder, "traffic", "set", "days", "--candidate", "2=10%", "--by", "customer", "--reason", "to see")
    salt = manifest(folder)["split"]["salt"]
    ok(headrace, folder, "traffic", "set", "days", "--candidate", "2=0.3", "--reason", "more")
    after = manifest(folder)
    assert (after["split"]["salt"], after["split"]["by"]) == (salt, ["customer"])
    assert served(folder) == [(1, "primary", 0.7), (2, "candidate", 0.3)]

    (copy,) = (folder / ".headrace/dev/serving/days/versions").glob("2-*")
    shutil.rmtree(copy)
    refused = ok(headrace, folder, "traffic", "set", "days", "--candidate", "2=20%", "--reason", "less", code=3)
    assert "the copy of days/2 that servers load is gone or was changed" in refused.stderr
    ok(headrace, folder, "traffic", "shadow", "days", "1", "--reason", "odd", code=3)
    file = folder / ".headrace/dev/serving/days/serving.json"
    file.write_text("{")
    ok(headrace, folder, "traffic", "reconcile")
    assert served(folder) == [(1, "primary", 1.0)]
    status = ok(headrace, folder, "status", code=1)
    assert "days/2 has a share of the traffic and cannot be served" in status.stdout
    ok(headrace, folder, "traffic", "stop", "days", "--reason", "broken")
    assert served(folder) == [(1, "primary", 1.0)]


def test_a_rollback_of_production_ends_the_rollout(headrace, folder):
    count(folder, "days.1", 20)
    ok(headrace, folder, "traffic", "reconcile")
    count(folder, "days.2", 21)
    ok(headrace, folder, "traffic", "reconcile")
    ok(headrace, folder, "traffic", "set", "days", "--candidate", "1=20%", "--reason", "champion against challenger")
    assert served(folder) == [(2, "primary", 0.8), (1, "candidate", 0.2)]
    ok(headrace, folder, "model", "rollback", "days", "--reason", "it was better")
    assert served(folder) == [(1, "primary", 1.0)]
    history = ok(headrace, folder, "traffic", "history", "days", "--json").json()
    assert history["changes"][-1]["reason"] == "version 1 is in Production"


def test_a_shadow_is_told_to_servers_and_taken_back(headrace, folder):
    ok(headrace, folder, "traffic", "stop", "days", "--reason", "as a shadow first")
    ok(headrace, folder, "traffic", "shadow", "days", "2", "--share", "20%", "--reason", "to see")
    assert served(folder) == [(1, "primary", 1.0), (2, "shadow", 0.2)]
    assert manifest(folder)["split"] is None
    ok(headrace, folder, "traffic", "shadow", "days", "2", "--share", "0%", "--reason", "seen")
    assert served(folder) == [(1, "primary", 1.0)]


def test_killed_when_its_rollout_had_just_begun_the_same_command_goes_on(headrace, folder):
    ok(headrace, folder, "traffic", "stop", "days", "--reason", "again")
    command = ("run", "deploy", "--version", "2", "--as-of", "2024-02-10")
    assert headrace.run(folder, *command, failpoint="rollout.started:days/2").signal == signal.SIGKILL
    ok(headrace, folder, *command)

    rollouts = ok(headrace, folder, "traffic", "history", "days", "--json").json()["rollouts"]
    assert [each["status"] for each in rollouts] == ["ended", "running"]
    assert served(folder) == [(1, "primary", 0.95), (2, "candidate", 0.05)]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["set", "days", "--candidate", "2"], 2, "'2' names no version and share"),
        (["set", "days", "--candidate", "x=5%"], 2, "names no version and share"),
        (["set", "days", "--candidate", "2=nan"], 2, "'nan' is no share"),
        (["set", "days", "--candidate", "2=-5%"], 2, "'-5%' is no share"),
        (["set", "days", "--candidate", "2=0%"], 2, "'0%' is no share"),
        (["set", "days", "--candidate", "2=120%"], 2, "'120%' is no share"),
        (["set", "days", "--candidate", "2=5%", "--candidate", "2=6%"], 2, "version 2 has two shares"),
        (["set", "days", "--candidate", "9=5%"], 2, "no version of days '9'"),
        (["set", "dayz", "--candidate", "2=5%"], 2, "did you mean 'days'"),
        (["set", "days", "--candidate", "3=5%"], 3, "the copy of days/3"),
        (["set", "days", "--candidate", "2=5%"], 3, "is on a rollout, which sets the shares"),
        (["set", "days", "--candidate", "2=5%", "--by", "nope"], 3, "have no column 'nope'"),
        (
            ["set", "days", "--candidate", "2=5%", "--expect", "0"],
            1,
            "was changed meanwhile, by eva: request 4 approved",
        ),
        (["shadow", "days", "3"], 3, "the copy of days/3"),
        (["shadow", "days", "2"], 3, "answers 5 % itself"),
        (["shadow", "days", "2", "--share", "many"], 2, "'many' is no share"),
        (["rollout", "days", "3"], 3, "days/3 is not approved for Production"),
        (["stop", "dayz"], 2, "did you mean 'days'"),
    ],
)
def test_what_is_not_possible_is_refused_and_changes_nothing(headrace, approved, arguments, code, says):
    folder, _ = approved
    before = manifest(folder)
    done = ok(headrace, folder, "traffic", *arguments, "--reason", "because", code=code)

    assert says in done.stderr
    assert manifest(folder) == before


def test_it_takes_a_role_and_a_reason(headrace, approved):
    folder, token = approved
    for command in (
        ["set", "days", "--candidate", "2=5%"],
        ["stop", "days"],
        ["shadow", "days", "2"],
        ["rollout", "days", "2"],
    ):
        eva = ok(headrace, folder, "traffic", *command, "--reason", "mine", code=3, env={"HEADRACE_TOKEN": token})
        assert "it takes the role ml_engineer" in eva.stderr
    for command in (["stop", "days"], ["rollout", "days", "2"]):
        assert "without a reason" in ok(headrace, folder, "traffic", *command, "--reason", " ", code=3).stderr
