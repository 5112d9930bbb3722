"""A project of a few lines that a test can spoil in one place."""

from datetime import UTC, datetime, timedelta

TOML = """\
[project]
name = "mini"
module = "mini"
as_of = "2024-03-01"

[env.dev]
[env.live]
"""
PROGRAM = """\
import headrace as hr


class Mean:
    def fit(self, X, y):
        self.value = float(y.mean())
        return self

    def predict(self, X):
        import numpy

        return numpy.full(len(X), self.value)


raw = hr.Source("raw.orders", files="data/*.csv", schema=hr.Schema(placed_at="timestamp_utc", done_at="timestamp_utc"))
orders = hr.Table("shop.orders", key="id", sql="select id, customer, placed_at, amount from raw.orders")
labels = hr.Table("shop.labels", key="id", time="done_at", sql="select id, done_at, days from raw.orders")
features = hr.FeatureTable(
    "stats.customers",
    key="customer",
    time="at",
    sql="select customer, placed_at as at, count(*) as orders from raw.orders group by customer, placed_at",
)


def fit(data, params):
    return Mean().fit(data.X, data.y)


model = hr.Model(
    "days",
    fit=fit,
    task=hr.Regression(label=labels["days"]),
    spine=orders.at("placed_at"),
    features=[orders.select("amount"), features.select("orders")],
    evaluate=hr.Evaluate(test="10d", slices=["customer"]),
)
deployment = hr.Deployment(model, score=hr.Score(into="answers.days"))
"""


def program(deployment=""):
    """The project's module; `deployment` is what else its deployment declares."""
    return PROGRAM.replace('"answers.days"))', f'"answers.days"), {deployment})')


def write(folder, *, orders=120, deployment=""):
    """The project as it works; `deployment` is what else its deployment declares."""
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML)
    (folder / "mini.py").write_text(program(deployment))
    lines = ["id,customer,placed_at,done_at,amount,days"]
    for number in range(orders):
        placed = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=12 * number)
        days = 1 + number % 5
        done = placed + timedelta(days=days)
        lines.append(f"{number},c{number % 7},{placed.isoformat()},{done.isoformat()},{number % 11}.5,{days}")
    (folder / "data" / "orders.csv").write_text("\n".join(lines) + "\n")
    return folder
