"""A project that was refreshed, trained and deployed, for tests of operations; and tokens of people in it."""

from tests.cli import mini
from tests.support.people import enrol

from headrace.operations.operation import At
from headrace.workspace.workspace import open_workspace


def build(headrace, folder):
    """The project, with one version in Production; the operating system's user is its admin."""
    mini.write(folder, deployment="serve=hr.Serve()")
    for pipeline in ("refresh", "train", "deploy"):
        done = headrace.run(folder, "run", pipeline)
        assert done.code == 0, done.stderr
    return folder


def at(folder):
    return At(folder=folder)


def audit(folder):
    """Action and object of each entry, the first one first."""
    with open_workspace(folder=folder) as workspace:
        return [(entry.action, entry.object) for entry in reversed(workspace.audit.entries())]


def guest(headrace, folder):
    """The token of somebody who holds a role that gives no right."""
    return enrol(headrace, folder, {"guest": "viewer"})["guest"]
