import headrace as hr

raw = hr.Source("bronze.o", files="o.csv", schema=hr.Schema(ts="timestamp_utc", known="timestamp_utc"))
o = hr.Table("silver.o", key="id", sql="select * exclude (y, known, _file, _digest) from bronze.o")
truth = hr.Table("gold.truth", key="id", time="known", sql="select id, known, y::varchar as y from bronze.o")


def fit(data, params):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, random_state=0).fit(data.X, data.y.astype(int))


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Multiclass(label=truth["y"]),
    spine=o.at("ts"),
    features=[o.select("x", "z")],
    evaluate=hr.Evaluate(test="20d"),
)
