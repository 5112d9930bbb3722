"""What MLflow and its tools see of a version: real types, the tables it was made of, and `mlflow.models.evaluate`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import mlflow
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from sklearn.metrics import accuracy_score

from headrace.lakehouse.lakehouse import Lakehouse
from headrace.serving.app import App
from headrace.serving.flavours.load import load_bare
from headrace.serving.loading import load
from headrace.serving.messages import Request
from headrace.tracking.store import current

TOML = '[project]\nname = "loans"\nmodule = "loans"\nas_of = "2024-03-01"\n\n[env.dev]\n'
PROGRAM = """\
import headrace as hr
from lightgbm import LGBMClassifier

raw = hr.Source("raw.loans", files="data/*.parquet")
asked = hr.Table("bank.asked", key="loan", sql="select * exclude (repaid, known_at) from raw.loans")
known = hr.Table("bank.known", key="loan", time="known_at", sql="select loan, known_at, repaid from raw.loans")


@hr.on_demand(hr.Schema(moments="float64"))
def moments(born, seen, now, far):
    return born.dt.day + seen.dt.hour + now.dt.hour + far.dt.year


def fit(data, params):
    return LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(data.X, data.y)


model = hr.Model(
    "repaid", fit=fit, task=hr.Binary(label=known["repaid"]), spine=asked.at("requested_at"),
    features=[asked.select("years", "cars", "home", "young", "income", "share", "job"), moments],
    evaluate=hr.Evaluate(test="20d"),
)
delivery = hr.Deployment(model, gates=[hr.signature()], score=hr.Score(into="gold.repaid"), serve=hr.Serve(log="none"))
"""
TYPES = {
    "years": "long",
    "cars": "double",  # an integer that may be missing
    "home": "boolean",
    "young": "boolean",
    "income": "double",
    "share": "double",
    "job": "string",
    "born": "datetime",
    "seen": "datetime",
    "now": "any",  # with a zone
    "far": "any",  # past MLflow's nanoseconds
}


def loans(count=400):
    at = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=3 * each) for each in range(count)]
    naive = [each.replace(tzinfo=None) for each in at]
    instant, time = pa.timestamp("us", "UTC"), pa.timestamp("us")
    return pa.table(
        {
            "loan": pa.array(range(count), pa.int64()),
            "requested_at": pa.array(at, instant),
            "known_at": pa.array([each + timedelta(hours=1) for each in at], instant),
            "years": pa.array([each % 40 for each in range(count)], pa.int32()),
            "cars": pa.array([None if each % 7 == 0 else each % 3 for each in range(count)], pa.int64()),
            "home": pa.array([each % 2 == 0 for each in range(count)]),
            "young": pa.array([None if each % 5 == 0 else each % 2 == 0 for each in range(count)]),
            "income": pa.array([None if each % 9 == 0 else each % 11 + 0.5 for each in range(count)], pa.float64()),
            "share": pa.array([each % 13 for each in range(count)]).cast("float64").cast(pa.decimal128(9, 2)),
            "job": pa.array([None if each % 8 == 0 else "abc"[each % 3] for each in range(count)]),
            "born": pa.array([each.date() for each in at], pa.date32()),
            "seen": pa.array([None if each % 6 == 0 else naive[each] for each in range(count)], time),
            "now": pa.array(at, instant),
            "far": pa.array([naive[0].replace(year=9999), *naive[1:]], time),
            "repaid": pa.array([int(each % 40 + each % 11 > 22) for each in range(count)], pa.int64()),
        }
    )


@pytest.fixture(scope="module")
def folder(headrace, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loans")
    (folder / "data").mkdir()

    parquet.write_table(loans(), folder / "data" / "loans.parquet")
    (folder / "headrace.toml").write_text(TOML)
    (folder / "loans.py").write_text(PROGRAM)
    for arguments in (["refresh"], ["train"], ["deploy"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def store(folder):
    with current(f"sqlite:///{folder}/.headrace/dev/mlflow.db"):
        yield mlflow.MlflowClient()


@pytest.fixture
def rows(folder):
    made = Lakehouse("dev", str(folder / ".headrace" / "dev" / "lakehouse")).snapshot("training.repaid").to_arrow()
    return made.to_pandas()


def test_the_signature_has_the_types_of_the_training_rows(store):
    info = mlflow.models.get_model_info("models:/repaid/1")
    assert {each["name"]: each["type"] for each in info.signature.inputs.to_dict()} == TYPES
    assert {each["name"]: each["type"] for each in info.signature.outputs.to_dict()} == {"probability": "double"}


def test_every_input_is_required_and_may_be_null(store, rows):
    signature = mlflow.models.get_model_info("models:/repaid/1").signature
    assert signature.inputs.required_input_names() == list(TYPES)
    given = rows[list(TYPES)].head(4).assign(now=[None, *rows["now"][1:4]], far=None)
    assert mlflow.pyfunc.load_model("models:/repaid/1").predict(given)["probability"].between(0, 1).all()


def test_mlflow_s_client_predicts_on_rows_of_the_tables(store, rows):
    model = mlflow.pyfunc.load_model("models:/repaid/1")
    given = model.predict(rows[list(TYPES)])
    assert given["probability"].between(0, 1).all()
    assert model.predict(model.input_example)["probability"].equals(given["probability"].head(5).reset_index(drop=True))


def test_its_run_names_the_tables_it_was_made_of(folder, store):
    version = store.get_model_version("repaid", "1")
    given = store.get_run(version.run_id).inputs.dataset_inputs
    lakehouse = Lakehouse("dev", str(folder / ".headrace" / "dev" / "lakehouse"))
    found = {}
    for each in given:
        source = json.loads(each.dataset.source)
        assert lakehouse.snapshot(each.dataset.name).path == source["path"]
        found[each.dataset.name] = (each.tags[0].value, source["delta_table_version"])
    assert found == {
        "training.repaid": ("training", lakehouse.snapshot("training.repaid").version),
        "bank.asked": ("source", lakehouse.snapshot("bank.asked").version),
        "bank.known": ("source", lakehouse.snapshot("bank.known").version),
    }


def test_mlflow_evaluates_a_version(store, rows):
    given = rows[[*TYPES, "_label"]]
    told = mlflow.models.evaluate(
        "models:/repaid/1",
        given,
        targets="_label",
        predictions="probability",
        model_type="regressor",
        evaluators="default",
        evaluator_config={"log_explainer": False},
    )
    model = mlflow.pyfunc.load_model("models:/repaid/1")
    error = model.predict(given[list(TYPES)])["probability"] - given["_label"]
    assert told.metrics["mean_squared_error"] == pytest.approx(float((error**2).mean()))


def test_mlflow_evaluates_the_classes_of_a_version(store, rows):
    """MLflow's classifiers give classes: where to cut a probability is said by who evaluates."""
    model = mlflow.pyfunc.load_model("models:/repaid/1")
    given = rows[[*TYPES, "_label"]].astype({"_label": "int64"})
    told = mlflow.models.evaluate(
        lambda X: (model.predict(X)["probability"] >= 0.5).astype("int64"),
        given,
        targets="_label",
        model_type="classifier",
    )
    classes = model.predict(given[list(TYPES)])["probability"] >= 0.5
    assert told.metrics["accuracy_score"] == pytest.approx(accuracy_score(given["_label"], classes))
    assert told.metrics["accuracy_score"] > 0.9


def answered(traffic, path, body, kind="application/json"):
    app = App()
    app.traffic = traffic

    async def ask():
        request = Request("POST", path, "", {b"content-type": kind.encode(), "content-type": kind}, body)
        answer = app.admit(request) or app.answer(request)
        answer = answer if hasattr(answer, "status") else await answer
        return answer.status, json.loads(answer.body)

    return asyncio.run(ask())


def bodies(row, model):
    """A full row in each protocol."""
    given = json.dumps
    line = ",".join("" if value is None else str(value) for value in row.values())
    tensors = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "BOOL" if isinstance(value, bool) else "FP64",
            "data": [value],
        }
        for name, value in row.items()
    ]
    return {
        "records": ("/invocations", given({"dataframe_records": [row]}).encode(), "application/json"),
        "csv": ("/invocations", f"{','.join(row)}\n{line}\n".encode(), "text/csv"),
        "tensors": (f"/v2/models/{model}/infer", given({"inputs": tensors}).encode(), "application/json"),
        "predict": (
            "/predict",
            given({"rows": [{"loan": 1, "requested_at": row["now"], **row}]}).encode(),
            "application/json",
        ),
    }


ROW = {
    "years": 1, "cars": 2, "home": True, "young": None, "income": 1.5, "share": 3, "job": "a", "born": "2024-01-02",
    "seen": "2024-01-02T10:00:00", "now": "2024-01-02T10:00:00+02:00", "far": "9999-01-01T00:00:00",
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(folder):
    """As `headrace serve` of the project, and as `headrace serve --mlflow` of the same version."""
    (place,) = folder.glob(".headrace/dev/artifacts/repaid/models/*/artifacts")
    (manifest,) = folder.glob(".headrace/dev/**/repaid/serving.json")
    return {"project": load(manifest), "mlflow": load_bare(str(place))}


@pytest.mark.parametrize(
    ("how", "written"),
    [(how, written) for how in ("project", "mlflow") for written in ("records", "csv", "tensors")]
    + [("project", "predict")],
)
def test_a_zone_of_a_local_time_is_refused_and_its_value_not_told(servers, how, written):
    model = servers[how].manifest.model
    status, told = answered(servers[how], *bodies(ROW, model)[written])
    assert status == 200, told
    for name, zone in (("born", "Z"), ("seen", "Z"), ("seen", "+02:00"), ("far", "Z")):
        status, told = answered(servers[how], *bodies({**ROW, name: f"2024-02-20T11:11:11{zone}"}, model)[written])
        assert (status, told.get("message", told.get("error"))) == (
            400,
            f"row 0: '{name}' has a time zone, and is a local time.",
        )


def test_a_server_without_a_project_answers_with_it(folder, store, rows):
    """`headrace serve --mlflow`: dates and zones as texts, and nulls where the signature has a type for them."""
    (place,) = folder.glob(".headrace/dev/artifacts/repaid/models/*/artifacts")
    given = json.loads(
        rows[list(TYPES)]
        .head(20)
        .astype({"share": "float64"})
        .to_json(orient="split", date_format="iso", date_unit="us", double_precision=15)
    )
    body = json.dumps({"dataframe_split": {"columns": given["columns"], "data": given["data"]}}).encode()

    status, told = answered(load_bare(str(place)), "/invocations", body)
    assert status == 200, told
    expected = mlflow.pyfunc.load_model(str(place)).predict(rows[list(TYPES)].head(20))
    assert told["predictions"] == expected.to_dict(orient="records")
