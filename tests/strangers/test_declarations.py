"""Programs of people who have nothing to do with the shipped example."""

import importlib
import sys
from pathlib import Path

import pytest

import headrace as hr


def names(module, kind):
    return {value.name for value in vars(module).values() if isinstance(value, kind)}


@pytest.fixture
def load(monkeypatch):
    """Imports a project's module from its folder, and forgets it afterwards."""
    loaded = []

    def load(folder: Path):
        monkeypatch.syspath_prepend(str(folder))
        loaded.append(folder.name)
        return importlib.import_module(f"{folder.name}.project")

    yield load
    for name in loaded:
        for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[module]


def test_the_shop_declares_exactly_the_tables_that_its_facts_expect(shop, shop_facts, load):
    module = load(shop)

    assert names(module, hr.Source | hr.Table) == set(shop_facts.rows)
    assert names(module, hr.Deployment) == names(module, hr.Model) == {"delivery_days"}


def test_the_plant_has_two_models_on_one_feature_table(machines, machines_facts, load):
    module = load(machines)

    assert names(module, hr.Source | hr.Table) == set(machines_facts.rows)
    assert names(module, hr.FeatureTable) == {"signals.machine_state"}
    assert names(module, hr.Deployment) == names(module, hr.Model) == {"fault", "breakdown"}


def test_the_facts_hold_late_missing_and_corrected_labels(shop_facts, machines_facts):
    for facts in (shop_facts, machines_facts):
        last = facts.decisions["at"].max()
        assert 0 < len(facts.training_set(last)) < len(facts.decisions)
        assert set(facts.decisions.index) - set(facts.labels.index)
        assert facts.training_set(last).index.is_unique
    assert shop_facts.labels.index.has_duplicates


def test_the_facts_hold_stale_features_and_broken_rows(shop_facts, machines_facts):
    for facts in (shop_facts, machines_facts):
        assert facts.decisions.isna().any().any()
        assert all(
            rows > 0
            for reasons in (facts.quarantined, facts.repaired)
            for by in reasons.values()
            for rows in by.values()
        )


@pytest.mark.parametrize(("project", "model"), [("shop", "delivery_days"), ("machines", "breakdown")])
def test_there_is_something_to_learn(project, model, request, load):
    """The project's own fit function, on features worked out without Headrace, beats the best constant."""
    declared = getattr(load(request.getfixturevalue(project)), model)
    facts = request.getfixturevalue(f"{project}_facts")
    rows = facts.training_set(facts.decisions["at"].max()).sort_values("at")
    X = rows[facts.decisions.columns].select_dtypes(["number", "bool"]).astype("float64")
    y = rows[declared.task.label.name].astype("float64")
    early = rows["at"] < rows["at"].quantile(0.8)

    fitted = declared.fit(hr.TrainingData(X=X[early], y=y[early], at=rows["at"][early]), declared.params)

    assert ((fitted.predict(X[~early]) - y[~early]) ** 2).mean() < 0.8 * y[~early].var()
