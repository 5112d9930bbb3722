"""A version that was told to expect many rows gives the records that it gives otherwise, to the last bit, for whatever comes."""

from datetime import UTC, datetime

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from headrace.core.errors import HeadraceError
from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.inference import records
from headrace.scoring.predictor import PackagePredictor
from headrace.scoring.version import LoadedVersion
from headrace.training import package
from headrace.training.estimator import LightGBM, Pickled, Settings, XGBoost

NAMES = ("a", "b", "c")
NOW = datetime(2024, 5, 1, tzinfo=UTC)
NUMBERS = [None, np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1e-35, 1e300, 0.1, -2.5]
KINDS = (pa.float64(), pa.float32(), pa.float16(), pa.int64(), pa.int8(), pa.uint64(), pa.bool_(), pa.decimal128(12, 3))


def plan(*, text):
    inputs = tuple(Input(name=name, kind="number", origin="spine") for name in NAMES)
    features = tuple(Feature(name=name, kind="number", origin="spine", optional=False) for name in NAMES[::-1])
    if text:
        inputs += (Input(name="t", kind="string", origin="spine"),)
        features += (Feature(name="t", kind="string", origin="spine", optional=False),)
    return FeaturePlan(
        spine="s.t", at="at", keys=("id",), key_types=("int64",), inputs=inputs, features=features, lookups=(), calls=()
    )


def estimator(name, X, y):
    if name == "lightgbm":
        model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), 12)
        return LightGBM(model, Settings())
    if name == "xgboost":
        data = xgboost.DMatrix(X, y, enable_categorical=True)
        return XGBoost(xgboost.train({"objective": "binary:logistic"}, data, 5), Settings())
    return Pickled(HistGradientBoostingClassifier(max_iter=5).fit(X, y), Settings())


@pytest.fixture(scope="module", params=["lightgbm", "lightgbm with texts", "xgboost", "sklearn"])
def both(request, tmp_path_factory):
    """The same version, as it is and told to expect many rows."""
    name, text = request.param.split()[0], "texts" in request.param
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(2000, 3)), columns=list(NAMES[::-1]))
    y = (X.sum(axis=1) + draw.normal(size=len(X)) > 0).astype(int)
    if text:
        X["t"] = pd.Categorical(draw.choice(["x", "y"], len(X)))
    written = package.write(
        tmp_path_factory.mktemp(name),
        model="late",
        task="Binary",
        classes=(0, 1),
        plan=plan(text=text),
        categories={"t": ["x", "y"]} if text else {},
        estimator=estimator(name, X, y),
        calibration=None,
        params={},
        origin=None,
    )
    usual, many = (PackagePredictor(written.folder) for _ in range(2))
    many.expect_many(1)
    return tuple(LoadedVersion("late", 1, each, folder=written.folder) for each in (usual, many))


def column(kind):
    if pa.types.is_floating(kind):
        odd = [None if value is None else float(np.float16(np.clip(value, -6e4, 6e4))) for value in NUMBERS]
        return st.sampled_from([*odd, np.inf, -np.inf] if kind != pa.float64() else NUMBERS)
    if pa.types.is_boolean(kind):
        return st.sampled_from([None, True, False])
    whole = st.integers(0, 100) if not pa.types.is_int64(kind) else st.sampled_from([0, 2**53 + 1, -(2**63), 2**63 - 1])
    return st.one_of(st.none(), whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(1, 40), pieces=st.integers(1, 3))
def test_the_records_are_the_same(both, monkeypatch, data, count, pieces):
    monkeypatch.setattr(records, "now", lambda: NOW)
    rows = {"id": pa.array(range(count)), "at": pa.array([NOW] * count, pa.timestamp("us", "UTC"))}
    for name in NAMES:
        kind = data.draw(st.sampled_from(KINDS))
        values = data.draw(st.lists(column(kind), min_size=count, max_size=count))
        given = [np.float16(value) if value is not None and kind == pa.float16() else value for value in values]
        rows[name] = pa.array(given, kind)
    texts = data.draw(st.lists(st.sampled_from([None, "x", "y", "z", ""]), min_size=count, max_size=count))
    rows["t"] = pa.array(texts, pa.string())
    table = pa.concat_tables([pa.table(rows)] * pieces)

    usual, many = (outcome(each, table) for each in both)

    assert many == usual


def test_what_cannot_be_read_is_refused_the_same(both):
    rows = pa.table(
        {"id": [1], "at": pa.array([NOW], pa.timestamp("us", "UTC")), "a": ["no"], "b": [1.0], "c": [1.0], "t": ["x"]}
    )
    refusals = []
    for each in both:
        with pytest.raises(HeadraceError) as caught:
            records.predict(each, rows)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]
    assert "'a'" in refusals[0]


def outcome(version, rows):
    """The schema and the values of the records; or what was raised, as XGBoost does for infinities."""
    try:
        made = records.predict(version, rows)
    except xgboost.core.XGBoostError as error:
        return str(error).partition("Stack trace")[0].partition("] ")[2]
    return made.schema, written(made)


def written(table):
    """Every bit, and which values are null."""
    parts = table.combine_chunks().flatten().flatten()
    columns = {name: parts[name].to_pylist() for name in parts.column_names}
    return {
        name: [value.hex() if isinstance(value, float) else value for value in values]
        for name, values in columns.items()
    }
