"""Names that users choose: whatever a column is called, its values stay its own."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import serving

from headrace.scoring.columns import OWN, is_output, key_columns
from headrace.training.tasks.base import OUTPUTS

NAMES = [
    "time", "value", "first", "model", "Model", "model_version", "features", "scored_at", "probability", "prediction",
    "probability_x", "prediction_id", "decision_time", "requested_at", "keys", "row", "given", "known", "at", "select", "from",
    "order", "a b", "a.b", "a,b", 'a"b', "a'b", "a/b", "$.a", "é", "😀", "label", "_value", "_first", "_at", "_start", "_key_0",
]  # fmt: skip


@given(st.lists(st.sampled_from([*NAMES, "key_model", "key_key_model"]), unique_by=str.lower, max_size=8))
def test_keys_and_our_columns_never_share_a_name(keys):
    kept = key_columns(keys)
    assert list(kept) == keys
    lower = [name.lower() for name in kept.values()]
    assert len(set(lower)) == len(lower)
    assert not {*OWN, *OUTPUTS} & set(lower)
    assert not any(map(is_output, lower))
    assert all(kept[name] == name for name in keys if name.lower() not in OWN and not is_output(name))


def test_a_label_key_called_time_finds_its_own_label(case):
    found = case("label_key_named_time")
    said = found.run("refresh", "train")
    rows = found.table("training.m")
    assert ((rows["x"] > 0) == (rows["_label"] == 1)).all()
    assert "roc_auc 1.0000" in said.stdout + said.stderr


def test_a_key_called_model_keeps_its_values(case):
    found = case("key_named_model")
    found.run("refresh", "train", "deploy", "score --since 2024-01-01", "monitor --as-of 2024-02-02")
    scored = found.table("gold.p")
    assert set(scored["model"]) == {"m"}
    assert set(scored["key_model"]) == {"golf", "polo", "up"}
    quality = found.table("metrics.model_quality")
    assert quality.groupby("window_start")["window_labelled"].first().sum() == 384 - scored["in_sample"].sum() > 0


def test_a_label_key_of_another_type_is_refused(case):
    found = case("label_key_type")
    found.run("refresh")
    done = found.run("train", code=2)
    assert "key 'id' of 'gold.truth' is string, but of spine 'silver.o' it is int64" in done.stderr


QUOTED = {name: '"' + name.replace('"', '""') + '"' for name in NAMES}
FEATURES = [name for name in NAMES if name.lower() not in ("model", "time", "at")]
TOML = '[project]\nname = "p"\nmodule = "proj"\nas_of = "2024-01-12"\n\n[env.dev]\n'
PROGRAM = f"""\
import headrace as hr

names = {FEATURES!r}
raw = hr.Source("raw.rows", files="rows.csv", schema=hr.Schema(at="timestamp_utc", time="timestamp_utc"))
listed = ", ".join('x * %d as "%s"' % (place, name.replace('"', '""')) for place, name in enumerate(names))
facts = hr.Table("silver.facts", key=["model", "time"], sql=f'select model, time, "at", {{listed}} from raw.rows')
truth = hr.Table("gold.truth", key=["model", "time"], time="known at", sql='select model, time, time + interval 1 hour as "known at", x > 0 as "label" from raw.rows')


class Fitted:
    classes_ = [0, 1]

    def predict(self, X):
        return (X["first"] > 0).astype(int).to_numpy()

    def predict_proba(self, X):
        import numpy as np

        p = np.where(X["first"] > 0, 0.9, 0.1)
        return np.column_stack([1 - p, p])


def fit(data, params):
    return Fitted()


m = hr.Model("m", fit=fit, task=hr.Binary(label=truth["label"]), spine=facts.at("at"), features=[facts.select(*names)], evaluate=hr.Evaluate(test="3d"))
d = hr.Deployment(m, score=hr.Score(into="gold.p"), serve=hr.Serve(log="required"), monitor=hr.Monitor(window="1mo", min_rows=5))
"""


@pytest.fixture
def hostile(project):
    lines = ["model,time,at,x"]
    for place in range(240):
        at = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(hours=place)
        lines.append(f"{('golf', 'polo', 'up')[place % 3]},{at.isoformat()},{at.isoformat()},{(place * 7) % 11 - 5}")
    return project({"headrace.toml": TOML, "proj.py": PROGRAM, "rows.csv": "\n".join(lines) + "\n"})


def test_columns_of_every_name_go_through_the_whole_loop(hostile, headrace):
    hostile.run("refresh", "train", "deploy", "score --since 2024-01-01", "monitor")
    rows = pd.read_csv(hostile.folder / "rows.csv")

    trained = hostile.table("training.m").sort_values("time", ignore_index=True)
    known = rows.iloc[: len(trained)]
    assert (trained["_label"] == (known["x"] > 0)).all()
    scored = hostile.table("gold.p").sort_values("time", ignore_index=True)
    assert scored["key_model"].tolist() == rows["model"].tolist()
    for place, name in enumerate(FEATURES):
        assert trained[name].tolist() == (known["x"] * place).tolist(), name
        assert [each[name] for each in scored["features"]] == (rows["x"] * place).tolist(), name
    quality = hostile.table("metrics.model_quality")
    assert quality.loc[quality["metric"] == "roc_auc", "value"].tolist() == [1.0]
    assert quality["window_labelled"].iloc[0] == 240 - scored["in_sample"].sum() > 0

    home = hostile.folder / ".headrace" / "dev" / "serving" / "m"
    if not home.is_dir():
        home = next(path.parent for path in (hostile.folder / ".headrace" / "dev").rglob("serving.json"))
    with serving(home) as server:
        row = {name: float(place * 3) for place, name in enumerate(FEATURES)}
        for moment in ("2024-01-01T03:00:00Z", "2024-01-01T03:00:00+00:00", "2024-01-01T04:00:00+01:00"):
            asked = {"rows": [{**row, "model": "golf", "time": moment, "at": moment}]}
            status, answer, _ = server.ask("/predict", asked)
            assert (status, answer["predictions"][0]["probability"]) == (200, 0.9)
    hostile.run("ingest-log")
    logged = hostile.table("inference.m")
    assert len(set(logged["prediction_id"])) == 1
    assert logged["prediction_id"].iloc[0] == scored["prediction_id"].iloc[3]
    assert set(logged["key_model"]) == {"golf"}
    assert set(logged["key_time"]) == {pd.Timestamp("2024-01-01T03:00:00Z")}
    assert {json.loads(each)["time"] for each in logged["keys"]} == {"2024-01-01T03:00:00+00:00"}


@pytest.mark.parametrize("name", ["_label", "_Part", "__row"])
def test_what_joins_and_training_sets_call_their_own_is_refused(project, name):
    program = PROGRAM.replace("'first'", f"'{name}'").replace('X["first"]', f'X["{name}"]')
    found = project(
        {
            "proj.py": program,
            "rows.csv": "model,time,at,x\na,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z,1\n",
        }
    )
    found.run("refresh")
    done = found.run("train", code=2)
    assert f"a model cannot take a column called {name!r}" in done.stderr
