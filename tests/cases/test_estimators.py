"""What a model was told, and what it may be given, from the command line: the right values of projects that had wrong ones."""

import shutil
from pathlib import Path

import pytest

CASES = Path(__file__).parent


@pytest.fixture
def case(headrace, tmp_path):
    """Copies a case, refreshes it and runs commands; each must end with the given code, and without a traceback."""

    def begin(name):
        folder = shutil.copytree(CASES / name, tmp_path / name)

        def run(*arguments, code=0):
            done = headrace.run(folder, *arguments)
            assert done.code == code, done.stderr + done.stdout
            assert "Traceback" not in done.stderr
            return done

        run("run", "refresh")
        run.folder = folder
        return run

    return begin


def metrics(run, **rounded):
    (version,) = run("model", "list", "--json").json()
    found = run("model", "show", version["model"], "--json").json()["metrics"]
    assert {name: round(found[name], 4) for name in rounded} == rounded


def test_the_number_that_xgboost_takes_for_missing_is_kept(case):
    run = case("xgboost_missing")
    run("run", "train", "--as-of", "2024-03-11")
    metrics(run, roc_auc=0.8626, log_loss=0.4566)


def test_whole_numbers_are_the_texts_of_the_labels_by_value(case):
    run = case("text_number_classes")
    run("run", "train", "--as-of", "2024-03-11")
    metrics(run, accuracy=0.9757)


def test_rows_to_calibrate_with_one_class_are_refused(case):
    said = case("calibrate_one_class")("run", "train", code=1).stderr
    assert "rows to calibrate have the same label, 0" in said


@pytest.mark.parametrize("name", ["date_input_deploy", "decimal_feature_deploy"])
def test_a_date_and_a_decimal_come_to_production_and_are_scored(case, name):
    run = case(name)
    run("run", "train")
    assert "Production" in run("run", "deploy").stderr
    run("run", "score", "--since", "2024-01-14", "--until", "2024-01-17")
    (rows,) = run("sql", "select count(*) as n, count(distinct probability) as d from gold.p", "--json").json()
    assert rows["n"] > 50
    assert rows["d"] == 2
