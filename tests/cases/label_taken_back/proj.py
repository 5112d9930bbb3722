import headrace as hr

raw = hr.Source("bronze.o", files="o.csv", schema=hr.Schema(ts="timestamp_utc", known="timestamp_utc"))
lab = hr.Source("bronze.l", files="l*.csv", schema=hr.Schema(known="timestamp_utc", y="float64"))
o = hr.Table("silver.o", key="id", sql="select * exclude (known, _file, _digest) from bronze.o")
truth = hr.FeatureTable("gold.truth", key="id", time="known", sql="select id, known, y from bronze.l")


def fit(data, params):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.X, data.y)


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Binary(label=truth["y"]),
    spine=o.at("ts"),
    features=[o.select("x", "z")],
    evaluate=hr.Evaluate(test="20d"),
)
d = hr.Deployment(
    m,
    score=hr.Score(into="gold.p"),
    gates=[hr.signature()],
    monitor=hr.Monitor(window="1w", min_rows=50, alerts=[hr.alert("roc_auc", below=0.99, for_="1 of 1")]),
    retrain=hr.Retrain(on="alert", cool_down="7d"),
)
