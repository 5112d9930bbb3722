"""Files as others write them, through the command line: nothing is lost, and what was guessed is told once."""

import shutil
from pathlib import Path

import pytest

CASES = Path(__file__).parent


@pytest.fixture
def project(tmp_path):
    def copy(case):
        return Path(shutil.copytree(CASES / case, tmp_path / case))

    return copy


def test_identifiers_stay_what_they_are_and_that_is_told_once(headrace, project):
    folder = project("csv_identifiers")
    done = headrace.run(folder, "run", "refresh")
    assert done.code == 0
    assert "bronze.o: plz is text, for '01067' has leading zeros" in done.stderr
    assert 'schema=hr.Schema(plz="int64") reads numbers' in done.stderr
    found = headrace.run(
        folder,
        "sql",
        "--json",
        "select count(distinct iccid) ids, min(plz) plz, min(product) product, max(iccid) last from bronze.o",
    )
    assert found.json() == [{"ids": 3, "plz": "01067", "product": "1E5", "last": "89014103211118510722"}]
    (folder / "o.csv").write_text((folder / "o.csv").read_text() + "89014103211118510723,00001,1E9\n")
    again = headrace.run(folder, "run", "refresh")
    assert again.code == 0
    assert "is text" not in again.stderr
    (folder / "proj.py").write_text(
        'import headrace as hr\nraw = hr.Source("bronze.n", files="o.csv", schema=hr.Schema(plz="int64", product="float64", iccid="string"))\n'
    )
    declared = headrace.run(folder, "run", "refresh")
    assert declared.code == 0
    assert "is text" not in declared.stderr
    found = headrace.run(folder, "sql", "--json", "select min(plz) plz, min(product) product from bronze.n")
    assert found.json() == [{"plz": 1, "product": 70.0}]


def test_a_name_in_latin1_is_refused_with_what_declares_it(headrace, project):
    folder = project("csv_latin1_header")
    refused = headrace.run(folder, "run", "refresh")
    assert refused.code == 1
    assert "o.csv:1: the name of column 2 is not UTF-8 text" in refused.stderr
    assert 'encoding="latin-1"' in refused.stderr
    program = (folder / "proj.py").read_text()
    (folder / "proj.py").write_text(program.replace('"o.csv"', '"o.csv", encoding="latin-1"'))
    assert headrace.run(folder, "run", "refresh").code == 0
    found = headrace.run(folder, "sql", "--json", 'select "Größe" from bronze.o order by 1')
    assert found.json() == [{"Größe": 5}, {"Größe": 6}]


def test_semicolons_separate(headrace, project):
    folder = project("csv_semicolon")
    done = headrace.run(folder, "run", "refresh")
    assert done.code == 0
    assert 'separated by ";"; separator=";" says so' in done.stderr
    found = headrace.run(folder, "sql", "--json", "select id, amount, note from bronze.o order by id")
    assert found.json() == [{"id": 1, "amount": 10, "note": "a"}, {"id": 2, "amount": 7, "note": "b"}]
    assert "separator" not in headrace.run(folder, "run", "refresh").stderr
    loaded = headrace.run(folder, "table", "load", "o.csv", "--into", "bronze.force")
    assert loaded.code == 0
    assert 'separator=";"' in loaded.stderr


def test_empty_objects_load_as_null_and_later_ones_as_what_they_are(headrace, project):
    folder = project("jsonl_empty_object")
    assert headrace.run(folder, "run", "refresh").code == 0
    found = headrace.run(folder, "sql", "--json", "select id, meta from bronze.o order by id")
    assert found.json() == [{"id": 1, "meta": None}, {"id": 2, "meta": None}]
    with (folder / "o.jsonl").open("a") as file:
        file.write('{"id": 3, "meta": {"a": [1.25]}}\n')
    assert headrace.run(folder, "run", "refresh").code == 0
    found = headrace.run(folder, "sql", "--json", "select meta from bronze.o where id = 3")
    assert found.json() == [{"meta": {"a": [1.25]}}]


def test_rows_to_score_mean_by_their_texts_what_the_source_of_the_spine_means(headrace, project):
    folder = project("score_from_csv_nulls")
    for step in ("refresh", "train", "deploy"):
        assert headrace.run(folder, "run", step).code == 0

    def scored(file, *more):
        done = headrace.run(
            folder, "run", "score", "--source", file, "--into", f"gold.{Path(file).name.partition('.')[0]}", "--since", "2024-01-01", *more
        )  # fmt: skip
        assert done.code == 0, done.stderr
        table = f"gold.{Path(file).name.partition('.')[0]}"
        found = headrace.run(
            folder, "sql", "--json", f"select id, probability p, features.c c from {table} order by id"
        )
        return [(row["id"], row["p"], row["c"]) for row in found.json()], done.stderr

    expected = [(9001, 0.9, "NA"), (9002, 0.1, "DE")]
    rows, told = scored("rows.csv")
    assert rows == expected
    assert "null texts are '', as in bronze.o" in told
    lines = (folder / "rows.csv").read_text()
    (folder / "semicolons.csv").write_bytes(lines.replace(",", ";").encode("utf-16"))
    rows, told = scored("semicolons.csv")
    assert rows == expected
    assert 'separated by ";"' in told
    (folder / "objects.json").write_text(
        '[{"id": 9001, "ts": "2024-01-16T00:00:00Z", "c": "NA"}, {"id": 9002, "ts": "2024-01-16T00:00:00Z", "c": "DE"}]'
    )
    assert scored("objects.json")[0] == expected
    program = (folder / "proj.py").read_text()
    (folder / "proj.py").write_text(program.replace('nulls=("",)', 'nulls=("", "-999")'))
    (folder / "other.csv").write_text(lines.replace("DE", "-999"))
    assert scored("other.csv")[0] == [(9001, 0.9, "NA"), (9002, 0.1, None)]
