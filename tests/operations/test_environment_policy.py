"""What may run in an environment, as an operation: what is returned, and what an admin takes over."""

import subprocess

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConfigError, RefusedError
from headrace.operations.environment_policy import environment_policy

LOOSER = '[project]\nname = "shop"\nmodule = "shop"\n\n[env.dev]\n[env.prod]\ncode = "commit"\n'


def git(shop, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    subprocess.run(command, cwd=shop.folder, check=True, capture_output=True)


def commit(shop):
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "x")


@pytest.fixture
def shop(tmp_path):
    shop = BareProject(tmp_path / "shop")
    git(shop, "init", "-q")
    (shop.folder / ".gitignore").write_text(".headrace/\n")
    commit(shop)
    return shop


def test_what_is_committed_its_floor_and_what_is_in_effect(shop):
    before = environment_policy(shop.at("prod"))
    assert (before.env, before.effective.code, before.looser, before.changed) == ("prod", "release", (), ())
    assert before.committed == before.effective
    assert before.floor is not None
    assert (before.floor.by, before.floor.at) == (None, None)  # who only reads writes none
    with shop.open("prod") as workspace:
        workspace.keep_floor("ana")
    floor = environment_policy(shop.at("prod")).floor
    assert floor is not None
    assert floor.by == "ana"
    assert floor.at is not None
    told = environment_policy(shop.at("prod")).to_json()
    assert set(told) == {"env", "effective", "committed", "floor", "looser", "changed"}
    assert told["floor"] == {
        "code": "release",
        "releases": floor.releases,
        "approvals": [],
        "attested_by": [],
        "runtime": "any",
        "order": ["dev", "prod"],
        "by": "ana",
        "at": floor.at.isoformat(),
    }


def test_an_admin_takes_over_what_is_looser_with_a_reason(shop):
    with shop.open("prod") as workspace:
        workspace.keep_floor("ana")
    (shop.folder / "headrace.toml").write_text(LOOSER)
    commit(shop)
    before = environment_policy(shop.at("prod"))
    assert before.effective.code == "release"
    assert len(before.looser) == 1
    with pytest.raises(ConfigError, match="--reason is why"):
        environment_policy(shop.at("prod"), reason="faster")
    with pytest.raises(ConfigError, match="there is no reason"):
        environment_policy(shop.at("prod"), take_over=True)
    after = environment_policy(shop.at("prod"), take_over=True, reason="faster")
    assert (after.effective.code, after.looser) == ("commit", ())
    assert after.floor is not None
    assert after.floor.code == "commit"
    with shop.open("prod") as workspace:
        entry = workspace.audit.entries()[0]
    assert (entry.action, entry.object, entry.details["reason"]) == ("policy.taken_over", "prod", "faster")


def test_only_an_admin_takes_over(shop):
    tokens = shop.enrol("prod", eng="ml_engineer")
    with vault.bearing(tokens["eng"]):
        assert environment_policy(shop.at("prod")).env == "prod"
        with pytest.raises(RefusedError, match="eng may not `headrace env policy --take-over`"):
            environment_policy(shop.at("prod"), take_over=True, reason="mine")
    assert shop.audit("prod")[-1][0] == "access.refused"
