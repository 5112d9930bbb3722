"""Names of the columns of predictions and of the inference log, kept apart from the user's names.

A table of predictions has the keys of the spine under their own names, because people join by them; only a key with the
name of an internal column is stored under another name. The features are in a struct. The inference log, to which
versions with different keys write, stores each key under a name that begins with `key_`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.training.tasks.base import is_output as task_output

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ID = "prediction_id"
AT = "decision_time"
FEATURES = "features"
IN_SAMPLE = "in_sample"  # whether the decision lies in the time that its version was fitted on
VERSIONS = "feature_versions"
MADE = (VERSIONS, "scored_at")  # how a prediction was made: where all else is equal, it is the same prediction
OWN = (ID, AT, "model", "model_version", FEATURES, IN_SAMPLE, *MADE)
LOG = "inference."


def key_columns(keys: Sequence[str]) -> dict[str, str]:
    """Key of the spine → column that holds it in a table of predictions.

    They have one name, but for a key that is called as a column of ours or as an output: `model` is kept in `key_model`.
    """
    found: dict[str, str] = {}
    taken = {*OWN, *(key.lower() for key in keys)}
    for key in keys:
        name = key
        if key.lower() in OWN or is_output(key):
            name = log_key(key)
            while name.lower() in taken:
                name = log_key(name)
            taken.add(name.lower())
        found[key] = name
    return found


def check_predictions(table: str, columns: Collection[str]) -> None:
    """A table that was made by something else holds no predictions.

    Raises:
        DataError: a column is missing that every table of predictions has.
    """
    missing = [name for name in (ID, AT, "model", "model_version", FEATURES) if name not in columns]
    if missing:
        raise DataError(
            f"{table!r} is no table of predictions: it has no column {missing[0]!r}.",
            hint=f"headrace table history {table} says what made it. A deployment needs a table that nothing else has.",
        )


def is_output(name: str) -> bool:
    """Whether some version may have an output of that name: `prediction`, `probability`, or one that begins with them and `_`."""
    return task_output(name) and name.lower() not in OWN


def log_table(model: str) -> str:
    """The inference table of a model."""
    return f"{LOG}{model.lower()}"


def is_log(table: str) -> bool:
    """Whether a table is an inference table; no user's table is in that schema."""
    return table.startswith(LOG)


def log_key(key: str) -> str:
    """The column of the inference log that holds a key."""
    return f"key_{key}"
