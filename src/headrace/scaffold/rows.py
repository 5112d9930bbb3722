"""What a CSV file says of a model of its rows: key, time, label, task, features; and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, cast

from headrace.core.errors import ConfigError, NotFoundError
from headrace.scaffold.answers import AS_JSON
from headrace.scaffold.delimited_file import read_columns
from headrace.scaffold.guess import Guess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.scaffold.candidates import Column, Task

FEWEST = 50  # rows
MOST_CATEGORIES = 100  # different texts of a feature
KINDS = {
    "number": "of numbers",
    "truth": "of truth values",
    "text": "of texts",
    "moment": "of times",
    "other": "others",
}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the files of a project need to know of its rows. Columns are named as in the file.

    Attributes:
        file: the name of the CSV file.
        label: the column that is predicted.
        task: `binary`, `multiclass` or `regression`.
        positive: of two values that are not true and false or 1 and 0, the one that counts as true; else None.
        key: the column that tells rows apart; empty where none does.
        time: the column with the moment of each decision; empty where there is none.
        zoned: the columns of moments that have a time zone.
        known: the column with the moment when the label became known; empty: that of the decision.
        features: the columns to predict from.
        left_out: the columns that are none of these.
        number: a feature that is a number and has the name of a Python parameter; empty where there is none.
        text: the same for a text.
        as_of: the day after the last moment, `2025-05-01`; empty without a time.
        days: how many days the rows span; 0 without a time.
        count: how many rows there are.
        spread: the standard deviation of a label that is a number, else 0.
        example: a row, as a request asks with it: column → value.
    """

    section: ClassVar[str] = "rows"

    file: str
    label: str
    task: Task
    positive: Json = None
    key: str = ""
    time: str = ""
    zoned: tuple[str, ...] = ()
    known: str = ""
    features: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    number: str = ""
    text: str = ""
    as_of: str = ""
    days: int = 0
    count: int
    spread: float = 0.0
    example: Mapping[str, Json] = field(default_factory=dict[str, "Json"], metadata=AS_JSON)


def describe(
    data: bytes, path: Path, *, key: str | None = None, time: str | None = None, label: str | None = None
) -> tuple[Rows, tuple[Guess, ...]]:
    """Reads the rows of a CSV file as a refresh will, and says what a model of them can be.

    Args:
        data: the file's content.
        path: of the file, for messages; its name becomes the table's.
        key: the column that tells rows apart; empty: there is none; None: it is guessed.
        time: the column with the moment of each decision; empty: there is none; None: it is guessed.
        label: the column that is predicted; None: it is guessed.

    Returns:
        What is known of the rows, and what of it was guessed.

    Raises:
        ConfigError: the file is no table of at least 50 rows with a header, or a column cannot be what it is named for.
        NotFoundError: there is no such column.
    """
    columns, guesses = _columns(data, path)
    rows, more = _Description(path, columns).made(key, time, label)
    return rows, (*more, *guesses)


def _columns(data: bytes, path: Path) -> tuple[dict[str, Column], tuple[Guess, ...]]:
    """The columns of the file, by name, and what the reader guessed of their types."""
    columns, noted = read_columns(data, path)
    if len(columns) == 1:
        raise ConfigError(
            f"{path} has one column, {next(iter(columns))!r}: there is nothing to predict it from.",
            hint="A file has a label and at least one other column; between two of them stands a comma, a semicolon or a tab.",
        )
    rows = next(iter(columns.values())).rows
    if rows < FEWEST:
        raise ConfigError(f"{path} has {rows} rows; at least {FEWEST} are needed to fit and to test a model.")
    kinds = Counter(each.kind for each in columns.values())
    shown = ", ".join(f"{kinds[kind]} {word}" for kind, word in KINDS.items() if kinds[kind])
    types = Guess(about="types", value=shown, reason="as the values are written", change="project.py, schema=")
    return columns, (types, *noted)


class _Description:
    """Finds one thing after the other, and notes what was guessed."""

    def __init__(self, path: Path, columns: Mapping[str, Column]) -> None:
        self.path, self.columns = path, columns
        self.guesses: list[Guess] = []

    def made(self, key: str | None, time: str | None, label: str | None) -> tuple[Rows, tuple[Guess, ...]]:
        from headrace.scaffold import candidates

        for given in filter(None, (key, time, label)):
            if given not in self.columns:
                raise NotFoundError("column", given, self.columns, hint=f"{self.path} has no such column.")
        found_key = self._chosen("key", key, candidates.key_of, candidates.why_no_key, taken=(label, time))
        found_time = self._chosen("time", time, candidates.time_of, candidates.why_no_time, taken=(label, key))
        found_label = self._label(label, taken=(found_key, found_time))
        if found_label in (found_key, found_time):
            raise ConfigError(f"{found_label!r} cannot be the label and the key or the time of the rows as well.")
        decided = bool(found_key and found_time)
        if not decided:
            self._note_rows(found_key, found_time)
        return self._rows(found_key, found_time if decided else "", self.columns[found_label]), tuple(self.guesses)

    def _chosen(
        self,
        about: str,
        given: str | None,
        find: Callable[[list[Column]], Column | None],
        why_not: Callable[[Column], str],
        *,
        taken: tuple[str | None, ...],
    ) -> str:
        """The column that was given, or the one that is found; empty for none."""
        if given:
            if reason := why_not(self.columns[given]):
                raise ConfigError(
                    f"column {given!r} of {self.path} cannot be the {about}: {reason}.",
                    hint=f'Choose another one by --{about} COLUMN, or none by --{about} "".',
                )
            return given
        if given == "":
            return ""
        found = find([each for each in self.columns.values() if each.name not in taken])
        if found is not None:
            reason = "no value is there twice" if about == "key" else "each row has a moment there"
            self._guess(about, found.name, reason, f"--{about} COLUMN")
        return found.name if found else ""

    def _label(self, given: str | None, *, taken: tuple[str, ...]) -> str:
        from headrace.scaffold import candidates

        if given:
            if reason := candidates.why_no_label(self.columns[given]):
                raise ConfigError(
                    f"column {given!r} of {self.path} cannot be the label: {reason}.",
                    hint="Choose another one by --label COLUMN.",
                )
            return given
        others = [each for each in self.columns.values() if each.name not in taken]
        found = candidates.label_of(others)
        if found is None:
            raise ConfigError(
                f"no column of {self.path} can be the label.",
                findings=[f"{each.name}: {candidates.why_no_label(each)}" for each in others],
                hint="A label has at least two values, and some value in several rows.",
            )
        named = found.name.lower() in candidates.LABELS
        self._guess("label", found.name, "its name says so" if named else "the last that can be one", "--label COLUMN")
        return found.name

    def _note_rows(self, key: str, time: str) -> None:
        missing = "neither a key nor a time" if not key and not time else f"no {'time' if key else 'key'}"
        self._guess("hold-out", "a random fifth", f"the rows have {missing}", "--key COLUMN --time COLUMN")

    def _rows(self, key: str, time: str, label: Column) -> Rows:
        from headrace.scaffold import candidates

        task = candidates.task_of(label)
        features, left_out = self._features(key, time, label.name)
        moments = [each for each in self.columns.values() if each.kind == "moment"]
        known = self._known(time, moments) if time else ""
        self._guess("task", task, f"{label.name!r} has {label.distinct:,} values", "project.py, task=")
        return Rows(
            file=self.path.name,
            label=label.name,
            task=task,
            positive=self._positive(label) if task == "binary" else None,
            key=key if time else "",
            time=time,
            zoned=tuple(each.name for each in moments if getattr(each.values.type, "tz", None)),
            known=known,
            features=tuple(features),
            left_out=tuple(each for each in left_out if each != known),
            number=self._parameter(features, "number"),
            text=self._parameter(features, "text"),
            as_of=self._as_of([time, known]) if time else "",
            days=self._days(time) if time else 0,
            count=label.rows,
            spread=_spread(label) if task == "regression" else 0.0,
            example={name: self._shown(name) for name in (*features, *([time] if time else []))},
        )

    def _features(self, key: str, time: str, label: str) -> tuple[list[str], list[str]]:
        """The columns to predict from, and those that are left out, with the reason as a guess."""
        features: list[str] = []
        left_out: list[str] = []
        for each in self.columns.values():
            if each.name == label or (time and each.name in (key, time)):
                continue
            reason = "the key" if each.name == key else _why_no_feature(each)
            (left_out if reason else features).append(each.name)
            if reason:
                self._guess("left out", each.name, reason, "project.py, features=")
        if not features:
            raise ConfigError(
                f"no column of {self.path} is left to predict {label!r} from.",
                findings=[f"{each.value}: {each.reason}" for each in self.guesses if each.about == "left out"],
                hint=f"A feature is a number, a truth value, or a text with at most {MOST_CATEGORIES} different values.",
            )
        return features, left_out

    def _known(self, time: str, moments: list[Column]) -> str:
        """A second time that no row has before the first one; empty: the label counts as known with the decision."""
        decided = [_moment(each) for each in self.columns[time].values.to_pylist()]
        for each in moments:
            later = each.values.to_pylist()
            if each.name == time or None in later:
                continue
            if all(_moment(one) >= at for one, at in zip(later, decided, strict=True)):
                self._guess("label known", each.name, f"never before {time!r}", "labels.sql")
                return each.name
        self._guess("label known", time, "the file has no later moment", "labels.sql")
        return ""

    def _positive(self, label: Column) -> Json:
        if label.kind == "truth":
            return None
        values = label.most(2)
        if label.kind == "number" and values == [0, 1]:
            return None
        self._guess("counts as true", str(values[1]), f"the other value is {values[0]!r}", "project.py, positive=")
        return values[1]

    def _parameter(self, features: list[str], kind: str) -> str:
        import keyword

        fitting = (each for each in features if each.isidentifier() and each.isascii() and not keyword.iskeyword(each))
        return next((each for each in fitting if self.columns[each].kind == kind), "")

    def _as_of(self, names: list[str]) -> str:
        moments = [_moment(each) for name in names if name for each in self.columns[name].values.to_pylist()]
        return (max(moments) + timedelta(days=1)).date().isoformat()

    def _days(self, time: str) -> int:
        moments = [_moment(each) for each in self.columns[time].values.to_pylist()]
        return (max(moments) - min(moments)).days

    def _shown(self, name: str) -> Json:
        """The first value that there is, as JSON has it."""
        value = next((each for each in self.columns[name].values.to_pylist() if each is not None), None)
        if isinstance(value, date):
            return f"{_moment(value):%Y-%m-%dT%H:%M:%SZ}"
        return value if isinstance(value, bool | int | str) or value is None else float(value)

    def _guess(self, about: str, value: str, reason: str, change: str) -> None:
        self.guesses.append(Guess(about=about, value=value, reason=reason, change=change))


def _why_no_feature(column: Column) -> str:
    """Why a column is not predicted from; empty where it is."""
    if column.distinct == 0:
        return "it has no value"
    if column.kind == "moment":
        return "a moment; a function of it can be a feature"
    if column.kind == "other":
        return f"its type is {column.values.type}"
    if column.kind == "text" and column.distinct > MOST_CATEGORIES:
        return f"it has {column.distinct:,} different texts"
    named = column.kind == "text" or column.is_whole
    return "each value is another one, as in a key" if named and column.is_unique else ""


def _moment(value: object) -> datetime:
    """A moment in UTC; one without a zone counts as of UTC, a day as its beginning."""
    if not isinstance(value, datetime):
        day = cast("date", value)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _spread(label: Column) -> float:
    numbers = [float(each) for each in label.values.drop_null().to_pylist()]
    finite = [each for each in numbers if math.isfinite(each)]
    middle = sum(finite) / len(finite)
    return math.sqrt(sum((each - middle) ** 2 for each in finite) / len(finite))
