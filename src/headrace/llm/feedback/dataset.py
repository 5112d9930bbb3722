"""Evaluation and tuning sets of feedback: questions, each with the answer that people say is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.core.ids import digest, new_id
from headrace.lakehouse.writes import Append, Upsert
from headrace.llm.gateway.requests import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

KEY = ("question_id",)
INSTANT = pa.timestamp("us", "UTC")
EXAMPLES = pa.schema(
    [
        ("question_id", pa.string()),
        ("known_at", INSTANT),
        ("model", pa.string()),
        ("prediction_id", pa.string()),
        ("question", pa.string()),
        ("reference", pa.string()),
        ("reference_from", pa.string()),
        ("answer", pa.string()),
        ("model_version", pa.int64()),
        ("feedback_id", pa.string()),
    ]
)
QUESTION, REFERENCE = "question", "reference"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of the examples of a model.

    Attributes:
        inputs: of a model with `predict=`, each of which is a column; none for any other, which has `question`.
        reference: the column with the right answer.
        output: the column of the output that is the answer, where a model has several.
    """

    inputs: tuple[str, ...] = ()
    reference: str = REFERENCE
    output: str = "answer"

    @property
    def schema(self) -> pa.Schema:
        """Of the table.

        Raises:
            DataError: an input has the name of another column.
        """
        columns: list[pa.Field] = []
        for each in EXAMPLES:
            if each.name == QUESTION:
                columns += [pa.field(name, pa.string()) for name in self.inputs or (QUESTION,)]
            else:
                columns.append(each.with_name(self.reference) if each.name == REFERENCE else each)
        names = [each.name for each in columns]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(
                f"the input {twice[0]!r} is also a column that every data set has.",
                hint=f"Give it another name than {', '.join(EXAMPLES.names)}.",
            )
        return pa.schema(columns)

    def asked(self, inputs: str | None) -> dict[str, str | None]:
        """The columns of a question, by the inputs in the log."""
        if not self.inputs:
            return {QUESTION: field(inputs, QUESTION)}
        values = {} if inputs is None else json.loads(inputs)
        known = cast("Mapping[str, Any]", values) if isinstance(values, Mapping) else {}
        return {name: _text(known.get(name)) for name in self.inputs}


@dataclass(frozen=True, kw_only=True)
class WrittenExamples:
    """What a data set has got.

    Attributes:
        version: of the table, which holds these examples.
        rows: examples of the model in the table.
        added: that were not there before.
        changed: whose question or reference was another one.
        removed: that feedback no longer supports.
    """

    version: int
    rows: int
    added: int
    changed: int
    removed: int


def examples(
    said: Iterable[Mapping[str, Any]], references: Sequence[str], *, model: str, layout: Layout
) -> list[dict[str, Any]]:
    """An example for each answer whose right answer is known.

    A correction comes before thumbs up. Of several people's corrections the last one counts; thumbs up count where nobody's
    last word is thumbs down.

    Args:
        said: feedback with its answers, in the order of its moments.
        references: what makes an example: `correction`, `thumbs`.
        model: its name.
        layout: the columns.
    """
    corrected: dict[str, Mapping[str, Any]] = {}
    thumbs: dict[str, list[Mapping[str, Any]]] = {}
    for row in said:
        if not row["matched"]:
            continue
        if row["kind"] == "correction":
            corrected[row["prediction_id"]] = row
        elif row["kind"] == "thumbs":
            thumbs.setdefault(row["prediction_id"], []).append(row)
    found: dict[str, dict[str, Any]] = {}
    if "thumbs" in references:
        for prediction, rows in thumbs.items():
            if all(row["value"] > 0 for row in rows):
                answer = _whole_answer(rows[-1]["outputs"], layout)
                found[prediction] = _example(rows[-1], model, layout, "thumbs", answer)
    if "correction" in references:
        for prediction, row in corrected.items():
            found[prediction] = _example(row, model, layout, "correction", row["text"])
    return _whole([each for _, each in sorted(found.items())], layout)


def answers(
    logged: Iterable[Mapping[str, Any]], liked: Collection[str] | None, *, model: str, layout: Layout
) -> list[dict[str, Any]]:
    """An example for each different question of the log, with the last answer as the right one.

    Args:
        logged: answers of a version, in the order of their moments.
        liked: predictions that got thumbs up, and from nobody thumbs down; None for all answers.
        model: its name.
        layout: the columns.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in logged:
        if liked is not None and row["prediction_id"] not in liked:
            continue
        told = {**row, "feedback_id": None, "at": row["requested_at"]}
        basis = "answer" if liked is None else "thumbs"
        made = _example(told, model, layout, basis, _whole_answer(row["outputs"], layout))
        made["question_id"] = digest([model, layout.asked(row["inputs"])])
        found[made["question_id"]] = made
    return _whole(list(found.values()), layout)


def liked(said: Iterable[Mapping[str, Any]]) -> set[str]:
    """Predictions that got thumbs up, and from nobody thumbs down."""
    thumbs: dict[str, bool] = {}
    for row in said:
        if row["matched"] and row["kind"] == "thumbs":
            thumbs[row["prediction_id"]] = thumbs.get(row["prediction_id"], True) and row["value"] > 0
    return {prediction for prediction, up in thumbs.items() if up}


def _example(row: Mapping[str, Any], model: str, layout: Layout, basis: str, reference: str | None) -> dict[str, Any]:
    return {
        "question_id": digest([model, row["prediction_id"]]),
        "known_at": row["at"],
        "model": model,
        "prediction_id": row["prediction_id"],
        **layout.asked(row["inputs"]),
        layout.reference: reference,
        "reference_from": basis,
        "answer": field(row["outputs"], layout.output),
        "model_version": row["model_version"],
        "feedback_id": row["feedback_id"],
    }


def _whole(found: Sequence[dict[str, Any]], layout: Layout) -> list[dict[str, Any]]:
    """Those of which the log tells the question, and somebody the answer."""
    needed = (*(layout.inputs or (QUESTION,)), layout.reference)
    return [each for each in found if all(each[name] for name in needed)]


def _whole_answer(outputs: str | None, layout: Layout) -> str | None:
    """The answer, unless it ended before its end."""
    values = {} if outputs is None else json.loads(outputs)
    ended = (
        cast("Mapping[str, Any]", values).get(f"{layout.output}_finish_reason") if isinstance(values, Mapping) else None
    )
    return None if ended in UNFINISHED else field(outputs, layout.output)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def field(text: str | None, name: str) -> str | None:
    """The one text of a JSON object, or its field of that name; the whole object where it has several others.

    Args:
        text: JSON, as the inference table has inputs and outputs.
        name: of the field that is preferred.

    Returns:
        None where there is nothing, or where the log leaves out every value.
    """
    if text is None:
        return None
    values = json.loads(text)
    if not isinstance(values, Mapping):
        return text
    known = {key: value for key, value in cast("Mapping[str, Any]", values).items() if value is not None}
    if not known:
        return None
    chosen = known.get(name, next(iter(known.values())) if len(known) == 1 else known)
    return chosen if isinstance(chosen, str) else json.dumps(chosen, ensure_ascii=False, sort_keys=True)


def write(
    lakehouse: Lakehouse, into: str, model: str, given: Sequence[dict[str, Any]], *, layout: Layout
) -> WrittenExamples:
    """Makes the examples of a model in a table what they are now, in a new version; in none where nothing is new.

    Args:
        lakehouse: where the table is.
        into: its name; made when it is not there.
        model: whose examples these are; those of other models stay.
        given: all of them.
        layout: the columns.

    Raises:
        DataError: the table is there and holds something else, or an input has the name of another column.
        ConflictError: other writers came first for a minute. Nothing was written.
    """
    counts, schema = (0, 0, 0), layout.schema

    def change(snapshot: Snapshot | None) -> Change | None:
        nonlocal counts
        there = {} if snapshot is None else _there(snapshot, into, model, schema)
        fresh = [each for each in given if there.get(each["question_id"]) != each]
        gone = there.keys() - {each["question_id"] for each in given}
        added = sum(each["question_id"] not in there for each in fresh)
        counts = added, len(fresh) - added, len(gone)
        rows = pa.Table.from_pylist(fresh, schema=schema)
        if snapshot is None:
            return Append(rows)
        if not fresh and not gone:
            return None
        keys = pa.schema([schema.field(name) for name in KEY])
        removed = pa.Table.from_pylist([{"question_id": each} for each in sorted(gone)], schema=keys)
        return Upsert(rows, key=KEY, delete=removed)

    done = lakehouse.commit(into, f"feedback examples {new_id()}", change)
    added, changed, removed = counts
    return WrittenExamples(version=done.version, rows=len(given), added=added, changed=changed, removed=removed)


def _there(snapshot: Snapshot, into: str, model: str, schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Question → the example that the table has."""
    if missing := [name for name in schema.names if name not in snapshot.schema.names]:
        raise DataError(
            f"{into!r} holds no examples of feedback: it has no column {missing[0]!r}.",
            hint="Choose the name of a table that is not there yet.",
        )
    rows = snapshot.to_arrow(schema.names).to_pylist()
    return {each["question_id"]: each for each in rows if each["model"] == model}
