"""The report of `headrace test integration`, read strictly: what is missing or of another kind is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from headrace.core.clock import instant
from headrace.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

StepResult = Literal["passed", "failed", "skipped"]
RESULTS: tuple[StepResult, ...] = ("passed", "failed", "skipped")
LARGEST = 50 * 2**20  # bytes of a report that are read
LONGEST = 1e9  # seconds
HINT = "Write it with `headrace test integration --output FILE`."


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step of an integration test.

    Attributes:
        step: its name: `refresh`.
        result: `passed`, `failed` or `skipped`.
        seconds: how long it took.
        summary: one line for people.
        reason: why it failed or was skipped; empty where neither.
        log: the last lines of its output.
    """

    step: str
    result: StepResult
    seconds: float
    summary: str
    reason: str
    log: str


@dataclass(frozen=True, kw_only=True)
class IntegrationReport:
    """What an integration test found.

    Attributes:
        project: the name of the project.
        environment: the environment that it ran beside.
        commit: the commit that was tested.
        tree: the tree of that commit.
        lock: the SHA-256 of the lock file; None where the project has none.
        started_at: when it began.
        finished_at: when it ended.
        passed: whether all of it passed.
        signed_by: the name of the key that signed the attestation; None where it was not signed.
        steps: the steps, in their order.
    """

    project: str
    environment: str
    commit: str
    tree: str
    lock: str | None
    started_at: datetime
    finished_at: datetime
    passed: bool
    signed_by: str | None
    steps: tuple[StepReport, ...]

    @property
    def failed(self) -> StepReport | None:
        """The first step that failed; None where none did."""
        return next((step for step in self.steps if step.result == "failed"), None)


def read_report(file: Path) -> IntegrationReport:
    """Reads a report. Keys that are not known here are left out.

    Args:
        file: the JSON file.

    Raises:
        ConfigError: the file cannot be read.
        DataError: it is not such a report; the message names the key that is missing or has another kind of value.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"the report {str(file)!r} cannot be read: {error.strerror}.", hint=HINT) from error
    if len(data) > LARGEST:
        raise DataError(f"{file} has more than {LARGEST >> 20} MiB: no report of an integration test is so large.")
    try:
        document: object = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {str(error) or type(error).__name__}.", hint=HINT) from error
    return _report(_Part(str(file), "", document))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _report(part: _Part) -> IntegrationReport:
    report = IntegrationReport(
        project=part.name("project"),
        environment=part.name("environment"),
        commit=part.name("commit"),
        tree=part.name("tree"),
        lock=part.optional("lock"),
        started_at=part.moment("started_at"),
        finished_at=part.moment("finished_at"),
        passed=part.boolean("passed"),
        signed_by=part.optional("signed_by"),
        steps=tuple(_step(each) for each in part.parts("steps")),
    )
    if report.passed and report.failed is not None:
        raise DataError(f"{part.file}: passed is true, and the step {report.failed.step!r} failed.", hint=HINT)
    return report


def _step(part: _Part) -> StepReport:
    result = part.text("result")
    if result not in RESULTS:
        raise part.wrong("result", f"one of {', '.join(RESULTS)}", result)
    return StepReport(
        step=part.name("step"),
        result=result,
        seconds=part.seconds("seconds"),
        summary=part.text("summary"),
        reason=part.text("reason"),
        log=part.text("log"),
    )


class _Part:
    """An object of the document, with the place where it stands."""

    def __init__(self, file: str, place: str, value: object) -> None:
        self.file, self._place = file, place
        if not isinstance(value, Mapping):
            raise DataError(f"{file}: {place or 'the document'} has to be an object, not {_shown(value)}.", hint=HINT)
        self._values = cast("Mapping[str, object]", value)

    def wrong(self, key: str, possible: str, value: object) -> DataError:
        return DataError(f"{self.file}: {self._at(key)} has to be {possible}, not {_shown(value)}.", hint=HINT)

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def _value(self, key: str) -> object:
        if key not in self._values:
            raise DataError(f"{self.file}: the key {self._at(key)} is missing.", hint=HINT)
        return self._values[key]

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a text", value)
        return value

    def name(self, key: str) -> str:
        value = self.text(key)
        if not value.strip():
            raise self.wrong(key, "a text that is not empty", value)
        return value

    def optional(self, key: str) -> str | None:
        return None if self._value(key) is None else self.name(key)

    def boolean(self, key: str) -> bool:
        value = self._value(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def seconds(self, key: str) -> float:
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
            raise self.wrong(key, "a number of seconds", value)
        return float(value)

    def moment(self, key: str) -> datetime:
        value = self.text(key)
        try:
            return instant(value)
        except ConfigError:
            raise self.wrong(key, "a moment, such as 2024-01-31T12:00:00Z", value) from None

    def parts(self, key: str) -> list[_Part]:
        value = self._value(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        items = cast("list[object]", value)
        return [_Part(self.file, f"{self._at(key)}[{number}]", each) for number, each in enumerate(items)]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
