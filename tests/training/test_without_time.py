"""A model whose rows have neither key nor time: what is declared, by default and not at all."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, NotFoundError
from headrace.features.plan import plan
from headrace.lakehouse.declarations import LabelColumn
from headrace.training.split import last
from headrace.training.splits.at_random import AtRandom
from headrace.training.splits.by_time import ByTime

ROWS = hr.Source("bronze.rows", files="rows.csv")
HISTORY = hr.FeatureTable("features.history", key="row_id", time="at")
TABLE = hr.Table("silver.orders", key="id", time="at", sql="select 1")


def fit(data, params):
    raise NotImplementedError


def model(**changes):
    declared = {"fit": fit, "task": hr.Binary(label=ROWS["target"]), "spine": ROWS, "features": "all columns"}
    return hr.Model("m", **{**declared, **changes})


def columns(*features, **types):
    schema = pa.schema(
        [("row_id", pa.string()), ("arrived_at", pa.timestamp("us", "UTC")), *types.items(), ("target", pa.int64())]
    )
    declared = model(features=features or "all columns")
    return plan(declared.decisions, declared.inputs, {"arrivals.bronze_rows": schema}).names


def test_a_source_is_a_spine_of_arrivals_held_out_at_random():
    declared = model()
    assert (declared.has_time, declared.split) == (False, AtRandom(0.2, 0))
    assert (declared.decisions.table.name, declared.decisions.at) == ("arrivals.bronze_rows", "arrived_at")
    assert declared.decisions.table.keys == ("row_id",)
    assert declared.task.label == LabelColumn(ROWS.arrivals, "target")
    timed = hr.Model(
        "m", fit=fit, task=hr.Binary(label=TABLE["late"]), spine=TABLE.at("at"), features=[TABLE.select("a")]
    )
    assert (timed.has_time, timed.split) == (True, ByTime("30d"))


def test_all_columns_are_those_that_can_be_features():
    assert columns(a=pa.float64(), b=pa.string(), c=pa.bool_()) == ("a", "b", "c")
    assert columns(hr.all_columns(but="b"), a=pa.float64(), b=pa.string()) == ("a",)
    assert columns(hr.all_columns(but=["target", "a"]), a=pa.float64(), b=pa.string()) == ("b",)


@pytest.mark.parametrize("split", [hr.by_column("a"), hr.by_group("a")])
def test_what_only_says_which_rows_are_held_out_is_no_feature(split):
    assert model(evaluate=hr.Evaluate(test=split)).inputs == (hr.all_columns(but=["target", "a"]),)
    assert model(evaluate=hr.Evaluate(test=hr.stratified(by="a"))).inputs == (hr.all_columns(but="target"),)


def test_what_headrace_writes_is_no_feature():
    assert columns(_written_at=pa.timestamp("us", "UTC"), _file=pa.string(), a=pa.int64()) == ("a",)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.timestamp("us"), pa.date32(), pa.binary()])
def test_a_column_that_is_no_feature_is_named_with_the_way_out(kind):
    with pytest.raises(DeclarationError, match=r"of all columns of 'arrivals\.bronze_rows', b is ") as refused:
        columns(hr.all_columns(but="a"), a=pa.float64(), b=kind, c=pa.int64())
    assert "hr.all_columns(but=['a', 'target', 'b'])" in refused.value.hint
    assert columns(hr.all_columns(but=["a", "target", "b"]), a=pa.float64(), b=kind, c=pa.int64()) == ("c",)


def test_a_column_that_is_not_there_cannot_be_left_out():
    with pytest.raises(NotFoundError, match="did you mean 'weight'"):
        columns(hr.all_columns(but="wieght"), weight=pa.float64())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"evaluate": hr.Evaluate(test="30d")}, r"Evaluate\(test='30d'\) holds out the latest decisions"),
        ({"evaluate": hr.Evaluate(test=hr.by_time("3d"))}, "holds out the latest decisions"),
        ({"features": [HISTORY.select("orders")]}, r"'features\.history' are looked up as of the moment"),
        ({"features": [hr.external_feature_table("shared.x").select("y")]}, r"'shared\.x' are looked up"),
        (
            {"task": hr.Binary(label=hr.Table("s.labels", key="row_id", time="at")["y"])},
            "label is a column of 's.labels'",
        ),
        ({"features": "every column"}, "features='every column' is not possible"),
        ({"features": []}, "has no features"),
        ({"spine": "bronze.rows"}, "spine='bronze.rows' is no spine"),
        ({"spine": TABLE}, "is no spine"),
    ],
)
def test_what_needs_a_time_says_so_where_it_is_declared(changes, reason):
    with pytest.raises(DeclarationError, match=reason) as refused:
        model(**changes)
    assert refused.value.hint or "no features" in reason
    assert "test_without_time.py" in str(refused.value)


@pytest.mark.parametrize("split", [hr.at_random(0.3), hr.stratified(0.3), hr.by_group("a"), hr.by_column("part")])
def test_other_splits_may_be_declared(split):
    assert model(evaluate=hr.Evaluate(test=split)).split == split


def test_trials_are_judged_on_the_last_rows_whatever_their_moment():
    at = pd.Series([pd.Timestamp("2024-01-01", tz="UTC")] * 10)
    early, late = last(at, 0.25)
    assert (early.tolist(), late.tolist()) == (list(range(8)), [8, 9])
    with pytest.raises(DataError, match="1 rows to fit on cannot be divided"):
        last(at[:1], 0.25)


class TestFrame:
    def table(self, rows):
        return pa.Table.from_batches(list(hr.frame("bronze.rows", rows).read()))

    def test_a_data_frame_is_read_without_its_index(self):
        rows = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[5, 9])
        assert self.table(rows).to_pydict() == {"a": [1, 2], "b": ["x", None]}
        assert self.table(pa.table({"a": [1]})).to_pydict() == {"a": [1]}

    def test_it_declares_as_any_source(self):
        source = hr.frame("bronze.rows", pd.DataFrame({"a": [1], "target": [0]}), owner="me")
        assert (source.name, source.owner, source.where.file) == ("bronze.rows", "me", __file__)
        assert model(spine=source, task=hr.Binary(label=source["target"])).decisions.table.source is source

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            (pd.DataFrame(), "has 0 rows and 0 columns"),
            (pd.DataFrame({"a": []}), "has 0 rows and 1 columns"),
            (pd.DataFrame(np.eye(2)), "called 0, which is no text"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has two columns 'a'"),
            (pd.DataFrame({"a": [1, "x"]}), "cannot be kept as a table"),
            ({"a": [1]}, "is dict, no data frame"),
            ([1, 2], "is list, no data frame"),
            (None, "is NoneType, no data frame"),
        ],
    )
    def test_what_is_no_table_is_refused(self, rows, reason):
        with pytest.raises(DeclarationError, match=reason) as refused:
            hr.frame("bronze.rows", rows)
        assert refused.value.hint
