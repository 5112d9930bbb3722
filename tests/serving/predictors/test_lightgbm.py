"""LightGBM without its Python package: the bits of MLflow's pyfunc, for every task, with missing values and texts."""

import dataclasses
import shutil
import threading

import lightgbm
import numpy as np
import pandas as pd
import pytest
from tests.serving.predictors import making

from headrace.core.errors import DataError, UserCodeError
from headrace.serving.predictors import Generic, Native, choose
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.choose import compare_by_column
from headrace.serving.predictors.lightgbm import LightGBM
from headrace.training.calibration import isotonic

QUIET = {"verbose": -1, "seed": 0, "num_threads": 1, "min_child_samples": 5}


def boosted(**params):
    return lambda X, y: lightgbm.train({**QUIET, **params}, lightgbm.Dataset(X, y), 20)


def test_a_calibrated_probability_of_rows_with_texts_and_missing_values(tmp_path):
    frame = making.rows(600, texts=True)
    y = (making.labels(frame) > 1).astype(int)
    raw = np.random.default_rng(1).random(600)
    calibration = isotonic(raw, pd.Series(raw + np.random.default_rng(2).normal(size=600) / 3 > 0.5))
    folder, parity = making.logged(tmp_path / "logged", boosted(objective="binary"), frame, y, calibration=calibration)

    chosen, slower = choose(folder, parity)

    assert (chosen.tier, slower) == ("native", [])
    unseen = making.rows(300, seed=5, texts=True)
    unseen.loc[3, "colour"] = "mauve"
    asked = unseen.to_numpy().tolist()
    assert chosen.many(asked) == Generic(folder).many(asked)
    assert [chosen.one(row) for row in asked] == chosen.many(asked)


@pytest.mark.parametrize(
    ("task", "classes", "params"),
    [
        ("Binary", (0, 1), {"objective": "binary"}),
        ("Regression", (), {"objective": "regression"}),
        ("Multiclass", (0, 1), {"objective": "binary"}),
        ("Multiclass", ("high", "low", "middle"), {"objective": "multiclass", "num_class": 3}),
    ],
)
def test_every_task_gives_the_bits_of_pyfunc(tmp_path, task, classes, params):
    frame = making.rows(400)
    score = making.labels(frame)
    y = score if task == "Regression" else pd.qcut(score, max(len(classes), 2), labels=False)
    folder, parity = making.logged(tmp_path / "logged", boosted(**params), frame, y, task=task, classes=classes)

    chosen, _ = choose(folder, parity)

    rows, outputs = making.given(parity)
    assert chosen.tier == "native"
    assert chosen.columns == parity.output_columns
    assert chosen.many(rows) == outputs
    assert [type(value) for value in chosen.one(rows[0])] == [type(value) for value in outputs[0]]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    frame = making.rows(400)
    y = (making.labels(frame) > 1).astype(int)
    return making.logged(tmp_path_factory.mktemp("small") / "logged", boosted(objective="binary"), frame, y)


@pytest.mark.parametrize(
    "row",
    [[1, 2, 3], [True, False, True], [2**62, 0.5, -1], [None, None, None], [1e300, -1e300, 1e-300], [0.1, None, 5]],
)
def test_numbers_of_all_kinds_are_read_as_in_a_frame(small, row):
    native, generic = Native(small[0]), Generic(small[0])

    assert native.one(row) == native.many([row])[0] == generic.one(row)
    assert native.many([row, [0.0, 1, 2.0]]) == generic.many([row, [0.0, 1, 2.0]])


def test_other_weights_are_left(small, tmp_path):

    folder = shutil.copytree(small[0], tmp_path / "other")
    model = folder / "data" / "package" / "estimator" / "model.txt"
    frame = making.rows(400)
    other = boosted(objective="binary", learning_rate=0.2)(frame.astype(float), (making.labels(frame) > 1).astype(int))
    other.save_model(model)

    with pytest.raises(DataError) as refused:
        choose(folder, small[1])
    assert [reason.partition(":")[0] for reason in refused.value.findings] == ["native", "generic", "pyfunc"]
    assert "60 of 60 samples differ, 10 of 10 asked alone" in refused.value.findings[0]


def test_a_library_that_answers_otherwise_is_left_for_the_next_tier(small, monkeypatch):
    spoiled = LightGBM.many
    monkeypatch.setattr(LightGBM, "many", lambda self, block: np.nextafter(spoiled(self, block), 1))

    chosen, slower = choose(*small)

    assert chosen.tier == "generic"
    assert slower == ["native: 60 of 60 samples differ, 0 of 10 asked alone"]


def test_one_row_and_many_at_the_same_time(small):
    native = Native(small[0])
    rows, outputs = making.given(small[1])
    wrong, ended = [], threading.Event()

    def many():
        while not ended.is_set():
            if native.many(rows) != outputs:
                wrong.append("many")

    threads = [threading.Thread(target=many) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        wrong += [row for row, output in zip(rows, outputs, strict=True) if native.one(row) != output]
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_numbers_that_are_no_probabilities_are_refused_as_in_batch_scoring(tmp_path):
    frame = making.rows(400)
    y = (making.labels(frame) > 1).astype(int)
    folder, _ = making.logged(tmp_path / "logged", boosted(objective="binary"), frame, y)
    model = folder / "data" / "package" / "estimator" / "model.txt"
    boosted(objective="regression")(frame.astype(float), making.labels(frame) * 9).save_model(model)
    rows = frame.head(20).to_numpy().tolist()

    for tier in (Native(folder), Generic(folder)):
        with pytest.raises(UserCodeError, match="probabilities from"):
            tier.many(rows)


@pytest.mark.parametrize(
    ("task", "classes", "objective"), [("Binary", (0, 1), "binary"), ("Regression", (), "regression")]
)
def test_by_column_it_gives_the_same_bits(tmp_path, task, classes, objective):
    frame = making.rows(500, texts=True)
    score = making.labels(frame)
    y = score if task == "Regression" else (score > 1).astype(int)
    folder, parity = making.logged(
        tmp_path / "logged", boosted(objective=objective), frame, y, task=task, classes=classes
    )
    native = Native(folder)
    compare_by_column(native, parity)
    unseen = making.rows(300, seed=5, texts=True)
    unseen.loc[3, "colour"] = "mauve"
    columns = [
        unseen[name].tolist() if name == "colour" else unseen[name].to_numpy("float64", na_value=np.nan)
        for name in unseen.columns
    ]

    assert native.takes_columns
    assert [[value] for (value,) in zip(*native.by_column(columns).values(), strict=True)] == Generic(folder).many(
        unseen.to_numpy().tolist()
    )
    first = parity.outputs[0][0]
    odd = dataclasses.replace(parity, outputs=((np.nextafter(first, 1),), *parity.outputs[1:]))
    with pytest.raises(UnfitError, match="1 of 60 samples differ"):
        compare_by_column(native, odd)


def test_several_classes_do_not_go_by_column(tmp_path):
    frame = making.rows(400)
    y = pd.qcut(making.labels(frame), 3, labels=False)
    fit = boosted(objective="multiclass", num_class=3)
    folder, parity = making.logged(tmp_path / "logged", fit, frame, y, task="Multiclass", classes=("a", "b", "c"))
    with pytest.raises(UnfitError, match="takes no columns"):
        compare_by_column(Native(folder), parity)
