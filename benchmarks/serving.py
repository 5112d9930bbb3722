"""Online scoring over HTTP: a LightGBM model of 20 features, one row and 100 rows a request, 1, 16 and 64 connections.

Us, `mlflow models serve`, BentoML, LitServe, MLServer and Ray Serve, each with one worker, and the limit: a constant
answer, from our own connection and from Granian. Beside it, ours and MLflow's alone: a scikit-learn model, a model in
plain Python, keys with features from the online store, and the inference log. What counts is the server's CPU time per
request, over all of its processes; the load comes from a process of its own.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness
import servers

FEATURES, TREES, ROWS = 20, 100, 100
CONNECTIONS = (1, 16, 64)
APPS = Path(__file__).parent / "peers" / "apps"
NAMES = [f"f{place}" for place in range(FEATURES)]
LOOKED_UP, KEYS = 10, 2_000
OURS = ("headrace", "headrace, log", "headrace, keys", "headrace, sklearn", "headrace, python")
LIMITS = ("constant", "constant, granian")
PEERS = ("mlflow", "mlflow, sklearn", "mlflow, python", "bentoml", "litserve", "mlserver", "ray")
ENVIRONMENTS = {"constant, granian": "granian"} | {who: who.partition(",")[0] for who in PEERS}


class Plain:
    """A model in plain Python: what a user's own class looks like."""

    def predict(self, X):  # noqa: N803
        return [sum(row[:5]) for row in X.to_numpy().tolist()]


# ---------------------------------------------------------------------------------------------- the models


def make(folder: Path) -> None:
    """The models as our packages with their parity files, as text for the peers, and what is asked."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    from headrace.training.estimator import LightGBM, Pickled, Settings

    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(20_000, FEATURES)), columns=NAMES)  # noqa: N806
    y = (X.to_numpy()[:, :5].sum(axis=1) + draw.normal(size=len(X)) > 0).astype(int)
    booster = lgb.train({"objective": "binary", "verbose": -1, "seed": 0}, lgb.Dataset(X, y), TREES)
    booster.save_model(folder / "model.txt")
    forest = LogisticRegression(max_iter=500).fit(X, y)
    rows = X.head(ROWS)
    expected = {
        "headrace": booster.predict(rows).tolist(),
        "headrace, sklearn": forest.predict_proba(rows)[:, 1].tolist(),
        "headrace, python": Plain().predict(rows),
    }
    home = folder / "serving"
    _package(home / "bench", LightGBM(booster, Settings()), rows, task="Binary", log="none")
    _package(home / "log", LightGBM(booster, Settings()), rows, task="Binary", log="required")
    _package(home / "sklearn", Pickled(forest, Settings()), rows, task="Binary", log="none")
    _package(home / "python", Pickled(Plain(), Settings()), rows, task="Regression", log="none")
    _package(home / "keys", LightGBM(booster, Settings()), rows, task="Binary", log="none", keys=True)
    _publish(folder / "online.db", draw)
    for count in (1, ROWS):
        split = {"dataframe_split": {"columns": NAMES, "data": rows.head(count).to_numpy().tolist()}}
        _bodies(folder / f"split{count}", [split])
        _bodies(folder / f"rows{count}", [{"rows": rows.head(count).to_numpy().tolist()}])
        tensor = {"name": "predict", "shape": [count, FEATURES], "datatype": "FP64"}
        data = rows.head(count).to_numpy().ravel().tolist()
        _bodies(folder / f"v2{count}", [{"inputs": [{**tensor, "data": data}]}])
        asked = [
            {"id": number, "key": number % KEYS, **dict.fromkeys(NAMES[LOOKED_UP:], 0.5)}
            for number in draw.integers(0, 10**9, 50 * count).tolist()
        ]
        parts = [asked[place : place + count] for place in range(0, len(asked), count)]
        _bodies(folder / f"keys{count}", [{"rows": part} for part in parts])
    import pickle

    (folder / "sklearn.pkl").write_bytes(pickle.dumps(forest))
    (folder / "answers.json").write_text(json.dumps(expected))


def _bodies(file: Path, bodies: list[object]) -> None:
    file.write_text("".join(json.dumps(body) + "\n" for body in bodies))


def _package(home: Path, estimator, rows, *, task: str, log: str, keys: bool = False) -> None:
    """A home as a deployment leaves it."""
    from headrace.features.plan import Feature, FeatureLookup, FeaturePlan, Input
    from headrace.scoring.predictor import PackagePredictor
    from headrace.serving.declarations import Serve
    from headrace.serving.manifest import (
        SERVE,
        Manifest,
        Parity,
        Served,
        beside_digest,
        copy_digest,
        write_manifest,
        write_parity,
    )
    from headrace.training import package

    looked_up = NAMES[:LOOKED_UP] if keys else []
    origin = {name: "table" if name in looked_up else "spine" for name in NAMES}
    plan = FeaturePlan(
        spine="s.t",
        at="at",
        keys=("id",),
        key_types=("int64",),
        inputs=tuple(Input(name=name, kind="number", origin=origin[name]) for name in NAMES),
        features=tuple(Feature(name=name, kind="number", origin=origin[name], optional=False) for name in NAMES),
        lookups=(
            FeatureLookup(
                table="f.t",
                on=(("key", "key"),),
                time="at",
                look_back=None,
                columns=tuple((name, name) for name in looked_up),
            ),
        )
        if keys
        else (),
        calls=(),
    )
    copy = home / "versions" / "1-bench" / "data"
    copy.mkdir(parents=True)
    written = package.write(
        copy,
        model="bench",
        task=task,
        classes=(0, 1) if task == "Binary" else (),
        plan=plan,
        categories={},
        estimator=estimator,
        calibration=None,
        params={},
        origin=None,
    )
    predictor = PackagePredictor(copy / "package")
    answers = predictor.predict(rows)
    name = answers.columns[0]
    alone = [predictor.predict(rows.iloc[[place]])[name].iloc[0] for place in range(20)]
    write_parity(
        copy.parent / "parity.json",
        Parity(
            artifact_hash=written.hash,
            columns=tuple(NAMES),
            rows=tuple(map(tuple, rows.to_numpy().tolist())),
            output_columns=(name,),
            outputs=tuple((value,) for value in answers[name].tolist()),
            alone=tuple((float(value),) for value in alone),
        ),
    )
    serve = Serve(log=log)
    (copy.parent / SERVE).write_text(json.dumps(asdict(serve)), encoding="utf-8")
    served = Served(
        version=1,
        artifact_hash=written.hash,
        logged_hash=copy_digest(copy.parent),
        copy_hash=beside_digest(copy.parent),
        folder="versions/1-bench",
        promoted_at="2024-01-01T00:00:00+00:00",
    )
    manifest = Manifest(
        model="bench", versions=(served,), serve=serve, online="../../online.db", spool="../../spool/bench"
    )
    write_manifest(home / "serving.json", manifest)


def _publish(file: Path, draw) -> None:
    """The feature table of the keys, in the embedded online store."""
    from headrace.features.online.base import OnlineTable
    from headrace.features.online.packing import Packing, key
    from headrace.features.online.sqlite import SqliteStore

    columns = tuple((name, "float64") for name in NAMES[:LOOKED_UP])
    table = OnlineTable(keys=(("key", "int64"),), columns=columns, as_of=1_700_000_000_000_000, data_version=1)
    packing = Packing(columns)
    rows = [
        (key(table.keys, [number]), 1_600_000_000_000_000, packing.pack(draw.normal(size=LOOKED_UP).tolist()))
        for number in range(KEYS)
    ]
    SqliteStore(file).replace("f.t", table, rows, expected=None)


def make_peer(who: str, data: Path) -> None:
    """MLflow's models in its own flavours, and MLServer's settings."""
    if who == "mlserver":
        folder = data / "mlserver"
        folder.mkdir(exist_ok=True)
        model = {"name": "bench", "implementation": "mlserver_lightgbm.LightGBMModel"}
        model["parameters"] = {"uri": str(data / "model.txt"), "version": "1"}
        (folder / "model-settings.json").write_text(json.dumps(model))
    if not who.startswith("mlflow") or (data / "mlflow_python").exists():
        return
    script = """
import json, pickle, sys, lightgbm as lgb, mlflow.lightgbm, mlflow.pyfunc, mlflow.sklearn, pandas as pd
from mlflow.models import infer_signature
folder = sys.argv[1]
split = json.loads(open(folder + "/split100").readline())["dataframe_split"]
X = pd.DataFrame(split["data"], columns=split["columns"])
booster = lgb.Booster(model_file=folder + "/model.txt")
mlflow.lightgbm.save_model(booster, folder + "/mlflow", signature=infer_signature(X, booster.predict(X)), pip_requirements=[])
fitted = pickle.load(open(folder + "/sklearn.pkl", "rb"))
mlflow.sklearn.save_model(fitted, folder + "/mlflow_sklearn", signature=infer_signature(X, fitted.predict_proba(X)), pip_requirements=[], pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle")
class Plain(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [sum(row[:5]) for row in model_input.to_numpy().tolist()]
mlflow.pyfunc.save_model(folder + "/mlflow_python", python_model=Plain(), signature=infer_signature(X, [0.5]), pip_requirements=[])
"""
    for name in ("mlflow", "mlflow_sklearn", "mlflow_python"):
        shutil.rmtree(data / name, ignore_errors=True)
    python = harness.environment("mlflow")
    subprocess.run([python, "-W", "ignore", "-c", script, data], check=True, cwd=data)


# ---------------------------------------------------------------------------------------------- the contestants


def command(who: str, data: Path) -> tuple[list[str], str, str, dict[str, str]]:
    """How a contestant is started, the path that it answers at, the bodies that it takes, and its environment."""
    env = {"BENCH_MODEL": str(data / "model.txt"), "MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "True"}
    if who in OURS:
        kind = who.partition(", ")[2] or "bench"
        shutil.rmtree(data / "spool", ignore_errors=True)  # nobody takes the log over, and it is bounded
        arguments = [
            sys.executable,
            "-m",
            "headrace.serving",
            "--home",
            str(data / "serving" / kind),
            "--port",
            "<port>",
        ]
        return (arguments, "/predict", "keys", env) if kind == "keys" else (arguments, "/invocations", "split", env)
    if who == "constant":
        return [sys.executable, servers.__file__, "constant", "ours", "<port>"], "/", "split", env
    python = harness.environment(ENVIRONMENTS[who])
    if who == "constant, granian":
        return [str(python), servers.__file__, "constant", "granian", "<port>"], "/", "split", env
    tool = python.parent
    if who.startswith("mlflow"):
        model = str(data / who.replace(", ", "_"))
        started = [
            str(tool / "mlflow"),
            "models",
            "serve",
            "-m",
            model,
            "--env-manager",
            "local",
            "-p",
            "<port>",
            "-w",
            "1",
        ]
        return started, "/invocations", "split", env
    if who == "bentoml":
        started = [str(tool / "bentoml"), "serve", "bentoml_app:Bench", "--working-dir", str(APPS)]
        return [*started, "--host", "127.0.0.1", "-p", "<port>"], "/predict", "rows", env
    if who == "mlserver":
        ports = {"MLSERVER_HTTP_PORT": "<port>", "MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_HOST": "127.0.0.1"}
        given = [f"{name}={value}" for name, value in ports.items()]
        started = ["/usr/bin/env", *given, "MLSERVER_GRPC_PORT=0", "MLSERVER_METRICS_PORT=0"]
        return [*started, str(tool / "mlserver"), "start", str(data / "mlserver")], "/v2/models/bench/infer", "v2", env
    app = APPS / f"{who}_app.py"
    return [str(python), str(app), "<port>"], "/predict", "rows", {**env, "RAY_USAGE_STATS_ENABLED": "0"}


def values(said: bytes) -> list[float]:
    """The predictions of an answer, whoever gave it."""
    read = json.loads(said)
    if isinstance(read, dict) and "outputs" in read:
        return read["outputs"][0]["data"]
    found = read["predictions"] if isinstance(read, dict) else read
    flat = [next(iter(each.values())) if isinstance(each, dict) else each for each in found]
    return [each[-1] if isinstance(each, list) else each for each in flat]


def measure(who: str, data: Path, seconds: float) -> dict[str, float | list[float]]:
    arguments, path, bodies, env = command(who, data)
    first = (data / f"{bodies}1").read_bytes().splitlines()[0]
    with servers.started(arguments, path, first, env=env, cwd=data) as server:
        found: dict[str, float | list[float]] = {"cold_s": server.cold_s}
        for connections in CONNECTIONS:
            told = servers.measure(server, data / f"{bodies}1", seconds=seconds, connections=connections)
            if connections == CONNECTIONS[1]:
                found |= {"cpu_us": told["cpu_us"], "p50_ms": told["p50_ms"], "p99_ms": told["p99_ms"]}
            found[f"rps_{connections}"] = told["rps"]
        told = servers.measure(server, data / f"{bodies}{ROWS}", seconds=seconds, connections=CONNECTIONS[1])
        found |= {f"cpu_us_{ROWS}": told["cpu_us"], f"rps_{ROWS}_rows": told["rps"]}
        found["pss_mb"] = servers.memory(server.pid)
        if who not in LIMITS and bodies != "keys":
            asked = (data / f"{bodies}{ROWS}").read_bytes().splitlines()[0]
            found["answers"] = values(servers.post(f"http://127.0.0.1:{server.port}{path}", asked))
        return found


def main() -> int:
    options = harness.arguments(__doc__)
    options.add_argument("--only", nargs="+", metavar="WHO", help="of the contestants; all unless said")
    given = options.parse_args()
    if given.child:
        make(Path(given.child[1]))
        return 0
    data = harness.WORK / "serving"
    harness.made(__file__, data)
    names = list(given.only or (*OURS, *LIMITS, *PEERS))
    if given.quick and not given.only:
        there = lambda who: (harness.WORK / "peers" / ENVIRONMENTS[who] / "made").exists()  # noqa: E731
        names = ["headrace", "headrace, log", "constant", *(who for who in ("mlflow",) if there(who))]
    for who in names:
        make_peer(who, data)
    runs, seconds = (1, 1.0) if given.quick else (given.runs, 3.0)
    found: dict[str, list[dict[str, float | list[float]]]] = {who: [] for who in names}
    for number in range(runs):
        for who in random.Random(number).sample(names, len(names)):
            print(f"run {number + 1} of {runs}: {who}", file=sys.stderr)
            found[who].append(measure(who, data, seconds))
    middle = {
        who: {name: statistics.median(each[name] for each in several) for name in several[0] if name != "answers"}
        for who, several in found.items()
    }
    expected = json.loads((data / "answers.json").read_text())
    kind = lambda who: who.partition(", ")[2] if who.partition(", ")[2] in ("sklearn", "python") else ""  # noqa: E731
    agreed = all(
        each["answers"] == expected["headrace" + (f", {kind(who)}" if kind(who) else "")]
        for who in names
        for each in found[who]
        if "answers" in each
    )
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    return harness.tell("serving", rows, ratios=ratios(middle), agreed=agreed, runs=runs, as_json=given.json)


def ratios(middle: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times better than each peer we are, in CPU time a request; the shares of the limits."""
    us, many = middle["headrace"], f"cpu_us_{ROWS}"
    found: dict[str, float] = {}
    for who, figures in middle.items():
        mine = middle.get(f"headrace, {who.partition(', ')[2]}", us)
        if who in PEERS:
            found[who] = figures["cpu_us"] / mine["cpu_us"]
            found[f"{who}, {ROWS} rows"] = figures[many] / mine[many]
        elif who in LIMITS:
            found[f"limit{who.removeprefix('constant')}"] = figures["cpu_us"] / us["cpu_us"]
    if "headrace, log" in middle:
        found["cost of the log"] = middle["headrace, log"]["cpu_us"] / us["cpu_us"] - 1
    return found


if __name__ == "__main__":
    sys.exit(main())
