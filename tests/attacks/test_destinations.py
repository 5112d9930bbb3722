"""What Production says is written by Production: in no other spelling, from no chosen rows, by no file, from no copy elsewhere."""

from .test_batch import PROD, rows
from .world import TOML, program

ANSWERS = 'into="answers.late"'
EVERYWHERE = 'into=["answers.late", hr.database("wh", table="preds"), hr.files("out")]'
NEXT = """
other = hr.Deployment(
    hr.Model("other", fit=fit, task=model.task, spine=model.spine, features=model.features),
    score=hr.Score(into=["answers.other", hr.database("wh", table="others"), hr.files("others")]),
)
"""


def test_a_declared_destination_is_the_same_however_it_is_written(world):
    url = f"sqlite:///{world.folder / 'wh.db'}"
    again = f"sqlite:///{world.folder / 'data' / '..' / 'wh.db'}"
    databases = f'[env.prod]\ndatabases = {{wh = "{url}", wh2 = "{again}"}}\n'
    toml = TOML.replace("[env.prod]\n", databases)
    shop = program().replace(ANSWERS, EVERYWHERE) + NEXT
    world.release("v1.1.0", files={"headrace.toml": toml, "shop.py": shop})
    root = world.folder / ".headrace" / "prod"
    (world.folder / "link").symlink_to(root)
    declared = ["answers.late", "wh:preds", "wh:PREDS", "wh:main.preds", "wh2:preds"]
    declared += [
        f"parquet:{root}/out",
        f"csv:{root}/out",
        f"csv:{root}/out/late",
        "parquet:link/out",
        "parquet:.headrace",
    ]
    others = ["answers.other", "wh:others", "wh2:Others", "answers.late_profile_metrics", "answers.other_histograms"]
    others += [f"parquet:{root}/others", f"parquet:{root}/lakehouse/answers/late", f"csv:{root}/serving/late"]
    others += ["parquet:link/spool", "parquet:.headrace/staging/x", f"parquet:{root}/artifacts"]
    asked = ("run", "score", "--model", "late", "--since", "2024-02-20", *PROD)
    for into in declared:
        world.refused(*asked, "--version", "2", "--into", into, by="eng")
    for into in others:
        world.refused(*asked, "--into", into, by="eng")
    assert rows(world, "answers.late") is None
    assert not (root / "out").exists()
    assert not (world.folder / "wh.db").exists()
    into = ("--into", "wh:scratch", "--into", "parquet:scratch", "--into", "scratch.late_profile_metrics")
    world.ok(*asked, "--version", "2", *into, by="eng")


def test_rows_that_somebody_chose_are_not_what_production_says(world):
    (world.folder / "forged.csv").write_text("id,placed_at,amount,age\n200,2024-02-20T00:00:00Z,0,20\n")
    world.ok("run", "score", "--since", "2024-02-20", *PROD, by="eng")
    before = rows(world, "answers.late")
    forged = "select id, placed_at, 0 as amount, 20 as age from shop.orders where id > 200"
    for given in (("--source", "forged.csv"), ("--source", "shop.orders"), ("--query", forged)):
        for into in ((), ("--into", "answers.late"), ("--into", "scratch.a", "--into", "answers.late")):
            refused = world.refused("run", "score", *given, *into, *PROD, by="eng")
            assert "--into scratch.predictions" in refused.stderr
    assert rows(world, "answers.late").equals(before)
    world.ok("run", "score", "--source", "forged.csv", "--into", "scratch.a", *PROD, by="eng")
    world.ok("run", "score", "--latest", *PROD, by="eng")


def test_a_file_takes_no_table_that_the_project_makes(world):
    (world.folder / "forged.csv").write_text("id,placed_at,known_at,late\n1,2024-01-01,2024-01-02,1\n")
    made = {name: rows(world, name) for name in ("raw.orders", "shop.labels")}
    for table in ("answers.late", "answers.late_drift_metrics", "shop.orders", "shop.labels", "raw.orders"):
        world.refused("table", "load", "forged.csv", "--into", table, *PROD, by="eng")
    assert rows(world, "answers.late") is None
    for name, before in made.items():
        after = rows(world, name)
        assert (before is None and after is None) or before.equals(after)
    world.ok("run", "score", "--since", "2024-02-20", *PROD, by="eng")
    world.ok("table", "load", "forged.csv", *PROD, by="eng")


def test_a_version_that_nobody_approved_is_not_exported(world):
    def export(version, into):
        return ("model", "export", "late", "--version", version, "--to", "container", "--into", into, *PROD)

    refused = world.refused(*export(2, "out"), by="eng")
    assert "not approved" in refused.stderr
    serving = world.folder / ".headrace" / "prod" / "serving"
    for into in (serving / "late", serving / "new", ".headrace/prod", ".headrace/staging/x"):
        world.refused(*export(1, into), by="eng")
    assert not (world.folder / "out").exists()
    assert not (serving / "new").exists()
    world.ok(*export(1, "out"), by="eng")
