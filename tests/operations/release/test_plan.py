"""What a change of the code would do, and doing it: only what it concerns, once, and back again."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from tests.cli import mini

from headrace.core.errors import BusyError, ConfigError, HeadraceError, RefusedError
from headrace.operations.deploy import deploy
from headrace.operations.job import open_job
from headrace.operations.operation import At
from headrace.operations.refresh import refresh
from headrace.operations.release.apply import apply_release, roll_back_release, rollback_target
from headrace.operations.release.plan import applying, plan_release
from headrace.operations.score import score
from headrace.serving.manifest import FILE, read_manifest
from headrace.workspace.workspace import open_workspace

EXTRA = '\nspare = hr.Table("shop.spare", key="id", sql="select id, amount from raw.orders")\n'
GATES = 'serve=hr.Serve(), gates=[hr.signature(), hr.at_least("rmse", 9)]'


class Mini:
    """A project whose program is changed, and applied in dev."""

    def __init__(self, folder):
        self.folder, self.at = folder, At(folder=folder)

    def change(self, *pairs, more=""):
        program = (self.folder / "mini.py").read_text()
        for before, after in pairs:
            assert before in program
            program = program.replace(before, after)
        (self.folder / "mini.py").write_text(program + more)

    def plan(self, **how):
        return plan_release(applying(self.at), **how)

    def apply(self, **how):
        return apply_release(applying(self.at), **how)

    def actions(self, **how):
        return [each.action for each in self.plan(**how).actions]

    def open(self):
        return open_workspace(folder=self.folder)


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    folder = mini.write(tmp_path_factory.mktemp("applied") / "mini", deployment=GATES)
    project = Mini(folder)
    project.change(more=EXTRA)
    first = project.apply()
    assert first.actions == ("refresh", "train days", "deploy days")
    assert (first.before, first.findings, first.waits) == (None, (), ())
    return folder


@pytest.fixture
def project(applied, tmp_path):
    return Mini(shutil.copytree(applied, tmp_path / "mini", symlinks=True))


def test_again_there_is_nothing_to_do(project):
    plan = project.plan()
    assert (plan.changes, plan.risks, plan.actions, plan.drift, plan.removals) == ((), (), (), (), ())
    assert project.apply().actions == ()


def test_a_description_changes_nothing_that_runs(project):
    project.change(('"days",\n    fit=fit', '"days",\n    description="how long",\n    fit=fit'))
    (change,) = project.plan().changes
    assert (change.object, change.change) == ("model days", "changed")
    assert change.attributes == ("description: none → how long",)
    assert project.apply().actions == ()
    assert project.plan().changes == ()


def test_another_select_is_refreshed_and_nothing_else(project):
    project.change(("select id, amount from raw.orders", "select id, amount * 2 as amount from raw.orders"))
    plan = project.plan()
    assert [each.object for each in plan.changes] == ["table shop.spare"]
    assert [each.action for each in plan.actions] == ["refresh"]
    (risk,) = plan.risks
    assert (risk.level, risk.object) == ("costs", "table shop.spare")
    assert risk.reason.startswith("all of its 120 rows are built anew; the last time that took ")
    project.apply()
    with project.open() as workspace:
        assert [version.version for version in workspace.registry.versions("days")] == [1]


@pytest.mark.parametrize(
    ("before", "after", "rebuilt"),
    [
        (
            "select customer, placed_at as at, count(*) as orders",
            "select customer, placed_at as at, 2 * count(*) as orders",
            True,
        ),
        ('    time="at",\n', '    time="at",\n    look_back="9d",\n', False),
    ],
    ids=["another select", "another look-back"],
)
def test_a_model_whose_features_mean_something_else_is_trained_again(project, before, after, rebuilt):
    """A version that was fitted on the old values would be served with the new ones."""
    project.change((before, after))
    plan = project.plan()
    assert [each.action for each in plan.actions] == ["refresh", "train days", "deploy days"]
    assert plan.actions[1].reason == "its inputs changed: stats.customers"
    assert [each.level for each in plan.risks] == (["costs"] if rebuilt else [])


def test_a_model_is_trained_again_where_what_its_tables_are_made_of_changes(project):
    project.change(('files="data/*.csv", schema=', 'files="data/*.csv", nulls=["nothing"], schema='))
    assert project.actions() == ["refresh", "train days", "deploy days"]


def test_another_function_is_trained_and_deployed(project):
    project.change(("self.value = float(y.mean())", "self.value = float(y.median())"))
    plan = project.plan()
    assert [each.object for each in plan.changes] == ["model days"]
    assert plan.changes[0].attributes[0].startswith("fit: mini:fit@")
    done = project.apply()
    assert done.actions == ("train days", "deploy days")
    with project.open() as workspace:
        assert workspace.registry.current("days", "Production").version == 2


def test_a_version_that_its_gates_refuse_is_told_and_the_one_before_stays(project):
    project.change(("self.value = float(y.mean())", "self.value = 1000.0"))
    done = project.apply()
    assert len(done.findings) == 1
    assert "days version 2: refused" in done.findings[0]
    with project.open() as workspace:
        assert workspace.registry.current("days", "Production").version == 1
    assert project.plan().actions == ()  # the code is applied; the version is not


def test_a_gate_that_is_taken_out_is_a_risk_and_is_declared(project):
    project.change(('hr.signature(), hr.at_least("rmse", 9)', 'hr.at_least("rmse", 90)'))
    plan = project.plan()
    assert [each.action for each in plan.actions] == ["declare days"]
    assert {(each.level, each.object) for each in plan.risks} == {("widens", "deployment days")}
    reasons = " ".join(each.reason for each in plan.risks)
    assert "is gone" in reasons
    assert "asks otherwise" in reasons
    project.apply()
    assert project.plan().actions == ()


def test_another_way_of_serving_is_told_to_the_servers(project):
    project.change(("serve=hr.Serve()", 'serve=hr.Serve(max_rows=7, cors=["https://app.example"])'))
    plan = project.plan()
    assert [each.action for each in plan.actions] == ["deploy days"]
    assert [each.reason for each in plan.risks] == ["pages of https://app.example can read answers"]
    project.apply()
    with project.open() as workspace:
        manifest = read_manifest(workspace.home("days") / FILE)
    assert (manifest.serve.max_rows, manifest.primary.version) == (7, 1)


def test_a_column_that_production_uses_is_not_lost_unseen(project):
    project.change(
        ("select id, customer, placed_at, amount from", "select id, customer, placed_at, amount as total from")
    )
    project.change(('orders.select("amount")', 'orders.select("total")'))
    breaks = [each for each in project.plan().risks if each.level == "breaks"]
    assert [(each.object, each.reason) for each in breaks] == [
        ("model days", "version 1 in Production uses shop.orders.amount, which would be gone")
    ]


@pytest.mark.parametrize(
    ("star", "told"),
    [
        ("select * from shop.base", True),
        ("select b.*, 1 as one from shop.base b", True),
        ("select * from (select *, 1.0 as amount from shop.base)", False),
        ("select * replace (1.0 as total) from shop.base", False),
        ("select * from shop.base join raw.orders using (id)", False),
    ],
    ids=["a star", "a star of an alias", "a query inside", "replaced", "with a source"],
)
def test_a_star_is_followed_where_the_text_says_what_it_stands_for(project, star, told):
    base = """base = hr.Table("shop.base", key="id", sql="select id, customer, placed_at, amount as total from raw.orders")
orders = """
    select = '"select id, customer, placed_at, amount from raw.orders"'
    project.change(("orders = ", base), (select, repr(star)), ('orders.select("amount")', 'orders.select("total")'))
    breaks = [each.reason for each in project.plan().risks if each.level == "breaks"]
    assert breaks == ["version 1 in Production uses shop.orders.amount, which would be gone"] * told


def test_what_is_no_longer_declared_stays_until_it_is_removed(project):
    project.change((EXTRA, ""))
    plan = project.plan()
    assert [(each.object, each.change) for each in plan.changes] == [("table shop.spare", "removed")]
    assert (plan.actions, plan.removals) == ((), ("table shop.spare",))
    project.apply()
    assert project.plan().removals == ("table shop.spare",)
    assert project.actions(remove=True) == ["drop shop.spare"]
    assert project.apply(remove=True).findings == ()
    with project.open() as workspace:
        assert not workspace.lakehouse.exists("shop.spare")
    assert project.plan(remove=True).actions == ()


def test_a_table_that_a_version_in_production_was_made_from_is_not_removed(project):
    program = (project.folder / "mini.py").read_text()
    begin, end = program.index("features = hr.FeatureTable("), program.index("def fit(data")
    (project.folder / "mini.py").write_text(program[:begin] + program[end:])
    project.change((', features.select("orders")', ""), ("self.value = float(y.mean())", "self.value = 1000.0"))
    done = project.apply(remove=True)  # the new version is refused, so that version 1 stays in Production
    assert done.findings[-1] == "stats.customers stays: days/1 was made from it"
    with project.open() as workspace:
        assert workspace.lakehouse.exists("stats.customers")


def test_a_model_that_is_no_longer_declared_is_retired_and_then_what_it_cites_goes(project):
    (project.folder / "mini.py").write_text(
        'import headrace as hr\nraw = hr.Source("raw.orders", files="data/*.csv")\n'
    )
    done = project.apply(remove=True)
    assert "retire days" in done.actions
    with project.open() as workspace:
        assert [each.stage for each in workspace.registry.versions("days")] == ["Archived"]
        assert not (workspace.home("days") / FILE).exists()
        assert not workspace.lakehouse.exists("shop.orders")
        assert ("table.dropped", "shop.orders") in [(each.action, each.object) for each in workspace.audit.entries()]


def test_tables_go_after_the_versions_that_cite_them(project):
    (project.folder / "mini.py").write_text(
        'import headrace as hr\nraw = hr.Source("raw.orders", files="data/*.csv")\n'
    )
    actions = project.actions(remove=True)
    assert actions.index("retire days") < actions.index("drop shop.orders")


def test_what_differs_from_what_was_applied_is_found(project):
    with project.open() as workspace:
        workspace.lakehouse.drop("shop.spare")
        (workspace.home("days") / FILE).unlink()
    assert project.plan().drift == (
        "shop.spare was applied and is not there: headrace run refresh",
        "servers of days are told version none, and 1 is in Production",
    )
    refresh(project.at)
    deploy(project.at)
    assert project.plan().drift == ()


def test_an_action_that_fails_is_where_the_next_one_begins(project):
    project.change(
        ("self.value = float(y.mean())", "raise OSError('no')"),
        ("select id, amount from raw.orders", "select id, 1 as amount from raw.orders"),
    )
    done = []
    with pytest.raises(HeadraceError):
        project.apply(listen=lambda each: done.append(each.name))
    assert done == ["plan", "refresh"]
    assert [each.object for each in project.plan().changes] == ["model days", "table shop.spare"]  # nothing is noted
    project.change(("raise OSError('no')", "self.value = float(y.mean()) + 0"))
    assert project.apply().actions == ("refresh", "train days", "deploy days")
    assert project.plan().changes == ()


def test_two_at_once_do_not_meet(project):
    project.change(("select id, amount from raw.orders", "select id, 2 as amount from raw.orders"))
    with project.open() as workspace, open_job(workspace, "apply", {}, None), pytest.raises(BusyError):
        project.apply()
    assert project.apply().actions == ("refresh",)


def test_killed_it_goes_on_with_the_next_action(headrace, project):
    project.change(
        ("select id, amount from raw.orders", "select id, 3 as amount from raw.orders"),
        ("self.value = float(y.mean())", "self.value = float(y.mean()) * 1"),
    )
    killed = headrace.run(project.folder, "apply", "--yes", env={"HEADRACE_FAILPOINT": "step.finished:refresh"})
    assert killed.signal == 9
    done = headrace.run(project.folder, "apply", "--yes")
    assert done.code == 0, done.stderr
    assert "· refresh" in done.stderr  # not again
    assert "✓ train days" in done.stderr
    assert project.plan().changes == ()


def test_a_plan_is_read_and_asked_for(headrace, project):
    project.change(("serve=hr.Serve()", "serve=hr.Serve(max_rows=8)"))
    shown = headrace.run(project.folder, "plan")
    assert shown.code == 0, shown.stderr
    assert "~ deployment days" in shown.stdout + shown.stderr
    refused = headrace.run(project.folder, "apply")
    assert refused.code == 3
    assert "nobody can be asked here" in refused.stderr
    assert project.actions() == ["deploy days"]


def git(folder, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class Live(Mini):
    """The same project in the environment that runs releases."""

    def __init__(self, folder):
        super().__init__(folder)
        self.at = At(folder=folder, env="live")
        (folder / ".gitignore").write_text(".headrace/\ndata/\n")
        git(folder, "init", "-q", "-b", "main")

    def release(self, tag, *pairs):
        self.change(*pairs)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", tag)
        git(self.folder, "tag", tag)

    def runs(self):
        done = refresh(self.at)
        with open_workspace("live", folder=self.folder) as workspace:
            return next(run.code for run in workspace.ledger.runs("refresh") if run.id == done.run).partition(" ")[0]


@pytest.fixture
def live(tmp_path):
    return Live(mini.write(tmp_path / "mini", deployment=GATES))


def test_a_release_runs_when_it_is_applied_and_until_another_one_is(live):
    live.release("v1.0.0")
    live.apply()
    live.release(
        "v1.1.0", ("select id, customer, placed_at, amount", "select id, customer, placed_at, amount + 0.0 as amount")
    )
    assert live.runs() == "v1.0.0"
    assert live.plan().release == "v1.1.0"
    done = live.apply()
    assert (done.before, done.release) == ("v1.0.0", "v1.1.0")
    assert live.runs() == "v1.1.0"
    assert rollback_target(live.at) == "v1.0.0"
    back = roll_back_release(replace(live.at, release="v1.0.0"), reason="totals are wrong")
    assert (back.before, back.release) == ("v1.1.0", "v1.0.0")
    assert back.actions == ("refresh",)  # versions of models stay where they are
    with open_workspace("live", folder=live.folder) as workspace:
        assert workspace.registry.current("days", "Production").version == 2
    assert live.runs() == "v1.0.0"
    assert deploy(live.at).ending == "in production"  # by the gates of what is applied, though a newer one is tagged
    assert score(live.at).run
    with pytest.raises(ConfigError, match=r"v1\.0\.0 \(\w+\) is what live has"):
        roll_back_release(replace(live.at, release="v1.0.0"), reason="again")
    with open_workspace("live", folder=live.folder) as workspace:
        entries = [entry for entry in workspace.audit.entries() if entry.action == "code.applied"]
    assert [entry.details["release"] for entry in entries] == ["v1.0.0", "v1.1.0", "v1.0.0"]
    assert entries[0].details["reason"] == "totals are wrong"


def test_there_is_nothing_to_go_back_to(live):
    live.release("v1.0.0")
    with pytest.raises(RefusedError, match="no other release was applied to live"):
        rollback_target(live.at)
    live.apply()
    with pytest.raises(RefusedError, match="no other release was applied to live"):
        rollback_target(live.at)
    with pytest.raises(ConfigError, match="there is no reason"):
        roll_back_release(replace(live.at, release="v1.0.0"), reason=" ")
