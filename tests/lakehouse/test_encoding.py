"""Values that repeat get a dictionary, others do not; what is read is the same."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append

COUNT = 5000


def written(tmp_path, rows):
    """Whether each column of the file has a dictionary; and the rows as they are read."""
    lakehouse = Lakehouse("dev", str(tmp_path))
    lakehouse.commit("gold.x", "a", lambda _: Append(rows))
    (file,) = (tmp_path / "gold" / "x").glob("*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    assert {column.compression for column in columns} == {"SNAPPY"}
    coded = {column.path_in_schema: any("DICTIONARY" in each for each in column.encodings) for column in columns}
    return coded, lakehouse.snapshot("gold.x").to_arrow()


def test_a_dictionary_is_for_values_that_repeat(tmp_path):
    draw = np.random.default_rng(0)
    numbers = {"f": pa.array(draw.normal(size=COUNT)), "g": pa.array(draw.normal(size=COUNT))}
    rows = pa.table(
        {
            "id": [f"{place:032}" for place in range(COUNT)],
            "model": ["late"] * COUNT,
            "few": draw.integers(0, 5, COUNT).astype(float),
            "features": pa.StructArray.from_arrays(list(numbers.values()), list(numbers)),
            "flag": [True] * COUNT,
            "list": [[1.5]] * COUNT,
        }
    )
    coded, read = written(tmp_path, rows)

    assert {name for name, has in coded.items() if has and not name.startswith(("list", "flag"))} == {"model", "few"}
    assert read.equals(rows.cast(read.schema))


def test_few_rows_are_left_to_the_library(tmp_path):
    coded, _ = written(tmp_path, pa.table({"id": list(range(10))}))

    assert coded == {"id": True}
