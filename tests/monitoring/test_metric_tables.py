"""The three tables: one window is written once, again in its place, and beside others; histograms read back add up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from headrace.lakehouse.identifiers import quoted
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append
from headrace.monitoring.binning import make_grids
from headrace.monitoring.blocks import MonitoredColumn
from headrace.monitoring.drift import compare
from headrace.monitoring.histograms import Histograms, collect
from headrace.monitoring.metric_tables import ProfiledModel, keep
from headrace.monitoring.profile import profiles

TABLE = "gold.answers"
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COLUMNS = [
    MonitoredColumn(name="heat", expression='features."heat"', kind="number"),
    MonitoredColumn(name="shop", expression='features."shop"', kind="string"),
]
SHOP = COLUMNS[1]


@pytest.fixture
def lakehouse(tmp_path):
    lakehouse = Lakehouse("prod", str(tmp_path / "lakehouse"))
    draw = np.random.default_rng(0)
    rows = 3_000
    features = pa.StructArray.from_arrays(
        [
            pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.1),
            pa.array(draw.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.19, 0.01])),
        ],
        ["heat", "shop"],
    )
    day = pa.array(np.arange(rows) % 3)
    lakehouse.commit(TABLE, "made", lambda _: Append(pa.table({"day": day, "features": features})))
    return lakehouse


def counted(lakehouse, day, grids=None, slices=()):
    relation = f"(from {quoted(TABLE)} where day = {day})"
    with lakehouse.connect({TABLE: None}) as connection:
        grids = grids or make_grids(connection, quoted(TABLE), COLUMNS)
        return collect(connection, relation, grids, COLUMNS, slices=slices)


def read(lakehouse, name, where="true"):
    with lakehouse.connect({name: None}) as connection:
        return connection.sql(f"from {quoted(name)} where {where} order by window_key, place").to_arrow_table()


def put(lakehouse, day, made, drifts=(), version=1, id=None):  # noqa: A002
    about = ProfiledModel(table=TABLE, model="late", version=version, granularity="1d")
    start = START + DAY * day
    beside = [("BASELINE", None, None, drifts)] if drifts else []
    keep(lakehouse, about, start, start + DAY, made, beside, id=id or f"{version} {day}")


def test_a_window_is_written_once_however_often_it_is_tried(lakehouse):
    made = counted(lakehouse, 0)
    put(lakehouse, 0, made)
    versions = [lakehouse.snapshot(f"{TABLE}_{suffix}").version for suffix in ("histograms", "profile_metrics")]
    put(lakehouse, 0, made)
    assert [lakehouse.snapshot(f"{TABLE}_{suffix}").version for suffix in ("histograms", "profile_metrics")] == versions


def test_a_window_computed_again_takes_the_place_of_the_old_one_and_of_no_other(lakehouse):
    first = counted(lakehouse, 0, slices=[SHOP])
    for day in (0, 1):
        put(lakehouse, day, first)
        put(lakehouse, day, first, version=2)
    fewer = counted(lakehouse, 1, first.grids)
    put(lakehouse, 0, fewer, id="again")
    for suffix in ("histograms", "profile_metrics"):
        rows = read(lakehouse, f"{TABLE}_{suffix}").to_pylist()
        counts = {}
        for row in rows:
            key = (row["window"]["start"], row["model_version"])
            counts[key] = counts.get(key, 0) + 1
        sizes = {key: count for key, count in counts.items() if key != (START, 1)}
        assert len(set(sizes.values())) == 1
        assert counts[START, 1] < next(iter(sizes.values()))


def test_histograms_read_back_are_those_that_were_written(lakehouse):
    made = counted(lakehouse, 0, slices=[SHOP])
    put(lakehouse, 0, made)
    rows = read(lakehouse, f"{TABLE}_histograms")
    again = Histograms(rows=rows.select(made.rows.schema.names[1:]), grids=made.grids)
    assert [(key, value) for key, value, _ in again.slices()] == [(key, value) for key, value, _ in made.slices()]
    for (_, _, one), (_, _, other) in zip(again.slices(), made.slices(), strict=True):
        assert profiles(one) == profiles(other)
    assert set(rows.column("spec").to_pylist()) == {grid.id for grid in made.grids.values()}


def test_profiles_have_a_row_for_the_table_and_one_for_each_column_and_slice(lakehouse):
    put(lakehouse, 0, counted(lakehouse, 0, slices=[SHOP]))
    rows = read(lakehouse, f"{TABLE}_profile_metrics").to_pylist()
    whole = {row["column_name"]: row for row in rows if row["slice_key"] is None}
    assert set(whole) == {":table", "heat", "shop"}
    assert (whole[":table"]["count"], whole[":table"]["non_null_columns"]) == (1_000, ["heat", "shop"])
    assert whole["heat"]["count"] + whole["heat"]["num_nulls"] == 1_000
    assert whole["heat"]["window"] == {"start": START, "end": START + DAY}
    assert whole["shop"]["frequent_items"][0]["item"] == "a"
    by_shop = {row["slice_value"]: row["count"] for row in rows if row["slice_key"] and row["column_name"] == ":table"}
    assert sum(by_shop.values()) == 1_000
    assert set(by_shop) == {"a", "b", "c", "d"}


def test_drift_is_told_in_the_words_of_the_field(lakehouse):
    before = counted(lakehouse, 0)
    after = counted(lakehouse, 1, before.grids)
    drifts = compare(before, after)
    put(lakehouse, 1, after, drifts)
    rows = {row["column_name"]: row for row in read(lakehouse, f"{TABLE}_drift_metrics").to_pylist()}
    heat = next(each for each in drifts if each.column == "heat")
    assert rows["heat"]["drift_type"] == "BASELINE"
    assert rows["heat"]["ks_test"] == {"statistic": heat.ks, "pvalue": heat.ks_p_value}
    assert rows["heat"]["population_stability_index"] == heat.psi
    assert rows["heat"]["count_delta"] == 0
    assert rows["heat"]["chi_squared_test"] is None
    assert rows["shop"]["chi_squared_test"]["pvalue"] > 0.001
    assert rows["shop"]["data_type"] == "string"


def test_what_no_longer_drifts_anything_goes_away(lakehouse):
    made = counted(lakehouse, 0)
    put(lakehouse, 0, made, compare(made, made))
    put(lakehouse, 0, made, id="again")
    assert read(lakehouse, f"{TABLE}_drift_metrics").num_rows == 0
