"""Batch scoring: a LightGBM model of 20 features over a table of 1M and of 10M decisions.

Ours goes the way of `headrace run score`: partitions of a Delta table, predicted by worker processes, written as prediction
records (id, key, moment, outputs, features, versions) into a Delta table; once with the features in the spine, and once
joined point-in-time from a feature table. Beside us `mlflow.pyfunc` on one process, from Parquet to Parquet, with nothing
but keys and predictions to write; and the limit, LightGBM's own `predict` alone on rows that are in memory already. Our
processes compute the same bits in another way (`training.quick_scorer`), so that a share of the limit can be above 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyarrow as pa

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.version import LoadedVersion

SIZES = {"quick": 200_000, "1M": 1_000_000, "10M": 10_000_000}
FEATURES = [f"f{place}" for place in range(20)]
TREES = 100
START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=60)
SPINE, TABLE, INTO = "gold.decisions", "features.of_key", "gold.predictions"
PIECE = 500_000  # rows that are made at a time
JOINED = "headrace, features joined"


# ---------------------------------------------------------------------------------------------- data


def make(folder: Path) -> None:
    """The model in both packages; the decisions as a Delta table, as a feature table, and as a Parquet file."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet

    from headrace.lakehouse.writes import Append
    from headrace.training import package
    from headrace.training.estimator import LightGBM, Settings

    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(20_000, len(FEATURES))), columns=FEATURES)  # noqa: N806
    y = (X.to_numpy()[:, :5].sum(axis=1) + draw.normal(size=len(X)) > 0).astype(int)
    booster = lgb.train({"objective": "binary", "verbose": -1, "seed": 0}, lgb.Dataset(X, y), TREES)
    booster.save_model(folder / "model.txt")
    for name in ("alone", "joined"):
        (folder / name).mkdir()
        package.write(
            folder / name,
            model="bench",
            task="Binary",
            classes=(0, 1),
            plan=plan(joined=name == "joined"),
            categories={},
            estimator=LightGBM(booster, Settings()),
            calibration=None,
            params={},
            origin=None,
        )
    count = SIZES[folder.name]
    at = np.linspace(0, SPAN.total_seconds() * 1e6, count, endpoint=False).astype(np.int64)
    lake = lakehouse(folder)
    writer = None
    for start in range(0, count, PIECE):
        some = slice(start, min(start + PIECE, count))
        ids = np.arange(some.start, some.stop)
        moments = pa.array(at[some] + int(START.timestamp()) * 1_000_000, pa.timestamp("us", "UTC"))
        columns = {name: draw.normal(size=len(ids)) for name in FEATURES}
        decisions = pa.table({"id": ids, "at": moments, **columns})
        known = pa.table({"id": ids, "available_at": moments, **columns})
        lake.commit(SPINE, f"make {start}", lambda _, rows=decisions: Append(rows))
        lake.commit(TABLE, f"make {start}", lambda _, rows=known: Append(rows))
        writer = writer or pa.parquet.ParquetWriter(folder / "decisions.parquet", decisions.schema)
        writer.write_table(decisions)
    if writer:
        writer.close()


def plan(*, joined: bool) -> FeaturePlan:
    """The features as columns of the spine, or looked up."""
    from headrace.features.plan import Feature, FeatureLookup, FeaturePlan, Input

    origin = "table" if joined else "spine"
    look_up = FeatureLookup(
        table=TABLE,
        on=(("id", "id"),),
        time="available_at",
        look_back=86_400.0,
        columns=tuple((name, name) for name in FEATURES),
    )
    return FeaturePlan(
        spine=SPINE,
        at="at",
        keys=("id",),
        key_types=("int64",),
        inputs=tuple(Input(name=name, kind="number", origin=origin) for name in FEATURES),
        features=tuple(Feature(name=name, kind="number", origin=origin, optional=False) for name in FEATURES),
        lookups=(look_up,) if joined else (),
        calls=(),
    )


def peer(folder: Path, python: Path) -> None:
    """The model in MLflow's own flavour, made once."""
    if (folder / "mlflow_model").exists():
        return
    script = (
        "import sys, lightgbm as lgb, mlflow.lightgbm, pandas as pd\n"
        "from mlflow.models import infer_signature\n"
        "f = sys.argv[1]; b = lgb.Booster(model_file=f + '/model.txt')\n"
        "X = pd.DataFrame([[0.5] * b.num_feature()] * 5, columns=b.feature_name())\n"
        "mlflow.lightgbm.save_model(b, f + '/mlflow_model', signature=infer_signature(X, b.predict(X)), "
        "pip_requirements=[])\n"
    )
    subprocess.run([python, "-W", "ignore", "-c", script, folder], check=True, cwd=folder)


def lakehouse(folder: Path) -> Lakehouse:
    from headrace.lakehouse.lakehouse import Lakehouse

    return Lakehouse("dev", str(folder / "lakehouse"))


def version(folder: Path, name: str) -> LoadedVersion:
    from headrace.scoring.predictor import PackagePredictor
    from headrace.scoring.version import LoadedVersion

    package = folder / name / "package"
    return LoadedVersion("bench", 1, PackagePredictor(package), folder=package)


# ---------------------------------------------------------------------------------------------- contestants


def headrace(folder: Path, *, joined: bool = False) -> Callable[[], object]:
    """The partitions of the table, each to its commit."""
    from headrace.features.rows import Decisions
    from headrace.inference import batch, partitions
    from headrace.inference.destinations.delta import DeltaTable
    from headrace.inference.engines.local import Local

    lake, loaded = lakehouse(folder), version(folder, "joined" if joined else "alone")
    shutil.rmtree(folder / "lakehouse" / Path(*INTO.split(".")), ignore_errors=True)
    tables = {name: lake.snapshot(name).version for name in (SPINE, TABLE)}

    def score() -> pa.Table:
        decisions = Decisions.of_spine(loaded.plan, tables)
        bounds = {"since": START, "until": START + SPAN}
        hours = partitions.hours(lake, loaded.plan, decisions, sample=1.0, **bounds)
        into, engine = DeltaTable(lake, INTO), Local()
        try:
            for place, each in enumerate(partitions.cut(hours, every="1mo", most=1_000_000, **bounds)):
                versions = {TABLE: tables[TABLE]} if joined else {}
                batch.score(
                    lake,
                    loaded,
                    each,
                    decisions=decisions,
                    versions=versions,
                    engine=engine,
                    into=[into],
                    id=str(place),
                    fitted=(START - SPAN, START - SPAN),
                )
        finally:
            engine.close()

    def answer(_: object) -> pa.Table:
        return lake.snapshot(INTO).to_arrow(["id", "probability"])

    return _then(score, answer)


def alone(folder: Path) -> Callable[[], object]:
    """The limit: rows in memory, nothing written."""
    frame, loaded = _frame(folder), version(folder, "alone")
    ids = frame.pop("id")
    return _then(lambda: loaded.predict(frame), lambda made: {"id": ids, "probability": made["probability"]})


def mlflow(folder: Path) -> Callable[[], object]:
    """MLflow's way on one machine: a DataFrame in, a DataFrame out."""
    import pandas as pd
    from mlflow.pyfunc import load_model

    def score() -> object:
        model = load_model(str(folder / "mlflow_model"))
        frame = pd.read_parquet(folder / "decisions.parquet")
        made = frame[["id", "at"]].assign(probability=model.predict(frame[FEATURES]))
        made.to_parquet(folder / "predictions.parquet")
        return made

    return score


def _frame(folder: Path) -> pd.DataFrame:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(folder / "decisions.parquet").to_pandas()


def _then(do: Callable[[], object], answer: Callable[[object], object]) -> Callable[[], object]:
    """The job, and how its answer is found when the clock has stopped."""
    return lambda: (answer, do())


CONTESTANTS = {
    "headrace": headrace,
    JOINED: lambda folder: headrace(folder, joined=True),
    "predict alone": alone,
    "mlflow": mlflow,
}


def answered(given: object) -> harness.Answer:
    """A digest of every prediction's bits, in order of the key."""
    import numpy as np

    found = given[0](given[1]) if isinstance(given, tuple) else given
    ids, values = np.asarray(found["id"]), np.asarray(found["probability"])
    ordered = values[np.argsort(ids, kind="stable")]
    return {"rows": len(ids), "digest": hashlib.sha256(ordered.tobytes()).hexdigest()}


# ---------------------------------------------------------------------------------------------- the table


def main() -> int:
    options = harness.arguments(__doc__).parse_args()
    if options.child:
        who, folder = options.child
        if who == "data":
            make(Path(folder))
        else:
            harness.be_contestant(CONTESTANTS[who], Path(folder), answered)
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for whom it is left open: all cores
    rows: list[dict[str, str | float]] = []
    ratios: dict[str, float] = {}
    answers = []
    runs = 1 if options.quick else options.runs
    for size in ["quick"] if options.quick else ["1M", "10M"]:
        data = harness.WORK / "batch" / size
        harness.made(__file__, data)
        who, pythons = [each for each in CONTESTANTS if each != "mlflow"], {}
        if not options.quick or (harness.WORK / "peers" / "mlflow").exists():
            pythons["mlflow"] = harness.environment("mlflow")
            peer(data, pythons["mlflow"])
            who.append("mlflow")
        found = harness.compete(__file__, who, data, runs, pythons=pythons)
        middle = {
            name: {figure: harness.median(each, figure) for figure in ("wall_s", "cpu_s", "peak_rss_mb")}
            for name, each in found.items()
        }
        for name, figures in middle.items():
            speed = SIZES[size] / figures["wall_s"]
            rows.append({"who": f"{name}, {size}", "rows/s": round(speed), **figures})
            if name != "headrace":
                told = {"predict alone": "limit"}.get(name, name)
                ratios[f"{told}, {size}"] = figures["wall_s"] / middle["headrace"]["wall_s"]
                ratios[f"{told}, {size}, cpu"] = figures["cpu_s"] / middle["headrace"]["cpu_s"]
        ratios[f"joined to limit, {size}"] = middle["predict alone"]["wall_s"] / middle[JOINED]["wall_s"]
        answers.append(harness.agree([run.answer for each in found.values() for run in each]))
    return harness.tell("batch", rows, ratios=ratios, agreed=all(answers), runs=runs, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
