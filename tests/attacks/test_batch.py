"""Batch scoring in prod says what Production says, and nothing that no gate has passed is taken for it."""

import pytest
from deltalake import DeltaTable

PROD = ("--env", "prod")


def rows(world, table):
    folder = world.folder / ".headrace/prod/lakehouse" / table.replace(".", "/")
    return DeltaTable(str(folder)).to_pandas() if folder.exists() else None


def test_a_newer_version_that_passed_no_gate_does_not_score(world):
    world.ok("run", "score", "--since", "2024-02-20", *PROD, by="eng")
    assert set(rows(world, "answers.late").model_version) == {1}


@pytest.mark.parametrize("into", [(), ("--into", "answers.late"), ("--into", "scratch.a", "--into", "answers.late")])
def test_a_version_that_is_named_does_not_write_what_production_says(world, into):
    refused = world.refused("run", "score", "--version", "2", "--since", "2024-02-20", *into, *PROD, by="eng")
    assert "answers.late" in refused.stderr
    assert rows(world, "answers.late") is None


def test_naming_a_version_takes_a_right(world):
    asked = ("run", "score", "--version", "2", "--since", "2024-02-20", "--into", "scratch.a", *PROD)
    for name in ("guest", "gov"):
        world.refused(*asked, by=name)
    assert rows(world, "scratch.a") is None
    world.ok(*asked, by="eng")
    assert set(rows(world, "scratch.a").model_version) == {2}


@pytest.mark.parametrize("table", ["shop.orders", "raw.orders"])
def test_predictions_overwrite_no_table_of_something_else(world, table):
    before = rows(world, table)
    world.refused("run", "score", "--since", "2024-02-20", "--into", table, *PROD, by="eng")
    after = rows(world, table)
    assert (before is None and after is None) or before.equals(after)


def test_nothing_scores_while_nothing_is_in_production(world):
    for step in ("refresh", "train"):
        world.ok("run", step, "--env", "staging")
    refused = world.refused("run", "score", "--env", "staging")
    assert "no version of late is in Production" in refused.stderr
    assert not (world.folder / ".headrace/staging/lakehouse/answers").exists()


def test_a_release_without_gates_does_not_open_the_way(world):
    world.release("v0.1.0", gates="")
    world.refused("run", "score", "--version", "2", "--release", "v0.1.0", "--since", "2024-02-20", *PROD, by="eng")
    assert rows(world, "answers.late") is None


def test_what_a_version_was_fitted_on_is_no_quality(world):
    world.ok("run", "score", "--since", "2024-01-01", *PROD, by="eng")
    scored = rows(world, "answers.late")
    fitted = world.ok("model", "show", "late", "--version", "1", "--json", *PROD).json()
    inside = (scored.decision_time >= fitted["fit_from"]) & (scored.decision_time <= fitted["fit_to"])
    assert inside.any()
    assert (scored.in_sample == inside).all()
    measured = rows(world, "metrics.model_quality")
    assert measured[measured.metric == "roc_auc"].groupby("window_start").labelled.max().sum() <= (~inside).sum()
