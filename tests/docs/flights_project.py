"""The project that the pages speak of, small: its environments, tables and model have the names of the demo's."""

import numpy as np
import pandas as pd

TOML = """\
[project]
name = "flights"
module = "flights"
as_of = "2013-07-01"

[env.dev]
[env.prod]
code = "any"
"""
PROGRAM = """\
import headrace as hr

raw = hr.Source("bronze.flights", files="data/*.csv")
departures = hr.Table(
    "silver.departures",
    description="One row a flight.",
    key="flight_id",
    sql="select flight_id, predict_at, carrier, origin, distance from bronze.flights",
    expect=[hr.expect("distance > 0", otherwise="quarantine")],
)
arrivals = hr.Table(
    "gold.arrivals",
    description="Whether it came late, and since when that is known.",
    key="flight_id",
    time="known_at",
    sql="select flight_id, known_at, late from bronze.flights",
)
carrier_delays = hr.FeatureTable(
    "features.carrier_delays",
    description="How late a carrier's flights were the day before.",
    key=["carrier", "origin"],
    time="available_at",
    look_back="7d",
    sql='''select carrier, origin, date_trunc('day', known_at) + interval 1 day as available_at,
                  avg(late::int) as late_rate_24h from bronze.flights group by all''',
)


def fit(data, params):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0, **params).fit(data.X, data.y)


arrival_delay = hr.Model(
    "arrival_delay",
    description="Whether a flight arrives late.",
    fit=fit,
    task=hr.Binary(label=arrivals["late"]),
    spine=departures.at("predict_at"),
    features=[departures.select("distance"), carrier_delays.select("late_rate_24h")],
    params={"max_iter": 20},
    evaluate=hr.Evaluate(test="30d", slices=["carrier"]),
)
delivery = hr.Deployment(
    arrival_delay,
    gates=[hr.signature(), hr.at_least("roc_auc", 0.55), hr.not_worse("roc_auc", margin=0.1, min_rows=50)],
    score=hr.Score(into="gold.arrival_delay_predictions"),
    serve=hr.Serve(),
    monitor=hr.Monitor(window="1mo", min_rows=50, alerts=[hr.alert("roc_auc", below=0.5)]),
    retrain=hr.Retrain(on="alert"),
)
"""


def flights(first, last, *, a_day=20):
    """Flights of some days; far ones and those of UA are late more often."""
    draw = np.random.default_rng(3)
    days = pd.date_range(first, last, freq="D", tz="UTC")
    n = a_day * len(days)
    rows = pd.DataFrame({"predict_at": np.repeat(days, a_day) + pd.to_timedelta(draw.integers(0, 1440, n), unit="min")})
    rows["carrier"] = draw.choice(["AA", "DL", "UA"], n)
    rows["origin"] = draw.choice(["EWR", "JFK", "LGA"], n)
    rows["distance"] = draw.integers(100, 2500, n)
    rows["late"] = draw.logistic(rows.distance / 600 - 3 + 1.5 * (rows.carrier == "UA")) > 0
    rows["known_at"] = rows.predict_at + pd.Timedelta(hours=6)
    rows.insert(0, "flight_id", [f"{first}-{number}" for number in range(n)])
    return rows


def write(folder):
    """The project without its files."""
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML)
    (folder / "flights.py").write_text(PROGRAM)
    return folder


def arrive(folder, first, last):
    """One more file of flights."""
    flights(first, last).to_csv(folder / "data" / f"{first}.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
