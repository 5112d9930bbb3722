"""The gateway: what a streamed call costs a server, one after the other and 256 at a time, against LiteLLM's and MLflow's.

The endpoint behind all of them is the deterministic one of `headrace.testing`; `direct` calls it without a gateway. Each server is one
process, is started once and answers all runs in turn. What is counted is the CPU of its processes, as the kernel counts it; that
of the endpoint and of the load generator are not. Every answer is compared with what the endpoint says.

`headrace` keeps the record of usage in SQLite, `headrace_budgets` budgets of the day, of 50 users and of the model too. LiteLLM and MLflow
keep neither. Both have environments of their own, which are made at the first run without `--quick`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import harness
import servers
import stream_load

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = {"quick": (100, 256), "full": (300, 1_536)}  # calls one after the other, and 256 at a time
AT_ONCE = 256
WARMING = (64, 16)
PEERS = {"litellm": "litellm", "mlflow": "mlflow_gateway"}  # contestant → its environment
TOML = """
[project]
name = "bench"
module = "bench"
[env.dev]
[env.dev.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "test"
input_price = 1
output_price = 1
max_tokens = 100
"""
BUDGETS = """
[env.dev.llm.budgets]
day = "100000"
user = "10000"
model = "100000"
"""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A server that runs: the process that is counted with its children, and where it is called."""

    pid: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took, for each call in milliseconds."""

    cpu_ms: float
    wall_ms: float
    p50_ms: float
    p95_ms: float
    digest: str


# ---------------------------------------------------------------------------------------------- contestants


@contextmanager
def endpoint() -> Iterator[Contestant]:
    """The endpoint in a process of its own."""
    command = [sys.executable, "-m", "headrace.testing.llm_endpoint"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            yield Contestant(pid=process.pid, url=process.stdout.readline().strip())
        finally:
            process.kill()


@contextmanager
def gateway(who: str, url: str) -> Iterator[Contestant]:
    """A gateway in front of the endpoint that has answered once."""
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hello"}]}).encode()
    with tempfile.TemporaryDirectory() as name:
        command, env = configured(who, url, Path(name))
        with servers.started(command, "/v1/chat/completions", body, env=env, cwd=Path(name)) as server:
            yield Contestant(pid=server.pid, url=f"http://127.0.0.1:{server.port}/v1")


def configured(who: str, url: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Writes the configuration of a gateway; returns its command and its variables."""
    at = ["--host", "127.0.0.1", "--port", "<port>"]
    if who not in PEERS:
        (folder / "headrace.toml").write_text(TOML.format(url=url) + (BUDGETS if who == "headrace_budgets" else ""))
        return [sys.executable, "-m", "headrace.cli", "gateway", *at], {}
    program, config = harness.environment(PEERS[who]).with_name(who), "config.json"  # JSON is YAML too
    if who == "litellm":
        model = {"model": "openai/test", "api_base": url, "api_key": "none"}
        content = {"model_list": [{"model_name": "small", "litellm_params": model}]}
        (folder / config).write_text(json.dumps(content))
        # nothing of it reaches the network, and callers need no key, as with the others
        local = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        }
        return [str(program), "--config", config, *at], local
    provided = {"provider": "openai", "name": "test", "config": {"openai_api_key": "none", "openai_api_base": url}}
    content = {"endpoints": [{"name": "small", "endpoint_type": "llm/v1/chat", "model": provided}]}
    (folder / config).write_text(json.dumps(content))
    return [str(program), "gateway", "start", "--config-path", config, "--workers", "1", *at], {}


def contestants(*, quick: bool) -> list[str]:
    """Who takes part; with `quick`, peers whose environment is there."""
    missing = [who for who, peer in PEERS.items() if quick and not (harness.WORK / "peers" / peer / "made").exists()]
    for who in missing:
        print(f"{who}: left out, because its environment is made without --quick", file=sys.stderr)
    return ["headrace", "headrace_budgets", *(who for who in PEERS if who not in missing)]


# ---------------------------------------------------------------------------------------------- measuring


def measure(server: Contestant, calls: int, at_once: int) -> Run:
    """Loads a server from a process of its own."""
    used = servers.cpu(server.pid)
    command = [sys.executable, stream_load.__file__, server.url, str(calls), str(at_once)]
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return Run(
        cpu_ms=(servers.cpu(server.pid) - used) / calls * 1_000,
        wall_ms=done["wall_s"] / calls * 1_000,
        p50_ms=done["p50_ms"],
        p95_ms=done["p95_ms"],
        digest=done["digest"],
    )


def row(who: str, at_once: int, runs: list[Run]) -> dict[str, str | float]:
    middle = {
        name: statistics.median(getattr(each, name) for each in runs)
        for name in ("cpu_ms", "wall_ms", "p50_ms", "p95_ms")
    }
    return {"who": who, "at_once": at_once, **middle}


def main() -> int:
    parser = harness.arguments(__doc__)
    options = parser.parse_args()
    loads = list(zip(SIZES["quick" if options.quick else "full"], (1, AT_ONCE), strict=True))
    found: dict[tuple[str, int], list[Run]] = {}
    with ExitStack() as stack:
        direct = stack.enter_context(endpoint())
        running = {"direct": direct}
        for who in contestants(quick=options.quick):
            running[who] = stack.enter_context(gateway(who, direct.url))
        for server in running.values():
            measure(server, *WARMING)
        for number in range(options.runs):
            for who, server in running.items():
                print(f"run {number + 1} of {options.runs}: {who}", file=sys.stderr)
                for calls, at_once in loads:
                    found.setdefault((who, at_once), []).append(measure(server, calls, at_once))
    expected = {
        at_once: stream_load.digest([stream_load.question(place) for place in range(calls)]) for calls, at_once in loads
    }
    rows = [row(who, at_once, found[who, at_once]) for _, at_once in loads for who in running]
    cpu = {(each["who"], each["at_once"]): float(each["cpu_ms"]) for each in rows}
    ratios = {
        f"{'limit' if who == 'direct' else who} at {at_once}": cpu[who, at_once] / cpu["headrace_budgets", at_once]
        for who, at_once in cpu
        if who != "headrace_budgets"
    }
    agreed = all(each.digest == expected[at_once] for (_, at_once), runs in found.items() for each in runs)
    return harness.tell("gateway", rows, ratios=ratios, agreed=agreed, runs=options.runs, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
