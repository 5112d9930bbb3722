"""Held out otherwise than by time, through the commands: the second version is compared on rows that neither has seen."""

import json

import pytest
from tests.cli.mini import write

PRESENT = ["--as-of", "2024-03-01"]


@pytest.mark.parametrize(
    "split",
    ["hr.at_random(0.4)", 'hr.by_group("customer", share=0.4)', "hr.stratified(0.3)"],
    ids=["random", "group", "strata"],
)
def test_a_model_goes_the_whole_way(headrace, tmp_path, split):
    folder = write(tmp_path / "mini", deployment="gates=[hr.not_worse('rmse', margin=0.1, min_rows=10)]")
    program = (folder / "mini.py").read_text()
    assert 'test="10d"' in program
    (folder / "mini.py").write_text(program.replace('test="10d"', f"test={split}"))

    def run(*arguments, code=0):
        done = headrace.run(folder, "run", *arguments, "--json")
        assert done.code == code, done.stderr
        return json.loads(done.stdout)

    run("refresh")
    first = run("train", *PRESENT)
    assert run("deploy", *PRESENT)["ending"] == "in production"
    (folder / "mini.py").write_text(
        (folder / "mini.py").read_text().replace("float(y.mean())", "float(y.mean()) + 0.001")
    )
    second = run("train", *PRESENT)
    assert run("deploy", *PRESENT)["ending"] == "in production"

    (made,) = [step["output"]["counts"] for step in second["steps"] if step["name"] == "training set"]
    found = headrace.run(folder, "model", "comparisons", "days", "--json").json()
    assert [each["rows"] for each in found if each["version"] == 2] == [made["test"]]
    assert made["test"] + made["fit"] + made["unlabelled"] == made["decisions"] == 120
    assert made["test"] > 10 < made["fit"]
    assert (first["version"], second["version"]) == (1, 2)
