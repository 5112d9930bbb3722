import numpy as np
import pandas as pd
from flights import project

import headrace as hr
from headrace import testing


def test_the_hour_is_read_off_the_local_clock():
    local = pd.Series(pd.to_datetime(["2013-01-01 05:15", "2013-07-01 23:59"]))

    assert project.hour_of_day(local).tolist() == [5, 23]


def test_fit_learns_that_a_bad_day_stays_bad():
    late_rate = np.tile([0.1, 0.9], 500)
    X = pd.DataFrame({"late_rate_3h": late_rate, "origin": pd.Categorical(["EWR", "LGA"] * 500)})
    at = pd.Series(pd.date_range("2013-01-01", periods=1000, freq="h", tz="UTC"))
    data = hr.TrainingData(X=X, y=pd.Series((late_rate > 0.5).astype(int)), at=at)

    probability = project.fit(data, {"n_estimators": 20}).predict_proba(X)[:, 1]

    assert probability[late_rate > 0.5].min() > probability[late_rate < 0.5].max()


def flight(number, departs, *, delay):
    """A flight from Newark that takes two hours; it arrives as much later than planned as it left."""
    departed = pd.Timestamp(departs, tz="UTC") + pd.Timedelta(minutes=delay)
    return {
        "flight_id": f"UA-{number}",
        "carrier": "UA",
        "origin": "EWR",
        "dest": "ORD",
        "tailnum": f"N{number}",
        "distance": 719,
        "sched_dep": pd.Timestamp(departs, tz="UTC"),
        "dep_delay": delay,
        "departed_at": departed,
        "arr_delay": delay,
        "arrived_at": departed + pd.Timedelta(hours=2),
    }


def test_a_carrier_is_late_from_when_its_flight_arrived():
    with testing.environment(project, at="2013-02-01") as env:
        env.load("silver.flights", [flight(1, "2013-01-01 10:00", delay=0), flight(2, "2013-01-01 11:00", delay=40)])
        env.refresh()
        rates = env.tables["features.carrier_delays"].to_pandas().sort_values("available_at")

    assert rates["available_at"].dt.strftime("%H:%M").tolist() == ["12:00", "13:40"]
    assert rates["late_rate_3h"].tolist() == [0.0, 0.5]


def test_a_feature_knows_only_what_had_happened():
    """Each flight is asked about an hour before it is due to leave: at 11:00 the first one has arrived, at 09:30."""
    flights = pd.DataFrame(
        [
            flight(1, "2013-01-01 07:00", delay=30),
            flight(2, "2013-01-01 09:00", delay=50),
            flight(3, "2013-01-01 12:00", delay=0),
            flight(4, "2013-01-01 14:30", delay=0),
        ]
    )
    flights["flight"] = range(4)
    spine = flights.assign(
        predict_at=flights["sched_dep"] - pd.Timedelta(hours=1),
        sched_dep_local=flights["sched_dep"].dt.tz_convert("America/New_York").dt.tz_localize(None),
        plane_age=7,
        seats=150,
    )
    weather = dict.fromkeys(("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"), 50.0)
    hour = {"airport": "EWR", "available_at": pd.Timestamp("2013-01-01 05:05", tz="UTC"), **weather}
    with testing.environment(project, at="2013-02-01") as env:
        env.load("silver.flights", flights)
        env.load("silver.departures", spine)
        env.load("features.weather", [hour])
        env.refresh()
        features = env.features("arrival_delay").to_pandas().set_index("flight_id")
        testing.assert_point_in_time(env, project.arrival_delay)

    assert features["late_rate_24h"].fillna(-1).to_dict() == {"UA-1": -1, "UA-2": -1, "UA-3": 1.0, "UA-4": 1.0}
    assert features["temp"].fillna(-1).to_dict() == {"UA-1": 50.0, "UA-2": 50.0, "UA-3": -1, "UA-4": -1}
