"""What a fitted estimator from elsewhere says of itself, and what a model makes of it."""

import gc
import warnings

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from lightgbm import Dataset, LGBMClassifier, train
from sklearn.linear_model import LinearRegression, LogisticRegression

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, UserCodeError
from headrace.core.folders import folder_digest
from headrace.features.plan import plan
from headrace.tracking.foreign import foreign
from headrace.training.estimator import Mlflow, Settings
from headrace.training.imported import check, of_object, read
from headrace.training.mlflow_files import MlflowFiles

ROWS = hr.Source("bronze.rows", files="rows.csv")
TEXTS = {"a": pa.float64(), "b": pa.string()}
NUMBERS = {"a": pa.float64(), "b": pa.float64()}


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(3)
    X = pd.DataFrame({"a": draw.normal(size=200), "b": draw.normal(size=200)})
    return X, (X["a"] + X["b"] > 0).astype("int64")


def checked(fitted, types=None, task=hr.Binary):
    schema = pa.schema(
        [("row_id", pa.string()), ("arrived_at", pa.timestamp("us", "UTC")), *(types or NUMBERS).items(),
         ("target", pa.int64())]
    )  # fmt: skip
    model = hr.Model("m", task=task(label=ROWS["target"]), spine=ROWS, features="all columns")
    made = plan(model.decisions, model.inputs, {"arrivals.bronze_rows": schema})
    return check(fitted if hasattr(fitted, "digest") else of_object(fitted), model, made)


def boosters(X, y):
    return {
        "LGBMClassifier": LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y),
        "lightgbm.Booster": train({"objective": "binary", "verbose": -1}, Dataset(X, y), 3),
        "XGBClassifier": xgboost.XGBClassifier(n_estimators=3).fit(X, y),
        "xgboost.Booster": xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, y), 3),
    }


@pytest.mark.parametrize("kind", ["LGBMClassifier", "lightgbm.Booster", "XGBClassifier", "xgboost.Booster"])
def test_trees_say_their_columns_and_take_no_texts(drawn, kind):
    X, y = drawn
    assert checked(boosters(X, y)[kind]) == "names"
    with pytest.raises(DeclarationError, match="in another order: number 1 is 'b' there and 'a' in the model"):
        checked(boosters(X[["b", "a"]], y)[kind])
    with pytest.raises(DeclarationError, match="takes texts by numbers that it was fitted with, and 'b' is a text"):
        checked(boosters(X, y)[kind], TEXTS)
    assert (
        checked(boosters(X.to_numpy(), y.to_numpy())[kind]) == "number"
    )  # of an array they have no names of their own


def test_what_says_nothing_is_taken_as_it_is_and_says_so():
    class Constant:
        def predict(self, X):
            return np.zeros(len(X))

    assert checked(Constant(), task=hr.Regression) == "nothing"


def test_the_task_is_that_of_the_estimator(drawn):
    X, y = drawn
    with pytest.raises(DeclarationError, match=r"is a classifier \(LogisticRegression\), and the task is Regression"):
        checked(LogisticRegression().fit(X, y), task=hr.Regression)
    with pytest.raises(DeclarationError, match=r"LinearRegression has no predict_proba"):
        checked(LinearRegression().fit(X, y))
    assert checked(LinearRegression().fit(X, y), task=hr.Regression) == "names"


@pytest.mark.parametrize("given", [LogisticRegression, LogisticRegression(), {"a": 1}, "text"])
def test_only_a_fitted_estimator_is_one(given):
    with pytest.raises(UserCodeError, match=r"no fitted estimator|is not fitted"):
        of_object(given)


def test_the_digest_is_that_of_the_estimator(drawn):
    X, y = drawn
    first, again, other = (of_object(LogisticRegression(C=c).fit(X, y)) for c in (1.0, 1.0, 2.0))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("flavour", ["lightgbm", "xgboost", "sklearn"])
def test_flavours_of_mlflow_are_read_as_the_librarys_own_object(drawn, tmp_path, flavour):
    X, y = drawn
    fitted = {**boosters(X, y), "sklearn": LogisticRegression().fit(X, y)}
    fitted |= {"lightgbm": fitted["LGBMClassifier"], "xgboost": fitted["XGBClassifier"]}
    more = {} if flavour == "xgboost" else {"serialization_format": "cloudpickle"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(mlflow, flavour).save_model(fitted[flavour], tmp_path / "m", pip_requirements=[], **more)
    found = read(tmp_path / "m", source="m")
    assert type(found.fitted) is type(fitted[flavour])
    assert checked(found) == "names"
    np.testing.assert_array_equal(found.fitted.predict_proba(X), fitted[flavour].predict_proba(X))


def any_model(answer):
    class Model(mlflow.pyfunc.PythonModel):  # inside, so that it is pickled by value
        def predict(self, context, model_input, params=None):
            return answer(model_input)

    return Model()


def files(folder, answer, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(folder, python_model=any_model(answer), input_example=example, pip_requirements=[])
    return read(folder, source="m")


def test_another_model_of_mlflow_travels_with_its_files_and_gets_the_types_of_its_signature(tmp_path):
    example = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [True, False], "d": [0.5, 1.5]})
    found = files(tmp_path / "m", lambda rows: rows["a"] * 0.25 + (rows["b"] == "x") + rows["c"], example)
    assert found.names == ("a", "b", "c", "d")
    assert isinstance(found.fitted, MlflowFiles)
    matrix = pd.DataFrame(
        {"a": [1.0, 2.0], "b": pd.Categorical(["x", "y"]), "c": [1.0, 0.0], "d": [0.5, np.nan]}
    )  # as a model gets it
    kept = Mlflow(found.fitted, Settings())
    (tmp_path / "estimator").mkdir()
    assert kept.save(tmp_path / "estimator", by_value=()) == {"mlflow"}
    before = folder_digest(tmp_path / "estimator")
    again = Mlflow.load(tmp_path / "estimator", Settings())
    for each in (found.fitted, again.fitted):
        np.testing.assert_array_equal(each.predict(matrix), [2.25, 0.5])
        np.testing.assert_array_equal(each.predict_proba(matrix), [2.25, 0.5])
    assert folder_digest(tmp_path / "estimator") == before
    copy = found.fitted.folder
    assert copy.is_dir()
    del kept, found, each
    gc.collect()
    assert not copy.exists()


def test_labels_are_no_probabilities(tmp_path):
    found = files(tmp_path / "m", lambda rows: (rows["a"] > 0).astype("int64"), pd.DataFrame({"a": [1.0]}))
    with pytest.raises(UserCodeError, match=r"answers labels \(int64\), and probabilities are needed"):
        found.fitted.predict_proba(pd.DataFrame({"a": [1.0]}))


def test_a_model_that_predicts_by_no_flavour_of_mlflow_is_refused(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors:\n  spark: {}\n")
    with pytest.raises(DataError, match="has the flavours spark, and no python_function"):
        read(tmp_path, source="m")


def graph(folder, weight):
    """An ONNX file whose weights lie beside it."""
    import onnx
    from onnx import helper, numpy_helper

    folder.mkdir(parents=True)
    made = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("X", onnx.TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, [None, 1])],
        [numpy_helper.from_array(np.full((2, 1), weight), "w")],
    )
    path = folder / "linear.onnx"
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    return path


def test_weights_beside_a_graph_are_part_of_what_is_imported(tmp_path):
    one, same, other = graph(tmp_path / "1", 1.0), graph(tmp_path / "2", 1.0), graph(tmp_path / "3", 2.0)
    assert one.read_bytes() == other.read_bytes()
    digests = [read(path, source="graph").digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_graph_outside_of_its_folder_is_not_read(tmp_path):
    outside = graph(tmp_path / "outside", 1.0)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(f"flavors:\n  onnx:\n    data: {outside}\n")
    with pytest.raises(DataError, match="names a graph outside of it"):
        read(folder, source="model")


@pytest.mark.parametrize("url", ["postgresql://u:secret@host/db", "sqlite+pysqlite:///theirs.db", "mysql://host/db"])
def test_a_database_that_mlflow_would_write_is_not_opened(url):
    with pytest.raises(DataError, match="MLflow makes tables") as refused, foreign(url):
        pass
    assert "secret" not in str(refused.value)
