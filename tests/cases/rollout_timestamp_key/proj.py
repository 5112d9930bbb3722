import headrace as hr

raw = hr.Source(
    "bronze.o", files="o.csv", schema=hr.Schema(slot="timestamp_utc", ts="timestamp_utc", known="timestamp_utc")
)
o = hr.Table("silver.o", key=["station", "slot"], sql="select station, slot, ts, customer, x, z from bronze.o")
truth = hr.Table(
    "gold.truth", key=["station", "slot"], time="known", sql="select station, slot, known, y from bronze.o"
)


class Flip:
    classes_ = [0, 1]

    def __init__(self, m, way):
        self.m, self.way = m, way

    def predict(self, X):
        return self.predict_proba(X)[:, 1] > 0.5

    def predict_proba(self, X):
        return self.m.predict_proba(X[["x", "z"]])[:, :: self.way]


def fit(data, params):
    from sklearn.linear_model import LogisticRegression

    m = LogisticRegression().fit(data.X[["x", "z"]], data.y)
    return Flip(m, 1 if str(data.at.max()) < "2024-02-12" else -1)


m = hr.Model(
    "m",
    fit=fit,
    task=hr.Binary(label=truth["y"]),
    spine=o.at("ts"),
    features=[o.select("x", "z", "customer")],
    evaluate=hr.Evaluate(test="20d"),
)
d = hr.Deployment(
    m,
    score=hr.Score(into="gold.p"),
    serve=hr.Serve(log="required"),
    gates=[hr.signature()],
    rollout=hr.Rollout(
        steps=("50%",),
        every="1h",
        min_requests=100,
        by=("customer",),
        guardrails=[hr.guardrail("roc_auc", worse_by=0.02)],
    ),
    monitor=hr.Monitor(window="1w", min_rows=50),
)
