"""What may happen in prod is not read from where anybody can write."""

import re

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
    world.ok("status", "--env", "prod", "--json", by="eng")
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
