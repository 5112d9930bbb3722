"""A user's program, as strict as pyright can be."""

import headrace as hr

raw = hr.Source("bronze.orders", files="orders.csv", schema=hr.Schema(placed_at="timestamp_utc"))
orders = hr.Table(
    "silver.orders",
    key="id",
    sql="select * from bronze.orders",
    expect=[hr.expect("amount > 0"), hr.expect("seats > 20", otherwise=hr.repair(seats="100"))],
)
labels = hr.Table("gold.labels", key="id", time="known_at", sql="select id, known_at, late from bronze.orders")
totals = hr.FeatureTable("features.totals", key="customer", time="at", sql="select 1", online=True, look_back="1d")


def fit(data: hr.TrainingData, params: hr.Params) -> object:
    print(data.X.shape, data.y.mean(), data.at.min(), params)
    return object()


late = hr.Model(
    "late",
    fit=fit,
    task=hr.Binary(label=labels["late"], calibrate="isotonic"),
    spine=orders.at("placed_at"),
    features=[orders.select("amount"), totals.select("orders", prefix="customer_")],
    params={"n_estimators": 150},
    tune=hr.Tune(
        {"rate": hr.log_uniform(0.02, 0.06), "leaves": hr.integer(2, 31), "kind": hr.choice("a", "b")}, trials=5
    ),
    evaluate=hr.Evaluate(test=hr.by_time("30d"), metrics=["roc_auc"], slices=["customer"]),
)
delivery = hr.Deployment(
    late,
    gates=[
        hr.signature(),
        hr.at_least("roc_auc", 0.6),
        hr.not_worse("roc_auc", margin=0.005),
        hr.approval("governance"),
    ],
    serve=hr.Serve(p95="20ms", log="required"),
    score=hr.Score(into="gold.late", every=hr.cron("0 4 * * *")),
    monitor=hr.Monitor(window="1mo", alerts=[hr.alert("roc_auc", below=0.73, for_="2 of 3")]),
    retrain=hr.Retrain(on="alert", cool_down="7d"),
)

with hr.open("dev") as dev:
    answer = dev.sql("select 1 as one")
    rows: list[dict[str, object]] = answer.rows()
    table = dev.tables["silver.orders"]
    frame = table.to_pandas()
    print(answer.count, frame.shape, rows, [each.version for each in table.history])
    run: str = dev.refresh().run
    number: int = dev.train("late", as_of="2013-05-01").version
    ending = dev.deploy(late.name).ending
    version = dev.models["late"].production
    scored = version.predict(frame, at="2013-05-01")
    print(scored.shape, version.number + 1, version.metrics["roc_auc"], run, number, ending)
    print(
        [each.psi + 1 for each in dev.drift("silver.orders", frame).columns], dev.profile(table).columns[0].missing + 1
    )
    print(dev.training_set(late).fit.X.shape, dev.features("late", frame).to_pandas().shape)
    print([each.job.upper() for each in dev.runs.list()], dev.models["late"].compare(1, 2).a.version + 1)
    print([each.model for each in dev.schedule.schedules])
