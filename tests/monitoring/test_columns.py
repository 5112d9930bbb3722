"""Which columns of predictions are watched, and that no two share a name."""

import duckdb
import pyarrow as pa
import pytest

from headrace.core.errors import NotFoundError
from headrace.monitoring.columns import features_of, outputs_of, slices_of
from headrace.training.tasks.binary import Binary
from headrace.training.tasks.multiclass import Multiclass
from headrace.training.tasks.regression import Regression


def schema(*features, outputs=("probability",), keys=("id",)):
    inside = pa.struct([(name, pa.float64()) for name in features])
    return pa.schema([*((name, pa.float64()) for name in (*keys, *outputs)), ("features", inside)])


def task(kind):
    return kind.__new__(kind)  # what it predicts is told by its type alone


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        ("probability", "features.probability"),
        ("Probability", "features.Probability"),
        (":table", "features.:table"),
        ("features.probability", "features.features.probability"),
        ("prediction", "prediction"),  # not an output of this task
        ("_label", "_label"),
        ('a "quoted", dotted.name 🚀', 'a "quoted", dotted.name 🚀'),
    ],
)
def test_a_feature_has_its_own_name_or_is_told_where_it_stands(feature, told):
    there = schema(feature)
    outputs = outputs_of(there, task(Binary))
    (found,) = features_of(there, outputs)
    assert (found.name, found.feature) == (told, feature)
    assert found.name not in {each.name for each in outputs}
    rows = pa.Table.from_pylist([{"id": 1.0, "probability": 0.5, "features": {feature: 7.0}}], schema=there)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        assert connection.sql(f"select {found.expression} from rows").fetchall() == [(7.0,)]


def test_no_two_features_are_told_alike():
    names = ("probability", "features.probability", "features.features.probability", "x")
    there = schema(*names)
    assert len({each.name for each in features_of(there, outputs_of(there, task(Binary)))}) == len(names)


def test_outputs_are_those_of_the_task_and_no_key_that_is_called_like_one():
    def names(kind, outputs, keys):
        return [each.name for each in outputs_of(schema("x", outputs=outputs, keys=keys), task(kind))]

    assert names(Binary, ("probability",), ("probability_id", "prediction")) == ["probability"]
    assert names(Regression, ("prediction",), ("probability",)) == ["prediction"]
    several = ("prediction", "probability_a", "probability_b")
    assert names(Multiclass, several, ("id",)) == list(several)


def test_a_slice_is_a_key_a_feature_or_another_column_of_the_predictions():
    there = schema("probability", "x", keys=("id", "key_model"))
    features = features_of(there, outputs_of(there, task(Binary)))
    names = ["model", "probability", "features.probability", "x", "id"]
    found = slices_of(there, names, features, keys=("id", "model"), table="gold.p")
    assert [(each.expression, each.feature) for each in found] == [
        ('"key_model"', None),
        ('features."probability"', "probability"),
        ('features."probability"', "probability"),
        ('features."x"', "x"),
        ('"id"', None),
    ]
    with pytest.raises(NotFoundError, match="column of gold"):
        slices_of(there, ["y"], features, keys=("id",), table="gold.p")
