"""What cannot work is told where it is written, not by a gate that nobody asks or an alert that never fires."""

import json

import pytest

import headrace as hr
from headrace.core.errors import DeclarationError, HeadraceError
from headrace.deployment.rollouts import rules
from headrace.registry.records import RolloutPlan

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
        (lambda: hr.Rollout(steps=()), r"steps=\(\)\) is not possible"),
        (lambda: hr.Rollout(steps=("25%", "5%")), "is not possible"),
        (lambda: hr.Rollout(steps=("5%", "5%")), "is not possible"),
        (lambda: hr.Rollout(steps=("50%", "100%")), "is not possible"),
        (lambda: hr.Rollout(every="3d"), "takes 9 days"),
        (lambda: hr.Rollout(by="customer"), "no list of columns"),
        (lambda: hr.Rollout(min_requests=0), "is not possible"),
        (lambda: hr.Rollout(alpha=0.7), "is not possible"),
        (lambda: hr.Rollout(guardrails=["error_rate > 0.01"]), "is no guardrail"),
        (lambda: hr.guardrail("roc_auc"), "needs one of"),
        (lambda: hr.guardrail("roc_auc", below=0.6, worse_by=0.1), "needs one of"),
        (lambda: hr.guardrail("roc_auc", worse_by=0), "differ by chance"),
        (lambda: hr.guardrail("roc_auc", worse_by=float("nan")), "is not possible"),
        (lambda: hr.guardrail("error_rate", below=0.1), "above= or worse_by="),
        (lambda: hr.guardrail("error_rate", above=1.5), "between 0 and 1"),
        (lambda: hr.guardrail("error_rate", above="1%"), "is not possible"),
        (lambda: hr.guardrail("p99", above="40ms"), "one of .*25ms, 50ms"),
        (lambda: hr.guardrail("p99", above=0.05), "is not possible"),
        (lambda: hr.guardrail("p99", worse_by=0.1), "is not possible"),
        (lambda: hr.Deployment(model, score=score, rollout=hr.Rollout()), "declares no serving"),
        (lambda: on_rollout(hr.guardrail("rmse", worse_by=0.1)), "error_rate, p50, p90, p95, p99, roc_auc"),
        (lambda: on_rollout(hr.guardrail("roc_auc", above=0.9)), "would stop what is good"),
        (lambda: on_rollout(hr.guardrail("brier", below=0.1)), "would stop what is good"),
        (lambda: on_rollout(hr.guardrail("roc_auc", worse_by=0.1), of=unwatched), "has no time="),
        (lambda: hr.guardrail("feedback.stars", below=0.5), "feedback.thumbs, feedback.score"),
        (lambda: hr.guardrail("feedback.thumbs", below=1.5), "a share between 0 and 1"),
        (lambda: hr.guardrail("feedback.thumbs", above=0.9), "would stop what is good"),
        (lambda: hr.guardrail("feedback.retry", below=0.1), "would stop what is good"),
        (lambda: hr.Rollout(metric="error_rate"), "nothing that answers are better by"),
        (lambda: hr.Rollout(metric=3), "names no metric"),
        (lambda: on_rollout(hr.guardrail("feedback.thumbs", below=0.5)), "takes none"),
        (lambda: on_feedback(hr.Rollout(metric="feedback.score")), "whose feedback is thumbs, text"),
        (lambda: on_feedback(hr.Rollout(guardrails=[hr.guardrail("feedback.retry", above=0.5)])), "feedback.thumbs"),
        (lambda: on_feedback(hr.Rollout(metric="rmse")), "roc_auc.*feedback.thumbs"),
    ],
)
def test_a_rollout_that_cannot_work_is_refused(make, says):
    with pytest.raises(HeadraceError, match=says):
        make()


def on_rollout(rule, of=model):
    return hr.Deployment(of, score=score, serve=hr.Serve(), rollout=hr.Rollout(guardrails=[rule]))


def on_feedback(rollout):
    return hr.Deployment(model, score=score, serve=hr.Serve(), rollout=rollout, feedback=hr.Feedback("thumbs", "text"))


def test_a_rollout_may_go_by_feedback_that_is_declared():
    declared = hr.Rollout(metric="feedback.thumbs", guardrails=[hr.guardrail("feedback.thumbs", worse_by=0.05)])
    plan = on_feedback(declared).rollout.plan
    assert type(plan).from_json(plan.to_json()) == plan
    assert plan.metric == "feedback.thumbs"
    assert "metric" not in hr.Rollout().plan.to_json()  # what was approved before there was one is the same


def test_the_plan_of_a_rollout_survives_being_kept():
    declared = hr.Rollout(
        steps=("5%", 0.5), guardrails=[hr.guardrail("p99", above="50ms"), hr.guardrail("roc_auc", worse_by=0.02)]
    )
    kept = RolloutPlan.from_json(json.loads(json.dumps(declared.plan.to_json())))

    assert kept == declared.plan
    assert (kept.steps, kept.every) == ((0.05, 0.5), 3600.0)
    assert [rule.name for rule in rules(kept)] == ["p99 > 50ms", "roc_auc worse by 0.02"]
    assert rules(kept) == list(declared.guardrails)


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


MISTAKES = [
    (lambda: hr.cron(5), "5"),
    (lambda: hr.cron(None), "None"),
    (lambda: hr.cron("0 4 * * *", misfire_grace=5), "misfire_grace=5"),
    (lambda: hr.cron("0 4 * * *", misfire_grace="59s"), "misfire_grace='59s'"),
    (lambda: hr.cron("0 4 * * *", misfire_grace="367d"), "misfire_grace='367d'"),
    (lambda: hr.cron("0 4 * * *", misfire_grace="999999d"), "misfire_grace='999999d'"),
    (lambda: hr.Serve(timeout=5), "Serve(timeout=5)"),
    (lambda: hr.Serve(timeout="5"), "Serve(timeout='5')"),
    (lambda: hr.Serve(p95=20), "Serve(p95=20)"),
    (lambda: hr.Serve(max_log="1GB"), "Serve(max_log='1GB')"),
    (lambda: hr.Serve(max_log=True), "Serve(max_log=True)"),
    (lambda: hr.Serve(max_log=1.5), "Serve(max_log=1.5)"),
    (lambda: hr.Serve(max_rows=None), "Serve(max_rows=None)"),
    (lambda: hr.Serve(max_rows=0), "Serve(max_rows=0)"),
    (lambda: hr.Serve(max_body=10**30), f"Serve(max_body={10**30})"),
    (lambda: hr.Serve(queue="3"), "Serve(queue='3')"),
    (lambda: hr.Serve(sample="a"), "Serve(sample='a')"),
    (lambda: hr.Serve(sample=float("nan")), "Serve(sample=nan)"),
    (lambda: hr.Serve(sample=10**400), "Serve(sample=1000"),
    (lambda: hr.Serve(cors=None), "Serve(cors=None)"),
    (lambda: hr.Serve(redact=None), "Serve(redact=None)"),
    (lambda: hr.Serve(redact=[5]), "Serve(redact=[5])"),
    (lambda: hr.Serve(redact="email"), "Serve(redact='email')"),
    (lambda: hr.Serve(fsync="yes"), "Serve(fsync='yes')"),
    (lambda: hr.Score(into=5), "Score(into=5)"),
    (lambda: hr.Score(into="gold.a", rows=True), "Score(rows=True)"),
    (lambda: hr.Stream(source=hr.kafka("a"), into="gold.a", max_messages="3"), "Stream(max_messages='3')"),
    (lambda: hr.Stream(source=hr.kafka("a"), into="gold.a", max_wait=100), "Stream(max_wait=100)"),
    (lambda: hr.Stream(source=hr.kafka("a"), into="gold.a", group=5), "Stream(group=5)"),
    (lambda: hr.Monitor(min_rows="500"), "Monitor(min_rows='500')"),
    (lambda: hr.Monitor(slices="carrier"), "Monitor(slices='carrier')"),
    (lambda: hr.Monitor(alerts=None), "Monitor(alerts=None)"),
    (lambda: hr.alert("psi", above="a lot"), "alert(above='a lot')"),
    (lambda: hr.alert("psi", above=0.2, for_=2), "alert(for_=2)"),
    (lambda: hr.alert("psi", above=0.2, cool_down=1), "alert(cool_down=1)"),
    (lambda: hr.Retrain(cool_down=7), "Retrain(cool_down=7)"),
    (lambda: hr.Retrain(cool_down="999999d"), "Retrain(cool_down='999999d')"),
    (lambda: hr.Retrain(min_coverage="80%"), "Retrain(min_coverage='80%')"),
    (lambda: hr.Retrain(give_up=None), "Retrain(give_up=None)"),
    (lambda: hr.Retrain(tune="yes"), "Retrain(tune='yes')"),
    (lambda: hr.Rollout(every=1), "Rollout(every=1)"),
    (lambda: hr.Rollout(steps=None), "Rollout(steps=None)"),
    (lambda: hr.Rollout(guardrails=None), "Rollout(guardrails=None)"),
    (lambda: hr.Rollout(min_requests="many"), "Rollout(min_requests='many')"),
    (lambda: hr.Rollout(alpha="5%"), "Rollout(alpha='5%')"),
    (lambda: hr.Rollout(by=None), "Rollout(by=None)"),
    (lambda: hr.not_worse("roc_auc", margin="1%"), "not_worse(margin='1%')"),
    (lambda: hr.at_least("roc_auc", "0.7"), "at_least(limit='0.7')"),
    (lambda: hr.forbid_inputs(5), "forbid_inputs(columns=(5,))"),
    (lambda: hr.approval(None), "approval(role=None)"),
    (lambda: hr.guardrail("roc_auc", worse_by="1%"), "guardrail(worse_by='1%')"),
    (lambda: hr.Evaluate(test=30), "Evaluate(test=30)"),
    (lambda: hr.Evaluate(metrics="rmse"), "Evaluate(metrics='rmse')"),
    (lambda: hr.Tune(None), "Tune(space=None)"),
    (lambda: hr.Tune({"depth": hr.integer(2, 8)}, trials="ten"), "Tune(trials='ten')"),
    (lambda: hr.uniform("0", 1), "(low='0')"),
    (lambda: hr.FeatureTable("a.b", key="id", time="at", sql="select 1", look_back=2), "look_back=2"),
    (lambda: hr.Deployment(None, score=score), "Deployment(model=None)"),
    (lambda: hr.Deployment(model, score="gold.predictions"), "Deployment(score='gold.predictions')"),
    (lambda: hr.Deployment(model, score=score, gates=None), "Deployment(gates=None)"),
    (lambda: hr.Deployment(model, score=score, serve=hr.Serve), "Deployment(serve=<class"),
]


@pytest.mark.parametrize(("make", "says"), MISTAKES, ids=[says[:60] for _, says in MISTAKES])
def test_a_value_of_the_wrong_kind_is_told_with_what_is_possible(make, says):
    with pytest.raises(DeclarationError) as told:
        make()
    assert says in told.value.what
    assert told.value.hint


@pytest.mark.parametrize("grace", ["1m", "366d"])
def test_the_limits_themselves_are_possible(grace):
    assert hr.cron("0 4 * * *", misfire_grace=grace).misfire_grace == grace
