"""The booster behind BentoML: one worker, arrays in and out."""

import os

import bentoml
import lightgbm as lgb
import numpy as np


@bentoml.service(workers=1)
class Bench:
    def __init__(self):
        self.booster = lgb.Booster(model_file=os.environ["BENCH_MODEL"])

    @bentoml.api(route="/predict")
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.booster.predict(rows, num_threads=1)
