"""The monitored columns of texts: of a question its length and its language, of an answer what it counts.

A histogram of questions would have a bin for each of them and tell nothing. Their meaning is compared by `text_drift`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.lakehouse.identifiers import column, json_pointer, literal
from headrace.llm.evaluation.language import language
from headrace.monitoring.blocks import MonitoredColumn
from headrace.scoring.columns import FEATURES, is_log
from headrace.training.generated import LANGUAGE, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import duckdb
    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse

FUNCTION = "text_language"  # SQL: a text → its language


def input_text(table: str, name: str) -> str:
    """SQL of an input of a model that answers, in a table of its answers."""
    if is_log(table):
        return f"json_extract_string(inputs, {literal(json_pointer(name))})"
    return f"{FEATURES}.{column(name)}"


def inputs_of(table: str, names: Sequence[str]) -> list[MonitoredColumn]:
    """What is watched of each input: `question.length`, in characters, and `question.language`."""
    found: list[MonitoredColumn] = []
    for name in names:
        text = input_text(table, name)
        found.append(MonitoredColumn(name=f"{name}.length", expression=f"length({text})", kind="number"))
        found.append(MonitoredColumn(name=f"{name}.language", expression=f"{FUNCTION}({text})", kind="string"))
    return found


def outputs_of(table: str, schema: pa.Schema) -> list[MonitoredColumn]:
    """What is watched of an answer: its numbers, and its language, which the inference log holds as JSON alone."""
    numbers = [
        MonitoredColumn(name=name, expression=column(name), kind="number") for name in NUMBERS if name in schema.names
    ]
    text = f"json_extract_string(outputs, {literal(json_pointer(LANGUAGE))})" if is_log(table) else column(LANGUAGE)
    return [*numbers, MonitoredColumn(name=LANGUAGE, expression=text, kind="string")]


@contextmanager
def connect(lakehouse: Lakehouse, table: str) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection in which a table of answers, and the expressions of these columns, can be read."""
    with lakehouse.connect({table: None}) as connection:
        connection.create_function(FUNCTION, language, ["VARCHAR"], "VARCHAR")  # pyright: ignore[reportArgumentType]
        yield connection
