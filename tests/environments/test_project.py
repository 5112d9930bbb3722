import pytest

import headrace as hr
from headrace.core.errors import DeclarationError, NotFoundError, UserCodeError
from headrace.environments import config
from headrace.environments.code import resolve
from headrace.environments.project import Project

TABLES = """\
import headrace as hr

orders = hr.Table("silver.orders", key="order", sql="select 1")
arrivals = hr.Table("gold.arrivals", key="order", time="known", sql="select 1")
pace = hr.FeatureTable("features.pace", key="shop", time="at", sql="select 1")
unused = hr.Table("silver.unused", key="x", sql="select 1")
"""
MODEL = """\
import headrace as hr
from shop.tables import arrivals, orders
{more}

def fit(data, params):
    pass

model = hr.Model("late", fit=fit, task=hr.Binary(label=arrivals["late"]), spine=orders.at("placed"),
                 features=[orders.select("price"), {feature}])
delivery = hr.Deployment(model, score=hr.Score(into="gold.late_predictions"))
"""


def project_of(repository, env="dev"):
    found = config.load(repository.folder)
    return Project(found, resolve(found, found.environment(env)))


def names(project, cls):
    return [each.name for each in project.all(cls)]


def test_declarations_come_in_the_order_of_the_program(folder):
    folder.write(
        "shop/project.py",
        """\
import headrace as hr

zebra = hr.Source("bronze.zebra", files="z.csv")
several = [hr.Table(f"silver.t{i}", key="x", sql="select 1") for i in (2, 1)]
named = {"a": hr.Table("silver.a", key="x", sql="select 1")}
again = zebra
not_declared = [1, "two", {"three"}]
early = hr.Source("bronze.early", files="a.csv")
""",
    )
    project = project_of(folder)

    assert names(project, hr.Source) == ["bronze.zebra", "bronze.early"]
    assert names(project, hr.Table) == ["silver.t2", "silver.t1", "silver.a"]


def test_what_a_model_refers_to_is_declared_too(folder):
    folder.write("shop/tables.py", TABLES)
    folder.write("shop/project.py", MODEL.format(more="from shop.tables import pace as p", feature="p.select('x')"))
    folder.write("shop/main.py", "from shop.project import delivery\n")
    folder.write("headrace.toml", '[project]\nname = "shop"\nmodule = "shop.main"\n')
    project = project_of(folder)

    assert names(project, hr.Deployment) == names(project, hr.Model) == ["late"]
    assert names(project, hr.Table) == ["silver.orders", "gold.arrivals", "features.pace"]
    assert names(project, hr.FeatureTable) == ["features.pace"]


def test_a_module_of_the_project_that_is_imported_whole_counts(folder):
    folder.write("shop/tables.py", TABLES)
    folder.write("shop/project.py", MODEL.format(more="from shop import tables", feature="tables.pace.select('x')"))

    assert names(project_of(folder), hr.Table) == ["silver.orders", "gold.arrivals", "features.pace", "silver.unused"]


def test_one_feature_table_may_be_selected_from_twice(folder):
    folder.write("shop/tables.py", TABLES)
    twice = "*(hr.external_feature_table('other.weather').select('x', prefix=p) for p in 'ab')"
    folder.write("shop/project.py", MODEL.format(more="", feature=twice))

    assert names(project_of(folder), hr.Model) == ["late"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('hr.Table("a.b", key="x", sql="select 1")', 'hr.Table("a.b", key="x", sql="select 2")'),
        ('hr.Table("a.b", key="x", sql="select 1")', 'hr.Source("a.b", files="x")'),
        ('hr.FeatureTable("a.b", key="x", time="t")', 'hr.Source("a.b", files="x")'),
    ],
)
def test_two_tables_of_one_name_collide_with_both_places(folder, first, second):
    folder.write("shop/other.py", f"import headrace as hr\n\none = {first}\n")
    folder.write("shop/project.py", f"import headrace as hr\nfrom shop.other import one\n\n\nanother = {second}\n")

    with pytest.raises(DeclarationError, match=r"table 'a\.b' is declared twice") as raised:
        _ = project_of(folder).declarations
    assert f"{folder.folder}/shop/other.py:3" in str(raised.value)
    assert f"{folder.folder}/shop/project.py:5" in str(raised.value)


def test_a_model_may_be_named_like_a_source_but_not_be_deployed_twice(folder):
    folder.write("shop/tables.py", TABLES)
    text = MODEL.format(more="late = hr.Source('raw.late', files='x')", feature="orders.select('y')")
    folder.write("shop/project.py", text)
    assert names(project_of(folder), hr.Source) == ["raw.late"]
    folder.write("shop/project.py", text + "twice = hr.Deployment(model, score=hr.Score(into='gold.other'))\n")

    with pytest.raises(DeclarationError, match="deployment 'late' is declared twice"):
        _ = project_of(folder).declarations


def test_two_models_of_one_name_collide(folder):
    folder.write("shop/tables.py", TABLES)
    text = MODEL.format(more="", feature="orders.select('y')")
    folder.write("shop/project.py", text + "from dataclasses import replace\ncopy = replace(model, params={'a': 1})\n")

    with pytest.raises(DeclarationError, match="model 'late' is declared twice"):
        _ = project_of(folder).declarations


def test_things_are_found_by_name(folder):
    folder.write("shop/project.py", TABLES)
    project = project_of(folder)

    assert project.find(hr.Table, "silver.orders") is project.module.orders
    with pytest.raises(NotFoundError, match=r"no table 'silver\.ordres': did you mean 'silver\.orders'"):
        project.find(hr.Table, "silver.ordres")
    with pytest.raises(NotFoundError, match="no model 'late': there is none yet"):
        project.find(hr.Model, "late")
    with pytest.raises(NotFoundError, match="no feature table"):
        project.find(hr.FeatureTable, "silver.orders")


def test_an_edited_working_tree_gives_fresh_code(folder):
    before = project_of(folder).module
    folder.write("shop/project.py", TABLES)
    after = project_of(folder)

    assert names(after, hr.Table)
    assert after.module is not before
    assert project_of(folder).module is after.module


def test_staging_declares_what_was_committed_in_the_module_that_was_committed(repository):
    repository.write("shop/first.py", TABLES)
    repository.write("headrace.toml", '[project]\nname = "shop"\nmodule = "shop.first"\nas_of = "2014-01-01"\n')
    repository.commit()
    repository.write("shop/first.py", "raise RuntimeError\n")
    repository.write("headrace.toml", '[project]\nname = "shop"\nmodule = "shop.project"\n')

    staging, dev = project_of(repository, "staging"), project_of(repository, "dev")

    assert len(staging.all(hr.Table)) == 4
    assert staging.as_of.year == 2014
    assert names(dev, hr.Source) == ["bronze.orders"]
    assert dev.as_of is None


def test_sql_files_are_code_and_come_from_the_commit(repository):
    repository.write("shop/orders.sql", "select 1")
    repository.write(
        "shop/project.py",
        'import headrace as hr\norders = hr.Table("silver.orders", key="x", sql=hr.sql_file("orders.sql"))\n',
    )
    repository.commit()
    repository.write("shop/orders.sql", "select 2")

    assert project_of(repository, "staging").find(hr.Table, "silver.orders").sql.text == "select 1"
    assert project_of(repository, "dev").find(hr.Table, "silver.orders").sql.text == "select 2"


def test_a_module_of_a_submodule_is_told_where_committed_code_runs(repository, tmp_path):
    other = type(repository)(tmp_path / "other")
    other.write("part.py", "value = 1")
    other.git("init", "-q")
    other.commit()
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.folder), "vendored")
    repository.write("shop/project.py", "import headrace as hr\nfrom vendored.part import value\n")
    repository.commit()

    assert project_of(repository).all(hr.Table) == []
    with pytest.raises(UserCodeError, match="No module named 'vendored'") as caught:
        project_of(repository, "staging").all(hr.Table)
    assert caught.value.hint.startswith("vendored of this commit is a git submodule")
