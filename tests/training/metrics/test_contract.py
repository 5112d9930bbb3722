"""What every metric keeps to: those that Headrace brings, and one from outside for each task."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, NotFoundError, UserCodeError
from headrace.training.intervals import difference, interval
from headrace.training.measures import evaluate
from headrace.training.metrics.known import BUILT_IN, METRICS
from headrace.training.tasks.known import TASKS

LABELS = hr.Table("s.labels", key="id", time="at", sql="select 1 as id, now() as at, 1 as y")
ORDERS = hr.Table("s.orders", key="id", sql="select 1 as id, now() as at, 1.0 as x")


def cost(y, output):
    """A missed yes costs five, a false one costs one."""
    said = output["probability"] >= 0.5
    return float((5 * ((y == 1) & ~said) + ((y == 0) & said)).mean())


def within_one(y, output):
    return float((abs(output["prediction"] - y) <= 1).mean())


COST = hr.metric(cost, tasks=[hr.Binary], direction="minimize", bounds=(0, 5))
NEAR = hr.metric(within_one, tasks=["Regression"], direction="maximize", bounds=(0, 1))
ALL = {**BUILT_IN, "cost": COST, "within_one": NEAR}
CASES = [(name, task) for name, metric in ALL.items() for task in metric.tasks]
every = pytest.mark.parametrize(("name", "task"), CASES)


def rows(task, seed=0, count=120):
    """Labels, a good output and a poor one."""
    draw = np.random.default_rng(seed)
    if task == "Regression":
        y = pd.Series(draw.normal(0, 2, count))
        return y, *(pd.DataFrame({"prediction": y + draw.normal(0, noise, count)}) for noise in (0.5, 3.0))
    if task == "Binary":
        y = pd.Series(draw.integers(0, 2, count).astype(float))
        return y, *(
            pd.DataFrame({"probability": 1 / (1 + np.exp(-(draw.normal(0, 1, count) + gap * (y - 0.5))))})
            for gap in (5.0, 0.2)
        )
    names = np.array(["a", "b", "c"])
    y = pd.Series(draw.choice(names, count), dtype=object)
    outputs = []
    for gap in (3.0, 0.1):
        raw = np.exp(draw.normal(0, 1, (count, 3)) + gap * (y.to_numpy()[:, None] == names))
        share = raw / raw.sum(axis=1, keepdims=True)
        found = pd.DataFrame(share, columns=[f"probability_{name}" for name in names])
        outputs.append(found.assign(prediction=names[share.argmax(axis=1)]))
    return y, *outputs


def declared(task):
    return TASKS[task](label=LABELS["y"])


def model(task, *metrics):
    return hr.Model(
        "m",
        fit=print,
        task=declared(task),
        spine=ORDERS.at("at"),
        features=[ORDERS.select("x")],
        evaluate=hr.Evaluate(metrics=list(metrics)),
    )


@every
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(10, 60))
def test_a_value_is_finite_and_within_its_bounds_whatever_the_rows(name, task, seed, count):
    y, good, poor = rows(task, seed, count)
    low, high = ALL[name].bounds
    for output in (good, poor):
        (measure,) = evaluate(declared(task), y, output, metrics=[ALL[name]])
        assert measure.value is None or low <= measure.value <= high + 1e-12  # scikit-learn's areas are rounded


@every
def test_better_is_where_its_direction_says(name, task):
    y, good, poor = rows(task)
    values = [evaluate(declared(task), y, output, metrics=[ALL[name]])[0].value for output in (good, poor)]

    assert (values[0] > values[1]) == (ALL[name].direction == "maximize")


@every
def test_the_order_of_rows_does_not_count(name, task):
    y, good, _ = rows(task)
    places = np.random.default_rng(1).permutation(len(y))
    one, other = (
        evaluate(declared(task), labels, output, metrics=[ALL[name]])[0].value
        for labels, output in ((y, good), (y.iloc[places], good.iloc[places]))
    )

    assert one == pytest.approx(other, rel=1e-12)


@every
def test_it_has_an_interval_and_the_same_again(name, task):
    y, _, poor = rows(task)
    found = interval(declared(task), ALL[name], y, poor)

    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert interval(declared(task), ALL[name], y, poor) == found


@every
def test_two_models_are_told_apart_and_one_not_from_itself(name, task):
    y, good, poor = rows(task, count=300)

    assert difference(declared(task), ALL[name], y, good, good).error == pytest.approx(0, abs=1e-9)
    assert difference(declared(task), ALL[name], y, poor, good).better(alpha=0.05)
    assert not difference(declared(task), ALL[name], y, good, poor).not_worse(0.0, alpha=0.05)


@every
def test_labels_that_do_not_differ_have_no_value_where_it_needs_two(name, task):
    y, good, _ = rows(task)
    same = pd.Series([y.iloc[0]] * len(y))
    (measure,) = evaluate(declared(task), same, good, metrics=[ALL[name]])

    assert (measure.value is None) == ALL[name].two_labels
    assert bool(measure.reason) == ALL[name].two_labels


@every
def test_gates_alerts_and_guardrails_take_it(name, task):
    metric, declares = ALL[name], model(task, name if name in BUILT_IN else ALL[name])
    limit = {"below": 0.5} if metric.direction == "maximize" else {"above": 0.5}
    deployment = hr.Deployment(
        declares,
        score=hr.Score(into="gold.p"),
        serve=hr.Serve(),
        gates=[hr.at_least(metric, 0.5), hr.not_worse(metric, margin=0.1)],
        monitor=hr.Monitor(alerts=[hr.alert(metric, **limit)]),
        rollout=hr.Rollout(guardrails=[hr.guardrail(metric, worse_by=0.1)]),
    )

    assert {gate.metric for gate in deployment.gates} == {name}
    assert deployment.monitor.alerts[0].metric == deployment.rollout.guardrails[0].metric == name
    assert declares.measured == (metric,)


def test_the_table_has_the_defaults_of_every_task():
    assert set(METRICS) == set(TASKS)
    assert all(set(task.metrics) <= set(METRICS[name]) for name, task in TASKS.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 5.1, -0.1, "much"])
def test_a_value_outside_of_the_bounds_is_an_error_that_names_the_metric(value):
    strange = hr.metric(lambda y, output: value, name="strange", tasks=[hr.Binary], direction="minimize", bounds=(0, 5))
    y, good, _ = rows("Binary")

    with pytest.raises(DataError, match=r"the metric 'strange' is .*a number from 0 to 5"):
        evaluate(declared("Binary"), y, good, metrics=[strange])


def test_none_is_no_value_and_an_exception_is_told_with_the_name():
    y, good, _ = rows("Binary")
    nothing = hr.metric(lambda y, output: None, name="nothing", tasks=[hr.Binary], direction="minimize")
    broken = hr.metric(lambda y, output: 1 / 0, name="broken", tasks=[hr.Binary], direction="minimize")

    assert evaluate(declared("Binary"), y, good, metrics=[nothing])[0].value is None
    with pytest.raises(UserCodeError, match="metric 'broken' raised"):
        evaluate(declared("Binary"), y, good, metrics=[broken])


def test_one_of_another_task_or_that_is_not_evaluated_is_refused():
    with pytest.raises(DeclarationError, match="'cost' is for Binary; model 'm' is Regression"):
        model("Regression", COST)
    with pytest.raises(NotFoundError, match="rmse"):
        model("Binary", "rmse")
    with pytest.raises(DeclarationError, match="at_least") as refused:
        hr.Deployment(model("Binary"), score=hr.Score(into="gold.p"), gates=[hr.at_least(COST, 1)])
    assert "hr.Evaluate(metrics=[…])" in refused.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "roc_auc"},
        {"name": "two words"},
        {"tasks": []},
        {"tasks": "Binary"},
        {"direction": "up"},
        {"bounds": (1, 0)},
        {"bounds": 3},
        {"two_labels": 1},
    ],
)
def test_a_declaration_that_is_not_possible_is_refused(wrong):
    with pytest.raises(DeclarationError, match="metric"):
        hr.metric(cost, **{"tasks": [hr.Binary], "direction": "minimize", **wrong})
