"""The prompts of packages that a process remembers."""

from contextlib import contextmanager
from types import SimpleNamespace

from headrace.llm.prompts.version import PromptVersion, save
from headrace.operations import prompts


class Forgetful(dict):
    """Another thread empties it as soon as something is put in."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.clear()


def test_what_was_read_is_answered_though_it_is_forgotten_at_once(tmp_path, monkeypatch):
    version = PromptVersion("answer", text="# user\nAnswer {{ question }}", inputs=("question",))
    save(tmp_path / "estimator", [version])

    @contextmanager
    def logged_folder(uri):
        yield tmp_path

    monkeypatch.setattr(prompts, "_packages", Forgetful())
    workspace = SimpleNamespace(tracking=SimpleNamespace(logged_folder=logged_folder))
    read = prompts.packaged_prompts(workspace, SimpleNamespace(model_uri="models:/m-1", logged_hash="0" * 64))
    assert {name: each.digest for name, each in read.items()} == {"answer": version.digest}
