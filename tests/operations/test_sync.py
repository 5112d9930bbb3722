"""Two machines at one state database: each brings its own servers along."""

import json
import shutil

from tests.cli.mini import write

from headrace.operations import sync as following
from headrace.workspace.workspace import open_workspace


def test_each_machine_comes_as_far_by_itself(headrace, tmp_path, monkeypatch):
    folder = write(tmp_path / "mini", deployment="serve=hr.Serve()")
    for arguments in (["refresh"], ["train"], ["deploy"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    serving = folder / ".headrace" / "dev" / "serving" / "days" / "serving.json"
    said = json.loads(serving.read_text())
    serving.unlink()  # as on a machine that has the version's copy, and was not there when it was promoted
    monkeypatch.setattr(following, "gethostname", lambda: "another")
    with open_workspace(folder=folder) as workspace:
        assert following.follow(workspace) == []
        assert json.loads(serving.read_text())["versions"][0]["version"] == said["versions"][0]["version"]
        assert "serving.repaired" not in [entry.action for entry in workspace.audit.entries()]
        shutil.rmtree(folder / ".headrace" / "dev" / "serving")  # one that has never served it
        monkeypatch.setattr(following, "gethostname", lambda: "a third")
        assert following.follow(workspace) == []
        assert not serving.exists()
