import headrace as hr

raw = hr.Source("bronze.readings", files="data/readings.csv")
readings = hr.Table("silver.readings", key=["sensor", "slot"], sql="select sensor, slot, x from bronze.readings")
stats = hr.FeatureTable(
    "features.stats",
    key="sensor",
    time="seen",
    online=True,
    sql="select sensor, slot as seen, x as last_x from bronze.readings",
)
truth = hr.Table(
    "gold.truth",
    key=["sensor", "slot"],
    time="known_at",
    sql="select sensor, slot, slot + interval 1 hour as known_at, hot = 1 as hot from bronze.readings",
)


class Fitted:
    classes_ = [0, 1]

    def predict(self, X):
        return (X["x"] > 0).astype(int).to_numpy()

    def predict_proba(self, X):
        import numpy as np

        p = np.where(X["x"] > 0, 0.9, 0.1)
        return np.column_stack([1 - p, p])


def fit(data, params):
    return Fitted()


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Binary(label=truth["hot"]),
    spine=readings.at("slot"),
    features=[readings.select("x"), stats.select("last_x")],
    evaluate=hr.Evaluate(test="3d"),
)
d = hr.Deployment(m, score=hr.Score(into="gold.p"), serve=hr.Serve(), monitor=hr.Monitor(window="1d", min_rows=5))
