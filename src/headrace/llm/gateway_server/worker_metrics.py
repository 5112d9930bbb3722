"""Counters of workers that share a port: each leaves its own in a folder, and whichever is asked adds the others'."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.llm.gateway_server.metrics import GatewayMetrics


class WorkerCounters:
    """The counters of the workers in a folder.

    Args:
        folder: of one server; it goes when the server ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._name = folder, str(os.getpid())  # one that replaces another has another: no counter falls

    def write(self, metrics: GatewayMetrics) -> None:
        """Leaves the counters of this worker."""
        making = self._folder / f".{self._name}"
        with suppress(OSError):  # the folder goes first when the server ends
            making.write_text(json.dumps(metrics.to_json()), encoding="utf-8")
            making.replace(self._folder / f"{self._name}.json")

    def others(self) -> list[dict[str, Any]]:
        """Reads the counters of the other workers, as they were within the last second."""
        found: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stem != self._name:
                with suppress(OSError, ValueError):
                    counters = json.loads(path.read_text(encoding="utf-8"))
                    found.append(counters if _is_alive(path.stem) else {**counters, "in_flight": 0})
        return found


def _is_alive(name: str) -> bool:
    """Whether the worker of that process runs: what it counted stays, and nothing is under way in one that was killed."""
    try:
        os.kill(int(name), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's process has its number now
        return False
    return True
