"""Projects that share a catalog: each writes what it has, and a search finds what any of them has."""

import json
import os
import shutil
import signal
from datetime import timedelta
from types import SimpleNamespace

import pytest
from tests.cli import mini
from tests.operations.bare_project import BareProject
from tests.support.people import enrol
from tests.support.s3 import KEY, SECRET

from headrace.catalog.store import CatalogStore
from headrace.core import vault
from headrace.core.errors import RefusedError
from headrace.deployment import rollouts
from headrace.operations import catalog_document
from headrace.operations.features import list_feature_tables
from headrace.operations.models import show_version
from headrace.operations.operation import At
from headrace.operations.reconcile import reconcile
from headrace.operations.refresh import refresh
from headrace.operations.reset import reset
from headrace.operations.search import search_feature_tables, search_models
from headrace.workspace.workspace import open_workspace

SHOP = """
raw = hr.Source("raw.orders", files="data/*.csv", schema=hr.Schema(seen_at="timestamp_utc"))
customers = hr.FeatureTable(
    "stats.customers", key="customer", time="seen_at", owner="Ann", description="{description}",
    sql="select customer, seen_at, amount, nullif(amount, 1) as odd from raw.orders",
)
planned = hr.FeatureTable("plans.places", key="place", time="seen_at", sql="select distinct 'x' as place, seen_at from raw.orders")
"""
BANK = """
rows = hr.Table("bank.loans", key="id", sql="select customer as id, customer, seen_at, amount as paid from raw.loans")
hr_rows = hr.Source("raw.loans", files="data/*.csv", schema=hr.Schema(seen_at="timestamp_utc"))
model = hr.Model(
    "default_risk", fit=lambda data, params: None, owner="Bo", description="Who pays late",
    task=hr.Regression(label=rows["paid"]), spine=rows.at("seen_at"),
    features=[hr.external_feature_table("stats.customers").select("amount", "odd")],
)
"""
ROWS = "customer,seen_at,amount\na,2024-01-01T00:00:00Z,1\nb,2024-01-02T00:00:00Z,2\n"


class Sharing(BareProject):
    """A project of one table with a catalog."""

    def __init__(self, folder, name, program, *, catalog="../catalog", env=""):
        super().__init__(folder, program=program)
        (folder / "data").mkdir()
        (folder / "data" / "rows.csv").write_text(ROWS)
        self.configure(name, catalog=catalog, env=env)

    def configure(self, name, *, catalog="../catalog", env=""):
        line = f'catalog = "{catalog}"\n' if catalog else ""
        text = f'[project]\nname = "{name}"\nmodule = "shop"\n{line}[env.dev]\n{env}'
        (self.folder / "headrace.toml").write_text(text + ("" if "[env." in env else "[env.prod]\n"))

    @property
    def lake(self):
        return self.folder / ".headrace" / "dev" / "lakehouse"


@pytest.fixture
def shop(tmp_path):
    return Sharing(tmp_path / "shop", "shop", SHOP.format(description="What a customer bought"))


@pytest.fixture
def bank(tmp_path, shop):
    """It reads the tables of the shop by their place."""
    env = f'reads = ["shop"]\n[env.shop]\nlakehouse = "{shop.lake}"\n'
    return Sharing(tmp_path / "bank", "bank", BANK, env=env)


def told(tmp_path, project="shop", env="dev"):
    return json.loads((tmp_path / "catalog" / project / f"{env}.json").read_text())


def tables(found):
    return [(each.project, each.environment, each.feature_table) for each in found.hits]


def test_a_table_of_one_project_is_found_in_another_with_who_uses_it(shop, bank, tmp_path, caplog):
    refresh(shop.at())
    refresh(bank.at())

    found = search_feature_tables(bank.at(), "customer BOUGHT")
    (hit,) = found.hits
    assert found.catalog == str(tmp_path / "catalog")
    assert (hit.project, hit.environment, hit.feature_table, hit.owner) == ("shop", "dev", "stats.customers", "Ann")
    assert (hit.rows, hit.newest.isoformat(), hit.key, hit.time) == (
        2,
        "2024-01-02T00:00:00+00:00",
        ("customer",),
        "seen_at",
    )
    assert hit.age.days > 365
    assert [(each.column, each.null_percent) for each in hit.columns] == [
        ("customer", 0.0),
        ("seen_at", 0.0),
        ("amount", 0.0),
        ("odd", 50.0),
    ]
    assert [(each.project, each.model) for each in hit.consumers] == [("bank", "default_risk")]
    assert hit.declare == 'hr.external_feature_table("stats.customers")'
    assert hit.location == f"{shop.lake.resolve().as_uri()}/stats/customers"
    assert hit.readable
    assert caplog.text == ""

    (model,) = search_models(shop.at(), "odd").hits
    assert (model.project, model.model, model.owner, model.description) == (
        "bank",
        "default_risk",
        "Bo",
        "Who pays late",
    )
    assert model.features == ("stats.customers.amount", "stats.customers.odd")
    assert (model.task, model.label, model.versions) == ("Regression", "bank.loans.paid", ())


def test_a_table_that_cannot_be_read_from_here_is_found_and_said_to_be_so(shop, bank):
    refresh(shop.at())
    bank.configure("bank")
    assert [each.readable for each in search_feature_tables(bank.at(), "stats.customers").hits] == [False]


def test_run_twice_nothing_is_written_and_what_changed_is_written_whole(shop, tmp_path):
    file = tmp_path / "catalog" / "shop" / "dev.json"
    refresh(shop.at())
    before = file.stat()
    refresh(shop.at())
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    program = shop.folder / "shop.py"
    program.write_text(program.read_text().replace("What a customer bought", "password=s3cr3t9 of orders"))
    refresh(shop.at())
    assert file.stat().st_ino != before.st_ino
    assert told(tmp_path)["feature_tables"][0]["description"] == "password=…"
    assert [file.name for file in file.parent.iterdir()] == ["dev.json"]


def test_figures_that_somebody_else_wrote_into_a_document_do_not_stay(shop, tmp_path):
    file = tmp_path / "catalog" / "shop" / "dev.json"
    refresh(shop.at())
    whole = told(tmp_path)
    forged = told(tmp_path)
    forged["feature_tables"][0] |= {"rows": 999, "newest": "2030-01-01T00:00:00+00:00"}
    forged["feature_tables"][0]["columns"][3]["null_percent"] = 0.0
    file.write_text(json.dumps(forged))

    refresh(shop.at())
    assert {**told(tmp_path), "written": ""} == {**whole, "written": ""}


def test_a_table_that_has_not_changed_is_not_read_again(shop, tmp_path, monkeypatch):
    refresh(shop.at())
    monkeypatch.setattr(catalog_document, "_contents", lambda *_, **__: pytest.fail("a table was read"))
    program = shop.folder / "shop.py"
    program.write_text(program.read_text().replace("What a customer bought", "Orders"))
    refresh(shop.at())
    table = told(tmp_path)["feature_tables"][0]
    assert (table["description"], table["rows"], table["columns"][3]["null_percent"]) == ("Orders", 2, 50.0)


def test_the_age_of_a_table_of_a_project_that_replays_the_past_is_counted_to_its_present(shop, bank):
    toml = shop.folder / "headrace.toml"
    toml.write_text(toml.read_text().replace("[env.dev]", 'as_of = "2024-01-05"\n[env.dev]'))
    refresh(shop.at())
    for project in (shop, bank):
        (hit,) = search_feature_tables(project.at(), "customers").hits
        assert hit.age == timedelta(days=3)


def test_a_process_that_is_killed_before_the_rename_leaves_the_document_as_it_was(headrace, shop, tmp_path):
    assert headrace.run(shop.folder, "run", "refresh").code == 0
    before = told(tmp_path)
    (shop.folder / "data" / "more.csv").write_text(ROWS.replace("a,", "c,").replace("b,", "d,"))
    killed = headrace.run(shop.folder, "run", "refresh", failpoint="catalog.writing:dev.json")
    assert killed.signal == signal.SIGKILL
    assert told(tmp_path) == before
    assert len(list((tmp_path / "catalog" / "shop").iterdir())) == 2  # a temporary file is left
    assert [each.rows for each in search_feature_tables(shop.at(), "customers").hits] == [2]

    assert headrace.run(shop.folder, "run", "refresh").code == 0
    assert [each.rows for each in search_feature_tables(shop.at(), "customers").hits] == [4]


def test_another_project_of_the_same_name_does_not_overwrite(shop, tmp_path, caplog):
    refresh(shop.at())
    before = told(tmp_path)
    other = Sharing(tmp_path / "other", "shop", SHOP.format(description="Another shop"))
    assert refresh(other.at()).steps
    assert told(tmp_path) == before
    assert "catalog/shop/dev.json is of another state database than this one" in caplog.text
    assert "needs another name in headrace.toml" in caplog.text

    caplog.clear()
    other.configure("shop", env="catalog = false\n")
    refresh(other.at())
    assert caplog.text == ""
    assert [each.description for each in search_feature_tables(other.at(), "customers").hits] == [
        "What a customer bought"
    ]

    other.configure("shop2")
    shutil.rmtree(other.folder / ".headrace")
    refresh(other.at())
    assert {each[0] for each in tables(search_feature_tables(shop.at(), "customers"))} == {"shop", "shop2"}


def test_what_strangers_wrote_is_skipped_with_a_warning_that_names_it(headrace, shop, tmp_path):
    refresh(shop.at())
    catalog = tmp_path / "catalog"
    later = {**told(tmp_path), "format": 2}
    wrong = told(tmp_path)
    wrong["feature_tables"][0]["name"] = 'a.b"); import os; ("'
    escape = {**told(tmp_path), "project": "escape"}
    escape["feature_tables"][0]["description"] = "\x1b]0;owned\x07\u202e"
    for name, document in (("later", later), ("wrong", wrong), ("escape", escape)):
        (catalog / name).mkdir()
        (catalog / name / "dev.json").write_text(json.dumps(document))
    (catalog / "half").mkdir()
    (catalog / "half" / "dev.json").write_text("{")

    done = headrace.run(shop.folder, "feature", "search", "customers")
    assert done.code == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout
    assert "\\x1b]0;owned" in done.stdout
    assert f"{catalog}/half/dev.json was skipped: it is not JSON" in done.stderr
    assert f"{catalog}/later/dev.json was skipped: it was written by a later release" in done.stderr
    assert f"{catalog}/wrong/dev.json was skipped: name is not a possible name" in done.stderr
    found = headrace.run(shop.folder, "feature", "search", "customers", "--json").json()
    assert [each["project"] for each in found["hits"]] == ["escape", "shop"]
    assert [each["document"].removeprefix(f"{catalog}/") for each in found["skipped"]] == [
        "half/dev.json",
        "later/dev.json",
        "wrong/dev.json",
    ]


def test_a_malformed_document_of_ones_own_is_written_anew_and_that_of_a_later_release_stays(shop, tmp_path, caplog):
    refresh(shop.at())
    file, whole = tmp_path / "catalog" / "shop" / "dev.json", told(tmp_path)
    file.write_text("{")
    refresh(shop.at())
    assert "was malformed and is written anew" in caplog.text
    assert {**told(tmp_path), "written": ""} == {**whole, "written": ""}

    file.write_text(json.dumps({**whole, "format": 2}))
    refresh(shop.at())
    assert "later release" in caplog.text
    assert told(tmp_path)["format"] == 2


def test_a_catalog_that_cannot_be_written_is_a_warning(shop, tmp_path, caplog):
    (tmp_path / "catalog").write_text("a file")
    assert [each.status for each in refresh(shop.at()).steps] == ["done"] * 3
    assert "the catalog does not say yet what is new here" in caplog.text

    (tmp_path / "catalog").unlink()
    refresh(shop.at())
    assert told(tmp_path)["feature_tables"][0]["rows"] == 2


def test_an_operation_that_fails_tells_what_it_has_done_before(shop, tmp_path, caplog):
    program = shop.folder / "shop.py"
    program.write_text(
        program.read_text().replace("distinct 'x' as place, seen_at", "cast(amount as date) as place, seen_at")
    )
    with pytest.raises(Exception, match="cast"):
        refresh(shop.at())
    assert [(each["name"], each["rows"]) for each in told(tmp_path)["feature_tables"]] == [
        ("stats.customers", 2),
        ("plans.places", None),
    ]
    assert caplog.text == ""


def test_without_a_catalog_this_environment_is_searched_and_the_way_to_one_is_said(headrace, shop, tmp_path):
    shop.configure("shop", catalog="")
    before = search_feature_tables(shop.at(), "customers")
    assert [(each.feature_table, each.rows, each.location) for each in before.hits] == [("stats.customers", None, None)]
    refresh(shop.at())
    done = headrace.run(shop.folder, "feature", "search", "customers")
    assert done.stdout.splitlines()[0] == "stats.customers  shop, dev"
    assert "[project] catalog" in done.stderr
    assert not (tmp_path / "catalog").exists()
    assert headrace.run(shop.folder, "model", "search").stderr.startswith("no model matches")
    assert search_models(shop.at()).catalog is None


def test_a_project_that_has_not_written_yet_finds_its_own(shop, bank):
    refresh(shop.at())
    assert tables(search_feature_tables(bank.at())) == [
        ("shop", "dev", "plans.places"),
        ("shop", "dev", "stats.customers"),
    ]
    assert [each.model for each in search_models(bank.at()).hits] == ["default_risk"]
    assert [each.consumers[0].model for each in search_feature_tables(bank.at(), "customers").hits] == ["default_risk"]


def test_a_variable_names_another_catalog(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__dev__catalog", str(tmp_path / "elsewhere"))
    refresh(shop.at())
    assert (tmp_path / "elsewhere" / "shop" / "dev.json").is_file()
    assert not (tmp_path / "catalog").exists()


def test_a_reset_takes_its_document_away_and_leaves_that_of_another(shop, tmp_path):
    refresh(shop.at())
    file = tmp_path / "catalog" / "shop" / "dev.json"
    whole = file.read_text()
    reset(shop.at())
    assert not file.exists()
    refresh(shop.at())
    assert told(tmp_path)["state"] != json.loads(whole)["state"]

    file.write_text(whole)
    reset(shop.at())
    assert file.read_text() == whole


def test_who_is_not_known_finds_nothing(shop):
    with vault.bearing("hr_nobody"), pytest.raises(RefusedError, match="not known here"):
        search_feature_tables(shop.at())


def test_a_search_marks_and_writes_nothing(shop, tmp_path):
    search_feature_tables(shop.at())
    search_models(shop.at())
    assert not (tmp_path / "catalog").exists()
    assert not shop.lake.exists()


def test_who_uses_a_table_is_the_same_in_a_list(shop, bank):
    refresh(shop.at())
    assert [each.used_by for each in list_feature_tables(shop.at())] == [(), ()]


def test_versions_follow_their_stages(headrace, project, tmp_path):
    toml = project / "headrace.toml"
    toml.write_text(toml.read_text().replace("[env.dev]", 'catalog = "../catalog"\n[env.dev]'))
    program = project / "mini.py"
    program.write_text(program.read_text().replace('"days",\n    fit', '"days",\n    owner="Ann",\n    fit'))

    assert headrace.run(project, "run", "train").code == 0
    (hit,) = search_models(At(folder=project), "amount").hits
    assert [(each.version, each.stage, each.metric) for each in hit.versions] == [
        (2, "None", "rmse"),
        (1, "Production", "rmse"),
    ]
    assert headrace.run(project, "run", "deploy").code == 0
    (hit,) = search_models(At(folder=project), stage="production").hits
    assert [(each.version, each.stage) for each in hit.versions] == [(2, "Production"), (1, "Archived")]
    assert headrace.run(project, "model", "rollback", "days", "--reason", "x").code == 0
    (hit,) = search_models(At(folder=project), owner="ann", stage="Production").hits
    assert [(each.version, each.stage) for each in hit.versions if each.stage == "Production"] == [(1, "Production")]
    assert hit.versions[0].registered_by == show_version(At(folder=project), "days").stages[0].by
    assert show_version(At(folder=project), "days").owner == "Ann"
    done = headrace.run(project, "model", "search", "days", "--stage", "production")
    assert "version 1, Production, rmse" in done.stdout


def test_an_approval_and_a_dropped_table_are_told(headrace, tmp_path):
    folder = mini.write(tmp_path / "mini", deployment='gates=[hr.approval("governance")]')
    toml = folder / "headrace.toml"
    toml.write_text(toml.read_text().replace("[env.dev]", 'catalog = "../catalog"\n[env.dev]'))
    token = enrol(headrace, folder, {"ann": "governance"})["ann"]
    codes = [headrace.run(folder, "run", pipeline).code for pipeline in ("refresh", "train", "deploy")]
    assert codes == [0, 0, 3]
    assert [each["stage"] for each in told(tmp_path, "mini")["models"][0]["versions"]] == ["Staging"]

    (request,) = [
        each for each in headrace.run(folder, "request", "list", "--json").json() if each["to"] == "Production"
    ]
    approved = headrace.run(folder, "request", "approve", str(request["request"]), env={"HEADRACE_TOKEN": token})
    assert approved.code == 0, approved.stderr
    assert [each["stage"] for each in told(tmp_path, "mini")["models"][0]["versions"]] == ["Production"]

    assert headrace.run(folder, "table", "drop", "stats.customers", "--yes").code == 0
    (table,) = told(tmp_path, "mini")["feature_tables"]
    assert (table["rows"], table["location"], table["columns"]) == (None, None, [])


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_interruption_while_the_catalog_is_written_is_a_warning(shop, monkeypatch, caplog):
    monkeypatch.setattr(CatalogStore, "write", interrupted)
    assert refresh(shop.at()).steps
    assert "interrupted while the catalog was written; the operation is complete" in caplog.text


def test_an_interruption_after_an_operation_that_failed_does_not_say_that_it_is_complete(shop, monkeypatch, caplog):
    program = shop.folder / "shop.py"
    program.write_text(
        program.read_text().replace("distinct 'x' as place, seen_at", "cast(amount as date) as place, seen_at")
    )
    monkeypatch.setattr(CatalogStore, "write", interrupted)
    with pytest.raises(Exception, match="cast"):
        refresh(shop.at())
    assert "interrupted while the catalog was written; the next operation writes it" in caplog.text
    assert "complete" not in caplog.text


def test_an_interruption_of_the_scheduler_while_it_writes_the_catalog_ends_it(shop, monkeypatch):
    refresh(shop.at())
    program = shop.folder / "shop.py"
    program.write_text(program.read_text().replace("What a customer bought", "Orders"))
    running = SimpleNamespace(model="churn", version=2)
    monkeypatch.setattr(rollouts, "reconcile", lambda *_, **__: "a step was taken")
    monkeypatch.setattr(CatalogStore, "write", interrupted)
    with open_workspace("dev", folder=shop.folder) as workspace:
        monkeypatch.setattr(workspace.registry.rollouts, "open", lambda: [running])
        with pytest.raises(KeyboardInterrupt):
            reconcile(workspace)


def test_a_catalog_in_an_object_store(s3, tmp_path, monkeypatch):
    s3.client.create_bucket(Bucket="catalog")
    monkeypatch.setenv("CATALOG_SECRET", SECRET)
    options = {**s3.options, "AWS_ACCESS_KEY_ID": KEY}
    lines = "".join(f'{name} = "{value}"\n' for name, value in options.items())
    env = f'[env.dev.storage_options]\n{lines}AWS_SECRET_ACCESS_KEY = {{secret = "CATALOG_SECRET"}}\n'
    shop = Sharing(tmp_path / "shop", "shop", SHOP.format(description="Bought"), catalog="s3://catalog/all", env=env)
    other = Sharing(tmp_path / "other", "other", "", catalog="s3://catalog/all", env=env)
    refresh(shop.at())
    assert s3.names("catalog") == ["all/shop/dev.json"]
    before = s3.client.head_object(Bucket="catalog", Key="all/shop/dev.json")["LastModified"]
    body = s3.client.get_object(Bucket="catalog", Key="all/shop/dev.json")["Body"].read()
    assert SECRET.encode() not in body
    os.utime(shop.folder / "data" / "rows.csv")
    refresh(shop.at())
    assert s3.client.head_object(Bucket="catalog", Key="all/shop/dev.json")["LastModified"] == before
    assert tables(search_feature_tables(other.at(), "bought")) == [("shop", "dev", "stats.customers")]
    reset(shop.at())
    assert s3.names("catalog") == []
