"""The booster behind LitServe: one worker."""

import os
import sys

import lightgbm as lgb
import litserve
import numpy as np


class Bench(litserve.LitAPI):
    def setup(self, device):
        del device
        self.booster = lgb.Booster(model_file=os.environ["BENCH_MODEL"])

    def decode_request(self, request):
        return np.asarray(request["rows"])

    def predict(self, x):
        return self.booster.predict(x, num_threads=1)

    def encode_response(self, output):
        return output.tolist()


if __name__ == "__main__":
    server = litserve.LitServer(Bench(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
