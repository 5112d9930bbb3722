"""Whether two destinations are one place."""

from dataclasses import replace

import pytest

from headrace.environments import config
from headrace.inference.declarations import Database, Files
from headrace.inference.destinations.place import same

TOML = """\
[project]
name = "shop"
module = "shop"

[env.prod]
[env.prod.databases]
wh = "postgresql+psycopg://reader@host/app"
wh2 = "postgresql://writer@127.0.0.1:5433/other?dbname=app"
away = "postgresql+psycopg://host/elsewhere"
hidden = {secret = "NO_SUCH_VARIABLE"}
lite = "sqlite:///wh.db"
uri = "sqlite:///file:wh.db?uri=true"
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headrace.toml").write_text(TOML)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    return replace(config.load(tmp_path).environment("prod"), root=tmp_path / "real")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("wh:late", "wh2:late", True),
        ("wh:late", "wh2:public.LATE", True),
        ("wh:late", "wh:app.late", False),
        ("wh:late", "wh:later", False),
        ("wh:late", "away:late", False),
        ("wh:late", "hidden:late", True),
        ("wh:late", "nowhere:later", False),
        ("lite:late", "uri:main.Late", True),
        ("lite:late", "wh:late", False),
    ],
)
def test_tables_of_databases(environment, one, other, is_same):
    places = [Database(name, table=table) for name, _, table in (text.partition(":") for text in (one, other))]
    assert same(*places, environment) is same(*reversed(places), environment) is is_same


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ("out", True),
        ("{}/real/out", True),
        ("{}/link/out", True),
        ("{}/link/out/late", True),
        ("{}/real", True),
        ("{}/real/outer", False),
        ("{}/out", False),
    ],
)
def test_folders(environment, tmp_path, other, is_same):
    assert same(Files("out", format="parquet"), Files(other.format(tmp_path), format="csv"), environment) is is_same


def test_a_table_is_no_folder_and_no_database(environment):
    assert not same("out.late", Files("out.late", format="csv"), environment)
    assert not same("out.late", Database("wh", table="out.late"), environment)
    assert same("out.late", "out.late", environment)
