"""Will an order be delivered more than three days after it was made?"""

import pandas as pd

import headrace as hr

orders_raw = hr.Source("bronze.orders", files="orders/*.csv", schema=hr.Schema(amount="float64"))
returns_raw = hr.Source("bronze.returns", read=lambda: iter(()), schema=hr.Schema(order_id="int64"))
orders = hr.Table(
    "silver.orders", key="order_id", sql="select order_id, customer, ordered_at, amount from bronze.orders"
)
returns = hr.Table("silver.returns", key="order_id", sql="select order_id from bronze.returns")
delivered = hr.Table(
    "gold.delivered",
    key="order_id",
    time="known_at",
    sql="""
    select order_id, delivered_at as known_at, (delivered_at - ordered_at > interval 3 days)::int as late
    from bronze.orders
    """,
)
spending = hr.FeatureTable(
    "features.spending",
    key="customer",
    time="available_at",
    look_back="30d",
    online=True,
    sql="""
    select customer, ordered_at as available_at, amount as last_amount,
        sum(amount) over (partition by customer order by ordered_at) as spent
    from silver.orders
    """,
)


@hr.on_demand(hr.Schema(weekday="int32"))
def weekday(ordered_at: pd.Series) -> pd.Series:
    return ordered_at.dt.day_of_week


def fit(data, params):
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=1, **params).fit(data.X, data.y)


late = hr.Model(
    "late",
    fit=fit,
    task=hr.Binary(label=delivered["late"]),
    spine=orders.at("ordered_at"),
    features=[orders.select("amount"), spending.select("spent", "last_amount"), weekday],
    params={"max_depth": 3},
    evaluate=hr.Evaluate(test="30d", metrics=["roc_auc"]),
)
delivery = hr.Deployment(
    late, gates=[hr.signature(), hr.at_least("roc_auc", 0.6)], score=hr.Score(into="gold.late_predictions")
)
