"""The environment's MLflow store, and labelled rows: those that a version was trained on, with their features."""

import os

import headrace as hr

os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///.headrace/prod/mlflow.db"
rows = hr.open("prod").tables["training.arrival_delay"].to_arrow().to_pandas()
rows = rows[["distance", "late_rate_24h"]].assign(late=rows["_label"].astype(int))
