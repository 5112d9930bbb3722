"""What every metric keeps to: those that Headrace brings, and one from outside for each task."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import resample

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
    if task == "Generation":
        said = [list(draw.choice(["red", "green", "blue", "grey"], 3)) for _ in range(count)]
        y = pd.Series([json.dumps({"reference": " ".join(words)}) for words in said], dtype=object)
        return y, *(
            pd.DataFrame(
                {"prediction": [" ".join(w if draw.random() < share else "pink" for w in words) for words in said]}
            )
            for share in (0.9, 0.3)
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


def answer(question, ctx):
    return question


def model(task, *metrics):
    if task == "Generation":
        asked = hr.Evaluate(dataset=LABELS, metrics=list(metrics))
        return hr.Model("m", predict=answer, task=hr.Generation(), evaluate=asked)
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


def perfect(task, y):
    """An output that nothing is better than."""
    if task == "Binary":
        return pd.DataFrame({"probability": y})
    if task == "Regression":
        return pd.DataFrame({"prediction": y})
    if task == "Generation":
        return pd.DataFrame({"prediction": [json.loads(label)["reference"] for label in y]})
    shares = {f"probability_{name}": (y == name).astype(float) for name in ("a", "b", "c")}
    return pd.DataFrame({**shares, "prediction": y})


def hopeless(task, y):
    """An output that is sure of what did not come."""
    if task == "Binary":
        return pd.DataFrame({"probability": 1 - y})
    if task == "Regression":
        return pd.DataFrame({"prediction": -1000 * y})
    if task == "Generation":
        return pd.DataFrame({"prediction": ["pink"] * len(y)})
    return perfect(task, y.map({"a": "b", "b": "c", "c": "a"}))


@every
def test_its_better_bound_is_the_value_that_nothing_is_better_than(name, task):
    y, _, poor = rows(task)
    low, high = ALL[name].bounds
    best, value = (
        evaluate(declared(task), y, output, metrics=[ALL[name]])[0].value for output in (perfect(task, y), poor)
    )
    best_bound = high if ALL[name].direction == "maximize" else low

    assert best == pytest.approx(best_bound, abs=1e-9)
    assert value != pytest.approx(best_bound, abs=0.05)


@every
def test_the_worst_outputs_have_a_value_and_an_interval_within_the_bounds(name, task):
    y, _, _ = rows(task)
    low, high = ALL[name].bounds
    found = interval(declared(task), ALL[name], y, hopeless(task, y))

    assert low <= found.low <= found.value <= found.high <= high


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


def drawn(name, task, y, outputs, draws=300):
    """An oracle: values of the metric over scikit-learn's draws of rows with replacement, one row a draw, one column an output."""
    found = []
    for seed in range(draws):
        labels, *others = resample(y, *outputs, random_state=seed)
        found.append([evaluate(declared(task), labels, each, metrics=[ALL[name]])[0].value for each in others])
    return np.asarray(found)


@every
def test_its_interval_and_its_covariance_are_those_of_its_value_drawn_again_and_again(name, task):
    y, good, poor = rows(task, seed=3, count=400)
    blend = good.copy()
    half = np.random.default_rng(4).random(len(y)) < 0.5
    blend[half] = poor[half]  # which of their rows are right is much the same as in both
    values = drawn(name, task, y, [poor, blend])
    one, both = (
        interval(declared(task), ALL[name], y, poor, level=0.5),
        difference(declared(task), ALL[name], y, poor, blend),
    )

    quartile = 0.6745  # of the normal distribution, in standard errors
    assert (one.high - one.low) / 2 / quartile == pytest.approx(values[:, 0].std(ddof=1), rel=0.2)
    assert both.error == pytest.approx(np.diff(values).std(ddof=1), rel=0.2)
    assert (one.high + one.low) / 2 == pytest.approx(one.value)
    if ALL[name].covariance is not None:
        expected = np.cov(values.T)
        errors = np.sqrt(np.diag(expected))
        close = ALL[name].covariance(y, [poor, blend]) / np.outer(errors, errors)
        np.testing.assert_allclose(close, expected / np.outer(errors, errors), atol=0.3)


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if ALL[case[0]].resampled is not None])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rows_that_count_several_times_are_as_if_they_stood_there_several_times(name, task, seed):
    y, _, poor = rows(task, seed, 30)
    places = np.random.default_rng(seed).integers(0, 30, 30)
    (expected,) = evaluate(declared(task), y.iloc[places], poor.iloc[places], metrics=[ALL[name]])
    found = ALL[name].resampled(y, poor)(np.bincount(places, minlength=30).astype(float))

    assert found == pytest.approx(np.nan if expected.value is None else expected.value, rel=1e-9, nan_ok=True)


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
