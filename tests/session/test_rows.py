"""What a notebook asks of a model: its features, its training set, a prediction; the same numbers as the pipelines'."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.cli.mini import write

import headrace as hr
from headrace.core.errors import ConfigError, DataError, DeclarationError, NotFoundError, RefusedError
from headrace.operations.operation import At
from headrace.operations.predict import predict_rows
from headrace.operations.training_rows import read_training_set

AS_OF = "2024-03-01"


PROGRAM = """
class Mean:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return 2 * X["amount"].to_numpy() + 100 * X["orders"].fillna(-1).to_numpy()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("rows") / "mini", deployment="gates=[]")
    program = (folder / "mini.py").read_text()
    begin, end = program.index("class Mean"), program.index("raw = hr.Source")
    (folder / "mini.py").write_text(program[:begin] + PROGRAM.strip() + "\n\n\n" + program[end:])
    dev = hr.open(folder=folder, quiet=True)
    dev.refresh()
    dev.train(as_of=AS_OF)
    return folder


@pytest.fixture
def dev(folder):
    return hr.open(folder=folder, quiet=True)


def test_features_are_those_that_training_used(dev):
    rows = dev.features("days", at=AS_OF).to_pandas()
    used = dev.models["days"].newest.training_set().to_pandas()
    both = used.merge(rows, on=["id", "placed_at"], suffixes=("", "_now"))
    assert len(both) == len(used) > 100
    for name in ("amount", "orders"):
        assert both[name].equals(both[f"{name}_now"])
    assert list(rows.columns) == ["id", "placed_at", "amount", "orders"]
    later = dev.features(since="2024-02-01", at="2024-02-10").to_pandas()
    assert later.placed_at.min() >= pd.Timestamp("2024-02-01", tz="UTC")
    assert later.placed_at.max() <= pd.Timestamp("2024-02-10", tz="UTC")


def test_a_training_set_is_the_one_that_a_training_makes(dev):
    before = {each.table for each in dev.tables.list()}
    runs = len(dev.runs.list())
    mine = dev.training_set(as_of=AS_OF)
    theirs = dev.models["days"].version(1).training_set()
    pd.testing.assert_frame_equal(mine.to_pandas(), theirs.to_pandas())
    pd.testing.assert_frame_equal(mine.fit.X, theirs.fit.X)
    pd.testing.assert_series_equal(mine.test.y, theirs.test.y)
    assert mine.counts["fit"] == len(mine.fit.y) == (mine.to_pandas()["_part"] == "fit").sum()
    assert len(mine.calibrate.y) == 0
    assert ({each.table for each in dev.tables.list()}, len(dev.runs.list())) == (before, runs)


def test_a_model_of_the_notebook_is_tried_over_the_projects_tables(dev):
    orders = hr.Table("shop.orders", key="id", sql="select 1 as id")
    labels = hr.Table("shop.labels", key="id", time="done_at", sql="select 1 as id")

    @hr.on_demand(hr.Schema(double="float64"))
    def double(amount):
        return amount * 2

    idea = hr.Model(
        "idea",
        fit=lambda data, params: None,
        task=hr.Regression(label=labels["days"]),
        spine=orders.at("placed_at"),
        features=[orders.select("amount"), double],
        evaluate=hr.Evaluate(test="10d"),
    )
    rows = dev.features(idea).to_pandas()
    assert (rows.double == 2 * rows.amount).all()
    assert list(dev.training_set(idea, as_of=AS_OF).fit.X.columns) == ["amount", "double"]
    assert "idea" not in list(dev.models)


def test_predictions_of_decisions_are_those_of_scoring(dev):
    dev.score(as_of=AS_OF, since="2024-01-20", until=AS_OF)
    stored = dev.tables["answers.days"].to_pandas().set_index("id").prediction
    orders = dev.tables["shop.orders"].to_pandas().sample(frac=1, random_state=3).set_index("customer", drop=False)
    mine = dev.models["days"].newest.predict(orders)
    assert mine.index.equals(orders.index)
    found = pd.Series(mine.prediction.to_numpy(), index=orders.id)
    assert found.loc[stored.index].to_list() == stored.to_list()
    assert found.nunique() > 10


def test_a_file_is_read_as_the_sources_of_the_spine_are(dev, tmp_path):
    orders = dev.tables["shop.orders"].to_pandas()
    orders.to_csv(tmp_path / "orders.csv", index=False)
    wanted = dev.models["days"].newest.predict(orders).prediction.to_list()
    for rows in (str(tmp_path / "orders.csv"), "shop.orders", "select * from shop.orders order by id"):
        found = predict_rows(dev._at, "days", rows, version=1).to_pandas()
        assert sorted(found.prediction) == sorted(wanted)
    (tmp_path / "digits.csv").write_text("id,customer,placed_at,amount\n1,007,2024-01-01T00:00:00Z,1.5\n")
    with_digits = predict_rows(dev._at, "days", str(tmp_path / "digits.csv"), version=1).to_pandas()
    assert with_digits.prediction.to_list() == [2 * 1.5 - 100]  # the customer "007" is not "7", and not a number


def test_the_present_of_a_project_is_the_present_of_its_questions(dev, folder):
    """`as_of = "2024-03-01"` in its headrace.toml: the same hold-out as a training, whatever the clock says."""
    pd.testing.assert_frame_equal(dev.training_set().to_pandas(), dev.training_set(as_of=AS_OF).to_pandas())
    assert dev.training_set().as_of == pd.Timestamp(AS_OF, tz="UTC")
    assert dev.features().to_pandas().equals(dev.features(at=AS_OF).to_pandas())
    assert dev.features(at="2100-01-01").count >= dev.features().count


def test_the_audit_record_names_a_model_of_the_notebook(folder, headrace):
    table = hr.Table("shop.orders", key="id", sql="select 1 as id")
    idea = hr.Model(
        "idea", task=hr.Regression(label=table["x"]), spine=table.at("placed_at"), features=[table.select("amount")]
    )
    with pytest.raises(RefusedError, match="releases only"):
        hr.open("live", folder=folder).features(idea)
    entries = headrace.run(folder, "audit", "--env", "live", "--json").json()
    (entry,) = [each for each in entries if each["action"] == "sql.queried"]
    assert (entry["object"], entry["details"]) == ("idea", {"model": "idea"})


def test_full_rows_need_nothing_looked_up(dev):
    version = dev.models["days"].newest
    rows = pd.DataFrame({"amount": [1.0, 2.0], "orders": [3.0, np.nan]}, index=["x", "y"])
    found = version.predict(rows)
    assert found.prediction.to_dict() == {"x": 302.0, "y": -96.0}
    assert version.predict(pa.table({"amount": [1], "orders": [3]})).prediction.to_list() == [302.0]
    assert version.predict([{"amount": 1.0, "orders": 3.0}]).prediction.to_list() == [302.0]
    assert version.predict(dev.sql("select 1.0 as amount, 3 as orders")).prediction.to_list() == [302.0]


def test_features_of_full_rows_are_computed_as_they_are(dev):
    found = dev.features("days", pd.DataFrame({"amount": [1.0], "orders": [3.0]})).to_pandas()
    assert found.to_dict("records") == [{"amount": 1.0, "orders": 3.0}]


def test_a_training_on_the_same_rows_makes_no_other_version(folder):
    """Whatever the moment: what the rows are decides."""
    dev = hr.open(folder=folder, quiet=True)
    assert [dev.train().version, dev.train(as_of="2024-03-01T00:00:01").version] == [1, 1]
    assert [each.version for each in dev.models["days"].versions] == [1]


@pytest.mark.parametrize("ask", [hr.Model, 7])
def test_what_is_no_name_is_told(dev, ask):
    with pytest.raises(DeclarationError, match="no name of a model"):
        dev.train(ask)
    with pytest.raises(DeclarationError, match="no name of a model"):
        dev.deploy(ask)
    with pytest.raises(NotFoundError):
        dev.models[ask]
    with pytest.raises(ConfigError, match="no moment"):
        dev.training_set(as_of=ask)
    with pytest.raises(ConfigError, match="no SELECT"):
        dev.sql(ask)


def test_one_moment_for_all(dev):
    version = dev.models["days"].newest
    rows = pd.DataFrame({"id": [1, 2], "customer": ["c1", "c2"], "amount": [0.0, 0.0]})
    early = version.predict(rows, at="2024-01-01T13:00:00")
    late = version.predict(rows, at="2024-03-01")
    assert early.prediction.to_list() == [100.0, -100.0]  # c2 had not ordered yet
    assert late.prediction.to_list() != early.prediction.to_list()


def test_rows_that_cannot_be_predicted_are_told(dev):
    version = dev.models["days"].newest
    decision = pd.DataFrame({"id": [1], "placed_at": [pd.Timestamp("2024-01-01", tz="UTC")]})
    with pytest.raises(
        DataError, match=r"neither full nor decisions.*lack 'amount', 'orders'.*lack 'amount', 'customer'"
    ):
        version.predict(decision)
    orders = dev.tables["shop.orders"].to_pandas()
    with pytest.raises(DataError, match="come more than once"):
        version.predict(pd.concat([orders, orders]))
    with pytest.raises(DataError, match="without 'id'"):
        version.predict([{"id": None, "placed_at": "2024-01-01", "customer": "c1", "amount": 1.0}])
    with pytest.raises(DataError, match="amount"):
        version.predict([{"amount": "much", "orders": 1.0}])
    with pytest.raises(DeclarationError, match="0 rows"):
        version.predict([])
    with pytest.raises(DeclarationError, match="str, no data frame"):
        version.predict("shop.orders")


def test_nothing_in_production_is_told_with_what_there_is(dev, folder):
    with pytest.raises(NotFoundError, match="no version of days in 'Production': there is '1, stage None'"):
        _ = dev.models["days"].production
    moment = pd.Timestamp("2024-01-01", tz="UTC")
    with pytest.raises(DeclarationError, match="a version has its own training moment"):
        read_training_set(At(env="dev", folder=folder), "days", version=1, as_of=moment)


def test_above_dev_a_prediction_is_in_the_audit_record_without_its_rows(folder, headrace, dev):
    done = headrace.run(folder, "model", "predict", "days", "shop.orders", "--version", "1", "--json")
    assert len(done.json()) == 120
    with pytest.raises(NotFoundError):
        predict_rows(At(env="live", folder=folder), "days", pa.table({"name": ["a secret"]}))
    entries = headrace.run(folder, "audit", "--env", "live", "--json").json()
    assert [each["object"] for each in entries if each["action"] == "model.predicted"] == ["days"]
    assert "a secret" not in str(entries)
    assert "model.predicted" not in str(headrace.run(folder, "audit", "--json").json())
