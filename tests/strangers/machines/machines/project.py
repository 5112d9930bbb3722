"""What will an inspection find, and will it find anything at all? Asked when the inspection is due."""

import headrace as hr

readings = hr.Source("raw.readings", files="data/readings/*.parquet")
inspections_book = hr.Source(
    "raw.inspections",
    files="data/inspections.csv",
    schema=hr.Schema(inspection="string", due_at="timestamp_utc", reported_at="timestamp_utc"),
)

inspections = hr.Table(
    "plant.inspections",
    key="inspection",
    sql="select inspection, plant, machine, due_at, hours_run from raw.inspections",
    expect=[
        hr.expect("hours_run >= 0", otherwise=hr.repair(hours_run="-hours_run")),
        hr.expect("machine like 'M-%'", otherwise="quarantine"),
    ],
)
findings = hr.Table(
    "plant.findings",
    key="inspection",
    time="reported_at",
    sql="select inspection, reported_at, finding, finding <> 'fine' as broken from raw.inspections "
    "where reported_at is not null",
)
machine_state = hr.FeatureTable(
    "signals.machine_state",
    key=["site", "machine"],
    time="sent_at",
    look_back="12h",
    online=True,
    sql=hr.sql_file("machine_state.sql"),
    expect=[hr.expect("temperature is null or temperature < 500", otherwise=hr.repair(temperature="null"))],
)


def fit_fault(data: hr.TrainingData, params: hr.Params):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0, **params).fit(
        data.X, data.y
    )


def fit_breakdown(data: hr.TrainingData, params: hr.Params):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression(**params)
    return make_pipeline(*steps).fit(data.X, data.y)


fault = hr.Model(
    "fault",
    fit=fit_fault,
    task=hr.Multiclass(label=findings["finding"]),
    spine=inspections.at("due_at"),
    features=[
        inspections.select("plant", "hours_run"),
        machine_state.select("mode", "temperature", "vibration_6h", "pressure", on={"site": "plant"}),
    ],
    params={"max_iter": 40, "max_leaf_nodes": 8},
    evaluate=hr.Evaluate(test="20d", slices=["plant"]),
)
breakdown = hr.Model(
    "breakdown",
    fit=fit_breakdown,
    task=hr.Binary(label=findings["broken"]),
    spine=inspections.at("due_at"),
    features=[
        inspections.select("hours_run"),
        hr.external_feature_table("signals.machine_state").select(
            "temperature", "vibration_6h", on={"site": "plant"}, prefix="state_"
        ),
    ],
    tune=hr.Tune({"C": hr.log_uniform(0.01, 10)}, trials=2),
    evaluate=hr.Evaluate(test="20d", metrics=["average_precision", "roc_auc"]),
)

fault_scores = hr.Deployment(
    fault,
    gates=[hr.signature(), hr.approval("governance")],
    score=hr.Score(into="answers.fault"),
    serve=hr.Serve(log="best_effort"),
    monitor=hr.Monitor(window="1w", min_rows=20, slices=["plant"]),
)
breakdown_scores = hr.Deployment(
    breakdown,
    gates=[hr.at_least("roc_auc", 0.6), hr.not_worse("roc_auc", min_rows=50)],
    score=hr.Score(into="answers.breakdown"),
    serve=hr.Serve(log="none"),
    monitor=hr.Monitor(window="1w", min_rows=20, alerts=[hr.alert("roc_auc", below=0.999, for_="1 of 1")]),
)
