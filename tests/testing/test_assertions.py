"""Each assertion passes on a good program, and fails on one in which something is wrong, with names and values."""

import pandas as pd
import pytest

from headrace import testing
from headrace.core.errors import DataError, DeclarationError, NotFoundError

AT = "2025-05-01"
KNOWN = {"delivered_at": "delivered_at"}


@pytest.fixture
def opened(program, orders):
    """An environment of the program, with parts replaced, refreshed over the orders."""
    several = []

    def make(replaced=None, known=KNOWN, rows=orders):
        env = testing.environment(program(replaced=replaced), at=AT)
        several.append(env)
        env.load("bronze.orders", rows, known=known)
        env.refresh()
        return env

    yield make
    for each in several:
        each.close()


# ---------------------------------------------------------------------------------------------- point in time


def test_features_are_what_was_known_at_the_decision(opened, shop):
    testing.assert_point_in_time(opened(), shop.late)


def test_a_value_from_the_future_is_named_with_its_row(opened):
    env = opened()
    features = env.features("late").to_pandas()
    features.loc[3, "spent"] = features.loc[7, "spent"]

    with pytest.raises(AssertionError) as failed:
        testing.assert_point_in_time(env, "late", features=features)

    spent = env.features("late").to_pandas()["spent"]
    assert str(failed.value).splitlines() == [
        "1 of 900 feature values of 'late' are not what was known at the decision:",
        (
            f"  spent of order_id=3 at 2025-01-02 00:00:00: {spent[7]}, expected {spent[3]} (features.spending, available since "
            "2025-01-02 00:00:00). That value became available at 2025-01-03 08:00:00, 1 days 08:00:00 after the decision."
        ),
    ]


def test_a_missing_and_a_stale_value_are_named(opened):
    env = opened()
    features = env.features("late").to_pandas().head(2)
    features.loc[0, "last_amount"], features.loc[1, "amount"] = None, 1.5

    with pytest.raises(AssertionError, match="2 of 6 feature values") as failed:
        testing.assert_point_in_time(env, "late", features=features)

    assert "last_amount of order_id=0 at 2025-01-01 00:00:00: nothing, expected 9.4" in str(failed.value)
    assert "amount of order_id=1 at 2025-01-01 08:00:00: 1.5, expected 24.44" in str(failed.value)


def test_a_join_that_ignores_the_look_back_is_caught(opened, orders, monkeypatch):
    """The product's own join is what is checked: here it finds rows of any age."""
    from headrace.features import point_in_time

    real = point_in_time.JoinSpec
    monkeypatch.setattr(point_in_time, "JoinSpec", lambda **given: real(**{**given, "look_back": None}))
    late = orders.assign(
        ordered_at=orders["ordered_at"].where(orders.index != 299, orders["ordered_at"] + pd.Timedelta(days=31))
    )
    spending = "select customer, ordered_at as available_at"
    env = opened({spending: "select customer, ordered_at - interval 31 days as available_at"}, rows=late)

    with pytest.raises(AssertionError, match=r"no row of features\.spending was available within 30 days"):
        testing.assert_point_in_time(env, "late")


def test_nothing_to_compare_is_no_pass(opened, orders):
    env = opened(rows=orders.assign(ordered_at=orders["ordered_at"] + pd.Timedelta(days=900)))

    with pytest.raises(AssertionError, match="no decision of 'late' is there to be checked"):
        testing.assert_point_in_time(env, "late")


def test_features_that_cannot_be_compared(opened):
    env = opened()
    features = env.features("late").to_pandas()

    with pytest.raises(DataError, match="no column 'order_id'"):
        testing.assert_point_in_time(env, "late", features=features.drop(columns="order_id"))
    with pytest.raises(DataError, match=r"the spine 'silver\.orders' has no decision order_id=9999"):
        testing.assert_point_in_time(env, "late", features=features.head(1).assign(order_id=9999))
    with pytest.raises(DataError, match="no feature to be checked"):
        testing.assert_point_in_time(env, "late", features=features[["order_id", "weekday"]])


def test_a_model_that_the_program_does_not_declare(opened):
    env = opened()

    for check in (testing.assert_point_in_time, testing.assert_no_leak, testing.assert_no_skew):
        with pytest.raises(NotFoundError, match="did you mean 'late'"):
            check(env, "lat")
        with pytest.raises(DeclarationError, match="int is no model"):
            check(env, 3)
    with pytest.raises(NotFoundError, match="did you mean 'late'"):
        testing.assert_gates(env, "lat")


# ---------------------------------------------------------------------------------------------- leaks


def test_a_program_without_a_leak(opened, shop):
    testing.assert_no_leak(opened(), shop.late)


WITH_DELIVERY = {
    "select order_id, customer, ordered_at, amount from bronze.orders": "select *, date_diff('hour', ordered_at, delivered_at) as took from bronze.orders",
    'orders.select("amount")': 'orders.select("amount", "took")',
}


def test_an_input_of_the_label_among_the_features(opened):
    env = opened(WITH_DELIVERY, known=None)

    with pytest.raises(AssertionError) as failed:
        testing.assert_no_leak(env, "late")

    assert str(failed.value).splitlines()[:2] == [
        "1 features of 'late' contain the label, or what it is computed from:",
        "  took: silver.orders.took and the label gold.delivered.late both come from bronze.orders.delivered_at.",
    ]
    testing.assert_no_leak(env, "late", allow=["took"])  # somebody has looked


def test_rows_show_what_lineage_was_told_to_allow(opened):
    env = opened(WITH_DELIVERY)

    with pytest.raises(AssertionError, match="know what became known only after the decision") as failed:
        testing.assert_no_leak(env, "late", allow=["took"])

    assert (
        "took of order_id=0 at 2025-01-01 00:00:00: 48.0; with only what was known at that moment it is nothing."
        in str(failed.value)
    )


def test_the_label_itself_as_a_feature(opened):
    env = opened(
        {
            "select order_id, customer, ordered_at, amount from bronze.orders": "select order_id, customer, ordered_at, amount, (amount > 60)::int as big, ordered_at + interval 1 day as known_at from bronze.orders",
            'silver.orders", key="order_id"': 'silver.orders", key="order_id", time="known_at"',
            'label=delivered["late"]': 'label=orders["big"]',
            'orders.select("amount")': 'orders.select("amount", "big")',
        }
    )

    with pytest.raises(AssertionError, match=r"big: it is the label, silver\.orders\.big"):
        testing.assert_no_leak(env, "late")


def test_a_window_that_looks_ahead(opened):
    """The rows say that they were available at the order, and the sum is that of the customer's whole life."""
    env = opened(
        {
            "sum(amount) over (partition by customer order by ordered_at) as spent": "sum(amount) over (partition by customer) as spent"
        },
        known="ordered_at",
    )
    testing.assert_point_in_time(env, "late")  # the join is right, and cannot know it

    with pytest.raises(AssertionError, match="know what became known only after the decision") as failed:
        testing.assert_no_leak(env, "late")

    assert "spent of order_id=0 at 2025-01-01 00:00:00: " in str(failed.value)
    assert "with only what was known at that moment it is 9.4" in str(failed.value)


def test_a_decision_that_is_there_only_later(opened):
    env = opened(known="delivered_at")

    with pytest.raises(
        AssertionError, match=r"the decision order_id=0 at 2025-01-01 00:00:00 is not in silver\.orders itself"
    ):
        testing.assert_no_leak(env, "late")


# ---------------------------------------------------------------------------------------------- skew and gates

# of one moment, which the check at the training does not look at
SKEWED = {
    "return ordered_at.dt.day_of_week": "return ordered_at.dt.day_of_week + 7 * (len(ordered_at) == 1) * (ordered_at == pd.Timestamp('2025-02-10 08:00', tz='UTC'))",
}


def test_a_version_without_skew_that_passes_its_gates(opened, shop):
    env = opened()
    with pytest.raises(NotFoundError, match="no version of a model called 'late'"):
        testing.assert_no_skew(env, "late")
    env.train("late")

    testing.assert_no_skew(env, shop.late)
    assert testing.assert_gates(env, shop.delivery).ending == "in production"


def test_a_function_that_differs_for_one_row(opened):
    env = opened(SKEWED)
    env.train("late")

    with pytest.raises(AssertionError) as failed:
        testing.assert_no_skew(env, "late", rows=300)

    first, *found = str(failed.value).splitlines()
    assert first == "version 1 of 'late' answers single requests otherwise than a batch of 300:"
    assert found[0] == "  weekday of order_id=121 at 2025-02-10 08:00:00: 0.0 in the batch, 7.0 asked alone."


def test_an_online_store_that_finds_something_else(opened, monkeypatch):
    """The online store is published without its newest rows."""
    from headrace.testing import skew

    real = skew.publish

    def behind(*given, as_of):
        return real(*given, as_of=as_of - pd.Timedelta(days=10).to_pytimedelta())

    monkeypatch.setattr(skew, "publish", behind)
    env = opened()
    env.train("late")

    with pytest.raises(AssertionError, match=r"spent of order_id=\d+ at .* in the batch, .* from the online store"):
        testing.assert_no_skew(env, "late", rows=10)


def test_a_gate_that_fails_is_named_with_value_and_limit(opened, orders):
    """Which orders come late is drawn: nothing predicts it."""
    days = orders.index.to_series().mod(7).isin([1, 4]) * 2 + 2
    drawn = orders.assign(delivered_at=orders["ordered_at"] + pd.to_timedelta(days, unit="D"))
    env = opened(rows=drawn)
    env.train("late")

    with pytest.raises(AssertionError) as failed:
        testing.assert_gates(env, "late")

    value = env.models["late"].newest.metrics["roc_auc"]
    assert value < 0.6
    first, second = str(failed.value).splitlines()
    assert first == "1 of 2 gates of version 1 of 'late' did not pass:"
    assert second.startswith(f"  at_least: failed, value {value:.4g}, limit 0.6: roc_auc")
