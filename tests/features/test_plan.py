"""A plan says which columns a row has and where each comes from; a wrong declaration is told apart before any data is read."""

import json

import pandas as pd
import pyarrow as pa
import pytest

import headrace as hr
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.features.plan import FeaturePlan, plan

orders = hr.Table("silver.orders", key="order_id")
spine = orders.at("placed_at")
shops = hr.FeatureTable("features.shops", key="shop", time="known_at", look_back="2d")
SCHEMAS = {
    "silver.orders": pa.schema(
        [
            ("order_id", pa.int64()),
            ("placed_at", pa.timestamp("us", "UTC")),
            ("placed_local", pa.timestamp("us")),
            ("shop", pa.string()),
            ("back_up", pa.large_string()),
            ("amount", pa.decimal128(9, 2)),
            ("gift", pa.bool_()),
            ("tags", pa.list_(pa.string())),
        ]
    ),
    "features.shops": pa.schema(
        [("shop", pa.string()), ("known_at", pa.timestamp("us", "UTC")), ("sales", pa.int32()), ("tier", pa.string()), ("opened", pa.date32())]
    ),
}  # fmt: skip


@hr.on_demand(hr.Schema(hour="int32", day="string"))
def calendar(placed_local: pd.Series, sales: pd.Series) -> pd.DataFrame: ...


def planned(*features, **more):
    return plan(spine, features, SCHEMAS, **more)


def test_features_stand_in_declared_order_and_inputs_hold_what_on_demand_functions_take():
    made = planned(
        shops.select("sales", "tier"),
        orders.select("amount", "gift"),
        calendar,
        shops.select("sales", on={"shop": "back_up"}, prefix="back_up_", optional=True),
    )
    assert made.names == ("sales", "tier", "amount", "gift", "hour", "day", "back_up_sales")
    assert [column.name for column in made.inputs] == [
        "sales",
        "tier",
        "amount",
        "gift",
        "back_up_sales",
        "placed_local",
    ]
    assert made.spine_columns == ("amount", "gift", "placed_local")
    assert [feature.kind for feature in made.features] == [
        "number",
        "string",
        "number",
        "number",
        "number",
        "string",
        "number",
    ]
    assert [lookup.on for lookup in made.lookups] == [(("shop", "shop"),), (("shop", "back_up"),)]
    assert made.lookups[0].look_back == 2 * 86400
    assert [feature.name for feature in made.features if feature.optional] == ["back_up_sales"]
    assert made.tables == ("silver.orders", "features.shops")


def test_a_plan_survives_json():
    made = planned(shops.select("sales"), orders.select("amount"), calendar)
    assert FeaturePlan.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_time_is_no_feature_unless_an_on_demand_function_takes_it():
    @hr.on_demand(hr.Schema(age="float64"))
    def age(opened: pd.Series, placed_at: pd.Series) -> pd.Series: ...

    with pytest.raises(DeclarationError, match=r"features.shops.opened is a time"):
        planned(shops.select("opened"))
    made = planned(shops.select("opened"), age)
    assert made.names == ("age",)
    assert [(column.name, column.kind) for column in made.inputs] == [
        ("opened", "timestamp"),
        ("placed_at", "timestamp_utc"),
    ]


def test_a_table_by_name_is_resolved():
    by_name = hr.external_feature_table("features.shops").select("sales", prefix="shop_")
    assert planned(by_name, resolve=lambda name: shops).names == ("shop_sales",)
    with pytest.raises(NotFoundError, match=r"no feature table 'features.shops'"):
        planned(by_name)


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(NotFoundError, match=r"no column of features.shops 'sale'.*did you mean 'sales'"):
        planned(shops.select("sale"))
    with pytest.raises(NotFoundError, match=r"no column of silver.orders 'ammount'.*did you mean 'amount'"):
        planned(orders.select("ammount"))
    with pytest.raises(NotFoundError, match=r"did you mean 'placed_at'"):
        plan(orders.at("placed_att"), [orders.select("amount")], SCHEMAS)
    with pytest.raises(NotFoundError, match=r"no key of features.shops 'shp'"):
        planned(shops.select("sales", on={"shp": "shop"}))

    @hr.on_demand(hr.Schema(x="float64"))
    def wrong(amout: pd.Series) -> pd.Series: ...

    with pytest.raises(NotFoundError, match=r"input of on-demand feature wrong\(\) 'amout'.*did you mean 'amount'"):
        planned(orders.select("amount"), wrong)


def test_two_features_of_one_name_are_refused_and_prefix_is_suggested():
    with pytest.raises(DeclarationError, match="two features are called 'sales'") as raised:
        planned(shops.select("sales"), shops.select("sales", on={"shop": "back_up"}))
    assert "prefix=" in str(raised.value)


def test_a_looked_up_feature_does_not_hide_a_column_of_the_spine():
    with pytest.raises(DeclarationError, match="as is a column of spine"):
        planned(shops.select("shop"))


def test_every_key_needs_a_column_of_the_spine_of_the_same_type():
    stores = hr.FeatureTable("features.shops", key=["shop", "tier"], time="known_at")
    with pytest.raises(DeclarationError, match="has no column 'tier'"):
        planned(stores.select("sales"))
    with pytest.raises(DeclarationError, match=r"key 'shop' of 'features.shops' is string, but 'order_id'"):
        planned(shops.select("sales", on={"shop": "order_id"}))


def test_what_cannot_be_a_feature_is_refused():
    with pytest.raises(DeclarationError, match="is list<"):
        planned(orders.select("tags"))
    with pytest.raises(DeclarationError, match="neither the spine nor a feature table"):
        planned(hr.Table("features.shops", key="shop").select("sales"))
    with pytest.raises(DeclarationError, match="neither a selection nor an on-demand function"):
        planned(lambda amount: amount)
    with pytest.raises(DeclarationError, match="not a time"):
        plan(orders.at("amount"), [orders.select("gift")], SCHEMAS)
