"""On-demand features before a native booster: the bits of MLflow's pyfunc, whatever the functions take and give."""

import datetime as dt

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from tests.serving.predictors import making

from headrace.core.errors import DataError, UserCodeError
from headrace.environments.importing import load_tree
from headrace.features.plan import on_demand_functions, plan
from headrace.serving.predictors import Generic, Native, choose
from headrace.training.package import Origin

PROGRAM = """\
import headrace as hr
import numpy as np
import pandas as pd


@hr.on_demand(hr.Schema(hour="int32"))
def hour_of_day(local: pd.Series) -> pd.Series:
    assert str(local.dtype) == "datetime64[us]", local.dtype
    return local.dt.hour


@hr.on_demand(hr.Schema(weekday="string", age="float32"))
def when(asked: pd.Series, a: pd.Series) -> pd.DataFrame:
    assert str(asked.dtype) == "datetime64[us, UTC]", asked.dtype
    if (a > 1e6).any():
        raise ValueError("nothing is that large")
    asked += pd.Timedelta(minutes=30)  # its own copy
    days = (asked - pd.Timestamp("2020-01-01", tz="UTC")).dt.total_seconds() / 86400.1
    return pd.DataFrame({"age": days + a.fillna(0), "other": a, "weekday": asked.dt.day_name().astype(object)})


@hr.on_demand(hr.Schema(initial="string", late="bool"))
def initial(colour: pd.Series, asked: pd.Series) -> pd.DataFrame:
    assert str(colour.dtype) in ("str", "string"), colour.dtype
    return pd.DataFrame({"initial": colour.str[:1], "late": (asked.dt.hour > 12).where(asked.notna())})


spine = hr.Table("s.t", key="id", sql="select 1")
model = hr.Model(
    "small", fit=print, task=hr.Regression(label=hr.Table("s.l", key="id", time="at", sql="select 1")["y"]),
    spine=spine.at("at"), features=[spine.select("a", "colour"), hour_of_day, when, initial],
)
"""
SPINE = pa.schema(
    {
        "id": pa.int64(),
        "at": pa.timestamp("us", "UTC"),
        "a": pa.float64(),
        "colour": pa.string(),
        "local": pa.timestamp("us"),
        "asked": pa.timestamp("us", "UTC"),
    }
)


def frame(count, *, seed=0):
    """Times as requests have them: ISO texts, with other zones and fractions, and some missing."""
    made = making.rows(count, seed=seed, texts=True)[["a", "colour"]]
    draw = np.random.default_rng(seed + 100)
    start = dt.datetime.fromisoformat("2020-01-01")
    zones = [dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]
    moments = [start + dt.timedelta(seconds=float(each)) for each in draw.random(count) * 5e6]
    made["local"] = [each.isoformat() for each in moments]
    made["asked"] = [each.replace(tzinfo=zones[place % 2]).isoformat() for place, each in enumerate(moments)]
    made = made.astype(object)
    for name in ("local", "asked"):
        made.loc[draw.random(count) < 0.1, name] = None
    return made


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    place = tmp_path_factory.mktemp("on_demand")
    project = place / "project"
    project.mkdir()
    (project / "program.py").write_text(PROGRAM)
    model = load_tree(project, "program", version="1").model
    planned = plan(model.spine, model.features, {"s.t": SPINE})
    rows = frame(500)
    y = np.random.default_rng(0).normal(size=500) + rows["local"].map(lambda at: int(at[11:13]) if at else 0) / 9

    def fit(X, y):
        params = {"objective": "regression", "verbose": -1, "seed": 0, "num_threads": 1, "min_child_samples": 5}
        return lightgbm.train(params, lightgbm.Dataset(X, y), 20)

    return making.logged(
        place / "logged",
        fit,
        rows[[column.name for column in planned.inputs]],
        y,
        task="Regression",
        classes=(),
        planned=planned,
        functions=on_demand_functions(model.features),
        origin=Origin(folder=project, module="program", commit=None, tree="1"),
    )


def test_a_native_booster_takes_what_the_functions_give(logged):
    folder, parity = logged

    chosen, slower = choose(folder, parity)

    assert (chosen.tier, slower) == ("native", [])
    importances = lightgbm.Booster(model_file=folder / "data/package/estimator/model.txt").feature_importance()
    assert (importances[2:] > 0).sum() >= 3, "the functions' columns are used"
    asked = frame(300, seed=7)[list(parity.columns)].to_numpy().tolist()
    assert chosen.many(asked) == Generic(folder).many(asked)
    assert [chosen.one(row) for row in asked[:40]] == chosen.many(asked)[:40]


def test_times_may_be_objects_as_the_online_store_gives_them(logged):
    folder, parity = logged
    rows, outputs = making.given(parity)
    times = [parity.columns.index(name) for name in ("local", "asked")]
    for row in rows:
        for place in times:
            row[place] = row[place] and dt.datetime.fromisoformat(row[place])

    assert Native(folder).many(rows) == outputs


def test_everything_may_be_missing(logged):
    native, generic = Native(logged[0]), Generic(logged[0])
    row = [None] * len(logged[1].columns)

    assert native.one(row) == generic.one(row)
    assert native.many([row, row]) == generic.many([row, row])


def test_what_a_function_raises_and_what_cannot_be_read_is_told_alike(logged):
    folder, parity = logged
    row = list(parity.rows[0])
    soon = [*row]
    soon[parity.columns.index("local")] = "soon"
    far = [*row]
    far[parity.columns.index("a")] = 1e7

    for tier in (Native(folder), Generic(folder)):
        with pytest.raises(DataError, match="'local' is declared as timestamp"):
            tier.one(soon)
        with pytest.raises(UserCodeError, match=r"when\(\) raised ValueError: nothing is that large"):
            tier.one(far)
