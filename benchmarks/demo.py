"""`headrace demo` from an empty folder: seconds by step, and the memory it takes.

There is no peer and no limit: what is looked for is where the time goes. The example has one size, so `--quick` is one
run in place of three.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import harness

FOLDER = harness.WORK / "demo" / "flights"


def main() -> int:
    options = harness.arguments(__doc__).parse_args()
    runs = 1 if options.quick else options.runs
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    figures: list[harness.Figures] = []
    told: list[dict[str, Any]] = []
    for number in range(runs):
        print(f"run {number + 1} of {runs}", file=sys.stderr)
        taken, said = harness.run([_headrace(), "demo", "--json", "--fresh", "--dir", str(FOLDER)])
        figures.append(taken)
        told.append(json.loads(said))
    seconds = [each["seconds"] for each in told]
    rows = [{"who": step, "wall_s": statistics.median(each[step] for each in seconds)} for step in seconds[0]]
    rows.append(
        {"who": "whole command", **{name: harness.median(figures, name) for name in ("wall_s", "cpu_s", "peak_rss_mb")}}
    )
    rows.append(
        {"who": "as told by itself", "peak_rss_mb": float(statistics.median(each["peak_rss_mb"] for each in told))}
    )
    return harness.tell(
        "headrace demo",
        rows,
        ratios={},
        agreed=harness.agree([{name: each[name] for name in ("months", "batch", "quarantined")} for each in told]),
        runs=runs,
        as_json=options.json,
    )


def _headrace() -> str:
    """The command of this environment, whatever else is on the path."""
    return str(Path(sys.executable).parent / "headrace")


if __name__ == "__main__":
    sys.exit(main())
