"""What cannot work is told where it is written, not by a gate that nobody asks or an alert that never fires."""

import json

import pytest

import headrace as hr
from headrace.core.errors import DeclarationError, HeadraceError
from headrace.deployment.ramps import rules
from headrace.registry.records import RampPlan

orders = hr.Table("shop.orders", key="id", sql="select 1")
labels = hr.Table("shop.labels", key="id", time="at", sql="select 1")
model = hr.Model(
    "late",
    fit=lambda data, params: None,
    task=hr.Binary(label=labels["late"]),
    spine=orders.at("placed_at"),
    features=[orders.select("amount")],
)
score = hr.Score(into="answers.late")


timeless = hr.Table("shop.timeless", key="id", sql="select 1")
unwatched = hr.Model(
    "late",
    fit=lambda data, params: None,
    task=hr.Binary(label=timeless["late"]),
    spine=orders.at("placed_at"),
    features=[orders.select("amount")],
)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: hr.Ramp(steps=()), r"steps=\(\)\) is not possible"),
        (lambda: hr.Ramp(steps=("25%", "5%")), "is not possible"),
        (lambda: hr.Ramp(steps=("5%", "5%")), "is not possible"),
        (lambda: hr.Ramp(steps=("50%", "100%")), "is not possible"),
        (lambda: hr.Ramp(every="3d"), "takes 9 days"),
        (lambda: hr.Ramp(by="customer"), "no list of columns"),
        (lambda: hr.Ramp(min_requests=0), "is not possible"),
        (lambda: hr.Ramp(alpha=0.7), "is not possible"),
        (lambda: hr.Ramp(stop=["error_rate > 0.01"]), "is no stop"),
        (lambda: hr.stop("roc_auc"), "needs one of"),
        (lambda: hr.stop("roc_auc", below=0.6, worse_by=0.1), "needs one of"),
        (lambda: hr.stop("roc_auc", worse_by=0), "differ by chance"),
        (lambda: hr.stop("roc_auc", worse_by=float("nan")), "is not possible"),
        (lambda: hr.stop("error_rate", below=0.1), "above= or worse_by="),
        (lambda: hr.stop("error_rate", above=1.5), "between 0 and 1"),
        (lambda: hr.stop("error_rate", above="1%"), "is not possible"),
        (lambda: hr.stop("p99", above="40ms"), "one of .*25ms, 50ms"),
        (lambda: hr.stop("p99", above=0.05), "is not possible"),
        (lambda: hr.stop("p99", worse_by=0.1), "is not possible"),
        (lambda: hr.Deployment(model, score=score, ramp=hr.Ramp()), "declares no serving"),
        (lambda: ramped(hr.stop("rmse", worse_by=0.1)), "error_rate, p50, p90, p95, p99, roc_auc"),
        (lambda: ramped(hr.stop("roc_auc", above=0.9)), "would stop what is good"),
        (lambda: ramped(hr.stop("brier", below=0.1)), "would stop what is good"),
        (lambda: ramped(hr.stop("roc_auc", worse_by=0.1), of=unwatched), "has no time="),
    ],
)
def test_a_ramp_that_cannot_work_is_refused(make, says):
    with pytest.raises(HeadraceError, match=says):
        make()


def ramped(rule, of=model):
    return hr.Deployment(of, score=score, serve=hr.Serve(), ramp=hr.Ramp(stop=[rule]))


def test_the_plan_of_a_ramp_survives_being_kept():
    declared = hr.Ramp(steps=("5%", 0.5), stop=[hr.stop("p99", above="50ms"), hr.stop("roc_auc", worse_by=0.02)])
    kept = RampPlan.from_json(json.loads(json.dumps(declared.plan.to_json())))

    assert kept == declared.plan
    assert (kept.steps, kept.every) == ((0.05, 0.5), 3600.0)
    assert [rule.name for rule in rules(kept)] == ["p99 > 50ms", "roc_auc worse by 0.02"]
    assert rules(kept) == list(declared.stop)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"gates": [hr.signature]}, "is no gate"),
        ({"gates": [hr.at_least("roc_acu", 0.6)]}, "roc_acu"),
        ({"gates": [hr.not_worse("rmse")]}, "rmse"),
        ({"monitor": hr.Monitor(alerts=[hr.alert("roc_acu", below=0.7)])}, "roc_acu"),
        ({"monitor": hr.Monitor(alerts=["roc_auc < 0.7"])}, "is no alert"),
        ({"score": hr.Score(into="answers.late", every="0 4 * * *")}, "is no schedule"),
    ],
)
def test_what_cannot_work_is_refused(declared, says):
    with pytest.raises(DeclarationError, match=says):
        hr.Deployment(model, **{"score": score, **declared})


def test_metrics_that_every_model_has_may_be_watched():
    rules = [hr.alert("psi", above=0.2), hr.alert("null_share", above=0.1), hr.alert("label_coverage", below=0.5)]
    deployment = hr.Deployment(model, score=score, gates=[hr.not_worse("roc_auc")], monitor=hr.Monitor(alerts=rules))

    assert deployment.name == "late"
