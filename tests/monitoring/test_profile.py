"""Profiles against pandas."""

import math

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.lakehouse.identifiers import column
from headrace.monitoring.binning import make_grids
from headrace.monitoring.blocks import MonitoredColumn
from headrace.monitoring.histograms import collect
from headrace.monitoring.profile import QUANTILES, profiles


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def profiled(connection, **columns):
    table = pa.table(columns)
    connection.register("rows", table)
    watched = [
        MonitoredColumn(
            name=name,
            expression=column(name),
            kind="string" if pa.types.is_string(table.schema.field(name).type) else "number",
        )
        for name in columns
    ]
    grids = make_grids(connection, "rows", watched)
    return {each.column: each for each in profiles(collect(connection, "rows", grids, watched))}


def shapes(rows=4_000):
    draw = np.random.default_rng(5)
    return {
        "normal": draw.normal(1e6, 1, rows),  # a mean far from zero: the shift keeps the digits of the deviation
        "skewed": draw.lognormal(0, 2, rows),
        "ties": np.round(draw.gamma(2, 2, rows), 1),
        "counts": draw.poisson(5, rows).astype(float),
        "two clusters": np.r_[draw.normal(0, 1, rows // 2), draw.normal(1e4, 1, rows - rows // 2)],
        "constant": np.full(rows, 0.3),
        "mostly zero": np.where(draw.random(rows) < 0.9, 0.0, draw.lognormal(0, 1, rows)),
    }


@pytest.mark.parametrize("shape", shapes())
def test_figures_are_those_of_pandas(connection, shape):
    values = pd.Series(shapes()[shape])
    holes = np.random.default_rng(6).random(len(values)) < 0.1
    given_values = pa.array([None if hole else value for hole, value in zip(holes, values, strict=True)], pa.float64())
    found = profiled(connection, x=given_values)["x"]
    known = values[~holes]
    assert (found.count, found.num_nulls, found.num_nan) == (len(known), holes.sum(), 0)
    assert found.percent_null == pytest.approx(100 * holes.mean())
    assert (found.min, found.max) == (known.min(), known.max())
    assert found.avg == pytest.approx(known.mean(), rel=1e-12)
    assert found.stddev == pytest.approx(known.std(), rel=1e-9, abs=1e-12)
    assert found.num_zeros == (known == 0).sum()
    assert found.percent_zeros == pytest.approx(100 * (known == 0).mean())
    width = (known.quantile(0.9995) - known.quantile(0.0005)) / 1022
    expected = known.quantile(list(QUANTILES)).to_numpy()
    slack = width if shape not in ("skewed", "mostly zero") else 0.02 * np.abs(expected) + 0.03
    assert (np.abs(np.array(found.quantiles) - expected) <= slack + 1e-9).all()
    assert found.median == found.quantiles[3]


@given(values=st.lists(st.integers(-400, 400), min_size=1, max_size=50))
@settings(max_examples=40)
def test_of_whole_numbers_everything_is_exact(connection, values):
    series = pd.Series(values, dtype=float)
    found = profiled(connection, x=pa.array(series))["x"]
    assert found.quantiles == pytest.approx(series.quantile(list(QUANTILES)).tolist(), abs=1e-9)
    assert found.avg == pytest.approx(series.mean(), abs=1e-9)
    assert found.stddev == (None if len(values) == 1 else pytest.approx(series.std(), rel=1e-9, abs=1e-9))


def test_nan_and_infinity_stay_out_of_the_figures_and_are_counted(connection):
    found = profiled(connection, x=pa.array([1.0, 3.0, math.nan, math.inf, -math.inf, None]))["x"]
    assert (found.count, found.num_nulls, found.num_nan) == (5, 1, 1)
    assert (found.avg, found.min, found.max, found.median) == (2, 1, 3, 2)
    assert found.stddev == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("values", [[None, None], [math.nan], [math.inf]])
def test_without_a_finite_value_there_is_no_figure(connection, values):
    found = profiled(connection, x=pa.array(values, pa.float64()))["x"]
    assert (found.avg, found.stddev, found.min, found.quantiles, found.median) == (None,) * 5
    assert found.count + found.num_nulls == len(values)


def test_booleans_and_whole_numbers_are_numbers(connection):
    found = profiled(connection, b=pa.array([True, False, True, None]), i=pa.array([1, 2, 3, 4], pa.int32()))
    assert found["b"].avg == pytest.approx(2 / 3)
    assert found["i"].avg == 2.5


def test_texts_have_values_and_lengths(connection):
    found = profiled(connection, c=pa.array(["b", "a", "b", "ccc", None, ""]), n=pa.nulls(6, pa.string()))
    texts = found["c"]
    assert (texts.count, texts.num_nulls, texts.distinct_count, texts.percent_distinct) == (5, 1, 4, 80)
    assert texts.frequent == (("b", 2), ("", 1), ("a", 1), ("ccc", 1))
    assert (texts.min_length, texts.max_length, texts.avg_length) == (0, 3, 6 / 5)
    assert (found["n"].num_nulls, found["n"].avg_length, found["n"].frequent) == (6, None, ())
