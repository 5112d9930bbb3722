"""What the assistant's demo has behind it, in files of its project's folder: with it, the same command continues after a death."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Journal:
    """The parts of a demo, and the answers to its questions.

    Attributes:
        folder: `.headrace` of the project.
        found: what came of the parts that ended.
        passed: model and version → whether the gates let it through.
        resumed: whether the part that runs was begun before, by a process that died in it.
    """

    folder: Path
    found: dict[str, Any] = field(default_factory=dict[str, Any])
    passed: dict[tuple[str, int], bool] = field(default_factory=dict[tuple[str, int], bool])
    resumed: bool = False

    def once(self, name: str, part: Callable[[], None]) -> None:
        """Runs a part; one that came to its end before is not begun again.

        Args:
            name: of the part.
            part: adds to `found` and `passed`, which are kept when it ends.
        """
        file = self.folder / "tour.json"
        kept: dict[str, Any] = {"begun": [], "parts": [], "found": {}, "passed": []}
        if file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
        self.found |= kept["found"]
        self.passed |= {(model, version): passed for model, version, passed in kept["passed"]}
        if name in kept["parts"]:
            return
        self.resumed = name in kept["begun"]
        if not self.resumed:
            kept["begun"].append(name)
            _write(file, kept)
        part()
        kept["parts"].append(name)
        kept["found"] = self.found
        kept["passed"] = [(*key, passed) for key, passed in self.passed.items()]
        _write(file, kept)

    def answers(self) -> dict[str, dict[str, Any]]:
        """The answers that were noted, by the names of their questions."""
        file = self.folder / "conversation.jsonl"
        if not file.exists():
            return {}
        noted = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return {each["name"]: each for each in noted}

    def note(self, answer: dict[str, Any]) -> None:
        """Notes an answer, with the `name` of its question."""
        with (self.folder / "conversation.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(answer) + "\n")


def _write(file: Path, kept: dict[str, Any]) -> None:
    making = file.with_suffix(".new")
    making.write_text(json.dumps(kept), encoding="utf-8")
    making.replace(file)
