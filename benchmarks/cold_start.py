"""Cold start: from the start of a server's process to its first answer with 200, and its memory then.

A LightGBM model of 20 features: ours, `mlflow models serve`, BentoML, LitServe, MLServer and Ray Serve; the limit is the
interpreter with the same web server and a constant answer.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness
import servers
import serving

CONTESTANTS = ("headrace", "constant", "mlflow", "bentoml", "litserve", "mlserver", "ray")


def measure(who: str, data: Path) -> dict[str, float]:
    arguments, path, bodies, env = serving.command(who, data)
    first = (data / f"{bodies}1").read_bytes().splitlines()[0]
    with servers.started(arguments, path, first, env=env, cwd=data) as server:
        return {"cold_s": server.cold_s, "cpu_s": servers.cpu(server.pid), "pss_mb": servers.memory(server.pid)}


def main() -> int:
    given = harness.arguments(__doc__).parse_args()
    data = harness.WORK / "serving"
    harness.made(serving.__file__, data)
    names = list(CONTESTANTS)
    if given.quick:
        there = lambda who: (harness.WORK / "peers" / who / "made").exists()  # noqa: E731
        names = ["headrace", "constant", *(["mlflow"] if there("mlflow") else [])]
    for who in names:
        serving.make_peer(who, data)
    runs = 1 if given.quick else given.runs
    found: dict[str, list[dict[str, float]]] = {who: [] for who in names}
    for number in range(runs):
        for who in random.Random(number).sample(names, len(names)):
            print(f"run {number + 1} of {runs}: {who}", file=sys.stderr)
            found[who].append(measure(who, data))
    middle = {
        who: {name: statistics.median(each[name] for each in found[who]) for name in found[who][0]} for who in names
    }
    us = middle["headrace"]
    ratios = {who: figures["cold_s"] / us["cold_s"] for who, figures in middle.items() if who != "headrace"}
    ratios["limit"] = ratios.pop("constant")
    ratios |= {
        f"{who}, memory": middle[who]["pss_mb"] / us["pss_mb"] for who in names if who not in ("headrace", "constant")
    }
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    return harness.tell("cold_start", rows, ratios=ratios, agreed=True, runs=runs, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
