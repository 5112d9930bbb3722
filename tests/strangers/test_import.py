"""A model that was fitted elsewhere comes in, goes through the gates, and answers as it does elsewhere; or is refused whole."""

import json
import shutil
import warnings

import joblib
import mlflow
import pandas as pd
import pytest
import sklearn
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.serving.conftest import serving

import headrace as hr
from headrace.core.errors import DeclarationError, HeadraceError, NotFoundError, UnavailableError
from headrace.operations.import_model import import_model
from headrace.operations.operation import At

TOML = """
[project]
name = "tumours"
module = "tumours"

[env.dev]
"""
PROGRAM = """
import headrace as hr

rows = hr.Source("bronze.rows", files="rows.csv")
model = hr.Model("tumour", task=hr.Binary(label=rows["target"]), spine=rows, features="all columns")
size = hr.Model("size", task=hr.Regression(label=rows["target"]), spine=rows, features="all columns")
delivery = hr.Deployment(model, gates=[hr.signature(), hr.at_least("roc_auc", 0.9)], serve=hr.Serve())
"""


def frame():
    rows = load_breast_cancer(as_frame=True).frame
    return rows.rename(columns=lambda name: name.replace(" ", "_"))


def inputs():
    return frame().drop(columns="target")


def pipeline(X=None):
    X = inputs() if X is None else X
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, frame().target)


@pytest.fixture(scope="module")
def refreshed(headrace, tmp_path_factory):
    """A project with rows and two models, of which no version is there."""
    folder = tmp_path_factory.mktemp("tumours")
    (folder / "headrace.toml").write_text(TOML)
    (folder / "tumours.py").write_text(PROGRAM)
    frame().to_csv(folder / "rows.csv", index=False)
    done = headrace.run(folder, "run", "refresh")
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Somebody's MLflow database with a registered pipeline; gives its URL and the id of the run."""
    folder = tmp_path_factory.mktemp("mlflow")
    url = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(url)
    try:
        experiment = mlflow.create_experiment("theirs", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.sklearn.log_model(
                pipeline(), name="model", serialization_format="cloudpickle", registered_model_name="theirs",
                input_example=inputs()[:2], pip_requirements=["scikit-learn"],
            )  # fmt: skip
        mlflow.MlflowClient().set_registered_model_alias("theirs", "best", "1")
    finally:
        mlflow.set_tracking_uri(before)
    return url, run.info.run_id


def imported(headrace, folder, *arguments):
    done = headrace.run(folder, "model", "import", *arguments, "--json")
    assert done.code == 0, done.stderr
    return done.json()


def test_a_logged_pipeline_comes_to_production_and_answers_as_scikit_learn_does(headrace, refreshed, registry):
    url, run = registry
    first = imported(headrace, refreshed, "tumour", "models:/theirs/1", "--tracking-uri", url)
    assert (first["known"], first["checked"], first["deployed"]) == (False, "names", True)
    assert first["source"] == f"models:/theirs/1 of {url}"
    assert [step["name"] for step in first["steps"]] == ["moment", "training set", "fit", "evaluate", "register"]
    again = imported(headrace, refreshed, "tumour", "models:/theirs@best", "--tracking-uri", url)
    third = imported(headrace, refreshed, "tumour", f"runs:/{run}/model", "--tracking-uri", url)
    for each in (again, third):
        assert (each["known"], each["version"], each["digest"]) == (True, first["version"], first["digest"])
    done = headrace.run(refreshed, "run", "deploy", "--model", "tumour", "--version", first["version"])
    assert done.code == 0, done.stderr
    shown = headrace.run(refreshed, "model", "show", "tumour", "--json").json()
    assert (shown["stage"], shown["imported_from"]) == ("Production", first["source"])
    assert shown["stages"][0]["reason"] == f"imported from {first['source']}"
    with serving(refreshed / ".headrace" / "dev" / "serving" / "tumour") as server:
        records = json.loads(inputs()[:20].to_json(orient="records"))
        status, answer, _ = server.ask("/invocations", {"dataframe_records": records})
        gap = [records[0], {**records[1], "mean_area": None}]
        refused, told, _ = server.ask("/invocations", {"dataframe_records": gap})
        server.end()
    assert status == 200
    assert refused == 400
    assert "row 1: 'mean_area' is missing" in str(told)
    watched = headrace.run(refreshed, "run", "monitor", "--model", "tumour")  # of what was never scored in batch
    assert watched.code == 0, watched.stderr
    assert "Nothing was scored into gold.tumour_predictions yet" in watched.stderr
    rows = headrace.run(refreshed, "sql", "select count(*) as n from inference.tumour", "--json").json()
    assert rows == [{"n": 20}]
    answers = [each["probability"] for each in answer["predictions"]]
    assert answers == pytest.approx(pipeline().predict_proba(inputs()[:20])[:, 1].tolist(), abs=1e-12)


def test_the_drift_of_an_imported_model_is_a_picture(headrace, refreshed, registry, tmp_path):
    """Rows that come later are scored in batch, in another unit: the heat map shows which column it is."""
    folder = shutil.copytree(refreshed, tmp_path / "tumours")
    version = imported(headrace, folder, "tumour", "models:/theirs@best", "--tracking-uri", registry[0])["version"]
    later = frame().assign(worst_area=lambda rows: rows.worst_area * 3)
    pd.concat([frame(), later]).to_csv(folder / "rows.csv", index=False)
    deploy = ["run", "deploy", "--model", "tumour", "--version", version]
    for command in (deploy, ["run", "refresh"], ["run", "score"], ["run", "monitor", "--as-of", "2999-01-01"]):
        done = headrace.run(folder, *command)
        assert done.code == 0, done.stderr
    shown = headrace.run(folder, "monitor", "show", "tumour").stdout
    drift = [line.split() for line in shown[shown.index("Drift") :].splitlines()[2:]]
    assert drift[0][0] == "worst_area"
    assert float(drift[0][1]) > 1
    drawn = hr.open(folder=folder).models["tumour"].monitoring()._repr_html_()
    assert "<svg" in drawn
    assert drawn.index("worst_area") < drawn.index("mean_area")


@pytest.mark.parametrize("kind", ["skops", "cloudpickle"])
def test_a_pipeline_comes_in_however_mlflow_has_kept_it(headrace, refreshed, tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(pipeline(), tmp_path / kind, serialization_format=kind, input_example=inputs()[:2])
    found = imported(headrace, refreshed, "tumour", tmp_path / kind)
    mine = hr.open(folder=refreshed).models["tumour"].version(found["version"]).predict(inputs())
    assert mine.probability.to_list() == pytest.approx(pipeline().predict_proba(inputs())[:, 1].tolist(), abs=1e-12)


def test_a_server_that_nobody_runs_is_told_at_once(refreshed):
    with pytest.raises(UnavailableError, match=r"the MLflow server http://127.0.0.1:9 cannot be reached"):
        import_model(At(folder=refreshed), "tumour", "models:/theirs/1", tracking_uri="http://127.0.0.1:9")


def any_model(*, labels):
    """A model of MLflow that no library knows: it answers probabilities, or labels."""

    class Model(mlflow.pyfunc.PythonModel):  # inside, so that it is pickled by value
        def __init__(self, fitted):
            self.fitted = fitted

        def predict(self, context, model_input, params=None):
            answered = self.fitted.predict_proba(model_input)[:, 1]
            return (answered > 0.5).astype("int64") if labels else answered

    return Model(pipeline())


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes what cannot be imported, or what can; gives its path."""

    def write(kind):
        path = tmp_path / f"{kind}.joblib"
        X = inputs()
        if kind == "text":
            path = tmp_path / "notes.txt"
            path.write_text("a model")
        elif kind == "broken":
            path.write_bytes(b"\x80\x05nothing")
        elif kind in ("no MLmodel", "damaged"):
            path = tmp_path / kind
            path.mkdir()
            if kind == "damaged":
                (path / "MLmodel").write_text("flavors: [")
        elif kind in ("needs more", "labels", "probabilities"):
            path = tmp_path / kind
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = any_model(labels=kind == "labels")
                mlflow.pyfunc.save_model(path, python_model=model, input_example=X[:2], pip_requirements=["quux==1.0"])
            if kind == "needs more":
                file = path / "MLmodel"
                file.write_text(file.read_text().replace("mlflow.pyfunc.model", "quux.flavour"))
        elif kind == "old":
            with monkeypatch.context() as patch:
                patch.setattr(sklearn.base, "__version__", "1.2.3")
                joblib.dump(pipeline(), path)
        else:
            joblib.dump(made(kind, X), path)
        return path

    return write


def made(kind, X):
    if kind == "good":
        return pipeline()
    if kind == "dict":
        return {"weights": [1, 2]}
    if kind == "class":
        return LogisticRegression
    if kind == "unfitted":
        return LogisticRegression()
    if kind == "regressor":
        return LinearRegression().fit(X, frame().target)
    if kind == "missing":
        return pipeline(X.drop(columns="mean_area"))
    if kind == "extra":
        return pipeline(X.assign(age=1.0))
    if kind == "order":
        return pipeline(X[[*X.columns[1:], X.columns[0]]])
    if kind == "three":
        return pipeline(X.iloc[:, :3].to_numpy())
    return pipeline(X.to_numpy())


def left(folder):
    """What an import could leave behind: versions, MLflow's runs, tables."""
    dev = hr.open("dev", folder=folder)
    runs = mlflow.MlflowClient(f"sqlite:///{folder}/.headrace/dev/mlflow.db")
    there = [each.experiment_id for each in runs.search_experiments()]
    return [each.version for each in dev.models.list()], len(runs.search_runs(there)), list(dev.tables)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("text", ["notes.txt is no model", "'.txt'", "models:/NAME/VERSION"]),
        ("broken", ["broken.joblib cannot be read as a model"]),
        ("no MLmodel", ["there is no MLmodel file"]),
        ("damaged", ["its MLmodel is damaged"]),
        ("dict", ["is a dict, and no fitted estimator"]),
        ("class", ["the class LogisticRegression, and no fitted estimator"]),
        ("unfitted", ["a LogisticRegression that is not fitted"]),
        ("missing", ["the model has the feature 'mean_area', which it does not take", "in this order"]),
        ("extra", ["it takes 'age', which is no feature of the model"]),
        ("order", ["number 1 is 'mean_texture' there and 'mean_radius' in the model", "in this order"]),
        ("three", ["takes 3 inputs, and the model has 30 features", "in the order of features="]),
        ("old", ["was pickled by scikit-learn 1.2.3", sklearn.__version__, "--force"]),
        ("needs more", ["needs 'quux', which is not installed", "pip install 'quux==1.0'"]),
        ("regressor", ["gives no probabilities (LinearRegression has no predict_proba)", "the task is Binary"]),
    ],
)
def test_what_cannot_be_imported_is_refused_and_leaves_nothing(refreshed, files, kind, told):
    before = left(refreshed)
    with pytest.raises(HeadraceError) as refused:
        import_model(At(folder=refreshed), "tumour", files(kind))
    assert [each for each in told if each not in str(refused.value)] == []
    assert left(refreshed) == before


@pytest.mark.parametrize(
    ("name", "source", "store", "told"),
    [
        ("tumor", "good", None, ["no model 'tumor'", "did you mean 'tumour'?"]),
        ("size", "good", None, ["is a classifier (Pipeline)", "the task is Regression"]),
        ("tumour", "nowhere.joblib", None, ["no file or folder 'nowhere.joblib'"]),
        ("tumour", "https://models.example/m.pkl", None, ["is no source of a model", "Download it first"]),
        ("tumour", "models:/nobody/1", None, ["models:/nobody/1 cannot be read", "the environment's MLflow store"]),
        ("tumour", "models:/theirs@worst", "theirs", ["models:/theirs@worst cannot be read", "worst"]),
        ("tumour", "runs:/0123/model", "theirs", ["0123"]),
        ("tumour", "models:/theirs/1", "sqlite:////nowhere/mlflow.db", ["no MLflow store at", "/nowhere/mlflow.db"]),
        ("tumour", "good", "theirs", ["Leave --tracking-uri out"]),
    ],
)
def test_what_is_not_there_is_named(refreshed, registry, files, name, source, store, told):
    before = left(refreshed)
    source = files(source) if source == "good" else source
    with pytest.raises(HeadraceError) as refused:
        import_model(At(folder=refreshed), name, source, tracking_uri=registry[0] if store == "theirs" else store)
    assert [each for each in told if each not in str(refused.value)] == []
    assert left(refreshed) == before


def test_a_model_without_a_fit_function_is_not_trained_and_says_what_is_done_instead(headrace, refreshed):
    for more in ([], ["--dry-run"]):
        done = headrace.run(refreshed, "run", "train", "--model", "size", *more)
        assert (done.code, "headrace model import size SOURCE" in done.stderr) == (2, True), done.stderr
    with pytest.raises(DeclarationError, match="declares tune= and no fit="):
        hr.Model(
            "m",
            task=hr.Binary(label=ROWS["target"]),
            spine=ROWS,
            features="all columns",
            tune=hr.Tune({"c": hr.uniform(0, 1)}),
        )


ROWS = hr.Source("bronze.rows", files="rows.csv")


def answers(headrace, folder, version):
    """What a version answers for the held-out rows, in its copy for MLflow."""
    uri = next(
        each["model_uri"]
        for each in headrace.run(folder, "model", "list", "--json").json()
        if (each["model"], each["version"]) == ("tumour", version)
    )
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/.headrace/dev/mlflow.db")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of an estimator that was fitted on an array
            return mlflow.pyfunc.load_model(uri).predict(inputs()[:20])["probability"].tolist()
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("kind", "checked", "more"),
    [("array", "number", []), ("old", "names", ["--force"]), ("probabilities", "names", [])],
)
def test_a_file_predicts_as_what_it_was_made_of(headrace, refreshed, files, kind, checked, more):
    done = imported(headrace, refreshed, "tumour", files(kind), *more)
    assert (done["known"], done["checked"]) == (False, checked)
    expected = pipeline(inputs().to_numpy() if kind == "array" else None).predict_proba(
        inputs()[:20].to_numpy() if kind == "array" else inputs()[:20]
    )
    assert answers(headrace, refreshed, done["version"]) == pytest.approx(expected[:, 1].tolist(), abs=1e-12)


def test_an_mlflow_model_that_answers_labels_is_told_what_is_needed(refreshed, files):
    with pytest.raises(HeadraceError, match="answers labels") as refused:
        import_model(At(folder=refreshed), "tumour", files("labels"))
    assert "predict_proba" in str(refused.value)
    assert [each.version for each in hr.open("dev", folder=refreshed).models.list() if "labels" in each.run_id] == []


def test_a_graph_is_kept_as_a_graph(headrace, refreshed, tmp_path):
    import onnx

    weights = pipeline()[-1].coef_[0] / pipeline()[0].scale_
    bias = pipeline()[-1].intercept_[0] - float((pipeline()[0].mean_ * weights).sum())
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["X", "w"], ["score"]),
            helper.make_node("Add", ["score", "b"], ["shifted"]),
            helper.make_node("Sigmoid", ["shifted"], ["probability"]),
        ],
        "logistic",
        [helper.make_tensor_value_info("X", double, [None, 30])],
        [helper.make_tensor_value_info("probability", double, [None, 1])],
        [
            helper.make_tensor("w", double, [30, 1], weights.tolist()),
            helper.make_tensor("b", double, [1], [bias]),
        ],
    )
    path = tmp_path / "logistic.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    done = imported(headrace, refreshed, "tumour", path)
    assert (done["known"], done["checked"]) == (False, "number")
    expected = pipeline().predict_proba(inputs()[:20])[:, 1]
    assert answers(headrace, refreshed, done["version"]) == pytest.approx(expected.tolist(), abs=1e-9)
    narrow = path.with_name("narrow.onnx")
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 29
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), narrow)
    with pytest.raises(HeadraceError, match="takes 29 inputs, and the model has 30 features"):
        import_model(At(folder=refreshed), "tumour", narrow)


def test_an_estimator_of_a_notebook_is_imported_once_for_each_code_of_the_project(headrace, refreshed):
    model = hr.open("dev", folder=refreshed).models["tumour"]
    fitted = LogisticRegression(C=0.01, max_iter=5000).fit(inputs(), frame().target)
    first, again = model.import_(fitted), model.import_(fitted)
    assert (first.known, again.known, again.version) == (False, True, first.version)
    assert first.source == "LogisticRegression in memory"
    assert model.version(first.version).metrics["roc_auc"] > 0.9
    file = refreshed / "tumours.py"
    file.write_text(f"{file.read_text()}\n# another line\n")
    other = hr.open("dev", folder=refreshed).models["tumour"].import_(fitted)
    assert (other.known, other.version > first.version) == (False, True)
    listed = headrace.run(refreshed, "model", "list")
    assert listed.stdout.count("imported: unknown") == len(model.versions)
    with pytest.raises(NotFoundError, match="did you mean 'tumour'"):
        hr.open("dev", folder=refreshed).models["tumor"]
