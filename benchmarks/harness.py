"""What every benchmark shares: contestants in processes of their own, medians, one table, one JSON object.

A script names its contestants, functions of a folder with data. `compete` runs each in a fresh child process, in turn
and several times over, so that a busy machine is busy for all of them. What counts are the ratios within one call.

This file, and what a script imports at its top, stays light: Linux counts the memory of a process that starts another
one towards the peak of the other one, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

WORK = Path(__file__).parent / ".work"  # data that is made once; ignored by git

Answer = dict[str, object]
Contestant = Callable[[Path], Callable[[], object]]
"""Given the folder with the data, imports what it needs and gives back the job, which alone is measured."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one run took: seconds on the wall, of CPU (user and system, all threads and children), and MB at the peak."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    answer: Answer = field(default_factory=dict)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every script has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less data: under a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=3, help="runs of each contestant; medians are shown (default: 3)")
    parser.add_argument("--child", nargs=2, metavar=("WHO", "DATA"), help=argparse.SUPPRESS)
    return parser


# ---------------------------------------------------------------------------------------------- measuring


def run(command: Sequence[str]) -> tuple[Figures, str]:
    """Runs a command to its end: what the whole process took, and what it wrote on stdout.

    The peak is that of its largest process, not the sum over several.

    Raises:
        SystemExit: the command failed; its stderr was shown as it came.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return Figures(wall_s=time.perf_counter() - began, cpu_s=_cpu(used), peak_rss_mb=used.ru_maxrss / 1024), said


def be_contestant(prepare: Contestant, data: Path, answer: Callable[[object], Answer]) -> None:
    """In a child: does the job, then says what it took and, with what the job gave, what the answer is."""
    do = prepare(data)
    began, used = time.perf_counter(), _spent()
    given = do()
    wall, cpu = time.perf_counter() - began, _spent() - used
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_rss_mb": peak, "answer": answer(given)}))


def compete(
    script: str, contestants: Sequence[str], data: Path, runs: int, *, pythons: Mapping[str, Path] | None = None
) -> dict[str, list[Figures]]:
    """Runs `script --child WHO DATA` for each contestant in turn, `runs` times over.

    Args:
        pythons: contestant → the interpreter of its own environment, where it has one.
    """
    found: dict[str, list[Figures]] = {who: [] for who in contestants}
    for number in range(runs):
        for who in contestants:
            print(f"run {number + 1} of {runs}: {who}", file=sys.stderr)
            python = (pythons or {}).get(who, sys.executable)
            _, said = run([str(python), script, "--child", who, str(data)])
            found[who].append(Figures(**json.loads(said)))
    return found


def made(script: str, data: Path) -> None:
    """Has a child make the data of a script, unless they are there."""
    if not (data / "made").exists():
        data.mkdir(parents=True, exist_ok=True)
        print(f"making the data, once: {data}", file=sys.stderr)
        run([sys.executable, script, "--child", "data", str(data)])
        (data / "made").touch()


def environment(peer: str) -> Path:
    """The interpreter of a peer's own environment, made once from `peers/<peer>.txt`."""
    wanted = Path(__file__).parent / "peers" / f"{peer}.txt"
    folder = WORK / "peers" / peer
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        print(f"making the environment of {peer}, once", file=sys.stderr)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "-r", wanted], check=True)
        (folder / "made").touch()
    return python


def _cpu(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def _spent() -> float:
    return sum(_cpu(resource.getrusage(who)) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


# ---------------------------------------------------------------------------------------------- telling


def median(found: Sequence[Figures], figure: str) -> float:
    """The median of one figure over the runs of a contestant."""
    return statistics.median(getattr(each, figure) for each in found)


def agree(answers: Sequence[Answer]) -> bool:
    """Whether all say the same."""
    return all(each == answers[0] for each in answers)


def machine() -> str:
    """Processor, cores, memory, and how busy it was, for the reader of the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GB, load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}"


def tell(
    benchmark: str,
    rows: Sequence[Mapping[str, str | float]],
    *,
    ratios: Mapping[str, float],
    agreed: bool,
    runs: int,
    as_json: bool,
) -> int:
    """Prints the table, or the JSON object; gives the exit code: 1 if the answers differ."""
    if as_json:
        print(
            json.dumps(
                {
                    "benchmark": benchmark,
                    "machine": machine(),
                    "runs": runs,
                    "rows": [
                        {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
                        for row in rows
                    ],
                    "ratios": {name: round(value, 3) for name, value in ratios.items()},
                    "answers_agree": agreed,
                }
            )
        )
        return 0 if agreed else 1
    print(f"\n{benchmark}: medians of {runs} on {machine()}\n")
    _print_table(rows)
    if ratios:
        print("\nratios: " + ", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))
    print(f"answers {'agree' if agreed else 'DIFFER'}")
    return 0 if agreed else 1


def _print_table(rows: Sequence[Mapping[str, str | float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    for line in cells:
        print(
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
                ]
            )
        )


def _cell(value: str | float) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _cpuinfo() -> list[str]:
    found = Path("/proc/cpuinfo")
    return found.read_text().splitlines() if found.exists() else []
