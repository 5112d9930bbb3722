import headrace as hr

raw = hr.Source("bronze.o", files="data/o.csv", nulls=("",))  # NA is Namibia
o = hr.Table("silver.o", key="id", sql="select id, ts, c from bronze.o")
truth = hr.Table(
    "gold.truth", key="id", time="known_at", sql="select id, ts + interval 1 hour as known_at, y = 1 as y from bronze.o"
)


class Fitted:
    classes_ = [0, 1]

    def predict(self, X):
        return (X["c"] == "NA").astype(int).to_numpy()

    def predict_proba(self, X):
        import numpy as np

        p = np.where(X["c"] == "NA", 0.9, 0.1)
        return np.column_stack([1 - p, p])


def fit(data, params):
    return Fitted()


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Binary(label=truth["y"]),
    spine=o.at("ts"),
    features=[o.select("c")],
    evaluate=hr.Evaluate(test="4d"),
)
d = hr.Deployment(m, score=hr.Score(into="gold.p"))
