"""Models that Headrace did not package: of several flavours, with signatures of several kinds, through the server's own code."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from headrace.core.errors import DataError
from headrace.serving.app import App
from headrace.serving.flavours.load import load_bare
from headrace.serving.messages import Request

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow: integer columns, pickles


def rows(count):
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": draw.normal(size=count), "whole": draw.integers(0, 9, count), "narrow": draw.normal(size=count)}
    ).astype({"narrow": "float32"})


def saved(flavour, folder, model, given, example=True, **more):
    """As its user saves it; what MLflow answers by itself."""
    X = rows(8)
    options = {"signature": infer_signature(X, given), "pip_requirements": [], **more}
    flavour.save_model(model, str(folder), **options, **({"input_example": X} if example else {}))
    return X, mlflow.pyfunc.load_model(str(folder))


JSON = {"content-type": "application/json"}


async def ask(traffic, body, path="/invocations", method="POST"):
    app = App()
    app.traffic = traffic
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(method, path, "", {}, content)
    answer = app.admit(request) or app.answer(request)
    answer = answer if hasattr(answer, "status") else await answer
    return answer.status, json.loads(answer.body)


@pytest.fixture
def asked():
    return lambda *given, **more: asyncio.run(ask(*given, **more))


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forest") / "night"
    X = rows(300)
    model = RandomForestClassifier(10, random_state=0).fit(X, X["a"] > X["narrow"])
    return folder, *saved(
        mlflow.sklearn,
        folder,
        model,
        model.predict_proba(X),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
    )


def body(X):
    data = [[None if value != value else value for value in row] for row in X.astype(object).to_numpy().tolist()]
    return {"dataframe_split": {"columns": list(X.columns), "data": data}}


def test_scikit_learn_past_mlflow_s_checks(asked, forest):
    folder, X, model = forest

    traffic = load_bare(str(folder))

    serving = traffic.primary
    assert (traffic.manifest.model, serving.predictor.tier, serving.slower) == ("night", "generic", ())
    assert serving.columns == ("prediction_0", "prediction_1")
    status, told = asked(traffic, body(X))
    assert status == 200
    assert told["predictions"] == model.predict(X).tolist()
    for place in range(3):
        status, told = asked(traffic, {"instances": [X.iloc[place].tolist()]})
        assert told["predictions"] == model.predict(X.iloc[[place]]).tolist()


def test_the_command_serves_it_outside_of_any_project(forest, tmp_path):
    folder, X, model = forest
    with served(tmp_path, "--mlflow", str(folder), "--processes", "2") as (process, said):
        status, told = said(body(X))
        assert status == 200
        assert told["predictions"] == model.predict(X).tolist()
        process.terminate()
        assert process.wait(120) == 0


@pytest.mark.parametrize("place", ["nowhere", "models:/nobody/3"])
def test_the_command_tells_what_is_not_there(tmp_path, place):
    command = [sys.executable, "-m", "headrace.cli", "serve", "--mlflow", place, "--port", str(free())]
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 2
    assert place in done.stderr
    assert "Traceback" not in done.stderr


def free():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def served(folder, *arguments):
    port = free()
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", str(port), *arguments]

    def said(asked):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(asked).encode(), JSON)
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())

    with (folder / "said").open("w+") as file, subprocess.Popen(command, cwd=folder, stderr=file) as process:
        try:
            end = time.monotonic() + 60
            while "serving on" not in (folder / "said").read_text():
                assert process.poll() is None, (folder / "said").read_text()
                assert time.monotonic() < end
                time.sleep(0.05)
            yield process, said
        finally:
            process.kill()


def test_every_other_path_knows_the_model_too(asked, forest):
    traffic = load_bare(str(forest[0]))

    assert asked(traffic, b"", "/ready", "GET")[0] == 200
    status, told = asked(traffic, b"", "/version", "GET")
    assert (status, told["tier"], told["inputs"]) == (200, "generic", ["a", "whole", "narrow"])
    assert asked(traffic, b"", "/openapi.json", "GET")[0] == 200
    status, told = asked(traffic, b"", "/v2/models/night", "GET")
    assert [each["datatype"] for each in told["outputs"]] == ["FP64", "FP64"]
    tensor = {"name": "X", "shape": [2, 3], "datatype": "FP64", "data": [0.5, 1, 2, 0.1, 3, 4]}
    status, told = asked(traffic, {"inputs": [tensor]}, "/v2/models/night/infer")
    assert (status, len(told["outputs"])) == (200, 2)
    row = {"a": 0.5, "whole": 1, "narrow": 2.0}
    status, told = asked(traffic, {"rows": [row, row]}, "/predict")
    assert status == 200
    ids = [each["prediction_id"] for each in told["predictions"]]
    assert len(set(ids)) == 2, "there is no key that they are known by"
    assert asked(traffic, {"rows": [{"a": 1.0}]}, "/predict")[0] == 400


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0.5, None, 2.0], "row 0: 'whole' is null, and the model's signature requires it"),
        ([0.5, 1.5, 2.0], "row 0: 'whole' is no long"),
        ([0.5, 2**63, 2.0], "row 0: 'whole' is no long"),
        ([0.5, "1", 2.0], "row 0: 'whole' is no number"),
        ([0.5, 1], "row 0 has 2 values"),
    ],
)
def test_what_the_signature_does_not_allow_is_a_400(asked, forest, row, said):
    status, told = asked(load_bare(str(forest[0])), {"instances": [row]})

    assert status == 400
    assert said in told["message"]


def test_lightgbm_with_missing_values_where_the_signature_allows_them(asked, tmp_path):
    X = rows(300)
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, X["a"]), 5)
    X = X.head(8)
    X.loc[2, "narrow"] = None
    options = {"signature": infer_signature(X, np.zeros(8)), "input_example": X, "pip_requirements": []}
    mlflow.lightgbm.save_model(model, str(tmp_path / "m"), **options)

    traffic = load_bare(str(tmp_path / "m"))

    assert traffic.primary.predictor.tier == "generic"
    status, told = asked(traffic, body(X))
    assert status == 200
    answers = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(X)
    assert told["predictions"] == answers.tolist()


class Scaled(mlflow.pyfunc.PythonModel):
    """Takes parameters, gives a DataFrame with a text and a list."""

    def predict(self, context, model_input, params=None):
        params = params or {}
        times = model_input["a"] * params["factor"]
        return pd.DataFrame({"times": times, "unit": params["unit"], "both": [[each, 0] for each in times]})


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaled") / "scaled"
    X = rows(8)
    params = ParamSchema([ParamSpec("factor", "double", 2.0), ParamSpec("unit", "string", "m")])
    inputs = infer_signature(X).inputs
    outputs = Schema([ColSpec("double", "times"), ColSpec("string", "unit")])
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=Scaled(),
        signature=ModelSignature(inputs=inputs, outputs=outputs, params=params),
        pip_requirements=[],
        input_example=X,
    )
    return load_bare(str(folder))


def test_a_python_model_gives_what_it_likes_and_takes_its_parameters(asked, scaled):
    row = [0.5, 1, 2.0]

    assert scaled.primary.columns == ("times", "unit", "both")
    answer = {"times": 1.0, "unit": "m", "both": [1.0, 0]}
    assert asked(scaled, {"instances": [row]}) == (200, {"predictions": [answer]})
    status, told = asked(scaled, {"instances": [row], "params": {"factor": 10}})
    assert (status, told["predictions"][0]["times"], told["predictions"][0]["unit"]) == (200, 5.0, "m")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"factor": "ten"}, "parameter 'factor' is not DataType.double"),
        ({"colour": 1}, "'colour' is no parameter of this model; it takes factor, unit"),
        ([1], "params is no object"),
    ],
)
def test_a_parameter_that_is_wrong_is_a_400(asked, scaled, params, said):
    status, told = asked(scaled, {"instances": [[0.5, 1, 2.0]], "params": params})

    assert status == 400
    assert said in told["message"]


def test_requests_with_other_parameters_may_be_one_call(scaled):
    row = [0.5, 1, 2.0]
    mixed = [
        [*row, {"factor": 3.0, "unit": "ft"}],
        [*row, {"factor": 3.0, "unit": "ft"}],
        row,
        [*row, {"factor": 4.0, "unit": "m"}],
    ]

    assert [each[:2] for each in scaled.primary.predictor.many(mixed)] == [
        [1.5, "ft"],
        [1.5, "ft"],
        [1.0, "m"],
        [2.0, "m"],
    ]


class Enforced(mlflow.pyfunc.PythonModel):
    """Answers otherwise when MLflow has not looked at the data first."""

    def predict(self, context, model_input, params=None):
        import inspect

        through = any(frame.function == "_predict" and "mlflow" in frame.filename for frame in inspect.stack())
        return model_input["a"].to_numpy() + (0 if through else 1)


def python_model(folder, model, *, example=True, outputs=None, inputs=None):
    X = rows(8)
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=model,
        signature=ModelSignature(inputs=inputs or infer_signature(X).inputs, outputs=outputs),
        pip_requirements=[],
        **({"input_example": X} if example else {}),
    )
    return X


def test_a_flavour_that_answers_otherwise_by_itself_goes_through_mlflow(asked, tmp_path):
    X = python_model(tmp_path / "m", Enforced())

    traffic = load_bare(str(tmp_path / "m"))

    assert traffic.primary.predictor.tier == "pyfunc"
    assert traffic.primary.slower == ("generic: MLflow's predict answers the input example otherwise",)
    answers = asked(traffic, body(X))[1]["predictions"]
    assert answers == X["a"].tolist()


class Kind(mlflow.pyfunc.PythonModel):
    def __init__(self, kind):
        self.kind = kind

    def predict(self, context, model_input, params=None):
        a = model_input["a"].to_numpy()
        return {
            "list": a.tolist,
            "series": lambda: pd.Series(a, name="whatever"),
            "dict": lambda: {"twice": a * 2, "text": [str(each) for each in a]},
            "matrix": lambda: np.column_stack([a, a]),
            "dicts": lambda: [{"value": np.float64(each)} for each in a],
            "nothing": lambda: None,
            "few": lambda: a[:-1],
        }[self.kind]()


@pytest.mark.parametrize(
    ("kind", "columns", "first"),
    [
        ("list", ("prediction",), lambda a: [a]),
        ("series", ("whatever",), lambda a: [a]),
        ("dict", ("twice", "text"), lambda a: [a * 2, str(np.float64(a))]),
        ("matrix", ("prediction_0", "prediction_1"), lambda a: [a, a]),
        ("dicts", ("prediction",), lambda a: [{"value": a}]),
    ],
)
def test_outputs_of_any_kind_become_columns(tmp_path, kind, columns, first):
    X = python_model(tmp_path / "m", Kind(kind))

    serving = load_bare(str(tmp_path / "m")).primary

    assert serving.columns == columns
    assert serving.predictor.one(X.iloc[0].tolist()) == first(X["a"][0])
    json.dumps(serving.predictor.many(X.to_numpy().tolist()))


def test_a_signature_that_names_its_outputs_names_the_columns_of_an_array(tmp_path):
    outputs = Schema([ColSpec("double", "low"), ColSpec("double", "high")])
    python_model(tmp_path / "m", Kind("matrix"), outputs=outputs)

    assert load_bare(str(tmp_path / "m")).primary.columns == ("low", "high")


def test_without_an_example_mlflow_s_own_way_is_taken(asked, tmp_path):
    python_model(tmp_path / "m", Kind("list"), example=False)

    traffic = load_bare(str(tmp_path / "m"))

    assert traffic.primary.slower == ("generic: there is no input example to compare with",)
    assert asked(traffic, {"instances": [[0.5, 1, 2.0]]}) == (200, {"predictions": [0.5]})


class Days(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert str(model_input["at"].dtype) == "datetime64[ns]"
        return [f"{name}{at:%j}{yes}" for name, at, yes in model_input.itertuples(index=False)]


def test_times_texts_and_booleans(asked, tmp_path):
    X = pd.DataFrame(
        {"name": ["x", "y"], "at": pd.to_datetime(["2024-03-01T00:00", "2024-03-02T05:00"]), "yes": [True, False]}
    )
    options = {"signature": infer_signature(X, ["x"]), "input_example": X, "pip_requirements": []}
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Days(), **options)

    traffic = load_bare(str(tmp_path / "m"))

    status, told = asked(traffic, {"instances": [["z", "2024-01-02T03:00:00", True], ["z", "2024-01-03", False]]})
    assert (status, told["predictions"]) == (200, ["z002True", "z003False"])
    assert asked(traffic, {"instances": [["z", "2024-01-02", 2]]})[0] == 400


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert model_input.dtype == np.float32
        return model_input.sum(axis=1)


def test_a_tensor_of_two_dimensions(asked, tmp_path):
    inputs = Schema([TensorSpec(np.dtype("float32"), (-1, 4))])
    mlflow.pyfunc.save_model(
        str(tmp_path / "m"), python_model=Sum(), signature=ModelSignature(inputs=inputs), pip_requirements=[]
    )

    traffic = load_bare(str(tmp_path / "m"))

    assert traffic.primary.codec.names == ["x0", "x1", "x2", "x3"]
    assert asked(traffic, {"instances": [[0.5, 1, 2, 3]]}) == (200, {"predictions": [6.5]})
    assert asked(traffic, {"instances": [[0.5, 1, 2, None]]})[0] == 400


@pytest.mark.parametrize("place", ["nowhere", "models:/nobody/3"])
def test_what_is_not_there_is_told(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    with pytest.raises(DataError):
        load_bare(place)


def test_a_registered_model_by_its_uri(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    X = rows(50)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        with mlflow.start_run():
            for _ in range(2):
                mlflow.sklearn.log_model(
                    LinearRegression().fit(X, X["a"]),
                    name="model",
                    registered_model_name="night",
                    signature=infer_signature(X, X["a"]),
                    input_example=X.head(),
                    pip_requirements=[],
                    serialization_format="cloudpickle",
                )
        mlflow.MlflowClient().set_registered_model_alias("night", "chosen", 1)
        traffic = load_bare("models:/night/2")
        others = [load_bare(f"models:/night{each}") for each in ("@chosen", "/latest", "/1")]
    finally:
        mlflow.set_tracking_uri(None)

    assert (traffic.manifest.model, traffic.primary.served.version) == ("night", 2)
    assert traffic.primary.predictor.tier == "generic"
    assert [(each.manifest.model, each.primary.served.version) for each in others] == [
        ("night", 1),
        ("night", 2),
        ("night", 1),
    ]


def test_many_requests_at_once_are_all_answered_with_their_own(scaled):
    async def all_of_them():
        bodies = [
            {"instances": [[float(each), 1, 2.0]], "params": {"factor": float(each % 3 + 1)}} for each in range(60)
        ]
        return await asyncio.gather(*(ask(scaled, each) for each in bodies))

    answers = asyncio.run(all_of_them())

    assert [told["predictions"][0]["times"] for _, told in answers] == [each * (each % 3 + 1.0) for each in range(60)]
    assert all(status == 200 for status, _ in answers)


def test_a_model_that_takes_no_missing_values_is_a_422_that_says_where_one_is(asked, tmp_path):
    X = rows(50).drop(columns="whole")
    signature = infer_signature(X, X["a"])
    options = {"signature": signature, "pip_requirements": [], "serialization_format": "cloudpickle"}
    mlflow.sklearn.save_model(LinearRegression().fit(X, X["a"]), str(tmp_path / "line"), **options)
    traffic = load_bare(str(tmp_path / "line"))
    status, told = asked(traffic, {"instances": [[1.0, 2.0], [1.0, None]]})
    assert (status, told["message"]) == (422, "ValueError in the model; row 1 has no value for 'narrow'.")
    assert asked(traffic, {"instances": [[1.0, 2.0]]})[0] == 200


class Total(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        del context, params
        return [float(model_input.sum().sum())]


def test_one_answer_for_all_rows_is_found_out_without_an_example(asked, tmp_path):
    signature = ModelSignature(Schema([ColSpec("double", "a")]))
    mlflow.pyfunc.save_model(str(tmp_path / "total"), python_model=Total(), signature=signature, pip_requirements=[])
    status, told = asked(load_bare(str(tmp_path / "total")), {"dataframe_records": [{"a": 1.0}, {"a": 2.0}]})
    assert (status, told["predictions"]) == (200, [3.0])


class Spoiled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        del context, params
        if (model_input["a"] > 100).any():
            int("a fault that has nothing to do with missing values")
        return model_input["a"] * 2


def test_a_fault_of_the_model_is_none_of_missing_values(asked, tmp_path):
    signature = ModelSignature(Schema([ColSpec("double", "a"), ColSpec("string", "note", required=False)]))
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Spoiled(), signature=signature, pip_requirements=[])
    traffic = load_bare(str(tmp_path / "m"))
    assert asked(traffic, {"dataframe_records": [{"a": 1.0, "note": None}]})[0] == 200
    assert asked(traffic, {"dataframe_records": [{"a": 200.0, "note": None}]})[0] == 500
