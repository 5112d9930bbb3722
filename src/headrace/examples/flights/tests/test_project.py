import numpy as np
import pandas as pd
from flights import project

import headrace as hr


def test_the_hour_is_read_off_the_local_clock():
    local = pd.Series(pd.to_datetime(["2013-01-01 05:15", "2013-07-01 23:59"]))

    assert project.hour_of_day(local).tolist() == [5, 23]


def test_fit_learns_that_a_bad_day_stays_bad():
    late_rate = np.tile([0.1, 0.9], 500)
    X = pd.DataFrame({"late_rate_3h": late_rate, "origin": pd.Categorical(["EWR", "LGA"] * 500)})
    at = pd.Series(pd.date_range("2013-01-01", periods=1000, freq="h", tz="UTC"))
    data = hr.TrainingData(X=X, y=pd.Series((late_rate > 0.5).astype(int)), at=at)

    probability = project.fit(data, {"n_estimators": 20, "n_jobs": 1, "verbose": -1}).predict_proba(X)[:, 1]

    assert probability[late_rate > 0.5].min() > probability[late_rate < 0.5].max()
