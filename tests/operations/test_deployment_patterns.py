"""One project in each deployment pattern: who trains, what comes up, and that it is the same files."""

import shutil
import subprocess

import pytest
from tests.cli import mini
from tests.support import assistant

from headrace.core.errors import DataError, DeclarationError, NotFoundError, RefusedError
from headrace.core.folders import folder_digest
from headrace.operations.deploy import deploy
from headrace.operations.models import show_version
from headrace.operations.operation import At
from headrace.operations.predict import predict_rows
from headrace.operations.promote import promote_model
from headrace.operations.refresh import refresh
from headrace.operations.release.apply import apply_release, roll_back_release
from headrace.operations.release.plan import applying, plan_release
from headrace.operations.requests import list_requests, show_request
from headrace.operations.retrain import retrain
from headrace.operations.schedule_status import list_schedules
from headrace.operations.stores import environment_stores
from headrace.operations.train import plan_train, train
from headrace.operations.tune import tune
from headrace.workspace.workspace import open_workspace

TOML = """\
[project]
name = "mini"
module = "mini"
as_of = "2024-03-01"

[env.dev]
[env.staging]
[env.prod]
"""
RETRAINED = 'gates=[hr.signature(), hr.at_least("rmse", 9)], retrain=hr.Retrain(on="alert"), monitor=hr.Monitor()'
PATTERNS = ("code", "models", "hybrid")


def git(folder, *words):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class Golden:
    """A project of three environments in git; one line says how its model is deployed."""

    def __init__(self, folder):
        self.folder = folder

    def at(self, env, **how):
        return At(env=env, folder=self.folder, **how)

    def commit(self, text, *pairs, tag=None):
        program = (self.folder / "mini.py").read_text()
        for before, after in pairs:
            assert before in program
            program = program.replace(before, after)
        (self.folder / "mini.py").write_text(program)
        git(self.folder, "commit", "-qam", text, "--allow-empty")
        if tag:
            git(self.folder, "tag", tag)
        return git(self.folder, "rev-parse", "HEAD")

    def open(self, env):
        return open_workspace(env, folder=self.folder)

    def versions(self, env):
        with self.open(env) as workspace:
            return workspace.registry.versions("days") if "days" in workspace.registry.models() else []


def _written(folder, pattern):
    mini.write(folder, deployment=f"pattern={pattern!r}, {RETRAINED}")
    (folder / "headrace.toml").write_text(TOML)
    (folder / ".gitignore").write_text(".headrace/\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return Golden(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with pattern='models' whose version is in Production in dev, and released."""
    project = _written(tmp_path_factory.mktemp("golden") / "mini", "models")
    apply_release(project.at("dev"))
    project.commit("release", tag="v0.1.0")
    return project.folder


@pytest.fixture
def project(trained, tmp_path):
    return Golden(shutil.copytree(trained, tmp_path / "mini", symlinks=True))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_project_comes_to_production_in_each_pattern(tmp_path, pattern):
    project = _written(tmp_path / "mini", pattern)
    project.commit("release", tag="v0.1.0")
    for env in ("dev", "staging", "prod"):
        done = apply_release(applying(project.at(env)))
        makes = "train" if pattern == "code" or env == "dev" else "promote"
        assert done.actions == ("refresh", f"{makes} days", "deploy days")
        assert (done.findings, done.waits) == ((), ())
        assert plan_release(applying(project.at(env))).actions == ()
    (dev,), (staging,), (prod,) = (project.versions(env) for env in ("dev", "staging", "prod"))
    assert {each.stage for each in (dev, staging, prod)} == {"Production"}
    answers = {env: predict_rows(project.at(env), "days", "shop.orders").to_json()["rows"] for env in ("dev", "prod")}
    assert answers["dev"] == answers["prod"]
    if pattern == "code":
        assert prod.promoted is None
        assert prod.logged_hash != dev.logged_hash
        return
    assert (prod.artifact_hash, prod.logged_hash) == (dev.artifact_hash, dev.logged_hash)
    assert prod.promoted == {"environment": "staging", "version": "1", "origin": "dev/1", "run": dev.run_id}
    assert (prod.code, prod.fit_from, prod.fit_to, prod.params) == (dev.code, dev.fit_from, dev.fit_to, dev.params)
    with project.open("dev") as one, project.open("prod") as other:
        assert one.tracking.url != other.tracking.url
        with one.tracking.download(dev.model_uri) as theirs, other.tracking.download(prod.model_uri) as ours:
            assert theirs != ours
            without = ("registered_model_meta",)
            assert folder_digest(theirs, without=without) == folder_digest(ours, without=without)
    shown = show_version(project.at("prod"), "days", version=1)
    assert (shown.promoted_from, shown.origin) == ("staging/1", "dev/1")
    assert shown.stages[0].reason == "promoted from staging/1"


def test_mlflow_loads_the_copy_and_it_answers_the_same(project):
    import mlflow

    refresh(project.at("staging"))
    promote_model(project.at("staging"))
    found = {}
    for env in ("dev", "staging"):
        (version,) = project.versions(env)
        with project.open(env) as workspace:
            mlflow.set_tracking_uri(workspace.tracking.url)
        model = mlflow.pyfunc.load_model("models:/days/1")
        example = model.input_example if hasattr(model, "input_example") else None
        rows = [{"amount": 2.5, "orders": 3.0}] if example is None else example
        import pandas as pd

        found[env] = model.predict(pd.DataFrame(rows)).to_dict()
        assert version.version == 1
    assert found["dev"] == found["staging"]


def test_where_versions_come_up_nothing_is_trained(project):
    refresh(project.at("staging"))
    for refused in (train, plan_train):
        with pytest.raises(RefusedError, match=r"days is not trained in staging: .*so dev trains it") as caught:
            refused(project.at("staging"), "days")
        assert "headrace model promote days --env staging" in caught.value.hint
    held = retrain(project.at("staging"), "days", force=True)
    assert held.delivered is None
    assert held.against[0] == "pattern='models': dev trains it, and a version comes up"
    assert [each.activity for each in list_schedules(project.at("dev")).schedules] == ["retraining"]
    assert list_schedules(project.at("staging")).schedules == ()
    assert project.versions("staging") == []


def test_a_hybrid_is_retrained_where_it_is_used(project):
    project.commit("hybrid", ("pattern='models'", "pattern='hybrid'"), tag="v0.2.0")
    for env in ("staging", "prod"):
        apply_release(applying(project.at(env)))
    done = retrain(project.at("prod"), "days", force=True)
    assert done.delivered is not None
    first, second = project.versions("prod")
    assert (first.promoted is not None, second.promoted) == (True, None)
    with pytest.raises(RefusedError, match="dev is the lowest environment"):
        promote_model(project.at("dev"), "days")


def test_what_was_promoted_is_not_registered_again(project):
    refresh(project.at("staging"))
    first = promote_model(project.at("staging"), "days")
    again = promote_model(project.at("staging"), "days", source="dev", version=1)
    assert (first.known, again.known, again.version) == (False, True, 1)
    assert (first.source, first.origin) == ("dev/1", "dev/1")
    assert len(project.versions("staging")) == 1


def test_code_that_no_release_contains_does_not_come_into_production(project):
    project.commit("another mean", ("float(y.mean())", "float(y.median())"))
    apply_release(project.at("dev"))
    apply_release(project.at("staging"))
    refresh(project.at("prod"))
    with pytest.raises(RefusedError, match=r"made by \w{8}, which is not a part of v0.1.0"):
        promote_model(project.at("prod"), "days")
    done = apply_release(applying(project.at("prod")))
    assert any("not a part of v0.1.0" in each for each in done.findings)
    assert project.versions("prod") == []
    again = apply_release(applying(project.at("prod")))  # nothing is forgotten: it is told until a version can come up
    assert (again.actions, again.findings) == ((), done.findings)
    project.commit("release", tag="v0.2.0")
    assert apply_release(applying(project.at("prod"))).findings == ()
    assert [each.stage for each in project.versions("prod")] == ["Production"]


def test_a_squashed_merge_contains_what_was_merged(project):
    git(project.folder, "checkout", "-qb", "work")
    commit = project.commit("another mean", ("float(y.mean())", "float(y.median())"))
    apply_release(project.at("dev"))
    git(project.folder, "checkout", "-q", "main")
    git(project.folder, "merge", "-q", "--squash", "work")
    git(project.folder, "commit", "-qm", "squashed")
    git(project.folder, "tag", "v0.2.0")
    refresh(project.at("prod"))
    promote_model(project.at("prod"), "days", source="dev")
    assert project.versions("prod")[0].code == commit


def test_uncommitted_code_does_not_come_up(project):
    (project.folder / "mini.py").write_text((project.folder / "mini.py").read_text().replace("y.mean()", "y.median()"))
    apply_release(project.at("dev"))
    with project.open("dev") as workspace:
        assert project.versions("dev")[-1].code == workspace.code.tree
    refresh(project.at("staging"))
    with pytest.raises(RefusedError, match="made by code that is in no commit of this repository"):
        promote_model(project.at("staging"), "days")


def test_a_version_with_other_features_does_not_come_up(project):
    project.commit("fewer", ('orders.select("amount"), features', "features"))
    refresh(project.at("staging"))
    with pytest.raises(RefusedError, match=r"takes other features than the code here declares: .* differ"):
        promote_model(project.at("staging"), "days")


def test_files_that_changed_below_do_not_come_up(project):
    refresh(project.at("staging"))
    (version,) = project.versions("dev")
    with project.open("dev") as workspace, workspace.tracking.download(version.model_uri) as folder:
        (folder / "requirements.txt").write_text("planted==1\n")
    with pytest.raises(DataError, match=r"the artifact of days in dev/1 changed after it was registered"):
        promote_model(project.at("staging"), "days")
    assert project.versions("staging") == []


def test_what_cannot_be_promoted_is_said(project, tmp_path):
    staging = project.at("staging")
    with pytest.raises(NotFoundError, match="environment"):
        promote_model(staging, "days", source="nowhere")
    with pytest.raises(RefusedError, match="prod is not below staging"):
        promote_model(staging, "days", source="prod")
    with pytest.raises(NotFoundError, match="'7'"):
        promote_model(staging, "days", version=7)
    with pytest.raises(NotFoundError, match="version in Production of days in") as caught:
        promote_model(project.at("prod"), "days")
    assert "headrace run deploy --env staging" in caught.value.hint
    project.commit("code", ("pattern='models', ", ""))
    with pytest.raises(RefusedError, match="days is deployed as code: staging trains its own versions"):
        promote_model(staging, "days")


def test_a_pattern_is_one_of_three():
    import headrace as hr

    rows = hr.Table("shop.rows", key="id", sql="select 1")
    model = hr.Model("m", task=hr.Regression(label=rows["y"]), spine=rows.at("t"), features=[rows.select("x")])
    with pytest.raises(DeclarationError, match=r"Deployment\(pattern='artefacts'\) is not known"):
        hr.Deployment(model, pattern="artefacts")


def test_approvers_see_where_a_version_was_trained(project):
    (project.folder / "headrace.toml").write_text(TOML.replace("[env.prod]", '[env.prod]\napprovals = ["governance"]'))
    project.commit("approvals", tag="v0.2.0")
    apply_release(project.at("staging"))
    done = apply_release(applying(project.at("prod")))
    assert done.waits
    (request,) = [each for each in list_requests(project.at("prod")) if each.to == "Production"]
    assert show_request(project.at("prod"), request.request).evidence["promoted"]["origin"] == "dev/1"


def test_a_version_that_is_in_production_below_later_comes_up_by_the_next_apply(project):
    apply_release(applying(project.at("staging")))
    project.commit("another mean", ("float(y.mean())", "float(y.median())"), tag="v0.2.0")
    apply_release(project.at("dev"))
    assert apply_release(applying(project.at("prod"))).findings == ()  # the version that staging has, of earlier code
    assert apply_release(applying(project.at("staging"))).actions == ("promote days", "deploy days")
    plan = plan_release(applying(project.at("prod")))
    assert [each.action for each in plan.actions] == ["promote days", "deploy days"]
    assert plan.actions[0].reason == "staging/2 is in Production there"
    apply_release(applying(project.at("prod")))
    assert [each.stage for each in project.versions("prod")] == ["Archived", "Production"]
    assert plan_release(applying(project.at("prod"))).actions == ()


def test_a_release_whose_version_is_not_trained_below_yet_is_told_and_a_rollback_is_about_code(project):
    for env in ("staging", "prod"):
        apply_release(applying(project.at(env)))
    project.commit("another mean", ("float(y.mean())", "float(y.median())"), tag="v0.2.0")
    done = apply_release(applying(project.at("prod")))
    assert done.actions == ()
    assert done.findings == (
        "model days changed, and staging/1, which is here already, is what is in Production there",
    )
    back = roll_back_release(project.at("prod", release="v0.1.0"), reason="not yet")
    assert (back.actions, back.findings) == ((), ())


@pytest.mark.parametrize("split", ['"30d"', "hr.at_random(0.5)"], ids=["by time", "at random"])
def test_no_decision_that_a_version_was_fitted_on_tests_it(project, split):
    """Another split above would put decisions among the test rows that the version was fitted on."""
    project.commit("another split", ('evaluate=hr.Evaluate(test="10d"', f"evaluate=hr.Evaluate(test={split}"))
    (version,) = project.versions("dev")
    refresh(project.at("staging"))
    promote_model(project.at("staging"))
    (up,) = project.versions("staging")
    with project.open("dev") as dev, project.open("staging") as staging:
        there = dev.lakehouse.snapshot("training.days", version.training_set).to_arrow().to_pandas()
        here = staging.lakehouse.snapshot("training.days", up.training_set).to_arrow().to_pandas()
    fitted = set(there.loc[there["_part"] != "test", "id"])
    tested = set(here.loc[here["_part"] == "test", "id"])
    assert tested
    assert not tested & fitted


def test_where_every_decision_was_fitted_on_nothing_is_measured(project):
    """As of an earlier moment, the decisions that are held out are all among those that it was fitted on."""
    toml = (project.folder / "headrace.toml").read_text()
    (project.folder / "headrace.toml").write_text(toml.replace("2024-03-01", "2024-02-10"))
    git(project.folder, "commit", "-qam", "earlier")
    refresh(project.at("staging"))
    with pytest.raises(DataError, match=r"the version was fitted on all of the \d+ decisions that would test it here"):
        promote_model(project.at("staging"))
    assert project.versions("staging") == []


def test_a_version_that_was_trained_here_is_not_deployed_where_versions_come_up(project):
    project.commit("code", ("pattern='models', ", ""))
    refresh(project.at("staging"))
    train(project.at("staging"), "days")
    project.commit(
        "models", ('days",\n', 'days",\n'), ("hr.Deployment(model, ", "hr.Deployment(model, pattern='models', ")
    )
    for version, told in ((None, "active version that came up of model"), (1, "days/1 was trained in staging")):
        with pytest.raises((NotFoundError, RefusedError), match=told):
            deploy(project.at("staging"), "days", version=version)
    promote_model(project.at("staging"))
    assert deploy(project.at("staging"), "days").version == 2


def test_a_version_that_is_archived_below_does_not_come_up(project):
    project.commit("a bad one", ("self.value = float(y.mean())", "self.value = 1000.0"))
    apply_release(project.at("dev"))
    assert [each.stage for each in project.versions("dev")] == ["Production", "Archived"]
    refresh(project.at("staging"))
    with pytest.raises(RefusedError, match="days of dev/2 is archived there"):
        promote_model(project.at("staging"), "days", version=2)


def test_a_copy_that_was_damaged_is_made_anew(project):
    refresh(project.at("staging"))
    promote_model(project.at("staging"))
    (version,) = project.versions("staging")
    with project.open("staging") as workspace, workspace.tracking.download(version.model_uri) as folder:
        (folder / "requirements.txt").write_text("planted==1\n")
    done = promote_model(project.at("staging"))
    assert (done.known, done.version) == (False, 2)
    assert deploy(project.at("staging"), "days").ending == "in production"


def test_nothing_is_written_below_and_the_store_here_is_marked(project):
    refresh(project.at("staging"))
    below = project.folder / ".headrace" / "dev"

    def files():
        """Without the databases, which SQLite touches when it opens them."""
        kept = [
            path for path in below.rglob("*") if path.is_file() and path.suffix != ".db" and ".db-" not in path.name
        ]
        return {path: path.read_bytes() for path in kept}

    before = files()
    promote_model(project.at("staging"))
    assert files() == before
    assert {each.kind: each.id is not None for each in environment_stores(project.at("staging"))}["tracking"]


STAGING = """
[env.staging]
[env.staging.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "small"
[env.prod]
"""


def test_what_answers_by_itself_comes_up_with_its_prompt_and_its_index(tmp_path):
    program = assistant.PROJECT.replace("assistant, gates=", 'assistant, pattern="models", gates=')
    with assistant.endpoint() as endpoint:
        folder = assistant.write(
            tmp_path / "mini", endpoint.url, project=program, more=STAGING.format(url=endpoint.url)
        )
        (folder / ".gitignore").write_text(".headrace/\n")
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "first")
        apply_release(At(folder=folder))
        with open_workspace("dev", folder=folder) as dev:
            before = gateway_calls(dev)
        done = apply_release(applying(At(env="staging", folder=folder)))
        assert done.actions == ("refresh", "promote assistant", "deploy assistant")
        assert done.findings == ()
        with pytest.raises(RefusedError, match="assistant is not trained in staging"):
            tune(At(env="staging", folder=folder))
    found = {}
    for env in ("dev", "staging"):
        with open_workspace(env, folder=folder) as workspace:
            found[env] = workspace.registry.current("assistant", "Production")
    assert found["dev"].artifact_hash == found["staging"].artifact_hash
    assert found["staging"].promoted["origin"] == "dev/1"
    assert found["staging"].metrics == found["dev"].metrics
    assert found["staging"].routes["small"]["url"] == endpoint.url
    with open_workspace("dev", folder=folder) as dev, open_workspace("staging", folder=folder) as staging:
        calls = [gateway_calls(each) for each in (dev, staging)]
    assert calls[0] == before
    assert calls[1] > 0


def gateway_calls(workspace):
    with workspace.state.read() as connection:
        return connection.exec_driver_sql("select count(*) from gateway_calls").scalar()
