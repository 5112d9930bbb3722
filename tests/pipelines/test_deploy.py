"""The roads of a version through its gates, each through the real command: to Production, back, and out of the way."""

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.mini import program, write

TRAINED = "2024-02-01"
ENDED = "2024-02-20"


@pytest.fixture(scope="module")
def made(headrace, tmp_path_factory):
    """Gives the small project, refreshed and trained once, with more said of its deployment."""
    trained = write(tmp_path_factory.mktemp("trained") / "mini")
    for arguments in (["refresh"], ["train", "--as-of", TRAINED]):
        run(headrace, trained, 0, *arguments)

    def copy(parent, deployment):
        folder = shutil.copytree(trained, parent / "mini")
        (folder / "mini.py").write_text(program(deployment))
        return folder

    return copy


def run(headrace, folder, code, *arguments):
    done = headrace.run(folder, "run", *arguments)
    assert done.code == code, done.stderr
    return done


def stages(headrace, folder):
    return [
        (change["version"], change["stage"])
        for change in headrace.run(folder, "model", "history", "days", "--json").json()
    ]


class TestGates:
    @pytest.fixture(scope="class")
    @classmethod
    def refused(cls, headrace, made, tmp_path_factory):
        folder = made(tmp_path_factory.mktemp("refused"), 'gates=[hr.at_least("rmse", 0.1)]')
        return folder, run(headrace, folder, 1, "deploy")

    def test_what_does_not_pass_is_archived_with_the_reason(self, headrace, refused):
        folder, done = refused

        assert "rmse on the test rows is" in done.stderr
        assert stages(headrace, folder)[:2] == [(1, "None"), (1, "Archived")]
        assert not (folder / ".headrace/dev/serving/days/serving.json").exists()

    def test_without_a_living_version_it_says_so(self, headrace, refused):
        done = run(headrace, refused[0], 2, "deploy")

        assert "no active version of model 'days'." in done.stderr
        assert "headrace run train" in done.stderr

    def test_asked_for_by_number_it_is_checked_again_and_not_let_through(self, headrace, refused, tmp_path):
        folder = shutil.copytree(refused[0], tmp_path / "mini")
        run(headrace, folder, 1, "deploy", "--version", "1")
        assert {stage for _, stage in stages(headrace, folder)} == {"None", "Archived"}

        program = folder / "mini.py"
        program.write_text(program.read_text().replace('at_least("rmse", 0.1)', 'at_least("rmse", 10)'))
        run(headrace, folder, 0, "deploy", "--version", "1")
        assert stages(headrace, folder)[-2:] == [(1, "Staging"), (1, "Production")]

    def test_a_metric_that_the_task_does_not_have_is_told_before_anything_runs(self, headrace, made, tmp_path):
        folder = made(tmp_path, 'gates=[hr.at_least("roc_auc", 0.5)]')
        done = run(headrace, folder, 2, "deploy")

        assert "at_least('roc_auc') is not possible for days" in done.stderr
        assert "rmse" in done.stderr
        assert stages(headrace, folder) == [(1, "None")]

    def test_somebody_without_a_role_for_it_deploys_nothing(self, headrace, made, tmp_path):
        folder = made(tmp_path, "")
        assert headrace.run(folder, "access", "grant", "eva", "viewer").code == 0
        token = headrace.run(folder, "access", "token", "eva").stdout.strip()
        done = headrace.run(folder, "run", "deploy", env={"HEADRACE_TOKEN": token})

        assert done.code == 3
        assert "ml_engineer" in done.stderr
        assert stages(headrace, folder) == [(1, "None")]

    def test_too_few_labelled_decisions_are_no_decision_until_there_are_more(self, headrace, made, tmp_path):
        folder = made(tmp_path, 'gates=[hr.not_worse("rmse", margin=0.5, min_rows=20)]')
        early = run(headrace, folder, 1, "deploy", "--as-of", TRAINED)
        late = run(headrace, folder, 0, "deploy", "--as-of", ENDED)

        assert "20 are needed" in early.stderr
        assert "Production" in late.stderr
        assert stages(headrace, folder) == [(1, "None"), (1, "Staging"), (1, "Production")]

    def test_undocumented_tables_and_forbidden_inputs_are_named(self, headrace, made, tmp_path):
        folder = made(tmp_path, 'gates=[hr.documented(), hr.forbid_inputs("amount")]')
        done = run(headrace, folder, 1, "deploy")

        assert "no description: model days" in done.stderr
        assert "shop.orders" in done.stderr
        assert "features are made from amount" in done.stderr


class TestTheCopyForServers:
    @pytest.fixture
    def deployed(self, headrace, made, tmp_path):
        folder = made(tmp_path, "gates=[hr.signature()]")
        run(headrace, folder, 0, "deploy")
        (copy,) = (folder / ".headrace/dev/serving/days/versions").iterdir()
        return folder, copy

    def test_one_that_was_removed_is_made_again(self, headrace, deployed):
        folder, copy = deployed
        kept = {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        shutil.rmtree(copy)
        run(headrace, folder, 0, "deploy")

        assert {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == kept

    @pytest.mark.parametrize("text", ['{"version":', None], ids=["broken", "another version"])
    def test_what_servers_are_told_is_set_right_when_it_was_changed_by_hand(self, headrace, deployed, text):
        folder, _ = deployed
        file = folder / ".headrace/dev/serving/days/serving.json"
        before = json.loads(file.read_text())
        file.write_text(text or json.dumps({**before, "versions": [{**before["versions"][0], "version": 7}]}))
        status = headrace.run(folder, "status")
        assert status.code == 1
        assert "days/1 is in Production and cannot be served" in status.stdout
        run(headrace, folder, 0, "deploy")

        after = json.loads(file.read_text())
        before["versions"][0]["promoted_at"] = after["versions"][0]["promoted_at"]
        assert after == before
        status = headrace.run(folder, "status")
        assert status.code == 0
        assert "serving.json of days was changed by hand, and written again" in status.stdout

    def test_an_artifact_that_changed_after_training_is_refused(self, headrace, tmp_path):
        folder = write(tmp_path / "mini", deployment="gates=[hr.signature()]")
        for arguments in (["refresh"], ["train", "--as-of", TRAINED]):
            run(headrace, folder, 0, *arguments)
        (package,) = (folder / ".headrace/dev/artifacts").rglob("spec.json")
        package.write_text(package.read_text() + " ")
        done = headrace.run(folder, "run", "deploy")

        assert done.code != 0
        assert "changed after it was registered" in done.stderr
        assert (1, "Staging") not in stages(headrace, folder)


class TestTrainingAgain:
    """What a version was made of is gone, or was changed: a training that finds nothing else new makes another one."""

    @pytest.mark.parametrize("spoil", ["removed", "changed"])
    def test_makes_a_version_that_can_be_deployed(self, headrace, made, tmp_path, spoil):
        folder = made(tmp_path, "")
        (described,) = (folder / ".headrace/dev/artifacts").rglob("MLmodel")
        if spoil == "removed":
            shutil.rmtree(described.parent)
        else:
            (package,) = described.parent.rglob("spec.json")
            package.write_text(package.read_text() + " ")
        run(headrace, folder, 0, "train", "--as-of", TRAINED)
        run(headrace, folder, 0, "deploy")

        assert stages(headrace, folder)[-1] == (2, "Production")
        versions = headrace.run(folder, "model", "list", "--json").json()
        assert len({each["run_id"] for each in versions}) == 2

    def test_makes_none_while_everything_stands(self, headrace, made, tmp_path):
        folder = made(tmp_path, "")
        run(headrace, folder, 0, "train", "--as-of", TRAINED)

        assert stages(headrace, folder) == [(1, "None")]


WATCHED = """
    gates=[hr.not_worse("rmse", margin=0.5, min_rows=5)],
    monitor=hr.Monitor(window="1w", min_rows=5, alerts=[hr.alert("rmse", above=0.1, for_="1 of 1")]),
    retrain=hr.Retrain(on="alert", cool_down="3d"),
"""


class TestRetraining:
    @pytest.fixture(scope="class")
    @classmethod
    def alarmed(cls, headrace, made, tmp_path_factory):
        """Version 1 in Production, with an open alert that a mean cannot answer."""
        folder = made(tmp_path_factory.mktemp("alarmed"), WATCHED)
        run(headrace, folder, 0, "deploy", "--as-of", TRAINED)
        run(headrace, folder, 0, "score", "--as-of", ENDED)
        done = run(headrace, folder, 1, "monitor", "--as-of", ENDED)
        assert "alert 1: days version 1: rmse > 0.1, 1 of 1" in done.stderr
        return folder

    def test_one_that_does_not_help_is_not_promoted_and_after_two_it_stops(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        first = run(headrace, folder, 1, "retrain", "--as-of", ENDED)
        soon = run(headrace, folder, 3, "retrain", "--as-of", ENDED)
        second = run(headrace, folder, 1, "retrain", "--as-of", "2024-02-24")
        third = run(headrace, folder, 3, "retrain", "--as-of", "2024-02-28")

        assert "trained to answer an alert, and does not help" in first.stderr
        assert "less than 3d ago" in soon.stderr
        assert "does not help" in second.stderr
        assert "the last 2 trainings did not help" in third.stderr
        assert [change for change in stages(headrace, folder) if change[1] == "Production"] == [(1, "Production")]
        assert stages(headrace, folder)[-1] == (3, "Archived")

    def test_the_scheduler_trains_once_an_alert(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        first = headrace.run(folder, "up", "--once")
        second = headrace.run(folder, "up", "--once")

        assert "alert 1: rmse > 0.1, 1 of 1: headrace run retrain" in first.stderr
        assert "retrain" not in second.stderr
        assert [version for version, stage in stages(headrace, folder) if stage == "None"] == [1, 2]

    def test_by_a_person_it_is_held_to_the_declared_margin_only(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        run(headrace, folder, 0, "retrain", "--force", "--as-of", ENDED)

        assert stages(headrace, folder)[-2:] == [(1, "Archived"), (2, "Production")]
        again = run(headrace, folder, 0, "monitor", "--as-of", ENDED)
        (alert,) = headrace.run(folder, "alert", "list", "--all", "--json").json()
        assert (alert["version"], alert["status"]) == (1, "closed"), again.stderr
        assert headrace.run(folder, "status").code == 0

    def test_without_an_alert_nothing_asks_for_it(self, headrace, made, tmp_path):
        folder = made(tmp_path, WATCHED)
        done = run(headrace, folder, 0, "retrain", "--as-of", ENDED)

        assert "nothing asks for it" in done.stderr
        assert stages(headrace, folder) == [(1, "None")]

    def test_a_failed_refresh_stands_in_the_way(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        for file in Path(folder, "data").iterdir():
            file.write_text("id,nonsense\n1,2\n")
        assert headrace.run(folder, "run", "refresh").code != 0
        done = run(headrace, folder, 3, "retrain", "--as-of", ENDED)

        assert "a model is not fitted on broken data" in done.stderr

    def test_there_is_no_way_back_to_a_version_that_servers_cannot_start_from(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        run(headrace, folder, 0, "retrain", "--force", "--as-of", ENDED)
        (weights,) = (folder / ".headrace/dev/serving/days/versions").glob("1-*/MLmodel")
        weights.write_text(weights.read_text() + "# better\n")
        back = headrace.run(folder, "model", "rollback", "days", "--reason", "odd scores")
        blank = headrace.run(folder, "model", "rollback", "days", "--reason", "  ")

        assert (back.code, blank.code) == (3, 3)
        assert "is gone or was changed" in back.stderr
        assert "without a reason" in blank.stderr
        assert stages(headrace, folder)[-1] == (2, "Production")

    def test_back_and_forward_by_a_person_of_the_right_role(self, headrace, alarmed, tmp_path):
        folder = shutil.copytree(alarmed, tmp_path / "mini")
        run(headrace, folder, 0, "retrain", "--force", "--as-of", ENDED)
        back = headrace.run(folder, "model", "rollback", "days", "--reason", "odd scores")
        forward = headrace.run(folder, "model", "rollback", "days", "--to", "2", "--reason", "was not it")
        same = headrace.run(folder, "model", "rollback", "days", "--to", "2", "--reason", "again")

        assert (back.code, forward.code, same.code) == (0, 0, 3), back.stderr + forward.stderr + same.stderr
        productions = [change[0] for change in stages(headrace, folder) if change[1] == "Production"]
        assert productions == [1, 2, 1, 2]


class TestAnotherVersion:
    def test_made_from_other_features_it_scores_into_the_same_table(self, headrace, made, tmp_path):
        folder = made(tmp_path, "")
        scoring = ["score", "--since", "2024-02-01", "--until", "2024-02-10", "--as-of", ENDED]
        run(headrace, folder, 0, *scoring, "--version", "1")
        program = folder / "mini.py"
        program.write_text(
            program.read_text().replace('orders.select("amount")', 'orders.select("amount", "customer")')
        )
        run(headrace, folder, 0, "train", "--as-of", ENDED)
        run(headrace, folder, 0, *scoring, "--version", "2")
        query = "select model_version, count(*) as n, count(features.customer) as customers, count(features.amount) as amounts from answers.days group by model_version order by model_version"
        both = headrace.run(folder, "sql", query, "--json").json()
        history = headrace.run(folder, "table", "history", "answers.days", "--json").json()
        run(headrace, folder, 0, *scoring, "--version", "1")

        assert both == [
            {"model_version": 1, "n": 18, "customers": 0, "amounts": 18},
            {"model_version": 2, "n": 18, "customers": 18, "amounts": 18},
        ]
        assert headrace.run(folder, "table", "history", "answers.days", "--json").json() == history
