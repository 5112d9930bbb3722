"""The kind `tabular`: rows of a CSV file, a label, and a model of scikit-learn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.scaffold.delimited_file import read_bytes
from headrace.scaffold.identifiers import aliased, identifier, identifiers, sql_column
from headrace.scaffold.kind import Kind, Material
from headrace.scaffold.project_files import rendered, shared_templates, shared_values
from headrace.scaffold.rows import Rows, describe
from headrace.scaffold.sample import FILE as SAMPLE
from headrace.scaffold.sample import sample_rows
from headrace.scaffold.templates import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from headrace.scaffold.answers import Answers

EXTRAS = ("serve", "train")
FILES = {  # path → template
    "README.md": "tabular/README.md",
    "tests/integration/test_pipelines.py": "tabular/test_pipelines.py",
    "tests/unit/test_project.py": "tabular/test_project.py",
}
PACKAGE = {"__init__.py": "tabular/package.py", "training.py": "tabular/training.py"}
DECISIONS = {"project.py": "tabular/decisions/project.py", "decisions.sql": "tabular/decisions/decisions.sql", "labels.sql": "tabular/decisions/labels.sql"}  # fmt: skip
ROWS = {"project.py": "tabular/rows/project.py"}
OUTPUTS = ("refresh", "train", "deploy", "serve", "answer")
METRIC = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}
TASK = {"binary": "Binary", "multiclass": "Multiclass", "regression": "Regression"}
PSI = 0.25  # a change that Siddiqi (2006) calls large
WIDTH = 100  # of a list of columns in the program


def begin(source: Path | None, options: Mapping[str, str | None]) -> Material[Rows]:
    """The rows of a CSV file, or sample rows.

    Args:
        source: the CSV file; None: sample rows.
        options: `key`, `time` and `label`: a column; empty: there is none; None: it is guessed.

    Raises:
        ConfigError: the file cannot be read or is no table with a header, or a column cannot be what it is named for.
        NotFoundError: there is no such column.
    """
    data, file = (sample_rows().encode(), Path(SAMPLE)) if source is None else (read_bytes(source), source)
    rows, guesses = describe(data, file, **options)
    return Material(described=rows, files={f"data/{file.name}": data}, guesses=guesses if source else ())


def files(answers: Answers[Rows]) -> dict[str, str]:
    """Path → text, of every file but the rows and the lock."""
    texts = _Texts(answers)
    package = {**PACKAGE, **(DECISIONS if answers.data.time else ROWS)}
    templates = {
        **shared_templates(answers),
        **FILES,
        **{f"{answers.name}/{name}": each for name, each in package.items()},
        "tests/unit/test_training.py": f"tabular/test_training_{answers.data.task}.py",
    }
    if texts.feature:
        templates[f"{answers.name}/features.py"] = f"tabular/features/{texts.feature.kind}.py"
        templates["tests/unit/test_features.py"] = f"tabular/features/test_{texts.feature.kind}.py"
    request = {"dataframe_records": [texts.request]}
    return {
        **rendered(templates, texts.values),
        "request.json": json.dumps(request, indent=2, ensure_ascii=False) + "\n",
    }


TABULAR = Kind(
    name="tabular",
    extras=EXTRAS,
    source="CSV file with the rows (Enter: sample rows)",
    describes=Rows,
    questions={
        "label": "Label, the column to predict",
        "key": "Key, the column that tells rows apart",
        "time": "Time, the column with the moment of the decision",
    },
    begin=begin,
    files=files,
)


@dataclass(frozen=True)
class _Feature:
    """A feature function: of which kind, its name, and the column that it takes."""

    kind: str
    name: str
    column: str


class _Texts:
    """The text of each name in the templates."""

    def __init__(self, answers: Answers[Rows]) -> None:
        self.answers, self.rows = answers, answers.data

    @cached_property
    def names(self) -> dict[str, str]:
        """Column of the file → its name in the tables: the same where rows have no table of their own."""
        rows = self.rows
        if not rows.time:
            return {each: each for each in (*rows.features, rows.label)}
        return identifiers([rows.key, rows.time, *rows.features, rows.label])

    @cached_property
    def feature(self) -> _Feature | None:
        """The feature function that the project begins with; None where no column has a name that a parameter can have."""
        rows = self.rows
        if rows.time:
            column, kind = self.names[rows.time], "weekday"
        elif rows.number or rows.text:
            column, kind = (rows.number, "log") if rows.number else (rows.text, "length")
        else:
            return None
        name = f"{column}_{kind}"
        while name in self.names.values() or name in rows.left_out:
            name += "_"
        return _Feature(kind, name, column)

    @property
    def request(self) -> dict[str, object]:
        """A row as a request has it."""
        return {self.names[name]: value for name, value in self.rows.example.items()}

    @cached_property
    def values(self) -> dict[str, str]:
        """Name in a template → its text."""
        rows, name = self.rows, self.answers.name
        feature = self.feature
        values = {
            **shared_values(self.answers, EXTRAS),
            "file": rows.file,
            "files": f"data/*.{rows.file.rpartition('.')[2]}",
            "table": identifier(rows.file.rpartition(".")[0], otherwise="rows"),
            "model": identifier(rows.label, otherwise=name)[:40],
            "label": rows.label,
            "label_name": _text(self.names[rows.label]),
            "task": f"hr.{TASK[rows.task]}",
            "positive": "" if rows.positive is None else f", positive={_literal(rows.positive)}",
            "estimator": "HistGradientBoosting" + ("Regressor" if rows.task == "regression" else "Classifier"),
            "metric": METRIC[rows.task],
            "margin": _margin(rows),
            "compared": str(min(max(rows.count // 10, 5), 500)),
            "window": _window(rows),
            "watched": str(min(max(rows.count // (2 * _windows(rows)), 20), 500)),
            "psi": f"{PSI:g}",
            "as_of": f'as_of = "{rows.as_of}"         # the rows of {_comment(rows.file)} end here: remove this line when newer ones arrive'
            if rows.as_of
            else "",
            "import_feature": f"from {name}.features import {feature.name}" if feature else "",
            "feature_file": f"| `{name}/features.py` | functions of columns, which are features |" if feature else "",
            "feature": feature.name if feature else "",
            "column": feature.column if feature else "",
            "passed": (
                "The version has passed its gates and is in Production."
                if self.answers.is_sample
                else "If the version has passed its gates, it is in Production; else the last command says why."
            ),
            "since": "",
            "and_feature": f", {feature.name}" if feature else "",
        }
        values |= self._decided() if rows.time else self._arrived()
        for each in OUTPUTS:
            values[f"{each}_output"] = self._output(each)
        return values

    def _decided(self) -> dict[str, str]:
        """Of rows with a key and a time."""
        rows, names = self.rows, self.names
        known_at = "known_at" if "known_at" not in (names[rows.key], names[rows.label]) else "label_known_at"
        chosen = [aliased(each, names[each]) for each in (rows.key, *rows.features)]
        chosen.insert(1, self._moment(rows.time, names[rows.time]))
        tested = max(rows.days // 5, 1)
        since = date.fromisoformat(rows.as_of) - timedelta(days=tested)
        labels = [aliased(rows.key, names[rows.key]), self._moment(rows.known or rows.time, known_at)]
        return {
            "key": names[rows.key],
            "time": names[rows.time],
            "known_at": known_at,
            "decision_columns": ",\n".join(f"    {each}" for each in chosen),
            "label_columns": ",\n".join(f"    {each}" for each in [*labels, aliased(rows.label, names[rows.label])]),
            "columns": _listed([names[each] for each in rows.features]),
            "since": f" --since {since}",
            "test": f'"{tested}d"' if rows.days > 1 else "hr.at_random(0.2)",
            "when_known": (
                f"`{rows.known}` is the moment when it is known."
                if rows.known
                else f"It counts as known at `{rows.time}`."
            ),
        }

    def _arrived(self) -> dict[str, str]:
        """Of rows without."""
        but = _listed(self.rows.left_out)
        return {"but": f"but=[{but}]" if but else "", "when_known": "It counts as known when the row arrives."}

    def _moment(self, column: str, name: str) -> str:
        if column in self.rows.zoned:
            return aliased(column, name)
        return f"{sql_column(column)}::timestamp at time zone 'UTC' as {sql_column(name)}"

    def _output(self, command: str) -> str:
        """What a command of the README prints; empty for the rows of others, which nobody has run."""
        return render(f"tabular/sample/{command}", {}).rstrip("\n") if self.answers.is_sample else ""


def _windows(rows: Rows) -> int:
    """How many windows of monitoring the rows span."""
    return {"1mo": rows.days // 30, "1w": rows.days // 7, "1d": max(rows.days, 1)}[_window(rows)]


def _window(rows: Rows) -> str:
    if rows.days >= 2 * 365:
        return "1mo"
    return "1w" if rows.days >= 60 else "1d"


def _margin(rows: Rows) -> str:
    """How much worse a version may be: 0.02 of a share, and a twentieth of the spread of a number."""
    return f"{rows.spread / 20:.1g}" if rows.task == "regression" else "0.02"


def _listed(names: Iterable[str]) -> str:
    """Names as arguments, on lines that fit."""
    lines = list(_lines([_text(each) for each in names]))
    return (
        lines[0]
        if len(lines) == 1
        else "\n" + "".join(f"            {each},\n" for each in lines) + "        "
        if lines
        else ""
    )


def _lines(parts: list[str]) -> Iterator[str]:
    line = ""
    for each in parts:
        if line and len(line) + len(each) > WIDTH:
            yield line
            line = ""
        line = f"{line}, {each}" if line else each
    if line:
        yield line


def _text(value: str) -> str:
    """A text in a Python program, in double quotes."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")


def _literal(value: object) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
