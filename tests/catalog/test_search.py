"""Which entries a text matches, in which order; which environment is shown; who uses a table."""

import pytest
from tests.catalog.documents import document, model, table, use, version

from headrace.catalog.search import find_models, find_tables


def names(found):
    return [each.entry.name for each in found]


SHOP = document(
    feature_tables=(
        table("stats.returns", description="What a customer sent back", owner="Ann"),
        table("stats.customers", owner="Bo"),
        table("stats.customer_days", key=("customer", "day")),
        table("stats.weather", key=("place",)),
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["stats.customer_days", "stats.customers", "stats.returns", "stats.weather"]),
        ("CUSTOMER", ["stats.customer_days", "stats.customers", "stats.returns"]),
        ("customers", ["stats.customers"]),
        ("customer back", ["stats.returns"]),
        ("customer nothing", []),
        ("place", ["stats.weather"]),
        ("shop weather", ["stats.weather"]),
        ("ann", ["stats.returns"]),
    ],
)
def test_all_words_must_occur_and_names_come_first(text, expected):
    assert names(find_tables([SHOP], text)) == expected


def test_a_whole_name_comes_before_a_part_of_one():
    tables = (table("a.day_orders"), table("b.orders"), table("c.other", description="orders"))
    assert names(find_tables([document(feature_tables=tables)], "orders")) == ["b.orders", "a.day_orders", "c.other"]


def test_letter_case_of_other_scripts_does_not_matter():
    found = find_tables([document(feature_tables=(table(description="STRASSE Ωmega"),))], "straße ωMEGA")
    assert names(found) == ["stats.customers"]


def test_filters():
    assert names(find_tables([SHOP], owner="an")) == ["stats.returns"]
    assert names(find_tables([SHOP], column="DAY")) == ["stats.customer_days"]
    assert names(find_tables([SHOP], project="SHOP", column="place")) == ["stats.weather"]
    assert find_tables([SHOP], project="sho") == []


def test_the_highest_environment_that_has_it_is_shown():
    dev = document(rank=0, feature_tables=(table(rows=1), table("stats.new")))
    prod = document(environment="prod", rank=2, feature_tables=(table(rows=3), table("stats.new", location=None)))
    staging = document(environment="staging", rank=1, feature_tables=(table(rows=2),))
    found = find_tables([prod, dev, staging])
    assert [(each.entry.name, each.document.environment) for each in found] == [
        ("stats.customers", "prod"),
        ("stats.new", "dev"),
    ]


def test_consumers_are_matched_by_location_in_every_environment_of_the_table():
    here = table(used_by=("own",))
    dev = document(feature_tables=(here,), models=(model("own", features=(use(),)),))
    prod = document(
        environment="prod", rank=1, feature_tables=(table(location="s3://lake/prod/stats/customers"),), models=()
    )
    bank = document(
        "bank",
        models=(
            model("by_dev", features=(use(),)),
            model("by_prod", features=(use(location="s3://lake/prod/stats/customers"),)),
            model("own_table_of_that_name", features=(use(location="file:///bank/stats/customers"),)),
            model("not_readable", features=(use(location=None),)),
        ),
    )
    (found,) = find_tables([dev, prod, bank])
    assert found.document.environment == "prod"
    assert found.consumers == (("bank", "by_dev"), ("bank", "by_prod"), ("shop", "own"))


def test_a_model_that_cannot_read_its_projects_table_yet_uses_it_all_the_same():
    shop = document(feature_tables=(table(location=None),), models=(model(features=(use(location=None),)),))
    assert find_tables([shop])[0].consumers == (("shop", "churn"),)


def test_two_projects_may_have_tables_of_one_name():
    found = find_tables([document("b", feature_tables=(table(),)), document("a", feature_tables=(table(),))])
    assert [each.document.project for each in found] == ["a", "b"]


def test_models_are_found_by_what_they_select_and_by_stage():
    dev = document(
        models=(
            model("churn", versions=(version(2, "None"), version(1)), functions=("hour_of_day",)),
            model("basket", features=(use(),), label="gold.baskets.total", versions=()),
        )
    )
    prod = document(environment="prod", rank=1, models=(model("churn", versions=()),))
    assert names(find_models([dev, prod])) == ["basket", "churn"]
    assert names(find_models([dev, prod], "hour")) == ["churn"]
    assert names(find_models([dev, prod], "orders")) == ["basket"]
    assert names(find_models([dev, prod], "total")) == ["basket"]
    assert [each.document.environment for each in find_models([dev, prod], stage="production")] == ["dev"]
    higher = document(environment="prod", rank=1, models=(model("churn", versions=(version(1, "Staging"),)),))
    assert [each.document.environment for each in find_models([dev, higher])] == ["dev", "prod"]
    assert [each.document.environment for each in find_models([dev, higher], stage="production")] == ["dev"]
    assert find_models([dev, prod], stage="Archived") == []
    assert find_models([dev, prod], owner="ann") == []
