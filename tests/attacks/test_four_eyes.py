"""A version goes to Production by two people, whatever tokens one of them can make."""
# ruff: noqa: RUF001

import json

import pytest
from tests.support.people import enrol

PROD = ("--env", "prod")


def asked(world, by):
    """Version 2's request for Production, asked for by somebody."""
    world.ok("run", "deploy", *PROD, by=by, code=3)
    return next(each["request"] for each in world.ok("request", "list", *PROD, "--json").json() if each["version"] == 2)


def puppet(world, name, *roles, by):
    """Somebody makes a person and their token."""
    for role in roles:
        world.ok("access", "grant", name, role, *PROD, by=by)
    world.tokens[name] = world.ok("access", "token", name, *PROD, by=by).stdout.strip()
    return name


def held(world, request, by):
    """This signature is refused, and changes nothing."""
    said = world.refused("request", "approve", request, *PROD, by=by).stderr
    assert world.stages() == {1: "Production", 2: "None"} or world.stages()[2] == "Staging"
    return said


def test_an_admin_approves_with_the_tokens_of_people_that_he_made_himself_and_through_others(world):
    """Directly, over two tokens, with a new token of a real person, and after the token between was revoked."""
    request = asked(world, by="boss")
    puppet(world, "zed", "governance", by="boss")
    puppet(world, "mid", "admin", "governance", by="boss")
    puppet(world, "far", "governance", by="mid")
    again = world.ok("access", "token", "gov", *PROD, by="boss").stdout.strip()
    world.ok("access", "revoke", "mid", "--tokens", *PROD, by="boss")
    for name in ("zed", "far"):
        assert "came through the hands of boss" in held(world, request, name)
    gov, world.tokens["gov"] = world.tokens["gov"], again
    held(world, request, "gov")
    held(world, request, "boss")
    world.tokens["gov"] = gov
    world.ok("request", "approve", request, *PROD, by="gov")  # the real one, whom somebody else enrolled, can
    assert world.stages()[2] == "Production"


def test_who_made_the_token_of_the_one_who_asks_approves(world):
    """Its maker, the maker's maker, and the operating system's user at the root."""
    puppet(world, "mid", "admin", by="boss")
    puppet(world, "far", "ml_engineer", by="mid")
    for name in ("boss", "mid"):
        world.ok("access", "grant", name, "governance", *PROD)
    request = asked(world, by="far")
    for name in ("mid", "boss"):
        assert f"came through the hands of {name}" in held(world, request, name)
    me = world.ok("access", "me", *PROD, "--json").json()["name"]
    world.ok("access", "grant", me, "governance", *PROD)
    held(world, request, None)


def test_an_admin_enrols_somebody_under_his_own_name_in_other_letters(world):
    me = world.ok("access", "me", *PROD, "--json").json()["name"]
    for name in ("Boss", "BOSS", "b0ss", "bоss", "bosѕ", "ｂoss", "boss\u200b", "bo\u00adss", me.upper()):
        done = world.run("access", "grant", name, "governance", *PROD, by="boss")
        assert done.code == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    for name in ("bootstrap", "gates", "rollout", "headrace", "scheduler"):
        world.ok("access", "grant", name, "governance", *PROD, by="boss", code=2)
    assert not {"Boss", "gates"} & {each["name"] for each in world.ok("access", "list", *PROD, "--json").json()}


def test_two_roles_are_signed_for_by_one_pair_of_hands(world):
    """Neither is who asks, but one made the other's token."""
    world.release("v1.1.0", gates='hr.signature(), hr.approval("governance"), hr.approval("legal")')
    world.ok("access", "grant", "boss", "governance", *PROD)
    puppet(world, "jurist", "legal", by="boss")
    request = asked(world, by="eng")
    world.ok("request", "approve", request, *PROD, by="boss")
    held(world, request, "jurist")
    world.ok("request", "approve", request, *PROD, by="law")


def test_the_bootstrap_identity_is_made_again_after_people_were_enrolled(world):
    for by in (None, "boss", "eng"):
        world.refused("access", "bootstrap", *PROD, by=by)
    world.refused("access", "grant", "boss", "enroller", *PROD)


@pytest.fixture
def alone(headrace, tmp_path):
    """A project where nobody was granted anything, and how commands are run there; nothing needs a model."""
    (tmp_path / "headrace.toml").write_text('[project]\nname = "shop"\nmodule = "shop"\n[env.dev]\n')
    (tmp_path / "shop.py").write_text("")

    def run(*arguments, by=None, code=0):
        done = headrace.run(tmp_path, *arguments, env={"HEADRACE_TOKEN": by} if by else {})
        assert done.code == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run, lambda people, **how: enrol(headrace, tmp_path, people, **how)


def test_the_bootstrap_identity_does_more_than_to_enrol(alone):
    run, people = alone
    token = people({"olga": "admin"})["bootstrap"]
    for command in (
        ("revoke", "olga", "admin"),
        ("revoke", "olga", "--tokens"),
        ("bootstrap",),
        ("grant", "olga", "enroller"),
    ):
        assert "bootstrap" in run("access", *command, by=token, code=3).stderr
    for name in ("bootstrap", "Bootstrap"):
        run("access", "grant", name, "admin", by=token, code=2)
        run("access", "token", name, by=token, code=2)


def test_a_simulated_identity_hides_that_it_is(alone):
    """By enrolling through others, or by a token for somebody who is real."""
    run, people = alone
    made = people({"maria": "admin"}, simulated=True)
    me = run("access", "me", "--json").json()["name"]
    run("access", "token", me, by=made["bootstrap"], code=3)
    run("access", "token", me, by=made["maria"], code=3)
    run("access", "grant", "olga", "governance", by=made["maria"])
    assert run("access", "me", by=made["maria"]).stdout.split()[-1] == "yes"
    listed = {each["name"]: each["simulated"] for each in run("access", "list", "--json").json()}
    assert listed == {me: False, "bootstrap": True, "maria": True, "olga": True}
    assert "maria (simulated)" in run("access", "list").stdout
    assert "maria (simulated)" in run("audit").stdout
    told = [each for each in json.loads(run("audit", "--json").stdout) if each["who"] == "maria"]
    assert all(each["details"]["simulated"] for each in told)


def test_the_way_to_a_second_person_is_told_where_there_is_none(alone):
    run, _ = alone
    run("access", "grant", "olga", "governance")
    said = run("access", "token", "olga").stderr
    assert "can approve what the other one requests" in said
