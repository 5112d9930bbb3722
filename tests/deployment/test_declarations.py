"""What cannot work is told where it is written, not by a gate that nobody asks or an alert that never fires."""

import pytest

import headrace as hr
from headrace.core.errors import DeclarationError

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
