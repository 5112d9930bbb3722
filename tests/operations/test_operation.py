"""What every operation does around its own act: rights that parameters take, entries, interruptions, and where it is."""

import os

import numpy as np
import pytest
from tests.operations.bare_project import BareProject
from tests.operations.loop_project import at, audit

import headrace as hr
from headrace.access.rights import OPERATIONS
from headrace.core import vault
from headrace.core.errors import ConfigError, RefusedError
from headrace.operations import later, retrain, score, sync, tables
from headrace.operations.operation import _Attempt, operation


def rights(name, **values):
    return set(_Attempt(name, hr.open, values, None, False).rights)


def test_whatever_names_a_version_takes_the_right_to_name_one():
    for version in (3, 3.0, np.int64(3), np.float64(3), "3", True):
        assert rights("run score", version=version) == {"run score", "run score --version N"}
    for version in (None, "then"):
        assert rights("run score", version=version) == {"run score"}


@pytest.mark.parametrize("right", [each for each in OPERATIONS if "--" in each or each.endswith("PLACES")])
def test_each_right_of_a_parameter_is_taken_with_it(right):
    name, _, option = right.replace(" PLACES", " --PLACES").partition(" --")
    parameter = option.split(" ")[0].replace("-", "_").lower()

    assert rights(name, **{parameter: 3}) == {name, right}
    assert rights(name, **{parameter: None}) == {name}


def test_a_right_without_its_parameter_is_a_defect():
    with pytest.raises(TypeError, match=r"no parameter 'force', for the right 'run retrain --force'"):

        @operation("run retrain")
        def again(workspace, *, forced=False):
            return None

    assert retrain.retrain.operation == "run retrain"


@pytest.mark.parametrize("version", [3.0, "three", True, 0, np.float64(1)])
def test_what_is_no_version_is_refused_before_anything_is_read(deployed, version):
    with pytest.raises(ConfigError, match="is not a version"):
        score.score(at(deployed), "days", version=version)


def test_a_whole_table_is_an_entry_above_the_lowest_environment(tmp_path):
    found = BareProject(tmp_path / "shop")
    tokens = found.enrol("prod", ann="admin")
    with vault.bearing(tokens["ann"]), pytest.raises(hr_error()):
        tables.read_table(found.at("prod"), "shop.people")

    assert [(action, thing) for action, thing, _ in found.audit("prod") if action == "sql.queried"] == [
        ("sql.queried", "shop.people")
    ]


def hr_error():
    from headrace.core.errors import NotFoundError

    return NotFoundError


def test_more_rows_than_are_shown_are_refused(deployed):
    with pytest.raises(ConfigError, match="1001 rows"):
        tables.show_table(at(deployed), "shop.orders", rows=1001)


@pytest.mark.parametrize("where", ["tell", "open_workspace"])
def test_an_interruption_while_people_are_told_changes_nothing_of_what_is_done(tmp_path, monkeypatch, caplog, where):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with BareProject(tmp_path / "shop").open() as workspace, later.after_the_answer():
        monkeypatch.setattr(sync, where, interrupted)
        sync.tell_people(workspace)
        sync.tell_people(workspace)
        assert caplog.text == ""  # the answer comes first

    assert caplog.text.count("what was asked for is done") == 1  # and once is enough


def test_a_session_stays_with_its_project_wherever_the_process_goes(tmp_path, monkeypatch):
    one, other = BareProject(tmp_path / "one"), BareProject(tmp_path / "other")
    monkeypatch.chdir(one.folder)
    session = hr.open()
    os.chdir(other.folder)

    session.runs.list()
    assert (one.folder / ".headrace" / "dev").is_dir() or session.env == "dev"
    assert not (other.folder / ".headrace").exists()


def test_who_holds_no_role_may_not_and_that_is_recorded(project):
    with pytest.raises(RefusedError) as refused, vault.bearing("hr_nobody"):
        retrain.retrain(at(project), force=True)

    assert "not known here" in str(refused.value)
    assert "access.refused" in [entry[0] for entry in audit(project)]
