"""What every task keeps to: those that Headrace brings, and one from outside."""

import json
from dataclasses import KW_ONLY, dataclass

import numpy as np
import pandas as pd
import pytest

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, UserCodeError
from headrace.monitoring.columns import outputs_of
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.postprocess import Postprocess, check_fast
from headrace.training.labels import checked
from headrace.training.measures import evaluate
from headrace.training.output import baseline_output, columns, differing, output
from headrace.training.tasks.known import resolve

LABELS = hr.Table("s.labels", key="id", time="at", sql="select 1 as id, now() as at, 1 as y")
ORDERS = hr.Table("s.orders", key="id", sql="select 1 as id, now() as at, 1.0 as x")


@dataclass(frozen=True)
class Band(hr.Task):
    """A number that is never negative, with a lower and an upper border."""

    metrics = ("mae",)
    width = 3
    mean_output = "prediction"

    _: KW_ONLY
    floor: float = 0.0
    names: tuple[str, ...] = ("low", "high")

    def columns(self, classes):
        return ["prediction", *(f"prediction_{name}" for name in self.names)]

    def check(self, values):
        numbers = super().check(values)
        self.refuse(numbers, (numbers < self.floor).to_numpy(), "below the floor")
        return numbers

    def finish(self, numbers, classes, calibration):
        ordered = np.sort(np.maximum(numbers, self.floor), axis=1)
        return dict(zip(self.columns(classes), (ordered[:, 1], ordered[:, 0], ordered[:, 2]), strict=True))

    def baseline(self, y):
        return dict.fromkeys(self.columns(()), float(y.median()))


class Numbers:
    """An estimator that says what it was given."""

    def __init__(self, numbers):
        self.numbers = np.asarray(numbers, dtype=float)

    def values(self, X, width=1):
        return self.numbers[: len(X)]

    def probabilities(self, X, classes):
        return self.numbers[: len(X)]


KINDS = {
    "Binary": (hr.Binary(label=LABELS["y"]), [0, 1, 1, 0], ["yes"], [[0.8, 0.2], [0.1, 0.9], [0.5, 0.5], [0.7, 0.3]]),
    "Multiclass": (
        hr.Multiclass(label=LABELS["y"]),
        ["a", "b", "c", "a"],
        [1.5],
        [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]],
    ),
    "Regression": (hr.Regression(label=LABELS["y"]), [1.0, 2.5, -3.0, 4.0], ["x"], [1.0, 2.0, -2.5, 4.5]),
    "Band": (
        Band(label=LABELS["y"], floor=1.0),
        [1.0, 2.5, 3.0, 4.0],
        [0.5],
        [[1, 2, 3], [0, 5, 2], [3, 3, 3], [4, 6, 5]],
    ),
}
pytestmark = pytest.mark.parametrize("kind", KINDS)


def made(kind):
    task, labels, _, numbers = KINDS[kind]
    y = checked(pd.Series(labels), task)
    classes = task.classes(y)
    return task, y, classes, output(task, classes, Numbers(numbers), pd.DataFrame({"x": range(len(y))}))


def test_a_model_takes_it_and_has_its_metrics(kind):
    task = KINDS[kind][0]
    model = hr.Model("m", fit=print, task=task, spine=ORDERS.at("at"), features=[ORDERS.select("x")])

    assert task.name == kind
    assert model.metrics == tuple(task.metrics)
    assert all(each.direction in ("maximize", "minimize") for each in model.known_metrics.values())


def test_what_is_no_label_is_refused_with_its_value(kind):
    task, _, wrong, _ = KINDS[kind]

    with pytest.raises(DataError, match=r"s.labels.y is .* in 1 of 1 rows"):
        checked(pd.Series(wrong, dtype=object), task)


def test_checked_labels_stay_what_they_are(kind):
    task, y, _, _ = made(kind)

    pd.testing.assert_series_equal(checked(y, task), y)
    assert len(task.cast(y)) == len(y)


def test_the_output_has_the_columns_that_it_says(kind):
    task, y, classes, found = made(kind)

    assert list(found.columns) == columns(task, classes)
    assert len(found) == len(y)
    assert not found.isna().any().any()


def test_a_row_alone_and_among_others_gives_the_same_bits(kind):
    task, _, classes, found = made(kind)
    numbers = np.asarray(KINDS[kind][3], dtype=float)
    alone = [
        output(task, classes, Numbers(numbers[[place]]), pd.DataFrame({"x": [0]})).iloc[0].tolist()
        for place in range(len(numbers))
    ]

    assert alone == [found.iloc[place].tolist() for place in range(len(found))]


def test_no_rows_have_the_types_of_rows(kind):
    task, _, classes, found = made(kind)
    nothing = output(task, classes, Numbers([]), pd.DataFrame({"x": []}))

    assert len(nothing) == 0
    assert nothing.dtypes.to_dict() == found.dtypes.to_dict()


def test_a_number_that_is_none_is_refused(kind):
    task, _, classes, _ = made(kind)
    numbers = np.asarray(KINDS[kind][3], dtype=float)
    numbers[0] = np.nan

    with pytest.raises(UserCodeError, match="no finite numbers"):
        output(task, classes, Numbers(numbers), pd.DataFrame({"x": range(len(numbers))}))


def test_the_baseline_has_the_columns_of_the_output_and_can_be_measured(kind):
    task, y, _, found = made(kind)
    constant = baseline_output(task, y)(len(y))

    assert list(constant.columns) == list(found.columns)
    assert constant.nunique().eq(1).all()
    assert all(each.value is not None for each in evaluate(task, y, constant))


def test_it_differs_from_another_output_and_not_from_itself(kind):
    _, _, _, found = made(kind)
    number = found.columns[-1]
    other = found.assign(**{number: found[number] + 0.25})

    assert differing(found, found) == ""
    assert differing(other, found) != ""


def test_it_predicts_the_same_without_its_label_after_a_round_through_json(kind):
    task, _, classes, found = made(kind)
    again = type(task).restore(json.loads(json.dumps(task.settings)))
    numbers = Numbers(KINDS[kind][3])

    assert not hasattr(again, "label")
    assert output(again, classes, numbers, pd.DataFrame({"x": range(len(found))})).equals(found)


def test_monitoring_watches_its_outputs(kind):
    import pyarrow as pa

    task, _, _, found = made(kind)
    schema = pa.Schema.from_pandas(found.assign(other=1.0), preserve_index=False)

    assert [each.name for each in outputs_of(schema, task)] == list(found.columns)
    assert task.mean_output is None or task.mean_output in found.columns


def test_a_server_takes_the_fast_way_only_where_it_is_declared(kind):
    task, _, classes, found = made(kind)
    numbers = np.asarray(KINDS[kind][3], dtype=float).reshape(len(found), -1)
    spec = {"task": kind, "classes": list(classes), "settings": {"order": None}, "calibration": None}
    if task.scalar is None:
        with pytest.raises(UnfitError, match=f"{kind!r} has no fast way; Binary, Multiclass, Regression have one"):
            check_fast(kind)
        return
    fast = Postprocess(spec, numbers.shape[1])

    assert list(fast.columns) == list(found.columns)
    assert fast.many(numbers) == found.astype(object).to_numpy().tolist()
    assert [fast.one(row) for row in numbers.tolist()] == found.astype(object).to_numpy().tolist()


def test_one_that_is_not_known_is_refused_everywhere(kind):
    name = kind + "Of2050"
    for refuse in (resolve, lambda task: columns(task, ()), lambda task: output(task, (), Numbers([]), pd.DataFrame())):
        with pytest.raises(DataError, match="knows Binary, Multiclass, Regression"):
            refuse(name)
    with pytest.raises(UnfitError, match="Binary, Multiclass, Regression"):
        Postprocess({"task": name, "classes": [], "settings": {"order": None}, "calibration": None}, 1)


def test_a_model_refuses_what_is_no_task_or_is_called_like_another(kind):
    class Local(hr.Regression):
        name = kind

    for task in (kind, None, type(KINDS[kind][0]), Local(label=LABELS["y"])):
        with pytest.raises(DeclarationError, match="task"):
            hr.Model("m", fit=print, task=task, spine=ORDERS.at("at"), features=[ORDERS.select("x")])
