"""One contract for every place where predictions go."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import sqlalchemy as sa

from headrace.core.errors import ConfigError, DataError
from headrace.inference.destinations.database import DatabaseTable
from headrace.inference.destinations.delta import DeltaTable
from headrace.inference.destinations.files import FilesDestination
from headrace.inference.records import predict, with_versions
from headrace.lakehouse.lakehouse import Lakehouse

from .conftest import full_rows

KINDS = ("delta", "sqlite", "postgres", "parquet", "csv")
COUNT = 2000


class Place:
    """A destination, and a way of its own to read what is there."""

    def __init__(self, kind, folder, url):
        self.kind, self.folder, self.url = kind, folder, url
        if kind == "delta":
            self.lakehouse = Lakehouse("dev", str(folder))

    def open(self):
        if self.kind == "delta":
            return DeltaTable(self.lakehouse, "gold.late")
        if self.kind in ("sqlite", "postgres"):
            return DatabaseTable(self.url, database="warehouse", table="late")
        return FilesDestination(self.folder / "out", format=self.kind)

    def rows(self):
        """Plain rows by id; features as a dictionary."""
        if self.kind == "delta":
            read = self.lakehouse.snapshot("gold.late").to_arrow().to_pylist()
        elif self.kind in ("sqlite", "postgres"):
            engine = sa.create_engine(self.url)
            with engine.connect() as connection:
                table = sa.Table("late", sa.MetaData(), autoload_with=connection)
                read = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            engine.dispose()
        else:
            files = sorted((self.folder / "out").rglob(f"*.{self.kind}"))
            tables = [self._table(file) for file in files]
            read = pa.concat_tables(tables, promote_options="permissive").to_pylist()
        return [{name: plain(name, value) for name, value in row.items()} for row in read]

    def _table(self, file):
        if self.kind == "parquet":
            return pyarrow.parquet.read_table(file, partitioning=None)
        return pyarrow.csv.read_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types={"shop": pa.string()}),
        )


def plain(name, value):
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).astimezone(UTC)
    return json.loads(value) if name in ("features", "feature_versions") and isinstance(value, str) else value


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            for name in ("late", "headrace_partitions"):
                connection.exec_driver_sql(f"drop table if exists {name}")
        engine.dispose()
    return Place(request.param, tmp_path / "place", url)


@pytest.fixture(scope="module")
def predictions(version):
    return with_versions(predict(version, full_rows(COUNT)), {"shop.orders": 3})


def as_given(predictions):
    rows = [{name: plain(name, value) for name, value in row.items()} for row in predictions.to_pylist()]
    return by_id(rows)


def by_id(rows):
    found = {row["prediction_id"]: row for row in rows}
    assert len(found) == len(rows), "a prediction is there twice"
    return found


def write(place, predictions, partition="a"):
    destination = place.open()
    try:
        return destination.write(predictions, id=partition)
    finally:
        destination.close()


def test_every_value_arrives_as_it_was(place, predictions):
    written = write(place, predictions)

    assert written.rows == COUNT
    assert by_id(place.rows()) == as_given(predictions)


def test_the_same_partition_again_changes_nothing(place, predictions):
    write(place, predictions)
    before = place.rows()
    write(place, later(predictions))

    assert place.rows() == before


def test_the_same_predictions_under_another_id_change_nothing(place, predictions):
    write(place, predictions)
    before = by_id(place.rows())
    again = write(place, later(predictions), "b")

    assert again.rows == 0
    assert by_id(place.rows()) == before


def later(predictions):
    """The same, made later from other versions of the tables."""
    bare = predictions.drop_columns(["scored_at", "feature_versions"])
    at = pa.array([datetime(2030, 1, 1, tzinfo=UTC)] * len(bare), pa.timestamp("us", "UTC"))
    return with_versions(bare.append_column("scored_at", at), {"shop.orders": 4})


def test_other_values_replace_those_that_stood_there_and_nothing_else(place, predictions):
    write(place, predictions)
    some = predictions.slice(100, 50)
    other = some.set_column(some.schema.get_field_index("probability"), "probability", pa.array([0.25] * 50))
    written = write(place, later(other), "b")
    expected = as_given(predictions) | as_given(later(other))

    assert written.rows == 50
    assert by_id(place.rows()) == expected


def test_partitions_come_one_after_the_other(place, predictions):
    for start in range(0, COUNT, 300):
        write(place, predictions.slice(start, 300), f"part {start}")

    assert by_id(place.rows()) == as_given(predictions)


def test_partitions_that_overlap_hold_each_prediction_once(place, predictions):
    write(place, predictions.slice(0, 1200), "a")
    write(place, predictions.slice(800), "b")

    assert by_id(place.rows()) == as_given(predictions)


def test_two_at_once_write_each_prediction_once(place, predictions):
    def both(number):
        write(place, predictions.slice(number * 500, 1000), f"part {number}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(both, range(3)))

    assert by_id(place.rows()) == as_given(predictions)


def test_a_class_that_no_version_knew_is_a_new_column(place, predictions):
    write(place, predictions.slice(0, 10))
    more = predictions.slice(10, 10).append_column("probability_new", pa.array([0.5] * 10))
    write(place, more, "b")
    rows = by_id(place.rows())

    assert {rows[each]["probability_new"] for each in as_given(more)} == {0.5}
    assert len(rows) == 20


def test_it_stands_once_it_was_written(place, predictions):
    with closing(place.open()) as destination:
        assert destination.identity() is None
        destination.write(predictions.slice(0, 1), id="a")
        assert destination.identity() is not None


def test_it_says_who_it_is_and_keeps_secrets(place):
    with closing(place.open()) as destination:
        assert place.url not in destination.name


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_a_table_of_somebody_else_is_left_alone(place, predictions):
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table late (id integer)")
    engine.dispose()

    with pytest.raises(DataError, match="is no table of predictions"):
        write(place, predictions)


def made_from(x, kind):
    return pa.table(
        {
            "prediction_id": [f"id of {x}"],
            "decision_time": pa.array([datetime(2024, 1, 5, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "model": ["late"],
            "model_version": pa.array([1], pa.int64()),
            "features": pa.array([{"x": x}], pa.struct([("x", kind)])),
        }
    )


@pytest.mark.parametrize("kind", ["delta", "parquet"])
@pytest.mark.parametrize("whole_first", [True, False])
def test_a_whole_number_beside_fractions_that_a_float64_does_not_hold_is_refused(tmp_path, kind, whole_first):
    place = Place(kind, tmp_path, "")
    one, other = made_from(2**53 + 1, pa.int64()), made_from(0.5, pa.float64())
    first, second = (one, other) if whole_first else (other, one)
    write(place, first, "a")
    with pytest.raises(DataError, match=r"(?s)'features'.*2\^53"):
        write(place, second, "b")

    assert [row["features"] for row in place.rows()] == first["features"].to_pylist()


class TestFiles:
    def test_what_a_writer_left_half_written_is_no_trouble(self, tmp_path, predictions):
        place = Place("parquet", tmp_path, "")
        write(place, predictions)
        files = sorted((tmp_path / "out").rglob("*.parquet"))
        for file in files:
            file.with_name(f".{file.name}.new").write_bytes(b"half")
            file.unlink()
        write(place, predictions)

        assert by_id(place.rows()) == as_given(predictions)
        assert sorted((tmp_path / "out").rglob("*.new")) == []

    def test_one_file_a_month(self, tmp_path, predictions):
        write(Place("csv", tmp_path, ""), predictions)
        names = sorted(file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.csv"))

        assert names == [f"late/version=1/2024-{month:02}.csv" for month in range(1, 6)]

    def test_a_file_of_somebody_else_is_left_alone(self, tmp_path, predictions):
        strange = tmp_path / "out" / "late" / "version=1" / "2024-01.csv"
        strange.parent.mkdir(parents=True)
        strange.write_text("a,b\n1,2\n")

        with pytest.raises(DataError, match="is no file of predictions"):
            write(Place("csv", tmp_path, ""), predictions)
        assert strange.read_text() == "a,b\n1,2\n"

    def test_a_folder_that_cannot_be_written_is_told(self, tmp_path, predictions):
        (tmp_path / "out").write_text("a file")

        with pytest.raises(DataError, match="cannot be written"):
            write(Place("csv", tmp_path, ""), predictions)


def test_a_database_that_cannot_be_reached_is_told_without_its_password(predictions):
    there = DatabaseTable("postgresql+psycopg://eva:geheim@127.0.0.1:1/x", database="warehouse", table="late")
    with closing(there), pytest.raises(DataError) as caught:
        there.write(predictions, id="a")
    with pytest.raises(ConfigError) as malformed:
        DatabaseTable("no url with geheim", database="warehouse", table="late")

    assert "geheim" not in f"{caught.value}{malformed.value}"
    assert "warehouse" in str(caught.value)


def test_a_week_of_another_year_is_found_by_its_moment(tmp_path, version):
    """Comparing looks only where an id can be: moments at both ends of a partition belong to it."""
    rows = full_rows(10)
    at = pa.array([datetime(1969, 12, 31, tzinfo=UTC) + timedelta(days=place) for place in range(10)], rows["at"].type)
    old = predict(version, rows.set_column(rows.schema.get_field_index("at"), "at", at))
    place = Place("delta", tmp_path, "")
    write(place, old)

    assert write(place, old, "b").rows == 0
