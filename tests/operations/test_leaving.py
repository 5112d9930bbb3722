"""A version goes back, or leaves for elsewhere: what is returned, who may not, what is recorded."""

import json

import pytest
from tests.operations.loop_project import at, audit, guest

from headrace.core import vault
from headrace.core.errors import NotFoundError, RefusedError
from headrace.operations import export, rollback


def served(project):
    file = project / ".headrace" / "dev" / "serving" / "days" / "serving.json"
    return [each["version"] for each in json.loads(file.read_text())["versions"]]


def test_a_version_comes_back_and_servers_follow(headrace, project):
    for arguments in (["train", "--as-of", "2024-02-20"], ["deploy", "--version", "2"]):
        done = headrace.run(project, "run", *arguments)
        assert done.code == 0, done.stderr
    assert served(project) == [2]
    report = rollback.roll_back(at(project), "days", reason="too high")

    assert (report.model, report.version, report.replaced, report.previous) == ("days", 1, 2, None)
    assert (report.stage, "too high" in report.reason) == ("Production", True)
    assert served(project) == [1]
    with pytest.raises(RefusedError, match="in Production already"):
        rollback.roll_back(at(project), "days", to=1, reason="again")

    token = guest(headrace, project)
    with vault.bearing(token), pytest.raises(RefusedError, match="guest may not `headrace model rollback`"):
        rollback.roll_back(at(project), "days", to=2, reason="mine")
    assert served(project) == [1]
    assert audit(project)[-1] == ("access.refused", "days")


def test_the_version_in_production_is_exported_and_recorded_first(headrace, project, tmp_path):
    into = tmp_path / "out"
    report = export.export_model(at(project), "days", to="container", into=into)

    assert (report.model, report.version, report.to, report.into) == ("days", 1, "container", into)
    assert "Containerfile" in report.files
    assert sorted(report.files) == sorted(str(file.relative_to(into)) for file in into.rglob("*") if file.is_file())
    assert str(into) in report.steps[0]
    assert audit(project)[-1] == ("model.exported", "days")
    with pytest.raises(NotFoundError):
        export.export_model(at(project), "days", to="container", into=into, version=7)
    assert [action for action, _ in audit(project)][-2:] == ["model.exported", "command.failed"]

    token = guest(headrace, project)
    with vault.bearing(token), pytest.raises(RefusedError, match="guest may not `headrace model export`"):
        export.export_model(at(project), "days", to="container", into=tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
