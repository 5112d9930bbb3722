"""A tag of a release that was moved after it ran."""

import pytest

from headrace.operations import release_history
from headrace.operations.doctor.release_tags import release_tags
from headrace.workspace.workspace import open_workspace


@pytest.fixture
def released(project):
    (project.folder / ".gitignore").write_text(".headrace/\n")
    project.git("init", "-q", "-b", "main")
    project.git("add", "-A")
    project.git("commit", "-qm", "first")
    project.git("tag", "v1.0.0")
    with open_workspace("live", folder=project.folder) as workspace:
        from headrace.access.audit import AUDIT

        workspace.state.create(AUDIT)
        release_history.check(workspace)
    return project


def check(project):
    with open_workspace("live", folder=project.folder) as workspace:
        return list(release_tags(workspace))


def test_tags_that_stayed_are_silent(released):
    (found,) = check(released)
    assert (found.result, found.found) == ("ok", "1 of the 1 releases that ran here are tagged here, as they were")


def test_a_moved_tag_is_named(released):
    (released.folder / "mini.py").write_text("import headrace as hr\n")
    released.git("commit", "-qam", "second")
    released.git("tag", "-f", "v1.0.0")
    (found,) = check(released)

    assert found.result == "failed"
    assert "moved since they ran in live: v1.0.0 was " in found.found
    assert "new release" in found.way


def test_a_tag_that_is_not_fetched_is_no_moved_one(released):
    released.git("tag", "-d", "v1.0.0")
    (found,) = check(released)
    assert (found.result, found.found[:10]) == ("ok", "0 of the 1")


def test_where_no_release_ran_nothing_is_said(project):
    assert check(project) == []
