"""The booster behind Ray Serve: one replica."""

import os
import sys
import time

import lightgbm as lgb
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Bench:
    def __init__(self):
        self.booster = lgb.Booster(model_file=os.environ["BENCH_MODEL"])

    async def __call__(self, request: Request):
        rows = np.asarray((await request.json())["rows"])
        return self.booster.predict(rows, num_threads=1).tolist()


ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="error")
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Bench.bind(), route_prefix="/predict")
while True:
    time.sleep(60)
