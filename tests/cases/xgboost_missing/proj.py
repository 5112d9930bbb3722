import headrace as hr

raw = hr.Source("bronze.o", files="o.csv", schema=hr.Schema(ts="timestamp_utc", known="timestamp_utc"))
o = hr.Table("silver.o", key="id", sql="select * exclude (y, known, _file, _digest) from bronze.o")
truth = hr.Table("gold.truth", key="id", time="known", sql="select id, known, y from bronze.o")


def fit(data, params):
    import xgboost as xgb

    m = xgb.XGBClassifier(n_estimators=30, max_depth=3, missing=-999.0, random_state=0).fit(data.X, data.y)
    m.save_model("right.json")
    return m


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Binary(label=truth["y"]),
    spine=o.at("ts"),
    features=[o.select("x", "z")],
    evaluate=hr.Evaluate(test="20d"),
)
