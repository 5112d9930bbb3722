import headrace as hr

raw = hr.Source("bronze.cars", files="data/cars.csv")
cars = hr.Table("silver.cars", key=["model", "vin"], sql="select model, vin, ts, x from bronze.cars")
truth = hr.Table(
    "gold.truth",
    key=["model", "vin"],
    time="known_at",
    sql="select model, vin, ts + interval 1 hour as known_at, y = 1 as y from bronze.cars",
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
    task=hr.Binary(label=truth["y"]),
    spine=cars.at("ts"),
    features=[cars.select("x")],
    evaluate=hr.Evaluate(test="4d"),
)
d = hr.Deployment(m, score=hr.Score(into="gold.p"), monitor=hr.Monitor(window="1mo", min_rows=10))
