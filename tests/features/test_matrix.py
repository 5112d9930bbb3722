"""Full rows become the model's matrix the same way whatever dtype they come in, and one by one as in a batch."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError, UserCodeError
from headrace.features.matrix import check_rowwise, compute, encode, fit_categories, matrix, read
from headrace.features.plan import on_demand_functions, plan

orders = hr.Table("silver.orders", key="order_id")
SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("placed_at", pa.timestamp("us", "UTC")),
        ("placed_local", pa.timestamp("us")),
        ("country", pa.string()),
        ("amount", pa.int64()),
    ]
)


@hr.on_demand(hr.Schema(hour="int32", part="string"))
def calendar(placed_local: pd.Series) -> pd.DataFrame:
    hour = placed_local.dt.hour
    return pd.DataFrame({"hour": hour, "part": np.where(hour < 12, "morning", "evening")})


@hr.on_demand(hr.Schema(age="float64"))
def age(placed_at: pd.Series) -> pd.Series:
    return (pd.Timestamp("2026-01-02", tz="UTC") - placed_at).dt.total_seconds()


def planned(*functions):
    features = [orders.select("country", "amount"), *functions]
    return plan(orders.at("placed_at"), features, {"silver.orders": SCHEMA}), on_demand_functions(features)


ROWS = pd.DataFrame(
    {
        "country": ["nl", None, "de"],
        "amount": [1, 2, 3],
        "placed_local": pd.to_datetime(["2026-01-01 09:00", "2026-01-01 21:00", "2026-01-01 23:00"]),
        "placed_at": pd.to_datetime(["2026-01-01 08:00", "2026-01-01 20:00", "2026-01-01 22:00"], utc=True),
        "noise": 7,
    }
)


def test_numbers_are_float64_and_texts_are_learned_categories():
    made, functions = planned(calendar, age)
    computed = compute(made, functions, read(made, ROWS))
    categories = fit_categories(made, computed)
    assert categories == {"country": ["de", "nl"], "part": ["evening", "morning"]}
    X = encode(made, categories, computed)
    assert list(X) == ["country", "amount", "hour", "part", "age"]
    assert X["amount"].dtype == X["hour"].dtype == X["age"].dtype == np.float64
    assert X["hour"].tolist() == [9.0, 21.0, 23.0]
    assert X["age"].tolist() == [16 * 3600.0, 4 * 3600.0, 2 * 3600.0]
    assert X["country"].cat.codes.tolist() == [1, -1, 0]


def test_a_value_that_was_not_learned_is_missing():
    made, functions = planned()
    X = matrix(made, {"country": ["de"]}, functions, ROWS)
    assert X["country"].isna().tolist() == [True, True, False]
    assert (
        X["country"].dtype
        == encode(made, {"country": ["de"]}, read(made, ROWS)[["country", "amount"]])["country"].dtype
    )


@pytest.mark.parametrize(
    "amount",
    [[1, 2, 3], [1.0, 2.0, 3.0], [True, 2, 3], [Decimal(1), Decimal(2), Decimal(3)], pd.array([1, 2, 3], dtype="Int64"), pa.array([1, 2, 3])],
    ids=["int", "float", "object", "decimal", "nullable", "arrow"],
)  # fmt: skip
def test_a_number_is_read_from_any_type_of_number(amount):
    made, functions = planned()
    rows = ROWS.assign(
        amount=pd.Series(amount, dtype=pd.ArrowDtype(pa.int64()) if isinstance(amount, pa.Array) else None)
    )
    assert matrix(made, {"country": ["de"]}, functions, rows)["amount"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_value_is_missing_in_a_row_of_its_own_too(missing):
    made, functions = planned(calendar, age)
    row = pd.DataFrame([{"country": missing, "amount": missing, "placed_local": None, "placed_at": None}])
    X = matrix(made, {"country": ["de"], "part": ["evening"]}, functions, row)
    assert X.drop(columns="part").isna().all(axis=None)
    assert X["amount"].dtype == np.float64


@pytest.mark.parametrize(
    "placed_at",
    [
        ["2026-01-01T08:00:00Z", "2026-01-01T21:00:00+01:00", None],
        [datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 20, tzinfo=UTC), None],
        pd.to_datetime(["2026-01-01 08:00", "2026-01-01 20:00", None]),
        pd.to_datetime(["2026-01-01 03:00", "2026-01-01 15:00", None]).tz_localize("America/New_York").as_unit("ns"),
    ],
    ids=["iso text", "datetime objects", "without zone", "another zone"],
)
def test_an_instant_is_the_same_however_it_is_written(placed_at):
    made, _ = planned(age)
    read_back = read(made, ROWS.assign(placed_at=placed_at))["placed_at"]
    assert read_back.dtype == pd.DatetimeTZDtype("us", "UTC")
    assert read_back.iloc[:2].tolist() == [pd.Timestamp("2026-01-01 08:00Z"), pd.Timestamp("2026-01-01 20:00Z")]


def test_a_local_time_takes_dates_and_refuses_zones():
    made, _ = planned(calendar)
    dates = read(made, ROWS.assign(placed_local=[date(2026, 1, 1), None, date(2026, 1, 3)]))["placed_local"]
    assert dates.iloc[0] == pd.Timestamp("2026-01-01")
    with pytest.raises(DataError, match=r"'placed_local'.*no zone"):
        read(made, ROWS.assign(placed_local=ROWS["placed_at"]))


def test_a_row_that_does_not_fit_says_which_column():
    made, _ = planned()
    with pytest.raises(DataError, match="missing: 'country'"):
        read(made, ROWS.drop(columns="country"))
    with pytest.raises(DataError, match="'amount' is declared as number"):
        read(made, ROWS.assign(amount=["1", "2", "3"]))
    with pytest.raises(DataError, match="'country' is declared as string"):
        read(made, ROWS.assign(country=[1, 2, 3]))


def test_an_on_demand_function_that_raises_shows_its_own_line():
    @hr.on_demand(hr.Schema(ratio="float64"))
    def ratio(amount: pd.Series) -> pd.Series:
        raise KeyError("amountt")

    made, functions = planned(ratio)
    with pytest.raises(UserCodeError, match=r"ratio\(\) raised KeyError") as raised:
        matrix(made, {"country": []}, functions, ROWS)
    assert "test_matrix.py" in raised.value.findings[-1]
    assert 'raise KeyError("amountt")' in raised.value.findings[-1]
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("declared", "gives", "said"),
    [
        ("float64", lambda amount: amount.iloc[:1], "1 values for 3 rows"),
        ("float64", lambda amount: 7, "gave int; it should give a pandas Series"),
        ("float64", lambda amount: amount.iloc[::-1], "another order"),
        ("int32", lambda amount: amount / 2, "0.5 is no int32"),
        ("int8", lambda amount: amount * 1000, "1000.0 is no int8"),
        ("bool", lambda amount: amount, "2.0 is no bool"),
        ("float64", lambda amount: amount.astype(str), "declared is float64"),
        ("string", lambda amount: amount, "declared is string"),
    ],
)
def test_an_on_demand_function_that_gives_the_wrong_thing_is_told_so(declared, gives, said):
    @hr.on_demand(hr.Schema(made=declared))
    def feature(amount: pd.Series) -> pd.Series:
        return gives(amount)

    made, functions = planned(feature)
    with pytest.raises(UserCodeError, match=said):
        matrix(made, {"country": []}, functions, ROWS)


def test_a_float32_output_has_the_precision_of_float32():
    @hr.on_demand(hr.Schema(third="float32"))
    def third(amount: pd.Series) -> pd.Series:
        return amount / 3

    made, functions = planned(third)
    assert matrix(made, {"country": []}, functions, ROWS)["third"].iloc[0] == float(np.float32(1 / 3))


def test_a_function_that_looks_at_other_rows_is_found_out():
    @hr.on_demand(hr.Schema(centred="float64"))
    def centred(amount: pd.Series) -> pd.Series:
        return amount - amount.mean()

    made, functions = planned(centred)
    with pytest.raises(UserCodeError, match=r"centred\(\) gives centred = .* alone"):
        check_rowwise(made, functions, read(made, ROWS))
    made, functions = planned(calendar, age)
    check_rowwise(made, functions, read(made, ROWS))


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(["nl", "de", "fr", ""]),
            st.none() | st.integers(-(2**40), 2**40),
            st.none() | st.datetimes(pd.Timestamp(1990, 1, 1), pd.Timestamp(2040, 1, 1)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_row_alone_gives_the_same_bits_as_in_a_batch(rows):
    frame = pd.DataFrame(rows, columns=["country", "amount", "placed_local"])
    frame["placed_at"] = frame["placed_local"]
    made, functions = planned(calendar, age)
    categories = {"country": ["", "de", "nl"], "part": ["evening", "morning"]}
    together = matrix(made, categories, functions, frame)
    alone = pd.concat([matrix(made, categories, functions, frame.iloc[[place]]) for place in range(len(frame))])
    pd.testing.assert_frame_equal(alone, together, check_exact=True)
