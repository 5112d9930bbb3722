"""In how many days will an order be delivered? Asked when it is placed."""

import pandas as pd
import pyarrow as pa

import headrace as hr


def read_warehouses():
    """Where the warehouses are; the list lives in somebody's head."""
    yield pa.RecordBatch.from_pydict({"warehouse_id": [1, 2], "region": ["north", "south"]})
    yield pa.RecordBatch.from_pydict({"warehouse_id": [3], "region": ["north"]})


warehouses = hr.Source("landing.warehouses", read=read_warehouses)
raw_orders = hr.Source(
    "landing.orders",
    files="data/orders/*.jsonl",
    schema=hr.Schema(placed_at="timestamp_utc", exported_at="timestamp_utc"),
)
raw_deliveries = hr.Source(
    "landing.deliveries",
    files="data/deliveries.csv",
    schema=hr.Schema(delivered_at="timestamp_utc", recorded_at="timestamp_utc"),
)

orders = hr.Table(
    "sales.orders",
    key="order_id",
    sql=hr.sql_file("orders.sql"),
    schema=hr.Schema(order_id="int32", express="bool"),
    expect=[
        hr.expect("express is not null", otherwise=hr.repair(express="false")),
        hr.expect("weight_kg > 0", otherwise="quarantine"),
        hr.expect("amount_cents < 100000", otherwise="warn"),
        hr.expect("region is not null"),
    ],
)
deliveries = hr.Table("sales.deliveries", key="order_id", time="recorded_at", sql=hr.sql_file("deliveries.sql"))

warehouse_pace = hr.FeatureTable(
    "stats.warehouse_pace",
    key="warehouse_id",
    time="available_at",
    look_back="2d",
    online=True,
    sql=hr.sql_file("warehouse_pace.sql"),
)
customer_orders = hr.FeatureTable(
    "stats.customer_orders", key="customer_id", time="available_at", online=True, sql=hr.sql_file("customer_orders.sql")
)


@hr.on_demand(hr.Schema(weekday="int32", hour="int32"))
def calendar(placed_at: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"weekday": placed_at.dt.weekday, "hour": placed_at.dt.hour})


def fit(data: hr.TrainingData, params: hr.Params):
    from sklearn.compose import ColumnTransformer, make_column_selector
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [("texts", texts, make_column_selector(dtype_include="category"))], remainder="passthrough"
    )
    trees = HistGradientBoostingRegressor(random_state=0, **params)
    return Pipeline([("columns", columns), ("trees", trees)]).fit(data.X, data.y)


delivery_days = hr.Model(
    "delivery_days",
    fit=fit,
    task=hr.Regression(label=deliveries["days"]),
    spine=orders.at("placed_at"),
    features=[
        orders.select("region", "express", "weight_kg"),
        warehouse_pace.select("days_7d", "deliveries_7d", on={"warehouse_id": "ships_from"}),
        customer_orders.select("orders_so_far"),
        calendar,
    ],
    params={"max_iter": 60},
    tune=hr.Tune({"learning_rate": hr.log_uniform(0.05, 0.2), "max_leaf_nodes": hr.choice(7, 15)}, trials=2),
    evaluate=hr.Evaluate(test="21d", metrics=["rmse", "mae", "r2"], slices=["region"]),
)

delivery = hr.Deployment(
    delivery_days,
    gates=[
        hr.signature(),
        hr.forbid_inputs("customer_id"),
        hr.at_least("rmse", 2.0),
        hr.not_worse("rmse", margin=0.05, min_rows=50),
    ],
    score=hr.Score(into="answers.delivery_days"),
    serve=hr.Serve(),
    monitor=hr.Monitor(
        window="1mo", min_rows=50, alerts=[hr.alert("rmse", above=1.0, for_="1 of 2")], slices=["region"]
    ),
    retrain=hr.Retrain(on="alert", cool_down="7d"),
)
