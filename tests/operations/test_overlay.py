"""An overlay: dev reads some of prod's tables, and its own come first wherever they are."""

import pytest
from tests.operations.bare_project import TOML, BareProject

from headrace.core.errors import NotFoundError, SqlError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.source import load_file
from headrace.operations.refresh import refresh
from headrace.operations.sql import query
from headrace.operations.tables import list_tables, load_table, show_table

PATTERNS = TOML.replace("[env.dev]\n", '[env.dev]\nreads = {prod = ["features.*", "silver.rates"]}\n')
PROGRAM = """
sums = hr.Table("silver.sums", key="city", sql="select city, sum(amount) as amount from features.spending group by city")
"""


@pytest.fixture
def shop(tmp_path):
    """A project whose prod has four tables."""
    shop = BareProject(tmp_path / "shop", program=PROGRAM)
    prod = Lakehouse("prod", str(shop.folder / ".headrace" / "prod" / "lakehouse"))
    for name in ("features.spending", "features.visits", "silver.rates", "silver.pay"):
        load_file(prod, name, rows_file(shop, 7))
    return shop


def rows_file(shop, amount):
    file = shop.folder / "rows.csv"
    file.write_text(f"city,amount\nOulu,{amount}\n")
    return file


def reads(shop, written):
    (shop.folder / "headrace.toml").write_text(written)


def listed(shop):
    return [(each.table, each.env, each.instead_of) for each in list_tables(shop.at()).tables]


def test_features_come_from_prod_and_one_table_from_dev(shop, headrace):
    reads(shop, PATTERNS)
    load_table(shop.at(), rows_file(shop, 1), into="features.spending")

    assert listed(shop) == [
        ("features.spending", "dev", ("prod",)),
        ("features.visits", "prod", ()),
        ("silver.rates", "prod", ()),
    ]
    refresh(shop.at())
    assert show_table(shop.at(), "silver.sums").sample == ({"city": "Oulu", "amount": 1},)
    reads(shop, PATTERNS.replace("[env.dev]", "[env.try]\nreads = ['prod']\n[env.dev]"))
    assert [row["amount"] for row in show_table(shop.at("try"), "features.spending").sample] == [7]
    reads(shop, PATTERNS)
    shown = headrace.run(shop.folder, "table", "list")
    assert "instead_of" in shown.stdout
    as_json = headrace.run(shop.folder, "table", "list", "--json").json()
    assert {each["table"]: (each["env"], each["instead_of"]) for each in as_json} == {
        "features.spending": ("dev", ["prod"]),
        "features.visits": ("prod", []),
        "silver.rates": ("prod", []),
        "silver.sums": ("dev", []),
    }
    policy = headrace.run(shop.folder, "env", "policy")
    assert "prod: features.*, silver.rates" in policy.stdout


def test_a_table_outside_the_patterns_is_not_there_and_the_message_says_what_allows_it(shop):
    reads(shop, PATTERNS)
    allows = r'\[env\.dev\] reads = \{prod = \["features\.\*", "silver\.rates", "silver\.pay"\]\}'

    with pytest.raises(NotFoundError, match=r"'prod' has silver\.pay, and 'dev' may not read it") as absent:
        show_table(shop.at(), "silver.pay")
    with pytest.raises(SqlError, match=allows):
        query(shop.at(), "select * from silver.pay")
    (shop.folder / "shop.py").write_text("import headrace as hr\n" + PROGRAM.replace("features.spending", "silver.pay"))
    with pytest.raises(SqlError, match=allows):
        refresh(shop.at())

    hint = str(absent.value).partition("headrace.toml: ")[2].partition(". Or")[0].replace("] reads", "]\nreads")
    reads(shop, TOML.replace("[env.dev]", hint))  # what it says is what helps
    assert show_table(shop.at(), "silver.pay").env == "prod"
    with pytest.raises(NotFoundError, match=r"did you mean 'silver\.pay'"):
        show_table(shop.at(), "silver.pays")


def test_with_reading_off_dev_has_its_own_alone(shop):
    reads(shop, TOML.replace("[env.dev]", "[env.dev]\nreads = []"))
    assert listed(shop) == []
    with pytest.raises(NotFoundError, match="there is none yet"):
        show_table(shop.at(), "features.visits")

    load_table(shop.at(), rows_file(shop, 1), into="features.spending")
    refresh(shop.at())
    assert listed(shop) == [("features.spending", "dev", ()), ("silver.sums", "dev", ())]
    assert query(shop.at(), "select amount from silver.sums").rows() == [{"amount": 1}]
