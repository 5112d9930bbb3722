"""What may happen in an environment is what is committed, and never less than its state database remembers."""

import os
import shutil
import subprocess
import threading
from datetime import timedelta

import pytest

from headrace.access import identity
from headrace.core.errors import ConfigError, RefusedError
from headrace.core.ownership import only_reading
from headrace.core.state import State
from headrace.operations.doctor import examine
from headrace.operations.reset import reset
from headrace.operations.stores import take_over_store
from headrace.workspace import floor, stores
from headrace.workspace.workspace import open_workspace

PROJECT = '[project]\nname = "shop"\nmodule = "shop"\n'
THREE = "[env.dev]\n[env.staging]\n[env.prod]\n"


class Repository:
    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        (folder / ".gitignore").write_text(".headrace/\n")
        (folder / "shop.py").write_text("import headrace as hr\n")

    def git(self, *arguments):
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def write(self, environments):
        (self.folder / "headrace.toml").write_text(PROJECT + environments)

    def commit(self, environments=None, *, tag=None):
        if environments is not None:
            self.write(environments)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        if tag:
            self.git("tag", tag)

    def open(self, env="prod", **how):
        return open_workspace(env, folder=self.folder, **how)

    def acts(self, env="prod", **how):
        """Changes something: what is in effect is remembered."""
        with self.open(env, **how) as workspace:
            workspace.keep_floor(workspace.access.me().name)
        return self.says(env, **how)

    def says(self, env="prod", **how):
        """What is in effect: kind, pattern, roles."""
        with self.open(env, **how) as workspace:
            found = workspace.environment
            return found.code, found.releases, found.approvals


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name in [each for each in os.environ if each.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "shop"
    folder.mkdir()
    made = Repository(folder)
    made.commit(THREE, tag="v1.0.0")
    return made


def actions(workspace):
    return [entry.action for entry in workspace.audit.entries()]


def test_the_first_use_writes_the_floor_and_later_ones_nothing(shop):
    for _ in range(2):
        shop.acts()
        with shop.open() as workspace:
            assert workspace.environment.code == "release"
            assert actions(workspace) == ["policy.set"]
            kept = floor.read(workspace.state)
    assert (kept.code, kept.releases, kept.order) == ("release", "v*", ("dev", "staging", "prod"))


def test_who_only_reads_is_held_by_what_is_committed_and_keeps_nothing(shop):
    assert shop.says() == ("release", "v*", ())
    with shop.open() as workspace:
        assert (floor.read(workspace.state), actions(workspace)) == (None, [])
    shop.acts()
    shop.commit("[env.dev]\n[env.staging]\n[env.prod]\napprovals = ['legal']\n", tag="v1.1.0")
    assert shop.says()[2] == ("legal",)
    shop.commit(THREE, tag="v1.2.0")
    assert shop.says()[2] == ()  # nobody who acts has seen it


def test_outside_of_git_dev_has_no_ceremony(tmp_path):
    (tmp_path / "headrace.toml").write_text(PROJECT)
    with open_workspace("dev", folder=tmp_path) as workspace:
        assert workspace.environment.code == "any"
        assert workspace.code.kind == "worktree"
        assert floor.read(workspace.state) is None


@pytest.mark.parametrize(
    "environments",
    [
        "[env.dev]\n[env.staging]\n[env.prod]\ncode = 'any'\nsample = 0.1\nreads = ['dev']\n",
        "[env.prod]\n[env.staging]\n[env.dev]\n",
        "[env.dev]\n[env.staging]\n[env.prod]\nreleases = '*'\n",
        "[env.dev]\n[env.prod]\n[env.live]\n",
    ],
)
@pytest.mark.parametrize("used", [True, False], ids=["used", "never used"])
def test_what_is_not_committed_loosens_nothing(shop, environments, used):
    if used:
        shop.acts()
    shop.write(environments)

    assert shop.acts() == ("release", "v*", ())
    with shop.open() as workspace:
        assert (workspace.environment.sample, workspace.environment.reads) == (1, {})
        assert workspace.code.release == "v1.0.0"
        assert workspace.code.dirty


def test_what_is_not_committed_may_be_stricter_and_is_not_remembered(shop):
    shop.write("[env.dev]\n[env.staging]\ncode = 'release'\n[env.prod]\n")
    assert shop.acts("staging")[0] == "release"
    shop.write(THREE)
    assert shop.acts("staging")[0] == "commit"


def test_a_commit_does_not_lower_the_kind_of_code(shop):
    shop.acts()
    shop.commit("[env.dev]\n[env.staging]\n[env.prod]\ncode = 'any'\n")

    assert shop.acts() == ("release", "v*", ())
    with shop.open() as workspace:
        assert workspace.code.release == "v1.0.0"
        assert "the committed 'any'" in workspace.ruling.looser[0]
        finding = next(each for each in examine(workspace) if each.check == "policy")
    assert finding.result == "warning"
    assert "headrace env policy --env prod" in finding.way


@pytest.mark.parametrize(
    ("environments", "said"),
    [
        ("[env.dev]\n[env.staging]\n[env.prod]\nreleases = '*'\n", "committed is '*'"),
        ("[env.dev]\n[env.staging]\n[env.prod]\n[env.live]\n", "prod < live"),
        ("[env.staging]\n[env.dev]\n[env.prod]\n", "committed is staging < dev < prod"),
    ],
)
def test_another_pattern_or_order_is_refused_until_an_admin_takes_it_over(shop, environments, said):
    shop.acts()
    shop.commit(environments, tag="evil")

    with shop.open() as workspace:
        with pytest.raises(RefusedError, match="headrace env policy --env prod --take-over") as refused:
            _ = workspace.code
        assert said in str(refused.value)
        floor.take_over(workspace.state, "prod", workspace.ruling, reason="we release everything")
    with shop.open() as workspace:
        _ = workspace.code
        assert actions(workspace)[0] == "policy.taken_over"


def test_environments_below_may_come_and_go(shop):
    shop.acts()
    shop.commit("[env.dev]\n[env.qa]\n[env.prod]\n", tag="v1.1.0")
    with shop.open() as workspace:
        assert workspace.code.release == "v1.1.0"


def test_roles_are_added_by_a_release_and_never_dropped_by_one(shop):
    shop.acts()
    asked = "[env.dev]\n[env.staging]\n[env.prod]\napprovals = ['legal']\n"
    shop.commit(asked)
    assert shop.acts()[2] == ()  # the release that runs does not say so yet
    shop.git("tag", "v1.1.0")
    assert shop.acts()[2] == ("legal",)
    shop.commit(THREE, tag="v1.2.0")
    assert shop.acts()[2] == ("legal",)
    assert shop.acts(release="v1.0.0")[2] == ("legal",)
    with shop.open() as workspace:
        assert "policy.raised" in actions(workspace)
        assert "legal still has to agree" in workspace.ruling.looser[0]
        floor.take_over(workspace.state, "prod", workspace.ruling, reason="they left")
    assert shop.acts()[2] == ()


def test_a_stricter_kind_comes_by_itself_and_stays(shop):
    shop.commit("[env.dev]\n[env.staging]\n[env.prod]\ncode = 'commit'\n")
    assert shop.acts()[0] == "commit"
    shop.commit(THREE)
    assert shop.acts()[0] == "release"
    shop.commit("[env.dev]\n[env.staging]\n[env.prod]\ncode = 'commit'\n")
    assert shop.acts()[0] == "release"
    with shop.open() as workspace:
        assert actions(workspace) == ["policy.raised", "policy.set"]


def test_only_an_admin_takes_over_and_says_why(shop, monkeypatch):
    with shop.open() as workspace:
        workspace.keep_floor("boss")
        workspace.access.grant("eve", "ml_engineer")
        token = workspace.access.token("eve", life=timedelta(days=1))
    shop.commit("[env.dev]\n[env.staging]\n[env.prod]\ncode = 'any'\n")
    with shop.open() as workspace:
        with pytest.raises(ConfigError, match="no reason"):
            floor.take_over(workspace.state, "prod", workspace.ruling, reason=" ")
        monkeypatch.setenv(identity.VARIABLE, token)
        with pytest.raises(RefusedError, match="eve may not change what may run"):
            floor.take_over(workspace.state, "prod", workspace.ruling, reason="please")
    assert shop.acts()[0] == "release"


def test_without_git_the_floor_stays(shop):
    shop.acts()
    shutil.rmtree(shop.folder / ".git")
    shop.write("[env.dev]\n[env.staging]\n[env.prod]\ncode = 'any'\n")

    with shop.open() as workspace:
        assert workspace.environment.code == "release"
        with pytest.raises(RefusedError, match="not in a git repository"):
            _ = workspace.code


def test_another_environment_does_not_open_a_state_database(shop):
    shop.acts()
    shop.write("[env.dev]\nroot = '.headrace/prod'\n[env.prod]\nroot = 'elsewhere'\n")

    with shop.open("dev") as workspace, pytest.raises(RefusedError, match="is that of environment 'prod'"):
        _ = workspace.environment
    with shop.open("dev", anew=True) as workspace, pytest.raises(RefusedError):
        reset(workspace)
    assert (shop.folder / ".headrace/prod/state.db").exists()


def test_the_stores_of_one_state_are_not_opened_by_another(shop, tmp_path, monkeypatch):
    with shop.open() as workspace:
        mine, home = workspace.owner.state, workspace.home("late")
        assert (workspace.lakehouse.names(), workspace.online.table("x.y"), home.parent.name) == ([], None, "serving")
        workspace.tracking.runs()
    monkeypatch.setenv("HEADRACE_ENV__prod__state", f"sqlite:///{tmp_path}/mine.db")
    with shop.open() as workspace:
        with pytest.raises(RefusedError, match="belongs to another state database") as refused:
            workspace.access.grant("eve", "admin")
        assert mine in str(refused.value)
        assert "Restore the state database" in str(refused.value)
        policy = next(each for each in examine(workspace) if each.check == "policy")
        assert "belongs to another state database" in policy.found
    # with a folder of its own, too
    root = shop.folder / ".headrace" / "prod"
    monkeypatch.setenv("HEADRACE_ENV__prod__root", str(tmp_path / "root"))
    monkeypatch.setenv("HEADRACE_ENV__prod__lakehouse", str(root / "lakehouse"))
    monkeypatch.setenv("HEADRACE_ENV__prod__online", str(root / "online.db"))
    monkeypatch.setenv("HEADRACE_ENV__prod__tracking", f"sqlite:///{root}/mlflow.db")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "serving").symlink_to(root / "serving")
    with shop.open() as workspace:
        for ask in (
            lambda: workspace.lakehouse,
            lambda: workspace.online,
            workspace.tracking.runs,
            lambda: workspace.home("late"),
        ):
            with pytest.raises(RefusedError, match="belongs to another state database"):
                ask()


def test_a_state_that_was_lost_is_not_made_anew_unnoticed_and_dev_begins_again_by_a_reset(shop):
    with shop.open("dev") as workspace:
        assert workspace.lakehouse.names() == []
        known = workspace.owner.state
    for file in (shop.folder / ".headrace" / "dev").glob("state.db*"):
        file.unlink()

    with shop.open("dev") as workspace, pytest.raises(RefusedError, match="headrace env reset --env dev"):
        _ = workspace.environment
    with shop.open("dev", anew=True) as workspace:
        reset(workspace, lost_state=known)
    with shop.open("dev") as workspace:
        assert workspace.lakehouse.names() == []


def test_a_project_that_is_copied_or_moved_opens_its_stores(shop, tmp_path):
    with shop.open("dev") as workspace:
        known = workspace.owner.state
        _ = workspace.lakehouse, workspace.online, workspace.home("late"), workspace.tracking.runs()
    shutil.copytree(shop.folder, tmp_path / "copy", symlinks=True)
    shop.folder.rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        with open_workspace("dev", folder=tmp_path / name) as workspace:
            assert workspace.owner.state == known
            _ = workspace.lakehouse, workspace.online, workspace.home("late"), workspace.tracking.runs()


def test_many_that_come_first_at_once_agree(shop):
    found, barrier = [], threading.Barrier(6)

    def first():
        barrier.wait()
        with shop.open("dev") as workspace:
            workspace.keep_floor("ada")
            _ = workspace.lakehouse, workspace.online
            found.append(workspace.owner.state)

    threads = [threading.Thread(target=first) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with shop.open("dev") as workspace:
        assert actions(workspace) == ["policy.set"]


def test_the_folder_of_an_environment_is_for_whoever_runs_it(shop):
    root = shop.folder / ".headrace" / "dev"
    root.mkdir(parents=True)
    root.chmod(0o755)
    root.parent.chmod(0o755)
    shop.acts("dev")
    assert root.stat().st_mode & 0o077 == 0
    assert root.parent.stat().st_mode & 0o077 == 0


def test_a_state_database_that_cannot_be_opened_says_nothing_of_its_password():
    url = "postgresql+psycopg://me:hush@127.0.0.1:1/db?password=hush&connect_timeout=1"
    with pytest.raises(ConfigError, match="cannot be opened") as error:
        State(url).identity("prod")
    assert "hush" not in str(error.value)


def test_the_bootstrap_identity_enrols_while_head_asks_for_more(shop, headrace):
    """What it does first is what raises the floor."""
    made = headrace.run(shop.folder, "access", "bootstrap")
    shop.commit("[env.dev]\ncode = 'commit'\n[env.staging]\n[env.prod]\n")
    by = {"HEADRACE_TOKEN": made.stdout.strip()}
    granted = headrace.run(shop.folder, "access", "grant", "gov", "governance", env=by)
    assert (granted.code, "gov holds governance in dev" in granted.stderr) == (0, True), granted.stderr
    assert headrace.run(shop.folder, "access", "token", "gov", env=by).code == 0
    with shop.open("dev") as workspace:
        raised = next(each for each in workspace.audit.entries() if each.action == "policy.raised")
    assert raised.who == "bootstrap"


def test_a_reset_of_stores_of_another_state_is_refused_and_marks_nothing(shop, tmp_path, monkeypatch):
    with shop.open("dev") as workspace:
        known = workspace.owner.state
        _ = workspace.lakehouse
    root = shop.folder / ".headrace" / "dev"
    monkeypatch.setenv("HEADRACE_ENV__dev__state", f"sqlite:///{tmp_path}/mine.db")
    online = workspace.store("online")[1]
    online.claim("{}")  # the file is there
    online.disclaim()
    for lost, said in ((None, f"--lost-state {known}"), ("x", f"--lost-state {known}"), (known, "is not lost")):
        with shop.open("dev", anew=True) as workspace, pytest.raises(RefusedError) as refused:
            reset(workspace, lost_state=lost)
        assert said in str(refused.value)
    assert online.owner() is None
    assert (root / "lakehouse" / "headrace-state.json").exists()
    # elsewhere than where it usually is
    monkeypatch.setenv("HEADRACE_ENV__dev__root", str(tmp_path / "root"))
    for kind, place in (("lakehouse", root / "lakehouse"), ("tracking", f"sqlite:///{root}/mlflow.db")):
        if kind == "tracking":
            monkeypatch.delenv("HEADRACE_ENV__dev__state")
            monkeypatch.delenv("HEADRACE_ENV__dev__root")
            with shop.open("dev") as workspace:
                workspace.tracking.runs()
            monkeypatch.setenv("HEADRACE_ENV__dev__root", str(tmp_path / "root"))
            monkeypatch.delenv("HEADRACE_ENV__dev__lakehouse")
        monkeypatch.setenv(f"HEADRACE_ENV__dev__{kind}", str(place))
        with shop.open("dev", anew=True) as workspace, pytest.raises(RefusedError, match="belongs to another state"):
            reset(workspace)


def test_a_store_that_was_not_used_before_is_refused_until_an_admin_takes_it_over(shop, tmp_path, monkeypatch):
    with shop.open() as workspace:
        _ = workspace.lakehouse, workspace.online, workspace.tracking.runs()
    places = {
        "lakehouse": f"{tmp_path}/fake",
        "online": f"{tmp_path}/fake.db",
        "tracking": f"sqlite:///{tmp_path}/m.db",
    }
    for kind, place in places.items():
        monkeypatch.setenv(f"HEADRACE_ENV__prod__{kind}", place)
    asks = {
        "lakehouse": lambda opened: opened.lakehouse.names(),
        "online": lambda opened: opened.online,
        "tracking": lambda opened: opened.tracking.runs(),
    }
    for kind, ask in asks.items():
        with shop.open() as workspace:
            with pytest.raises(RefusedError, match=f"--take-over {kind}"):
                ask(workspace)
            assert workspace.store(kind)[1].owner() is None  # it is not marked either
            with pytest.raises(ConfigError, match="no reason"):
                take_over_store(workspace, kind, reason=" ")
            take_over_store(workspace, kind, reason="it moved")
        with shop.open() as workspace:
            ask(workspace)
            assert actions(workspace)[0] == "store.taken_over"


def test_the_mark_of_another_store_of_the_same_state_does_not_do(shop, tmp_path, monkeypatch):
    """A second store that was taken over before, as a backup would be, is not the one of now."""
    with shop.open() as workspace:
        _ = workspace.lakehouse
    monkeypatch.setenv("HEADRACE_ENV__prod__lakehouse", str(tmp_path / "second"))
    with shop.open() as workspace:
        take_over_store(workspace, "lakehouse", reason="try")
    monkeypatch.delenv("HEADRACE_ENV__prod__lakehouse")
    with shop.open() as workspace, pytest.raises(RefusedError, match="is not the one that 'prod' has used"):
        _ = workspace.lakehouse


def test_who_only_reads_marks_and_remembers_nothing(shop):
    with only_reading(), shop.open() as workspace:
        assert workspace.lakehouse.names() == []
        assert workspace.home("late").parent.name == "serving"
        assert stores.remembered(workspace.state) == {}
    assert list((shop.folder / ".headrace" / "prod").rglob("headrace-state.json")) == []
    with shop.open() as workspace:
        _ = workspace.lakehouse
        assert list(stores.remembered(workspace.state)) == ["lakehouse"]


def test_after_a_reset_the_next_stores_are_the_ones(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__dev__state", f"sqlite:///{tmp_path}/kept.db")
    with shop.open("dev") as workspace:
        _ = workspace.lakehouse
    with shop.open("dev", anew=True) as workspace:
        reset(workspace)
    with shop.open("dev") as workspace:
        assert workspace.lakehouse.names() == []
