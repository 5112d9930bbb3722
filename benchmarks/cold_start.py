"""Cold start: from the start of a server's process to its first answer with 200, and its memory then.

A LightGBM model of 20 features: ours, `mlflow models serve`, BentoML, LitServe, MLServer and Ray Serve; the limit is the
interpreter with the same web server and a constant answer.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness
import servers
import serving

LIMIT = "constant"
CONTESTANTS = ("headrace", LIMIT, "mlflow", "bentoml", "litserve", "mlserver", "ray")


def measure(who: str, data: Path) -> tuple[dict[str, float], list[float]]:
    """The figures, and what is answered to the first row; nothing by the limit."""
    arguments, path, bodies, env = serving.command(who, data)
    first = (data / f"{bodies}1").read_bytes().splitlines()[0]
    with servers.started(arguments, path, first, env=env, cwd=data) as server:
        figures = {"cold_s": server.cold_s, "cpu_s": servers.cpu(server.pid), "pss_mb": servers.memory(server.pid)}
        answer = [] if who == LIMIT else serving.values(servers.post(f"http://127.0.0.1:{server.port}{path}", first))
    return figures, answer


def main() -> int:
    given = harness.arguments(__doc__).parse_args()
    data = harness.WORK / "serving"
    harness.made(serving.__file__, data)
    names = list(CONTESTANTS)
    if given.quick:
        there = lambda who: (harness.WORK / "peers" / who / "made").exists()  # noqa: E731
        names = ["headrace", LIMIT, *(["mlflow"] if there("mlflow") else [])]
    for who in names:
        serving.make_peer(who, data)
    runs = 1 if given.quick else given.runs
    found: dict[str, list[dict[str, float]]] = {who: [] for who in names}
    expected: list[float] = json.loads((data / "answers.json").read_text())["headrace"][:1]
    agreed = True
    for number in range(runs):
        for who in random.Random(number).sample(names, len(names)):
            print(f"run {number + 1} of {runs}: {who}", file=sys.stderr)
            figures, answer = measure(who, data)
            found[who].append(figures)
            agreed &= who == LIMIT or answer == expected
    middle = {
        who: {name: statistics.median(each[name] for each in found[who]) for name in found[who][0]} for who in names
    }
    us = middle["headrace"]
    ratios = {who: figures["cold_s"] / us["cold_s"] for who, figures in middle.items() if who != "headrace"}
    ratios["limit"] = ratios.pop(LIMIT)
    ratios |= {
        f"{who}, memory": middle[who]["pss_mb"] / us["pss_mb"] for who in names if who not in ("headrace", LIMIT)
    }
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    return harness.tell("cold_start", rows, ratios=ratios, agreed=agreed, runs=runs, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
