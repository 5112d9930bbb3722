"""XGBoost without its Python package: the bits of MLflow's pyfunc, for every task, with missing values and texts."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import xgboost
from tests.serving.predictors import making

from headrace.core.errors import DataError, HeadraceError
from headrace.serving.predictors import Generic, Native, choose


def boosted(rounds=20, **params):
    return lambda X, y: xgboost.train(
        {"nthread": 1, "seed": 0, **params}, xgboost.DMatrix(X, y, enable_categorical=True), rounds
    )


def target(task, classes, frame):
    score = making.labels(frame)
    return score if task == "Regression" else pd.qcut(score, max(len(classes), 2), labels=False)


@pytest.mark.parametrize(
    ("task", "classes", "params"),
    [
        ("Binary", (0, 1), {"objective": "binary:logistic"}),
        ("Binary", (0, 1), {"objective": "binary:logistic", "tree_method": "exact"}),
        ("Regression", (), {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.7}),
        ("Multiclass", (0, 1), {"objective": "binary:logistic"}),
        ("Multiclass", ("high", "low", "middle"), {"objective": "multi:softprob", "num_class": 3}),
    ],
)
@pytest.mark.parametrize("texts", [False, True])
def test_every_task_gives_the_bits_of_pyfunc(tmp_path, task, classes, params, texts):
    if texts and "tree_method" in params:
        params = {**params, "tree_method": "approx"}  # the exact one takes no categories
    frame = making.rows(400, texts=texts)
    y = target(task, classes, frame)
    folder, parity = making.logged(tmp_path / "logged", boosted(**params), frame, y, task=task, classes=classes)

    chosen, slower = choose(folder, parity)

    assert (chosen.tier, slower) == ("native", [])
    unseen = making.rows(300, seed=5, texts=texts)
    if texts:
        unseen.loc[3, "colour"] = "mauve"
    asked = unseen.to_numpy().tolist()
    assert chosen.many(asked) == Generic(folder).many(asked)
    assert [chosen.one(row) for row in asked] == chosen.many(asked)


def test_fitting_that_stopped_early_is_cut_at_its_best_round(tmp_path):
    frame = making.rows(600)
    y = target("Binary", (0, 1), frame)

    def fit(X, y):
        early = xgboost.XGBClassifier(n_estimators=300, learning_rate=0.5, early_stopping_rounds=5, n_jobs=1)
        early.fit(X[:400], y[:400], eval_set=[(X[400:], y[400:])], verbose=False)
        assert early.best_iteration < early.get_booster().num_boosted_rounds() - 1
        return early

    folder, parity = making.logged(tmp_path / "logged", fit, frame, y)

    assert choose(folder, parity)[0].tier == "native"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    frame = making.rows(400)
    y = target("Binary", (0, 1), frame)
    return making.logged(tmp_path_factory.mktemp("small") / "logged", boosted(objective="binary:logistic"), frame, y)


def test_its_package_and_pandas_are_not_loaded(small):
    script = (
        "import sys; from pathlib import Path; from headrace.serving.predictors import Native\n"
        "print(Native(Path(sys.argv[1])).one([0.5, 1, None]), sorted(set(sys.modules) & {'xgboost', 'pandas', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(small[0])], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == f"{Generic(small[0]).one([0.5, 1, None])} []"


@pytest.mark.parametrize("row", [[1, 2, 3], [True, False, True], [2**62, 0.5, -1], [None, None, None], [0.1, None, 5]])
def test_numbers_of_all_kinds_are_read_as_in_a_frame(small, row):
    native, generic = Native(small[0]), Generic(small[0])

    assert native.one(row) == native.many([row])[0] == generic.one(row)


def test_a_number_beyond_float32_is_refused_as_in_batch_scoring(small):
    for tier in (Native(small[0]), Generic(small[0])):
        with pytest.raises((HeadraceError, xgboost.core.XGBoostError), match="too large"):
            tier.one([1e300, 1, 1])


@pytest.mark.parametrize("booster", ["dart", "gblinear"])
def test_a_booster_that_is_not_safe_in_threads_goes_by_its_package(tmp_path, booster):
    frame = making.rows(200, missing=False)
    fit = boosted(objective="binary:logistic", booster=booster)
    folder, parity = making.logged(tmp_path / "logged", fit, frame, target("Binary", (0, 1), frame))

    chosen, slower = choose(folder, parity)

    assert chosen.tier == "generic"
    assert slower == [f"native: the booster is {booster}"]


def test_other_weights_are_left(small, tmp_path):
    folder = shutil.copytree(small[0], tmp_path / "other")
    frame = making.rows(400)
    other = boosted(objective="binary:logistic", eta=0.2)(frame.astype(float), target("Binary", (0, 1), frame))
    other.save_model(folder / "data" / "package" / "estimator" / "model.json")

    with pytest.raises(DataError) as refused:
        choose(folder, small[1])
    assert "60 of 60 samples differ, 10 of 10 asked alone" in refused.value.findings[0]


def test_a_file_that_is_no_model_is_told(small, tmp_path):
    folder = shutil.copytree(small[0], tmp_path / "other")
    (folder / "data" / "package" / "estimator" / "model.json").write_text("{}")

    with pytest.raises(DataError) as refused:
        choose(folder, small[1])
    assert refused.value.findings[0].startswith("native: XGBoost: ")


def test_one_row_and_many_at_the_same_time(small):
    native = Native(small[0])
    rows, outputs = making.given(small[1])
    backwards = np.flip(np.arange(len(rows))).tolist()
    wrong, ended = [], threading.Event()

    def many(order):
        while not ended.is_set():
            if native.many([rows[place] for place in order]) != [outputs[place] for place in order]:
                wrong.append("many")

    threads = [threading.Thread(target=many, args=(order,)) for order in (backwards, backwards[::2])]
    for thread in threads:
        thread.start()
    for _ in range(50):
        wrong += [row for row, output in zip(rows, outputs, strict=True) if native.one(row) != output]
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
