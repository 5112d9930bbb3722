"""What may happen in prod is not read from where anybody can write."""

import re

from headrace.core.locks import hold

from .world import TOML, program

DEPLOY = ("run", "deploy", "--version", "2", "--as-of", "2024-02-25", "--env", "prod")
LOOSE = "[env.prod]\ncode = 'any'\n"


def uncommitted(world, toml=TOML, gates=""):
    """The working tree declares no gates, under this configuration."""
    (world.folder / "headrace.toml").write_text(toml)
    (world.folder / "shop.py").write_text(program(gates))


def served(world):
    return (world.folder / ".headrace/prod/serving/late/serving.json").read_bytes()


def test_the_floor_is_there_from_the_first_act_on(world):
    first = world.audit()[-1]
    assert (first["action"], first["object"]) == ("policy.set", "prod")


def test_a_variable_lets_the_working_tree_run_in_prod(world):
    uncommitted(world)
    world.ok(*DEPLOY, by="eng", env={"HEADRACE_ENV__prod__code": "any"}, code=2)
    assert world.stages() == {1: "Production", 2: "None"}


def test_an_uncommitted_configuration_lets_the_working_tree_run_in_prod(world):
    for toml in (
        TOML.replace("[env.prod]\n", LOOSE),
        TOML + "[env.zzz]\n",
        TOML.replace("[env.dev]\n", "").replace("[env.prod]\n", "[env.prod]\n[env.dev]\n[env.zzz]\n"),
    ):
        uncommitted(world, toml)
        world.run(*DEPLOY, by="eng")
        assert world.stages()[2] != "Production"


def test_a_committed_configuration_lets_the_working_tree_run_in_prod(world):
    (world.folder / "headrace.toml").write_text(TOML.replace("[env.prod]\n", LOOSE))
    world.git("commit", "-aqm", "loose")
    uncommitted(world, TOML.replace("[env.prod]\n", LOOSE))
    world.run(*DEPLOY, by="eng")
    assert world.stages()[2] != "Production"


def test_another_pattern_makes_any_tag_a_release(world):
    toml = TOML.replace("[env.prod]\n", "[env.prod]\nreleases = '*'\n")
    world.release("zzz9.9.9", gates="", files={"headrace.toml": toml})
    done = world.refused(*DEPLOY, by="eng")
    assert "headrace env policy --env prod --take-over" in done.stderr
    world.refused("env", "policy", "--env", "prod", "--take-over", "--reason", "x", by="eng")
    assert world.stages()[2] == "None"


def test_a_role_that_prod_asks_for_is_dropped_by_a_release(world):
    asks = TOML.replace("[env.prod]\n", "[env.prod]\napprovals = ['legal']\n")
    world.release("v1.1.0", files={"headrace.toml": asks})
    world.ok("run", "refresh", "--env", "prod", by="eng")
    world.release("v1.2.0", files={"headrace.toml": TOML})
    told = world.ok("env", "policy", "--env", "prod", "--json", by="eng").json()
    assert told["effective"]["approvals"] == ["legal"]


def test_another_registry_writes_what_prod_serves(world, tmp_path):
    before = served(world)
    elsewhere = {"HEADRACE_ENV__prod__state": f"sqlite:///{tmp_path}/mine.db"}
    for asked in (("access", "grant", "eve", "admin", "--env", "prod"), DEPLOY, ("model", "list", "--env", "prod")):
        done = world.refused(*asked, env=elsewhere)
        assert "belongs to another state database" in done.stderr
    assert served(world) == before


def test_who_only_reads_says_what_may_happen(world):
    """With a HEAD and a tag of their own: a role that nobody holds."""
    before = world.audit()
    world.release("v9.0.0", files={"headrace.toml": TOML.replace("[env.prod]\n", "[env.prod]\napprovals = ['me']\n")})
    for asked in (("status",), ("env", "policy"), ("model", "list"), ("sql", "select 1")):
        world.ok(*asked, "--env", "prod", by="guest")
    world.refused("run", "refresh", "--env", "prod", by="guest")
    world.refused("request", "approve", "1", "--env", "prod", by="guest")
    since = [each["action"] for each in world.audit()[: -len(before)]]
    assert not {"policy.set", "policy.raised"}.intersection(since)
    world.git("reset", "-q", "--hard", "v1.0.0")
    world.git("tag", "-d", "v9.0.0")
    told = world.ok("env", "policy", "--env", "prod", "--json", by="eng").json()
    assert told["floor"]["approvals"] == []


def test_evidence_comes_from_other_stores_than_those_of_prod(world, tmp_path):
    """Not yet marked, taken out of reach as by a rehearsal, and MLflow's."""
    lakehouse, aside = tmp_path / "fake", tmp_path / "away"
    lakehouse.mkdir()
    (tmp_path / "away.aside").mkdir()
    fakes = {"lakehouse": str(lakehouse), "tracking": f"sqlite:///{tmp_path}/mlflow.db"}
    prod = ("--env", "prod")
    for kind, place, asked in (
        ("lakehouse", fakes["lakehouse"], ("run", "refresh", *prod)),
        ("lakehouse", fakes["lakehouse"], DEPLOY),
        ("tracking", fakes["tracking"], ("run", "train", "--as-of", "2024-02-21", *prod)),
    ):
        done = world.refused(*asked, by="eng", env={f"HEADRACE_ENV__prod__{kind}": place})
        assert f"headrace env stores --env prod --take-over {kind}" in done.stderr
    assert list(lakehouse.iterdir()) == []
    with hold(tmp_path / "away.aside.lock"):
        world.refused("run", "refresh", *prod, by="eng", env={"HEADRACE_ENV__prod__lakehouse": str(aside)})
    assert world.stages() == {1: "Production", 2: "None"}


def test_an_engineer_takes_another_lakehouse_over(world, tmp_path):
    fake = {"HEADRACE_ENV__prod__lakehouse": str(tmp_path / "fake")}
    taken = ("env", "stores", "--take-over", "lakehouse", "--reason", "it moved", "--env", "prod")
    for who in ("eng", "guest"):
        world.refused(*taken, by=who, env=fake)
    world.refused("run", "refresh", "--env", "prod", by="eng", env=fake)
    world.ok(*taken, by="boss", env=fake)  # an admin may, and it is in the record
    assert world.audit()[0]["action"] == "store.taken_over"
    world.ok("run", "refresh", "--env", "prod", by="eng", env=fake)
    world.refused("run", "refresh", "--env", "prod", by="eng")


def test_who_is_admin_of_a_database_of_their_own_empties_dev(world, tmp_path):
    root = world.folder / ".headrace" / "dev"
    world.ok("run", "refresh")
    mark = (root / "headrace-state.json").read_text()
    tables = sorted((root / "lakehouse").glob("*/*"))
    elsewhere = {"HEADRACE_ENV__dev__state": f"sqlite:///{tmp_path}/mine.db"}
    done = world.refused("env", "reset", "--yes", env=elsewhere)
    known = re.search(r"--lost-state (\S+)", done.stderr)[1]
    assert "is not lost" in world.refused("env", "reset", "--yes", "--lost-state", known, env=elsewhere).stderr
    (root / "state.db").write_text("no database")
    world.refused("env", "reset", "--yes")
    assert (root / "headrace-state.json").read_text() == mark
    assert sorted((root / "lakehouse").glob("*/*")) == tables
    world.ok("env", "reset", "--yes", "--lost-state", known)  # now it is
    world.ok("run", "refresh")


def test_another_environment_stands_on_the_stores_of_prod(world):
    prod = world.folder / ".headrace" / "prod"
    stores = f"root = '{prod}'\n"
    uncommitted(world, TOML.replace("[env.prod]\n", f"[env.prod]\nroot = 'moved'\n[env.zzz]\ncode = 'any'\n{stores}"))
    before = served(world)
    world.refused("run", "deploy", "--env", "zzz")
    world.refused("env", "reset", "--env", "zzz", "--yes")
    assert served(world) == before
    assert list((prod / "lakehouse").glob("*/*/_delta_log"))


def test_a_release_reads_sql_that_is_not_committed(world, tmp_path):
    (tmp_path / "mine.sql").write_text("select 1 as id")
    for name in (str(tmp_path / "mine.sql"), "../../../mine.sql", "link.sql"):
        (world.folder / "mine.sql").write_text("select 1 as id")
        text = f'import headrace as hr\n\nx = hr.Table("shop.x", key="id", sql=hr.sql_file({name!r}))\n'
        number = len(world.git("tag").split())
        world.release(f"v2.0.{number}", files={"shop.py": text, ".gitignore": "data/\n.headrace/\nmine.sql\n"})
        done = world.ok("run", "refresh", "--env", "prod", by="eng", code=2)
        assert re.search(r"outside of the program's folder|there is no SQL file", done.stderr)
        assert "Traceback" not in done.stderr


def test_others_on_the_machine_read_what_prod_keeps(world):
    world.ok("model", "list", "--env", "prod", by="eng")
    open_ = [each for each in (world.folder / ".headrace" / "prod",) if each.stat().st_mode & 0o077]
    assert open_ == []


def test_an_uncommitted_order_makes_prod_the_lowest_environment(world):
    world.ok("access", "grant", "sam", "data_scientist", "--env", "prod")
    world.tokens["sam"] = world.ok("access", "token", "sam", "--env", "prod").stdout.strip()
    file = world.folder / "headrace.toml"
    file.write_text(file.read_text().replace("[env.dev]", "[env.prod]\n[env.dev]").rsplit("[env.prod]", 1)[0])
    world.refused("run", "refresh", "--env", "prod", by="sam")
