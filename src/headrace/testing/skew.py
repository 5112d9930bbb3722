"""Whether a version gives served requests the features and predictions that it gives batches."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headrace.core.errors import DataError
from headrace.deployment import serving_bundle
from headrace.features.matrix import read, to_json
from headrace.features.online.publish import publish
from headrace.features.online.rows import OnlineFeatures
from headrace.features.online.sqlite import SqliteStore
from headrace.inference.in_memory import decided
from headrace.pipelines.model_inputs import origin
from headrace.pipelines.publish import online_tables
from headrace.scoring.version import load
from headrace.serving.manifest import PARITY, read_parity
from headrace.serving.predictors import choose
from headrace.testing.declared_models import find_model
from headrace.testing.differences import decision, fail, instant, same, shown
from headrace.tracking.store import load as load_mlflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.features.plan import FeaturePlan
    from headrace.registry.records import Version
    from headrace.scoring.version import LoadedVersion
    from headrace.testing.temporary_environment import Environment
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace

MOMENTS = 5  # at which the online store is published and asked


def assert_no_skew(env: Environment, model: Model | str, *, version: int | None = None, rows: int = 50) -> None:
    """Asserts that a version answers single requests with the features and predictions of a batch.

    A sample of decisions is predicted in one batch, as training and batch scoring do. Each is then asked alone: of the predictor
    that a server would choose, of MLflow's pyfunc, and, feature by feature, of the version's own code. Where all feature
    tables of the model are declared `online=True`, they are published into an online store as of up to five moments, and what
    a request by key finds there must be what the point-in-time join found.

    Args:
        env: an environment with a version of the model.
        model: its declaration or its name.
        version: the number of the version; defaults to the newest one.
        rows: how many decisions, spread over the spine; defaults to 50.

    Raises:
        AssertionError: a feature or a prediction differs. The message names the column, the decision, both values, and where
            the second one is from.
        NotFoundError: the program declares no such model, or there is no version of it.
        DataError: the spine has no decision, or the model answers by itself and has no features.

    Example:
        In a test of the module `shop`, with `orders` as sample rows:

        >>> from headrace import testing
        >>> with testing.environment(shop, at="2025-05-01") as env:
        ...     env.load("bronze.orders", orders)
        ...     _ = env.refresh()
        ...     _ = env.train("late")
        ...     testing.assert_no_skew(env, "late")
    """
    declared = find_model(env, model)
    if declared.predict is not None:
        raise DataError(f"{declared.name!r} answers by itself: there are no features that could differ.")
    with env.workspace() as workspace:
        chosen = _version(workspace, declared.name, version)
        with load(
            workspace.tracking,
            chosen.model_uri,
            model=chosen.model,
            number=chosen.version,
            artifact_hash=chosen.artifact_hash,
        ) as loaded:
            sample = _sample(env, workspace, loaded.plan, rows)
            features, outputs = loaded.predict_with_features(sample)
            offline = pd.concat([features, outputs], axis=1)
            with TemporaryDirectory(dir=env.folder / ".headrace") as scratch:
                found = [
                    *_alone(loaded, sample, offline),
                    *_served(Path(scratch), workspace, chosen, loaded.plan, sample, outputs),
                    *_by_key(Path(scratch), env, workspace, loaded.plan, sample),
                ]
    fail(
        f"version {chosen.version} of {declared.name!r} answers single requests otherwise than a batch of {len(sample)}:",
        found,
    )


def _version(workspace: Workspace, model: str, number: int | None) -> Version:
    if number is not None:
        return workspace.registry.get(model, number)
    return max(workspace.registry.versions(model), key=lambda each: each.version)


def _sample(env: Environment, workspace: Workspace, plan: FeaturePlan, rows: int) -> pd.DataFrame:
    """Full rows, spread over the decisions."""
    until = instant(env.at).to_pydatetime() if env.at is not None else instant(pd.Timestamp.now("UTC")).to_pydatetime()
    full = decided(workspace.lakehouse, plan, since=None, until=until).to_pandas()
    if full.empty:
        raise DataError(f"the spine {plan.spine!r} has no decision up to {until:%Y-%m-%d %H:%M:%S}.")
    ordered = full.sort_values([plan.at, *plan.keys], ignore_index=True)
    return ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, rows).astype(int))].reset_index(drop=True)


def _alone(loaded: LoadedVersion, sample: pd.DataFrame, offline: pd.DataFrame) -> Iterator[str]:
    """Each row by itself, by the version's own code."""
    for place in range(len(sample)):
        features, outputs = loaded.predict_with_features(sample.iloc[[place]])
        mine = pd.concat([features, outputs], axis=1).iloc[0]
        yield from _differing(loaded.plan, sample, place, offline.iloc[place].to_dict(), mine.to_dict(), "asked alone")


def _served(
    scratch: Path,
    workspace: Workspace,
    version: Version,
    plan: FeaturePlan,
    sample: pd.DataFrame,
    outputs: pd.DataFrame,
) -> Iterator[str]:
    """Each row by the predictor that a server chooses for the version, and by MLflow's pyfunc."""
    staged = serving_bundle.stage(
        workspace.tracking,
        version,
        scratch / "serving",
        samples=sample,
        serve=None,
        origin=origin(workspace.project),
    )
    rows = [outputs.iloc[place].to_dict() for place in range(len(sample))]
    try:
        predictor, _ = choose(staged.folder, read_parity(staged.folder / PARITY))
    except DataError as error:
        yield f"{error.what} {'; '.join(error.findings)}"
    else:
        for place, row in enumerate(to_json(plan, sample)):
            answered = dict(zip(predictor.columns, predictor.one(row), strict=True))
            yield from _differing(
                plan, sample, place, rows[place], answered, f"by the server's predictor ({predictor.tier})"
            )
    pyfunc = load_mlflow("mlflow.pyfunc").load_model(str(staged.folder))
    inputs = read(plan, sample)
    for place in range(len(sample)):
        answered = pyfunc.predict(inputs.iloc[[place]]).iloc[0].to_dict()
        yield from _differing(plan, sample, place, rows[place], answered, "by MLflow's pyfunc")


def _by_key(
    scratch: Path, env: Environment, workspace: Workspace, plan: FeaturePlan, sample: pd.DataFrame
) -> Iterator[str]:
    """What requests by key find in an online store, at some moments of the sample."""
    tables = list(dict.fromkeys(each.table for each in plan.lookups))
    if not tables or not set(tables) <= set(online_tables(workspace.project)):
        return
    store = SqliteStore(scratch / "online.db")
    spine = {tuple(row[key] for key in plan.keys): row for row in env.tables[plan.spine].to_pandas().to_dict("records")}
    moments = sorted(sample[plan.at].unique())
    for chosen in np.unique(np.linspace(0, len(moments) - 1, MOMENTS).astype(int)):
        at = instant(moments[chosen])
        for table in tables:
            publish(workspace.lakehouse, table, store, as_of=at.to_pydatetime())
        features = OnlineFeatures(store, plan)
        for place in sample.index[sample[plan.at] == moments[chosen]]:
            row = sample.loc[place]
            decided_by = spine[tuple(row[key] for key in plan.keys)]
            request = {name: _given(decided_by[name]) for name in features.needed}
            online = features.full_rows([{**request, plan.at: at.isoformat()}])[0]
            offline = {each.name: row[each.name] for each in plan.inputs if each.origin == "table"}
            yield from _differing(plan, sample, place, offline, online, "from the online store")


def _differing(
    plan: FeaturePlan, sample: pd.DataFrame, place: int, offline: Mapping[Any, Any], served: Mapping[Any, Any], how: str
) -> Iterator[str]:
    row = sample.loc[place]
    for name, expected in offline.items():
        if not same(expected, served.get(name)):
            said = decision({key: row[key] for key in plan.keys}, row[plan.at])
            yield f"{name} of {said}: {shown(expected)} in the batch, {shown(served.get(name))} {how}."


def _given(value: Any) -> Any:
    """A value as a request has it."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
