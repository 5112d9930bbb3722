"""Online scoring: a LightGBM model of 20 features over HTTP, 16 connections, one row and 100 rows a request.

Us, `mlflow models serve` with MLflow's own LightGBM flavour, and the limit: the same web server with a constant answer.
What counts is the server's CPU time per request, over all of its processes; the load comes from a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

FEATURES, TREES, CONNECTIONS = 20, 100, 16
PEERS = harness.WORK / "peers"
TICK = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------- the model


def make(folder: Path) -> None:
    """One booster, as our package with its parity file, and as text for the peer."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd

    from headrace.features.plan import Feature, FeaturePlan, Input
    from headrace.scoring.predictor import Predictor
    from headrace.serving.declarations import Serve
    from headrace.serving.manifest import Manifest, Parity, Served, copy_digest, write_manifest, write_parity
    from headrace.training import package
    from headrace.training.estimator import LightGBM

    draw = np.random.default_rng(0)
    names = [f"f{place}" for place in range(FEATURES)]
    X = pd.DataFrame(draw.normal(size=(20_000, FEATURES)), columns=names)  # noqa: N806
    y = (X.to_numpy()[:, :5].sum(axis=1) + draw.normal(size=len(X)) > 0).astype(int)
    booster = lgb.train({"objective": "binary", "verbose": -1, "seed": 0}, lgb.Dataset(X, y), TREES)
    booster.save_model(folder / "model.txt")
    plan = FeaturePlan(
        spine="s.t",
        at="at",
        keys=("id",),
        inputs=tuple(Input(name=name, kind="number", origin="spine") for name in names),
        features=tuple(Feature(name=name, kind="number", origin="spine", optional=False) for name in names),
        lookups=(),
        calls=(),
    )
    home = folder / "serving" / "bench"
    copy = home / "versions" / "1-bench" / "data"
    copy.mkdir(parents=True)
    written = package.write(
        copy,
        model="bench",
        task="Binary",
        classes=(0, 1),
        plan=plan,
        categories={},
        estimator=LightGBM(booster),
        calibration=None,
        params={},
        origin=None,
    )
    rows = X.head(100)
    answers = Predictor(copy / "package").predict(rows)["probability"].tolist()
    assert answers == booster.predict(rows).tolist()
    write_parity(
        copy.parent / "parity.json",
        Parity(
            artifact_hash=written.hash,
            columns=tuple(names),
            rows=tuple(map(tuple, rows.to_numpy().tolist())),
            output_columns=("probability",),
            outputs=tuple((value,) for value in answers),
            alone=tuple((value,) for value in answers[:20]),
        ),
    )
    write_manifest(
        home / "serving.json",
        Manifest(
            model="bench",
            versions=(
                Served(
                    version=1,
                    artifact_hash=written.hash,
                    logged_hash=copy_digest(copy.parent),
                    folder="versions/1-bench",
                    promoted_at="2024-01-01T00:00:00+00:00",
                ),
            ),
            serve=Serve(log="none"),
            online="../../online.db",
            spool="../../spool",
        ),
    )
    logged = json.loads((home / "serving.json").read_text())
    for policy in ("required",):
        other = folder / "serving" / policy
        other.mkdir()
        (other / "versions").symlink_to(home / "versions")
        stored = {**logged, "serve": {**logged["serve"], "log": policy}, "spool": "../../spool"}
        (other / "serving.json").write_text(json.dumps(stored))
    for count in (1, 100):
        body = {"dataframe_split": {"columns": names, "data": rows.head(count).to_numpy().tolist()}}
        (folder / f"body{count}.json").write_text(json.dumps(body))
    (folder / "answers.json").write_text(json.dumps(answers))


def peer(folder: Path) -> Path:
    """MLflow's environment, made once, and the model in its own flavour."""
    python = PEERS / "mlflow" / "bin" / "python"
    if not python.exists():
        uv = Path(sys.executable).with_name("uv")
        print("making the peer's environment, once", file=sys.stderr)
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, PEERS / "mlflow"], check=True)
        wanted = Path(__file__).parent / "peers" / "mlflow.txt"
        subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "-r", wanted], check=True)
    if not (folder / "mlflow_model").exists():
        script = (
            "import sys, json, lightgbm as lgb, mlflow.lightgbm, pandas as pd\n"
            "from mlflow.models import infer_signature\n"
            "f = sys.argv[1]; b = lgb.Booster(model_file=f + '/model.txt')\n"
            "s = json.load(open(f + '/body100.json'))['dataframe_split']\n"
            "X = pd.DataFrame(s['data'], columns=s['columns'])\n"
            "mlflow.lightgbm.save_model(b, f + '/mlflow_model', signature=infer_signature(X, b.predict(X)), "
            "pip_requirements=[])\n"
        )
        subprocess.run([python, "-W", "ignore", "-c", script, folder], check=True, cwd=folder)
    return python


# ---------------------------------------------------------------------------------------------- servers


def constant(port: int) -> None:
    """The limit: the same web server, the body read, the answer always the same."""
    import uvloop
    from granian.constants import Interfaces
    from granian.server.embed import Server

    class App:
        async def __rsgi__(self, scope: object, proto: object) -> None:
            await proto()
            proto.response_bytes(200, [("content-type", "application/json")], b'{"predictions":[{"probability":0.5}]}')

    async def run() -> None:
        await Server(App(), port=port, interface=Interfaces.RSGI, log_enabled=False, websockets=False).serve()

    uvloop.run(run())


def command(who: str, data: Path, port: int) -> tuple[list[str], str]:
    """How a contestant is started, and the path that it answers at."""
    if who in ("headrace", "headrace, logged"):
        home = data / "serving" / ("bench" if who == "headrace" else "required")
        return [sys.executable, "-m", "headrace.serving", "--home", str(home), "--port", str(port)], "/invocations"
    if who == "constant":
        return [sys.executable, __file__, "--child", "constant", str(port)], "/"
    tool = str(peer(data).with_name("mlflow"))
    return [tool, "models", "serve", "-m", str(data / "mlflow_model"), "--env-manager", "local", "-p", str(port), "-w", "1"], "/invocations"  # fmt: skip


@contextmanager
def started(who: str, data: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments, path = command(who, data, port)
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings["PATH"] = f"{Path(arguments[0]).parent}:{settings['PATH']}"
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=data
    )
    try:
        answer = first_answer(f"http://127.0.0.1:{port}{path}", (data / "body1.json").read_bytes(), process)
        yield process.pid, port, path, time.perf_counter() - began, answer
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def first_answer(url: str, body: bytes, process: subprocess.Popen[bytes]) -> bytes:
    for _ in range(12_000):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            return post(url, body)
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"{process.args} did not answer for two minutes")


def post(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


# ---------------------------------------------------------------------------------------------- measuring


def load(port: int, path: str, body: bytes, seconds: float) -> dict[str, float]:
    """In a process of its own: keeps every connection busy, and says how long answers took."""
    asked = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    taken: list[float] = []
    wrong = 0

    async def one(until: float) -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            wrong += not head.startswith(b"HTTP/1.1 200")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            taken.append(time.perf_counter() - began)
        writer.close()

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(one(until) for _ in range(CONNECTIONS)))

    asyncio.run(run())
    taken.sort()
    at = lambda share: taken[min(int(share * len(taken)), len(taken) - 1)] * 1000  # noqa: E731
    return {"requests": len(taken), "wrong": wrong, "p50_ms": at(0.5), "p99_ms": at(0.99)}


def family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pid: int) -> float:
    """Seconds of a process and its living children."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory(pid: int) -> float:
    """MB in RAM, shared pages counted once over the family."""
    total = 0
    for each in family(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(who: str, data: Path, seconds: float) -> dict[str, float | list[float]]:
    with started(who, data) as (pid, port, path, cold, answer):
        found: dict[str, float | list[float]] = {"cold_s": cold}
        for rows in (1, 100):
            script = [
                sys.executable,
                __file__,
                "--child",
                "load",
                f"{port} {path} {data / f'body{rows}.json'} {seconds}",
            ]
            subprocess.run(
                [*script[:-1], f"{port} {path} {data / f'body{rows}.json'} 0.5"], check=True, capture_output=True
            )
            before = cpu(pid)
            told = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
            if told["wrong"]:
                raise SystemExit(f"{who}: {told['wrong']} answers were no 200")
            found[f"cpu_us_{rows}"] = (cpu(pid) - before) / told["requests"] * 1e6
            found[f"rps_{rows}"] = told["requests"] / seconds
            found[f"p50_ms_{rows}"], found[f"p99_ms_{rows}"] = told["p50_ms"], told["p99_ms"]
        found["pss_mb"] = memory(pid)
        if who != "constant":
            said = json.loads(post(f"http://127.0.0.1:{port}{path}", (data / "body100.json").read_bytes()))[
                "predictions"
            ]
            found["answers"] = [each["probability"] if isinstance(each, dict) else each for each in said]
        del answer
        return found


def main() -> int:
    options = harness.arguments(__doc__)
    given = options.parse_args()
    if given.child:
        who, what = given.child
        if who == "data":
            make(Path(what))
        elif who == "constant":
            constant(int(what))
        else:
            port, path, body, seconds = what.split()
            print(json.dumps(load(int(port), path, Path(body).read_bytes(), float(seconds))))
        return 0
    data = harness.WORK / "serving"
    harness.made(__file__, data)
    names = ["headrace", "headrace, logged", "constant"]
    if not given.quick or (PEERS / "mlflow").exists():
        peer(data)
        names.append("mlflow")
    runs, seconds = (1, 2.0) if given.quick else (given.runs, 5.0)
    found: dict[str, list[dict[str, float | list[float]]]] = {who: [] for who in names}
    for number in range(runs):
        for who in random.Random(number).sample(names, len(names)):
            print(f"run {number + 1} of {runs}: {who}", file=sys.stderr)
            found[who].append(measure(who, data, seconds))
    middle = {
        who: {name: statistics.median(each[name] for each in several) for name in several[0] if name != "answers"}
        for who, several in found.items()
    }
    expected = json.loads((data / "answers.json").read_text())
    agreed = all(each["answers"] == expected for who in names if who != "constant" for each in found[who])
    us = middle["headrace"]
    ratios = {"limit": middle["constant"]["cpu_us_1"] / us["cpu_us_1"]}
    if "mlflow" in middle:
        ratios |= {
            "mlflow": middle["mlflow"]["cpu_us_1"] / us["cpu_us_1"],
            "mlflow, logged": middle["mlflow"]["cpu_us_1"] / middle["headrace, logged"]["cpu_us_1"],
            "mlflow, 100 rows": middle["mlflow"]["cpu_us_100"] / us["cpu_us_100"],
        }
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    return harness.tell("serving", rows, ratios=ratios, agreed=agreed, runs=runs, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
