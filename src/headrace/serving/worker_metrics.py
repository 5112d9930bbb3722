"""Metrics of processes that share a port: each process reports the sum over all of them, also of those that have ended."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.metrics import Counters


class Siblings:
    """The counters of processes, each in a file of its own.

    Args:
        folder: that they share.
        name: of this process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._written = b""

    def write(self, counters: Counters) -> None:
        """Leaves this process's counters for the others."""
        told = orjson.dumps(counters.to_json())
        if told == self._written:
            return
        making = self._folder / f".{self._name}.{os.getpid()}"
        with suppress(OSError):  # a full disk makes them old, and harms nothing else
            making.write_bytes(told)
            making.replace(self._folder / f"{self._name}.json")
            self._written = told

    def read(self) -> list[dict[str, Any]]:
        """The counters of the others."""
        mine = f"{self._name}.json"
        return [orjson.loads(path.read_bytes()) for path in self._folder.glob("*.json") if path.name != mine]
