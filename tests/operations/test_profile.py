"""The profile and the drift of tables: against pandas and SciPy, for every type, and for what cannot be compared."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from tests.cli.mini import write

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, NotFoundError, SqlError


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    session = hr.open(folder=write(tmp_path_factory.mktemp("profile") / "mini"), quiet=True)
    session.refresh()
    return session


def frame(rows=4_000, seed=1):
    numbers = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "normal": numbers.normal(10, 3, rows),
            "whole": numbers.integers(0, 50, rows),
            "many": np.arange(rows),
            "text": numbers.choice(["a", "b", "c"], rows, p=[0.7, 0.2, 0.1]),
            "flag": numbers.random(rows) < 0.25,
            "at": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(numbers.integers(0, 10**6, rows), unit="s"),
        }
    )


def one(profile, name):
    (found,) = [each for each in profile.columns if each.column == name]
    return found


def test_figures_are_those_of_pandas(dev):
    rows = frame()
    rows.loc[:99, "normal"] = np.nan
    found = dev.profile(rows)
    normal = one(found, "normal")
    assert (found.rows, found.table, found.version) == (4_000, "frame", None)
    assert (normal.missing, normal.missing_percent) == (100, 2.5)
    assert normal.mean == pytest.approx(rows.normal.mean(), rel=1e-12)
    assert normal.stddev == pytest.approx(rows.normal.std(), rel=1e-12)
    assert (normal.min, normal.max) == (rows.normal.min(), rows.normal.max())
    whole = one(found, "whole")
    for name, share in (("p05", 0.05), ("median", 0.5), ("p95", 0.95)):
        assert getattr(whole, name) == pytest.approx(rows.whole.quantile(share), abs=1e-9)
        assert getattr(normal, name) == pytest.approx(rows.normal.quantile(share), abs=0.02)
    assert whole.zeros_percent == pytest.approx(100 * (rows.whole == 0).mean())
    counts = rows.text.value_counts()
    assert {each.value: each.rows for each in one(found, "text").frequent} == counts.to_dict()
    assert {each.value: each.rows for each in one(found, "flag").frequent} == {
        "false": int((~rows.flag).sum()),
        "true": int(rows.flag.sum()),
    }
    at = one(found, "at")
    assert at.min == rows["at"].min().strftime("%Y-%m-%dT%H:%M:%S")
    assert at.stddev == pytest.approx(rows["at"].astype("int64").std() / 1e6, rel=1e-6)
    assert abs(whole.distinct - rows.whole.nunique()) <= 2
    assert one(found, "many").distinct == 4_000
    assert one(found, "many").remarks == ("another value in each row: a key?",)


def test_bars_hold_every_row_with_a_value(dev):
    rows = frame()
    rows.loc[0, "normal"] = 1e9  # far outside: in the last bar
    for each in dev.profile(rows).columns:
        assert sum(bar.rows for bar in each.bars) == 4_000 - each.missing
        assert len(each.bars) <= 20
        assert all(a.high == b.low for a, b in zip(each.bars, each.bars[1:], strict=False) if len(each.bars) == 20)
    normal = one(dev.profile(rows), "normal")
    assert normal.bars[-1].high < 30
    exact, _ = np.histogram(
        rows.normal.clip(normal.bars[0].low, normal.bars[-1].high),
        [b.low for b in normal.bars] + [normal.bars[-1].high],
    )
    assert np.abs(exact - [bar.rows for bar in normal.bars]).max() <= 12  # rows of a bin that an edge goes through


def test_values_of_every_type(dev):
    table = pa.table(
        {
            "empty": pa.nulls(3, pa.float64()),
            "nothing": pa.nulls(3),
            "infinite": [1.0, float("inf"), float("-inf")],
            "nan": [float("nan")] * 3,
            "day": [date(1, 1, 1), date(9999, 12, 31), None],
            "money": pa.array([Decimal("1.10"), Decimal("2.20"), None], pa.decimal128(10, 2)),
            "list": [[1], [2, 3], None],
            "bytes": [b"a", None, b"b"],
            'strange "name" ; --': ["x", "x", "x"],
            "category": pa.array(["u", "v", "u"]).dictionary_encode(),
            "local": pa.array(["2024-01-01", None, "2024-01-03"]).cast(pa.timestamp("ns")),
            "zoned": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "Europe/Berlin")),
        }
    )
    found = dev.profile(table)
    assert [each.column for each in found.columns] == table.column_names
    told = {each.column: each for each in found.columns}
    assert told["empty"].remarks == told["nan"].remarks == ("all values are missing",)
    assert told["nothing"].missing == 3
    assert (told["infinite"].min, told["infinite"].max, told["infinite"].missing) == (1.0, 1.0, 0)
    assert (told["day"].min, told["day"].max) == ("0001-01-01T00:00:00", "9999-12-31T00:00:00")
    assert told["money"].mean == pytest.approx(1.65)
    assert (told["list"].kind, told["list"].missing, told["bytes"].missing) == ("other", 1, 1)
    assert told['strange "name" ; --'].remarks == ("one value in all rows",)
    assert told["category"].frequent[0].value == "u"
    assert told["local"].median == "2024-01-02T00:00:00"
    assert told["zoned"].min == "2024-01-01T00:00:00"


def test_a_table_a_version_a_query_and_a_file(dev, tmp_path):
    table = dev.profile("shop.orders")
    assert (table.rows, table.version) == (120, 1)
    assert dev.profile("select id from shop.orders where id < 10").rows == 10
    frame().to_csv(tmp_path / "rows.csv", index=False)
    assert dev.profile(str(tmp_path / "rows.csv"), columns=["text"]).columns[0].distinct == 3
    assert dev.profile(dev.tables["shop.orders"], version=1).to_json() == table.to_json()


def test_nan_is_missing_and_whole_numbers_are_exact(dev):
    found = dev.profile(
        pa.table(
            {
                "one": [1.0, float("nan"), 1.0],
                "zero": [0.0, float("nan"), 1.0],
                "large": [2**53 + 1, 2**53 + 3, 2**53 + 3],
            }
        )
    )
    assert (one(found, "one").distinct, one(found, "one").remarks) == (1, ("one value, or missing", "33 % missing"))
    assert one(found, "zero").zeros_percent == 50
    assert (one(found, "large").min, one(found, "large").max) == (2**53 + 1, 2**53 + 3)


def test_rows_of_a_list_have_the_columns_of_all_of_them(dev):
    found = dev.profile([{"a": 1}, {"a": 2, "b": "x"}])
    assert [(each.column, each.missing) for each in found.columns] == [("a", 0), ("b", 1)]
    with pytest.raises(DeclarationError, match="a row of the list is int"):
        dev.profile([1, 2])
    with pytest.raises(DeclarationError, match="cannot be read as a table"):
        dev.profile([{"a": 1}, {"a": "x"}])


def test_what_pandas_holds_and_sql_does_not(dev):
    rows = pd.DataFrame(
        {
            "binned": pd.cut([1, 5, 9], 3),
            "interval": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]),
            "month": pd.period_range("2024-01", periods=3, freq="M"),
            "half": np.array([1, 2, 3], "float16"),
            "took": pd.to_timedelta([1, 2, 3], unit="s"),
            "large": np.array([1, 2, 2**64 - 1], "uint64"),
        }
    )
    told = {each.column: each for each in dev.profile(rows).columns}
    assert [each.value for each in told["interval"].frequent] == ["(0, 1)", "(1, 2)", "(2, 3)"]
    assert told["binned"].distinct == 3
    assert (told["half"].max, told["large"].max, told["took"].kind) == (3, 2**64 - 1, "other")
    infinite = dev.profile(pd.DataFrame({"a": [np.inf, -np.inf, 1, 2]})).columns[0]
    assert infinite.remarks == ("2 infinite values, which the figures leave out",)
    assert dev.profile("shop.orders", columns="id").columns[0].column == "id"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"": [1]}, "a column without a name"),
        ({"h": [1, 10**30]}, "too large"),
        ({"s": pd.arrays.SparseArray([1, 0, 0])}, "Sparse"),
        ({"c": [1 + 2j]}, "column c with type complex128"),
    ],
)
def test_a_frame_that_is_no_table_is_told(dev, rows, told):
    with pytest.raises(DeclarationError, match=told):
        dev.profile(pd.DataFrame(rows))


def test_columns_that_cannot_be_compared_are_named(dev):
    lists = pd.DataFrame({"h": [[1]], "b": [1]})
    found = dev.drift(lists, lists, min_rows=1)
    assert (found.not_compared, found.only_in_reference, found.only_in_current) == (("h",), (), ())
    with pytest.raises(
        DataError, match=r"same name and kind.\nThe reference has b .*string.*; the current rows have b .int64"
    ):
        dev.drift(pd.DataFrame({"b": ["x"]}), pd.DataFrame({"b": [1]}))


def test_only_a_table_has_versions(dev):
    with pytest.raises(DeclarationError, match="version 1 of a query: only a table has versions"):
        dev.profile("select 1 as a", version=1)
    with pytest.raises(DeclarationError, match="version 1 of a frame"):
        dev.drift("shop.orders", frame(), version=1)
    found = dev.drift("shop.orders", "shop.orders", reference_version=1, version=1)
    assert (found.reference_version, found.version, found.drifted) == (1, 1, ())


def test_a_table_called_as_a_file_is_a_table(dev, tmp_path):
    assert dev.profile("select count(*) as n from shop.orders where customer <> 'c.csv'").rows == 1
    (tmp_path / "with space.csv").write_text("a\n1\n")
    assert dev.profile(str(tmp_path / "with space.csv")).table == "with space.csv"


def test_a_table_of_another_environment_is_read_there(dev):
    folder = dev._at.folder
    live = hr.open("live", folder=folder, quiet=True)
    with pytest.raises(NotFoundError):
        live.profile("shop.orders")
    assert live.profile(dev.tables["shop.orders"]).rows == 120
    found = live.drift(dev.tables["shop.orders"], pd.DataFrame({"id": range(1_000)}), min_rows=100)
    assert (found.reference, found.drifted) == ("frame", ("id",))


def test_a_small_window_far_away_is_seen_beside_a_large_reference(dev):
    numbers = np.random.default_rng(5)
    before = pd.DataFrame({"x": numbers.normal(0, 1, 200_000), "t": ["a"] * 200_000})
    after = pd.DataFrame({"x": numbers.normal(50, 1, 400), "t": ["new"] * 400})
    found = {each.column: each for each in dev.drift(before, after, min_rows=100).columns}
    ends = [bar for bar in found["x"].bars if bar.rows]
    assert 45 < ends[-1].high < 56
    assert sum(bar.rows for bar in ends if bar.low > 40) == 400
    assert [(bar.value, bar.rows) for bar in found["t"].bars] == [("a", 0), ("new", 400)]


def test_above_dev_a_profile_and_a_drift_are_in_the_audit_record(dev, headrace):
    folder = dev._at.folder
    for command in (("profile", "select 1 as a"), ("drift", "select 1 as a", "select 2 as a")):
        assert headrace.run(folder, "table", *command, "--env", "live").code == 0
    actions = [each["action"] for each in headrace.run(folder, "audit", "--env", "live", "--json").json()]
    assert {"table.profiled", "table.compared"} <= set(actions)


def test_what_cannot_be_profiled_is_told(dev):
    with pytest.raises(NotFoundError, match=r"did you mean 'shop.orders'"):
        dev.profile("shop.order")
    with pytest.raises(NotFoundError, match=r"no column of shop.orders 'amont': did you mean 'amount'"):
        dev.profile("shop.orders", columns=["amont"])
    with pytest.raises(DataError, match="the query has 0 rows"):
        dev.profile("select id from shop.orders where false")
    with pytest.raises(SqlError):
        dev.profile("select * from read_csv('/etc/passwd')")
    with pytest.raises(DeclarationError, match="two columns 'a'"):
        dev.profile(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DeclarationError, match="0 rows"):
        dev.profile(pd.DataFrame({"a": []}))
    with pytest.raises(DeclarationError, match="int, no data frame"):
        dev.profile(5)
    with pytest.raises(NotFoundError, match=r"no table or file 'nowhere.csv'"):
        dev.profile("nowhere.csv")


def test_drift_is_found_where_it_is_and_measured_as_scipy_does(dev):
    before, after = frame(seed=1), frame(seed=2)
    after["whole"] += 10
    after.loc[after.index % 2 == 0, "text"] = "d"
    after.loc[:999, "normal"] = np.nan
    found = dev.drift(before, after.drop(columns="flag"))
    told = {each.column: each for each in found.columns}
    assert {name: each.verdict for name, each in told.items()} == {
        "whole": "alert",
        "text": "alert",
        "normal": "alert",
        "many": "ok",
        "at": "ok",
    }
    assert set(found.drifted) == {"whole", "text", "normal"}
    assert found.only_in_reference == ("flag",)
    assert told["text"].new_values == ("d",)
    assert told["whole"].wasserstein == pytest.approx(stats.wasserstein_distance(before.whole, after.whole), rel=1e-9)
    assert told["normal"].missing_percent_delta == pytest.approx(25)
    for each in found.columns:
        assert sum(bar.reference_rows for bar in each.bars) == 4_000
        assert sum(bar.rows for bar in each.bars) == (3_000 if each.column == "normal" else 4_000)


def test_two_samples_of_one_population_do_not_drift(dev):
    assert dev.drift(frame(seed=3), frame(seed=4)).drifted == ()


def test_few_rows_are_measured_and_not_judged(dev):
    found = dev.drift("shop.orders", "select * from shop.orders where id >= 60")
    assert {each.verdict for each in found.columns} == {"not judged"}
    assert (
        dev.drift("shop.orders", "select * from shop.orders where id >= 60", min_rows=50).columns[0].verdict == "alert"
    )
    with pytest.raises(DeclarationError, match="min_rows is 0"):
        dev.drift("shop.orders", "shop.orders", min_rows=0)
