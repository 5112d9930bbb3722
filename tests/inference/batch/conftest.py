"""A model over decisions of a few months, its versions, and real places for predictions to go to."""

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.support.servers import postgres as run_postgres
from tests.support.servers import spark as run_spark

from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.scoring.predictor import PackagePredictor
from headrace.scoring.version import LoadedVersion
from headrace.training import package
from headrace.training.estimator import LightGBM, Pickled, Settings

from .project import ok, write

NAMES = ("f0", "f1", "f2", "f3")
PLAN = FeaturePlan(
    spine="shop.orders",
    at="at",
    keys=("id", "shop"),
    key_types=("int64", "string"),
    inputs=(
        *(Input(name=name, kind="number", origin="spine") for name in NAMES),
        Input(name="kind", kind="string", origin="spine"),
    ),
    features=tuple(Feature(name=name, kind="number", origin="spine", optional=False) for name in NAMES),
    lookups=(),
    calls=(),
)


def full_rows(count, *, seed=0):
    """Decisions of 2024, some values missing, keys with everything that has to be quoted."""
    draw = np.random.default_rng(seed)
    columns = {name: np.where(draw.random(count) < 0.1, np.nan, draw.normal(size=count)) for name in NAMES}
    start, span = 1_704_067_200_000_000, 86_400_000_000 * 150
    return pa.table(
        {
            "id": np.arange(count),
            "shop": pa.array([f"""{place % 7} "é\n;'{{""" for place in range(count)]),
            "at": pa.array(np.sort(draw.integers(start, start + span, count)), pa.timestamp("us", "UTC")),
            "kind": pa.array([None if place % 3 else "a" for place in range(count)]),
            **columns,
        }
    )


def write_version(folder, *, number=1, estimator="lightgbm"):
    draw = np.random.default_rng(number)
    X = pd.DataFrame(draw.normal(size=(2000, len(NAMES))), columns=list(NAMES))
    y = (X.sum(axis=1) + draw.normal(size=len(X)) > 0).astype(int)
    if estimator == "lightgbm":
        fitted = LightGBM(
            lightgbm.train(
                {"objective": "binary", "verbose": -1, "seed": number, "num_threads": 1}, lightgbm.Dataset(X, y), 20
            ),
            Settings(),
        )
    else:
        from sklearn.impute import SimpleImputer

        fitted = Pickled(make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(X, y), Settings())
    folder.mkdir(parents=True)
    written = package.write(
        folder,
        model="late",
        task="Binary",
        classes=(0, 1),
        plan=PLAN,
        categories={},
        estimator=fitted,
        calibration=None,
        params={},
        origin=None,
    )
    return LoadedVersion("late", number, PackagePredictor(written.folder), folder=written.folder)


@pytest.fixture(scope="session")
def version(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("lightgbm") / "v1")


@pytest.fixture(scope="session")
def linear(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("linear") / "v1", estimator="sklearn")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with run_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def spark():
    with run_spark() as url:
        yield url


@pytest.fixture(scope="session")
def trained(headrace, tmp_path_factory):
    """A project with two versions."""
    folder = write(
        tmp_path_factory.mktemp("score") / "p", score='hr.Score(into="answers.days", partition="1d", rows=1)'
    )
    url = f"sqlite:///{folder / 'warehouse.db'}"
    (folder / "headrace.toml").write_text((folder / "headrace.toml").read_text().replace("sqlite:///warehouse.db", url))
    ok(headrace, folder, "run", "refresh")
    for as_of in ("2024-02-01", "2024-02-05"):
        ok(headrace, folder, "run", "train", "--as-of", as_of)
    return folder
