"""Where tables may lie."""

import pyarrow as pa
import pytest
from tests.support.s3 import KEY, SECRET

from headrace.core.errors import ConfigError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.storage import CHUNK, Place
from headrace.lakehouse.writes import Append, Upsert


@pytest.mark.parametrize(
    "odd",
    [
        "with space",
        "100%",
        "%zz",
        'it\'s "quoted"',
        "ünï日本😀",
        "a*b?",
        "a#b;c&d=e",
        "{x}~`<y>",
        " around ",
        "a+b,c:d@e$f!(g)",
    ],
)
def test_any_folder_that_can_hold_tables_does(tmp_path, odd):
    root = tmp_path / odd
    lake = Lakehouse("dev", str(root))
    assert lake.names() == []
    lake.commit("silver.t", "a", lambda _: Append(pa.table({"k": [1, 2]})))
    lake.commit("silver.t", "b", lambda _: Upsert(pa.table({"k": [2, 3]}), ["k"]))
    assert sorted(lake.snapshot("silver.t").to_arrow()["k"].to_pylist()) == [1, 2, 3]
    assert [(each.name, each.env) for each in lake.names()] == [("silver.t", "dev")]
    assert (lake.data_version("silver.t"), len(lake.history("silver.t"))) == (2, 3)
    assert (root / "silver/t/_delta_log").is_dir()
    assert {each.name for each in tmp_path.iterdir()} == {odd}
    lake.vacuum("silver.t", retention_hours=0)
    assert Lakehouse("dev", root.as_uri()).snapshot("silver.t").rows() == 3


@pytest.mark.parametrize("odd", ["a%20b", "[a]", "a|b", "a^b", "a\\b", "a\nb"])
def test_a_folder_that_the_library_would_confuse_is_refused(tmp_path, odd):
    with pytest.raises(ConfigError, match="cannot lie under"):
        Lakehouse("dev", str(tmp_path / odd))


def test_what_is_no_table_is_not_listed(tmp_path):
    lake = Lakehouse("dev", str(tmp_path))
    lake.commit("silver.t", "a", lambda _: Append(pa.table({"k": [1]})))
    (tmp_path / "silver/notes").mkdir()
    (tmp_path / "silver/Readme.md").touch()
    (tmp_path / "Upper/t/_delta_log").mkdir(parents=True)
    (tmp_path / "gold/empty/_delta_log").mkdir(parents=True)
    assert [each.name for each in lake.names()] == ["silver.t"]
    assert not lake.exists("gold.empty")


def test_an_object_store_is_listed_and_its_log_read_as_a_folder_is(tmp_path):
    lake = Lakehouse("dev", str(tmp_path))
    lake.commit("silver.t", "a", lambda _: Append(pa.table({"k": [1]})))
    store = Place(url=tmp_path.as_uri(), folder=None)
    assert store.children() == ["silver"]
    table = store.below("silver", "t")
    assert table.missing(1) == []
    with table.files().open_input_stream(f"_delta_log/{1:020d}.json") as stream:
        assert b"commitInfo" in stream.read()
    assert Place.at("s3://bucket/root/").below("silver", "t").url == "s3://bucket/root/silver/t"


def test_an_object_store_is_marked_once_and_takes_files_of_any_size(s3):
    s3.client.create_bucket(Bucket="marked")
    place = Place.at("s3://marked/lake", {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    assert place.owner() is None
    assert [place.claim("first"), place.claim("second"), place.owner()] == ["first", "first", "first"]

    for size in (0, CHUNK, 3 * CHUNK + 1):
        place.write("large", b"x" * size)
        assert s3.client.get_object(Bucket="marked", Key="lake/large")["Body"].read() == b"x" * size
