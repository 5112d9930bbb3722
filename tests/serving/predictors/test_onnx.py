"""ONNX graphs, fitted here and put together by hand: kept as they are, and the same bits on every path."""

import shutil
import threading

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from tests.serving.predictors import making

from headrace.core.errors import DataError, UserCodeError
from headrace.serving.predictors import Generic, Native, choose
from headrace.training.estimator import LOADERS, adopt

MIDDLE = ("high", "low", "middle")
FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING


def regression(made):
    X = pd.DataFrame({"a": [1.0, 2.0]})
    return adopt(made, task="Regression", classes=(), X=X, y=X["a"])


def graph(nodes, inputs, outputs, constants=()):
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [helper.make_tensor(name, kind, values.shape, values.ravel().tolist()) for name, kind, values in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def weights(X, y):
    """Least squares: what a training is for here."""
    filled = np.column_stack([X.to_numpy("float64"), np.ones(len(X))])
    return np.linalg.lstsq(filled, np.asarray(y, dtype="float64"), rcond=None)[0]


def number(X, y, kind=FLOAT):
    found = weights(X, y)
    nodes = [helper.make_node("MatMul", ["X", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["Y"])]
    constants = [("w", kind, found[:-1, None]), ("b", kind, found[-1:])]
    return graph(nodes, [("X", kind, ["rows", X.shape[1]])], [("Y", kind, ["rows", 1])], constants)


def precise(X, y):
    return number(X, y, DOUBLE)


def yes(X, y):
    """One probability a row."""
    found = weights(X, y - 0.5) * 3
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    constants = [("w", FLOAT, found[:-1]), ("b", FLOAT, found[-1:])]
    return graph(nodes, [("X", FLOAT, [None, X.shape[1]])], [("p", FLOAT, [None])], constants)


def classes(X, y):
    """Labels, and the probabilities after them, as converters of scikit-learn give them."""
    found = np.column_stack([weights(X, y == name) for name in MIDDLE])
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0),
    ]
    constants = [("w", FLOAT, found[:-1]), ("b", FLOAT, found[-1])]
    outputs = [("label", INT64, ["rows"]), ("probabilities", FLOAT, ["rows", 3])]
    return graph(nodes, [("X", FLOAT, ["rows", X.shape[1]])], outputs, constants)


def by_name(X, y):
    """Features by name, in an order of its own, each a tensor: a text, a whole number, a float; one is not used."""
    del y
    nodes = [
        helper.make_node(
            "LabelEncoder", ["colour"], ["hue"], domain="ai.onnx.ml",
            keys_strings=["red", "green", ""], values_floats=[1.5, 0.25, -4.0], default_float=9.0,
        ),
        helper.make_node("Cast", ["b"], ["whole"], to=FLOAT),
        helper.make_node("Sum", ["hue", "whole", "a"], ["Y"]),
    ]  # fmt: skip
    inputs = [("b", INT64, ["rows", 1]), ("colour", STRING, ["rows", 1]), ("a", FLOAT, ["rows", 1])]
    return graph(nodes, inputs, [("Y", FLOAT, ["rows", 1])])


@pytest.mark.parametrize(
    ("task", "names", "fit"),
    [
        ("Regression", (), number),
        ("Regression", (), precise),
        ("Binary", (0, 1), yes),
        ("Multiclass", (0, 1), yes),
        ("Multiclass", MIDDLE, classes),
    ],
)
def test_every_task_gives_the_bits_of_pyfunc(tmp_path, task, names, fit):
    frame = making.rows(300, missing=False)
    y = making.labels(frame)
    if names:
        y = pd.qcut(y, len(names), labels=False).map(lambda place: names[place])
    folder, parity = making.logged(tmp_path / "logged", fit, frame, y, task=task, classes=names)

    chosen, slower = choose(folder, parity)

    assert (chosen.tier, slower) == ("native", [])
    assert (folder / "data" / "package" / "estimator" / "model.onnx").is_file()
    asked = making.rows(150, seed=5, missing=False).to_numpy().tolist()
    for count in (1, 2, 7, 150):
        assert chosen.many(asked[:count]) == Generic(folder).many(asked[:count])
    assert [chosen.one(row) for row in asked[:9]] == [Generic(folder).one(row) for row in asked[:9]]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    frame = making.rows(300, texts=True)
    frame[["a", "b", "c"]] = frame[["a", "b", "c"]].astype(float).fillna(1)
    place = tmp_path_factory.mktemp("named") / "logged"
    return making.logged(place, by_name, frame.astype(object), making.labels(frame), task="Regression", classes=())


def test_features_may_be_taken_by_name_texts_as_texts(named):
    chosen, slower = choose(*named)

    assert (chosen.tier, slower) == ("native", [])
    assert chosen.columns == ("prediction",)
    asked = [[0.5, "red", 2, 0], [0.5, None, 2, 0], [0.5, "mauve", 2, 0], [0.5, "blue", 2, 0]]
    assert chosen.many(asked) == [[4.0], [-1.5], [-1.5], [11.5]]  # what was not learned is missing
    assert chosen.many(asked) == Generic(named[0]).many(asked)


def test_a_missing_value_has_no_place_among_whole_numbers(named):
    for tier in (Native(named[0]), Generic(named[0])):
        with pytest.raises(UserCodeError, match="'b' takes whole numbers"):
            tier.one([0.5, "red", None, 0])
        with pytest.raises(UserCodeError, match="'b' takes whole numbers"):
            tier.many([[0.5, "red", 1, 0], [0.5, "red", 1.5, 0]])


def identity(kind, *, shape=("rows", 3), output=FLOAT):
    return graph([helper.make_node("Cast", ["X"], ["Y"], to=output)], [("X", kind, shape)], [("Y", output, shape)])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (identity(FLOAT, shape=(1, 3)), "'X' has 1 rows; the first dimension must be open"),
        (identity(FLOAT, output=INT64), r"no tensor of floating point numbers: Y tensor\(int64\)"),
        (identity(TensorProto.BOOL), r"'X' is tensor\(bool\)"),
        (onnx.ModelProto(), "ONNX Runtime does not take the graph"),
    ],
)
def test_a_graph_that_cannot_be_used_is_refused_when_it_was_fitted(made, reason):
    with pytest.raises(UserCodeError, match=reason):
        regression(made)


def test_a_graph_that_asks_for_what_is_no_feature_is_told():
    estimator = regression(by_name(None, None))

    with pytest.raises(UserCodeError, match="'b' is no feature") as refused:
        estimator.values(pd.DataFrame({"a": [1.0], "colour": [2.0]}))
    assert "a, colour" in refused.value.hint


def test_it_is_read_back_as_it_was(tmp_path):
    made = identity(FLOAT, shape=("rows", 1))
    estimator = regression(made)

    assert estimator.save(tmp_path, by_value=()) == {"onnxruntime"}

    assert onnx.load(str(tmp_path / "model.onnx")) == made
    back = LOADERS["onnx"](tmp_path, estimator.settings)
    assert back.values(pd.DataFrame({"only": [0.1, 2.0]})).tolist() == [float(np.float32(0.1)), 2.0]


def test_other_weights_are_left(named, tmp_path):
    folder = shutil.copytree(named[0], tmp_path / "other")
    file = folder / "data" / "package" / "estimator" / "model.onnx"
    file.write_bytes(file.read_bytes().replace(np.float32(1.5).tobytes(), np.float32(1.25).tobytes()))

    with pytest.raises(DataError) as refused:
        choose(folder, named[1])
    assert "samples differ" in refused.value.findings[0]


def test_one_row_and_many_at_the_same_time(named):
    native = Native(named[0])
    rows, outputs = making.given(named[1])
    wrong, ended = [], threading.Event()

    def many():
        while not ended.is_set():
            if native.many(rows) != outputs:
                wrong.append("many")

    thread = threading.Thread(target=many)
    thread.start()
    wrong += [row for _ in range(5) for row, output in zip(rows, outputs, strict=True) if native.one(row) != output]
    ended.set()
    thread.join()
    assert wrong == []
