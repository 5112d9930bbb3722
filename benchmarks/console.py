"""The console: the server's CPU time and the bytes of each page, cold start and memory, beside the API calls of MLflow's UI.

The project is that of `console_project`: 50 models with 200 versions each, 500 tables, 100,000 runs, and daily metrics of 200
features over a year. Each page is loaded as often as `--loads` says, after two loads that warm it; what is counted is the CPU time of
the server's process, as the kernel counts it. MLflow's server has the same models and versions in its own tables, and answers what
its UI asks for its list of models and for the page of one; it has an environment of its own, made at the first run without `--quick`.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import console_project
import harness
import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

SOAK = {"quick": 200, "full": 2_000}  # loads
STATIC = ("/-/console.css", "/-/console.js", "/-/vendor/htmx.min.js", "/-/vendor/htmx-sse.min.js")
LIMITS = {"cpu_ms": 100.0, "first_page_kb": 60.0, "cold_s": 1.0}


@contextmanager
def server(command: list[str], first: str, cwd: Path) -> Iterator[servers.Server]:
    """A server that has answered its first page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    arguments = [each.replace("<port>", str(port)) for each in command]
    process = subprocess.Popen(
        arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while True:
            try:
                load(port, first)
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - began > 120:
                    raise SystemExit(f"{command} does not answer") from None
                time.sleep(0.004)
        yield servers.Server(pid=process.pid, port=port, path=first, cold_s=time.perf_counter() - began)
    finally:
        for pid in servers.family(process.pid):
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
        process.wait()


def load(port: int, path: str, body: str | None = None) -> tuple[bytes, int]:
    """The content of a page, and how many bytes it was on the wire with its headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"accept-encoding": "gzip", "content-type": "application/json"}
    connection.request("POST" if body else "GET", path, body=body, headers=headers)
    answer = connection.getresponse()
    sent = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {sent[:300]!r}")
    head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
    content = gzip.decompress(sent) if answer.getheader("content-encoding") == "gzip" else sent
    return content, len(sent) + head


def measure(at: servers.Server, path: str, loads: int) -> dict[str, float]:
    """One page: CPU and wall time of a load in milliseconds, and KB on the wire."""
    load(at.port, path)
    _, wire = load(at.port, path)
    before, walls = servers.cpu(at.pid), list[float]()
    for _ in range(loads):
        began = time.perf_counter()
        load(at.port, path)
        walls.append(time.perf_counter() - began)
    spent = servers.cpu(at.pid) - before
    return {"cpu_ms": spent / loads * 1e3, "wall_ms": statistics.median(walls) * 1e3, "wire_kb": wire / 1024}


def rss(pid: int) -> float:
    """MB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


# ---------------------------------------------------------------------------------------------- the contestants


def pages(folder: Path) -> dict[str, str]:
    """Name → address of every page, of things that there are."""
    from headrace.operations.operation import At
    from headrace.operations.requests import list_requests
    from headrace.operations.runs import list_runs

    at = At(folder=folder)
    newest = sizes(folder).versions
    asked, run = list_requests(at)[0], list_runs(at, limit=5).runs[-1]
    return {
        "home": "/dev",
        "models": "/dev/models",
        "model": "/dev/models/model_01",
        "version": f"/dev/models/model_01/{newest - 2}",
        "compare": f"/dev/models/model_01/compare?a={newest - 2}&b={newest - 1}",
        "request": f"/dev/requests/{asked.request}",
        "tables": "/dev/tables",
        "table": "/dev/tables/lake.table_000",
        "table of metrics": "/dev/tables/answers.model_00_drift_metrics",
        "alerts": "/dev/alerts",
        "runs": "/dev/runs",
        "runs, page 50": "/dev/runs?page=50",
        "run": f"/dev/runs/{run.run}",
        "schedule": "/dev/schedule",
        "audit": "/dev/audit",
        "audit, a word": "/dev/audit?q=model_03",
    }


def sizes(folder: Path) -> console_project.Sizes:
    return console_project.Sizes(**json.loads((folder / "sizes.json").read_text()))


def shown_versions(at: servers.Server) -> dict[str, int]:
    """Model → how many versions it has, as the page of all models says."""
    text = load(at.port, "/dev/models")[0].decode()
    found = re.findall(r'<td><a href="/dev/models/[^"/]+">([^<]+)</a></td><td class="number">([\d,]+)</td>', text)
    return {model: int(count.replace(",", "")) for model, count in found}


def mlflow_calls() -> dict[str, str]:
    """What MLflow's UI asks its server for, as of MLflow 3: the list of models, and the page of one."""
    api = "/ajax-api/2.0/mlflow"
    return {
        "models": f"{api}/registered-models/search?max_results=25&order_by=name+ASC",
        "model": f"{api}/registered-models/get?name=model_01",
        "versions of a model": f"{api}/model-versions/search?filter=name%3D%27model_01%27&max_results=25",
    }


def mlflow_versions(at: servers.Server) -> dict[str, int]:
    """Model → how many versions it has, as MLflow's API says, page by page."""
    counts, token = dict[str, int](), ""
    while True:
        query = f"max_results=1000{f'&page_token={token}' if token else ''}"
        told = json.loads(load(at.port, f"/ajax-api/2.0/mlflow/model-versions/search?{query}")[0])
        for each in told["model_versions"]:
            counts[each["name"]] = counts.get(each["name"], 0) + 1
        token = told.get("next_page_token", "")
        if not token:
            return counts


# ---------------------------------------------------------------------------------------------- the benchmark


def main() -> int:
    parser = harness.arguments(__doc__)
    parser.add_argument("--loads", type=int, default=10, help="loads of each page (default: 10)")
    given = parser.parse_args()
    data = harness.WORK / f"console_{'quick' if given.quick else 'full'}"
    if given.child:
        console_project.make(
            Path(given.child[1]) / "project", console_project.QUICK if given.quick else console_project.FULL
        )
        return 0
    folder = made(data, quick=given.quick)
    rows: list[dict[str, str | float]] = []
    ours = [sys.executable, "-m", "headrace.cli", "console", "--port", "<port>"]
    cold: list[float] = []
    for number in range(given.runs):
        print(f"cold start {number + 1} of {given.runs}", file=sys.stderr)
        with server(ours, "/dev", folder) as at:
            cold.append(at.cold_s)
            cold_cpu = servers.cpu(at.pid)
    with server(ours, "/dev", folder) as at:
        wire = {name: load(at.port, name)[1] / 1024 for name in STATIC}
        for name, path in pages(folder).items():
            print(name, file=sys.stderr)
            rows.append({"page": name, "who": "headrace", **measure(at, path, given.loads)})
        counts = shown_versions(at)
        flat = soak(at, list(pages(folder).values()), SOAK["quick" if given.quick else "full"])
    agreed = counts == expected(sizes(folder))
    if not given.quick or (harness.WORK / "peers" / "mlflow" / "made").exists():
        store = f"sqlite:///{folder}/.headrace/dev/mlflow.db"
        mlflow = str(harness.environment("mlflow").with_name("mlflow"))
        theirs = [mlflow, "server", "--port", "<port>", "--workers", "1", "--backend-store-uri", store]
        with server(theirs, "/health", folder) as at:
            for name, path in mlflow_calls().items():
                print(f"mlflow: {name}", file=sys.stderr)
                rows.append({"page": name, "who": "mlflow", **measure(at, path, given.loads)})
            agreed &= mlflow_versions(at) == counts
    cpu = {(str(row["page"]), row["who"]): float(row["cpu_ms"]) for row in rows}
    ratios = {f"mlflow, {page}": value / cpu[page, "headrace"] for (page, who), value in cpu.items() if who == "mlflow" and (page, "headrace") in cpu}  # fmt: skip
    first = next(float(row["wire_kb"]) for row in rows if row["page"] == "home") + sum(wire.values())
    slowest = max((row for row in rows if row["who"] == "headrace"), key=lambda row: float(row["cpu_ms"]))
    rows.append({"page": "cold start to home", "who": "headrace", "cpu_ms": cold_cpu * 1e3, "wall_ms": statistics.median(cold) * 1e3, "wire_kb": first})  # fmt: skip
    rows.append({"page": "soak", "who": "headrace", **flat})
    if not given.json:
        print(f"slowest page: {slowest['page']}, {float(slowest['cpu_ms']):.0f} ms of CPU; limits: {LIMITS}")
    return harness.tell("console", rows, ratios=ratios, agreed=agreed, runs=given.loads, as_json=given.json)


def made(data: Path, *, quick: bool) -> Path:
    """The folder of the project, which is made once, in a process of its own."""
    if not (data / "made").exists():
        data.mkdir(parents=True, exist_ok=True)
        print(f"making the data, once: {data}", file=sys.stderr)
        harness.run([sys.executable, __file__, *(["--quick"] if quick else []), "--child", "data", str(data)])
        (data / "made").touch()
    return data / "project"


def expected(made_of: console_project.Sizes) -> dict[str, int]:
    return {f"model_{number:02}": made_of.versions for number in range(made_of.models)}


def soak(at: servers.Server, paths: list[str], loads: int) -> dict[str, float]:
    """Memory of the server in MB when a third of the loads are over, when all are, and the difference."""
    print(f"soak: {loads} loads", file=sys.stderr)
    early = 0.0
    for number in range(loads):
        load(at.port, paths[number % len(paths)])
        if number == loads // 3:
            early = rss(at.pid)
    late = rss(at.pid)
    return {"rss_mb": late, "grown_mb": late - early}


if __name__ == "__main__":
    sys.exit(main())
