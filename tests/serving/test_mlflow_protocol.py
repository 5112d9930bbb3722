"""`/invocations` of a model that MLflow keeps, beside what the functions of MLflow's own scoring server answer."""

import asyncio
import json

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

from headrace.serving.app import App
from headrace.serving.flavours.load import load_bare
from headrace.serving.messages import Request

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow: integer columns, pickles
CSV = "text/csv"


class Kind(mlflow.pyfunc.PythonModel):
    def __init__(self, kind):
        self.kind = kind

    def predict(self, context, model_input, params=None):
        a = np.asarray(model_input, dtype="float64")[:, 0]
        return {
            "list": a.tolist,
            "whole": lambda: a.astype(int),
            "series": lambda: pd.Series(a, name="whatever"),
            "nameless": lambda: pd.Series(a),
            "dict": lambda: {"twice": a * 2, "text": [str(each) for each in a]},
            "matrix": lambda: np.column_stack([a, a + 0.5]),
            "one-hot": lambda: np.eye(3, dtype=int)[a.astype(int) % 3],
            "cube": lambda: np.stack([np.column_stack([a, a])] * 2, axis=1),
            "dicts": lambda: [{"value": np.float64(each)} for each in a],
            "lists": lambda: [[each, "x"] for each in a],
            "frame": lambda: pd.DataFrame({"low": a, "high": a + 1}),
        }[self.kind]()


class Missing(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [sorted(name for name, value in row.items() if pd.isna(value)) for _, row in model_input.iterrows()]


class Both:
    """One model, asked through Headrace and through MLflow."""

    def __init__(self, folder):
        self.traffic = load_bare(str(folder))
        self.model = mlflow.pyfunc.load_model(str(folder))

    def ours(self, body, kind="application/json"):
        async def said():
            app = App()
            app.traffic = self.traffic
            request = Request("POST", "/invocations", "", {b"content-type": kind.encode()}, given)
            answer = app.admit(request) or app.answer(request)
            return answer if hasattr(answer, "status") else await answer

        given = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = asyncio.run(said())
        return answer.status, json.loads(answer.body)

    def theirs(self, body, kind="application/json"):
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else json.dumps(body)
        answer = invocations(text, kind, self.model, self.model.metadata.get_input_schema())
        return answer.status, json.loads(answer.response)

    def agree(self, body, kind="application/json"):
        ours = self.ours(body, kind)
        assert ours == self.theirs(body, kind)
        assert ours[0] == 200
        return ours[1]["predictions"]


@pytest.fixture
def kept(tmp_path):
    def both(model, inputs, example=None, outputs=None):
        mlflow.pyfunc.save_model(
            str(tmp_path / "m"),
            python_model=model,
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            pip_requirements=[],
            **({} if example is None else {"input_example": example}),
        )
        return Both(tmp_path / "m")

    return both


EXAMPLE = pd.DataFrame({"a": [0.5, 1.5, 2.0], "b": [1.0, 2.0, 3.0]})
NUMBERS = Schema([ColSpec("double", "a"), ColSpec("double", "b")])


@pytest.mark.parametrize("example", [EXAMPLE, None], ids=["example", "without"])
@pytest.mark.parametrize(
    "kind",
    ["list", "whole", "series", "nameless", "dict", "matrix", "one-hot", "cube", "dicts", "lists", "frame"],
)
def test_predictions_have_the_shape_that_mlflow_gives_them(kept, kind, example):
    both = kept(Kind(kind), NUMBERS, example)
    rows = [[2.5, 1.0], [4.0, 2.0]]
    for body in (
        {"dataframe_split": {"columns": ["a", "b"], "data": rows}},
        {"dataframe_records": [dict(zip("ab", row, strict=True)) for row in rows]},
        {"inputs": {"a": [2.5, 4.0], "b": [1.0, 2.0]}},
        {"dataframe_split": {"columns": ["b", "a"], "data": rows[:1]}},
    ):
        both.agree(body)


def test_a_signature_with_names_for_a_matrix_leaves_its_shape(kept):
    outputs = Schema([ColSpec("double", "low"), ColSpec("double", "high")])
    both = kept(Kind("matrix"), NUMBERS, EXAMPLE, outputs)
    assert both.agree({"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}) == [[1.0, 1.5]]


def test_a_null_goes_to_a_model_that_takes_one(tmp_path):
    X = pd.DataFrame({"a": np.arange(200.0), "b": np.arange(200.0) % 7})
    model = lightgbm.train({"verbose": -1, "num_iterations": 5}, lightgbm.Dataset(X, X["a"]))
    signature = infer_signature(X, model.predict(X))
    mlflow.lightgbm.save_model(
        model, str(tmp_path / "m"), signature=signature, input_example=X.head(), pip_requirements=[]
    )
    both = Both(tmp_path / "m")
    split = {"columns": ["a", "b"], "data": [[None, 1.0], [3.0, None]]}
    assert len(both.agree({"dataframe_split": split})) == 2


class TestOptional:
    @pytest.fixture
    def both(self, kept):
        inputs = Schema(
            [ColSpec("double", "a"), ColSpec("double", "b", required=False), ColSpec("string", "c", required=False)]
        )
        return kept(Missing(), inputs)

    @pytest.mark.parametrize(
        "body",
        [
            {"dataframe_split": {"columns": ["a"], "data": [[1.0], [2.0]]}},
            {"dataframe_split": {"columns": ["c", "a"], "data": [["x", 1.0]]}},
            {"dataframe_records": [{"a": 1.0}]},
            {"dataframe_records": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
            {"dataframe_records": [{"a": 1.0, "b": None, "c": "x"}]},
            {"inputs": {"a": [1.0, 2.0]}},
        ],
    )
    def test_columns_may_be_left_out(self, both, body):
        told = both.ours(body)
        assert told[0] == 200
        left = {"a", "b", "c"} - {name for name in "abc" if f'"{name}"' in json.dumps(body)}
        assert all(left <= set(row) for row in told[1]["predictions"])

    def test_of_csv_too(self, both):
        assert both.ours(b"c,a\nx,1\n,2\n", CSV) == (200, {"predictions": [["b"], ["b", "c"]]})

    def test_a_required_one_may_not(self, both):
        status, told = both.ours({"dataframe_records": [{"b": 1.0}]})
        assert (status, told["message"]) == (400, "row 0: 'a' is missing.")
        assert both.ours({"dataframe_split": {"columns": ["b"], "data": [[1.0]]}})[0] == 400
        assert both.ours({"dataframe_records": [{"a": 1.0, "d": 2.0}]})[0] == 400


@pytest.mark.parametrize(
    ("kind", "row", "held"),
    [
        ("uint8", [255, 0], True),
        ("uint8", [300, 0], False),
        ("uint8", [-1, 0], False),
        ("int32", [2**31, 0], False),
        ("int64", [1.5, 0], False),
        ("int64", [2.0, 0], True),
        ("bool", [2, 0], False),
        ("bool", [1, 0], True),
        ("float32", [1e39, 0], False),
        ("float32", [1e38, 0], True),
    ],
)
def test_a_tensor_holds_what_its_type_can(kept, kind, row, held):
    both = kept(Kind("list"), Schema([TensorSpec(np.dtype(kind), (-1, 2))]))
    status, told = both.ours({"inputs": [[1, 0], row]})
    if held:
        assert status == 200
        assert told["predictions"][1] == pytest.approx(float(row[0]), rel=1e-6)
    else:
        assert (status, told["message"]) == (
            400,
            f"row 1: value 0 is nothing that {kind} of the model's signature can hold.",
        )


class TestCsv:
    @pytest.fixture
    def both(self, kept):
        return kept(Kind("list"), Schema([ColSpec("double", "a"), ColSpec("boolean", "b")]))

    @pytest.mark.parametrize(
        "body",
        [
            b"a,b\n1.5,True\n2,False\n",
            b"\xef\xbb\xbfa,b\n1,True\n",
            b"a,b\n\n1.5,True\n\n\n2,False\n",
            b"a,b\r\n1,True\r\n",
        ],
        ids=["booleans", "mark", "blank lines", "carriage returns"],
    )
    def test_is_read_as_mlflow_does(self, both, body):
        both.agree(body, CSV)

    def test_nan_is_missing(self, kept):
        both = kept(Missing(), Schema([ColSpec("double", "a"), ColSpec("double", "b")]))
        assert both.agree(b"a,b\nNaN,1\n2,nan\n,3\n", CSV) == [["a"], ["b"], ["a"]]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("text/csvx", 415),
    ],
)
def test_what_kind_of_body_it_is_is_looked_at(kept, kind, status):
    both = kept(Kind("list"), NUMBERS, EXAMPLE)
    assert both.ours({"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}, kind)[0] == status


class Asks(mlflow.pyfunc.PythonModel):
    """Says what it was given, as far as JSON can."""

    def predict(self, context, model_input, params=None):
        if isinstance(model_input, dict):
            return {name: np.asarray(value).sum(axis=-1) for name, value in model_input.items()}
        if isinstance(model_input, np.ndarray):
            return model_input.reshape(len(model_input), -1).sum(axis=1)
        return [[str(type(value).__name__), str(value)] for value in model_input.iloc[:, 0]]


class Mean(mlflow.pyfunc.PythonModel):
    def __init__(self, gives):
        self.gives = gives

    def predict(self, context, model_input, params=None):
        return {"scalar": {"mean": float(model_input["a"].mean())}, "nothing": None, "few": [1.0]}[self.gives]


class Hinted(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str], params=None) -> list[str]:
        return [each.upper() for each in model_input]


class Chat(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage

        answer = ChatMessage(role="assistant", content=messages[-1].content[::-1])
        return ChatCompletionResponse(choices=[ChatChoice(message=answer)], model="backwards", created=1)


class TestWhole:
    """What is no row of numbers, texts and times: MLflow's own functions answer it."""

    @pytest.mark.parametrize(
        ("inputs", "body"),
        [
            (Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]), {"inputs": [[[1, 2], [3, 4.5]]]}),
            (
                Schema([TensorSpec(np.dtype("float64"), (-1, 2), "x"), TensorSpec(np.dtype("int64"), (-1, 1), "y")]),
                {"inputs": {"x": [[1, 2], [3, 4]], "y": [[1], [2]]}},
            ),
            (Schema([TensorSpec(np.dtype("float64"), (-1, 3), "x")]), {"inputs": {"x": [[1, 2, 3]]}}),
            (Schema([ColSpec("string")]), {"inputs": ["hello", "you"]}),
            (Schema([ColSpec("binary", "picture")]), {"dataframe_split": {"columns": ["picture"], "data": [["aGk="]]}}),
            (
                Schema([ColSpec(Array(DataType.double), "v")]),
                {"dataframe_split": {"columns": ["v"], "data": [[[1.5, 2]]]}},
            ),
            (
                Schema([ColSpec(Object([Property("role", DataType.string)]), "o")]),
                {"dataframe_split": {"columns": ["o"], "data": [[{"role": "x"}]]}},
            ),
        ],
        ids=["three dimensions", "two tensors", "a named tensor", "no name", "bytes", "a list", "an object"],
    )
    def test_inputs_that_are_no_columns(self, kept, inputs, body):
        both = kept(Asks(), inputs)
        assert both.traffic.primary.predictor.tier in ("mlflow", "pyfunc")
        both.agree(body)

    @pytest.mark.parametrize("gives", ["scalar", "nothing", "few"])
    def test_answers_that_are_not_one_for_each_row(self, kept, gives):
        both = kept(Mean(gives), NUMBERS, EXAMPLE)
        assert both.traffic.primary.predictor.tier == "mlflow"
        both.agree({"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0], [3.0, 4.0]]}})

    def test_without_a_signature(self, tmp_path):
        mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Asks(), pip_requirements=[])
        both = Both(tmp_path / "m")
        both.agree({"dataframe_split": {"columns": ["q"], "data": [["x"]]}})
        both.agree({"inputs": [[1.0, 2.0], [3.0, 4.0]]})
        both.agree(b"q\n1\n2\n", CSV)

    def test_type_hints(self, tmp_path):
        mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Hinted(), pip_requirements=[])
        assert Both(tmp_path / "m").agree({"inputs": ["a", "b"]}) == ["A", "B"]

    def test_chats(self, tmp_path):
        mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Chat(), pip_requirements=[])
        both = Both(tmp_path / "m")
        status, told = both.ours({"messages": [{"role": "user", "content": "hello"}]})
        assert (status, told["choices"][0]["message"]["content"]) == (200, "olleh")
        assert told == both.theirs({"messages": [{"role": "user", "content": "hello"}]})[1]

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"{", "application/json"),
            (b"[]", "application/json"),
            (b"{}", "application/json"),
            (b'{"inputs": {"x": ["not a number"]}}', "application/json"),
            (b"a\n1\n", "text/plain"),
            (b"\xff\xfe", CSV),
        ],
    )
    def test_what_mlflow_cannot_read_is_a_400(self, kept, body, kind):
        both = kept(Asks(), Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]))
        status, told = both.ours(body, kind)
        assert (status, "MLflow" in told["message"]) == (400, True)
        assert "not a number" not in told["message"]

    def test_elsewhere_it_is_told_where_to_ask(self, kept):
        both = kept(Asks(), Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]))

        async def said(method, path):
            app = App()
            app.traffic = both.traffic
            request = Request(method, path, "", {}, b"{}")
            return app.admit(request) or app.answer(request)

        for path in ("/predict", "/v2/models/m/infer"):
            answer = asyncio.run(said("POST", path))
            assert (answer.status, b"/invocations" in answer.body) == (400, True)
        for path in ("/version", "/openapi.json", "/v2/models/m", "/metrics", "/ready"):
            assert asyncio.run(said("GET", path)).status == 200
