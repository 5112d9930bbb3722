"""`runtime = "locked"`: code runs with what its lock file names, or not at all."""

import platform
from dataclasses import replace
from importlib.metadata import version

import pytest
from tests.operations.bare_project import BareProject
from tests.operations.test_environment_policy import commit, git

from headrace.core.errors import ConfigError, RefusedError
from headrace.operations.doctor.environment import runtime as diagnosed
from headrace.operations.environment_comparison import compare_environments
from headrace.operations.environment_policy import environment_policy
from headrace.operations.refresh import refresh
from headrace.operations.serve import serve

TOML = '[project]\nname = "shop"\nmodule = "shop"\n\n[env.dev]\n[env.prod]\nruntime = "locked"\n'
OURS = f"headrace=={version('headrace')}\n"
HERE = f"{OURS}click=={version('click')}\nnumpy=={version('numpy')}\n"


class Locked(BareProject):
    """A project whose prod asks for the locked runtime."""

    def __init__(self, folder, lock=HERE, **files):
        super().__init__(folder)
        git(self, "init", "-q")
        (folder / ".gitignore").write_text(".headrace/\n")
        (folder / "headrace.toml").write_text(TOML)
        self.release("v1.0.0", lock, **files)

    def release(self, tag, lock, **files):
        if lock is not None:
            (self.folder / "requirements.lock").write_text(lock)
        for name, text in files.items():
            (self.folder / {"python": ".python-version", "pyproject": "pyproject.toml"}[name]).write_text(text)
        (self.folder / "release.txt").write_text(tag)
        commit(self)
        git(self, "tag", tag)


def refused(shop, **how):
    with pytest.raises(RefusedError) as error:
        refresh(replace(shop.at("prod"), **how))
    return error.value


def test_code_runs_with_what_is_locked(tmp_path):
    shop = Locked(
        tmp_path / "shop", python=f"{platform.python_version()}\n", pyproject="[project]\nrequires-python='>=3.11'\n"
    )
    assert refresh(shop.at("prod")).env == "prod"
    (found,) = _diagnosed(shop)
    assert found.result == "ok"
    assert "not locked, and installed: " in found.found  # told, and not refused
    assert f"the latest run had Python {platform.python_version()}" in found.found


def _diagnosed(shop):
    with shop.open("prod") as workspace:
        return list(diagnosed(workspace))


@pytest.mark.parametrize(
    ("lock", "line"),
    [
        (f"{OURS}click==0.1\nnumpy=={version('numpy')}\n", f"click {version('click')}, locked 0.1"),
        (f"{HERE}nobody-has-this==1.0\n", "nobody-has-this is not installed, locked 1.0"),
        (f"{HERE}nobody-has-this==1.0 --hash=sha256:{'0' * 64}\n", "nobody-has-this is not installed, locked 1.0"),
    ],
    ids=["another", "missing", "hashed"],
)
def test_another_version_is_refused(tmp_path, lock, line):
    error = refused(Locked(tmp_path / "shop", lock))
    assert (
        "prod runs with locked versions only, and 1 of what is installed is not as requirements.lock of v1.0.0"
        in error.what
    )
    assert error.findings == (line,)
    assert "pip install --no-index --find-links wheels -r requirements.lock" in error.hint
    (found,) = _diagnosed(Locked(tmp_path / "other", lock))
    assert (found.result, line in found.found) == ("failed", True)


def test_five_are_named_and_the_others_counted(tmp_path):
    error = refused(Locked(tmp_path / "shop", OURS + "".join(f"nobody-has-{name}==1\n" for name in "abcdefgh")))
    assert len(error.findings) == 6
    assert error.findings[-1] == "and 3 more"


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"python": "3.4\n"}, ".python-version says 3.4"),
        ({"python": "pypy3.11\n"}, ".python-version says pypy3.11"),
        ({"pyproject": "[project]\nrequires-python = '<3'\n"}, "pyproject.toml requires <3"),
        ({"pyproject": "[project]\nrequires-python = 'three'\n"}, "pyproject.toml requires three"),
    ],
    ids=["exact", "implementation", "bounds", "malformed"],
)
def test_another_python_is_refused(tmp_path, files, line):
    error = refused(Locked(tmp_path / "shop", **files))
    assert error.findings == (f"python {platform.python_version()}, {line}",)


@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        (None, "there is no requirements.lock"),
        ("", "requirements.lock is empty"),
        ("click\n", "pins no version of click"),
        ("click>=8\n", "pins no version of click"),
        ("click==8.*\n", "pins no version of click"),
        ("click @ https://example.org/click.whl\n", "pins no version of click"),
        ("x y z\n", "cannot be read"),
        (f"{OURS}-r base.lock\n", "line 2 is about versions that are elsewhere: '-r base.lock'"),
        (f"{OURS}-e .\n", "line 2 is about versions that are elsewhere: '-e .'"),
        (f"click=={version('click')}\n", "does not pin headrace, so it is not all that runs"),
    ],
    ids=["none", "empty", "loose", "bound", "star", "url", "malformed", "another file", "editable", "one alone"],
)
def test_what_locks_nothing_is_refused(tmp_path, lock, reason):
    assert reason in refused(Locked(tmp_path / "shop", lock)).what


def test_the_lock_of_the_release_counts_and_not_that_of_the_folder(tmp_path):
    shop = Locked(tmp_path / "shop", f"{OURS}click==0.1\n")
    (shop.folder / "requirements.lock").write_text(HERE)
    assert "v1.0.0" in refused(shop).what
    shop.release("v1.1.0", HERE)
    assert refresh(shop.at("prod")).env == "prod"
    assert refused(shop, release="v1.0.0").findings == (f"click {version('click')}, locked 0.1",)
    assert refresh(shop.at("dev")).env == "dev"  # asks for nothing


def test_a_server_does_not_start_with_another_runtime(tmp_path, monkeypatch):
    with pytest.raises(RefusedError, match="prod runs with locked versions only"):
        serve(Locked(tmp_path / "shop", f"{OURS}click==0.1\n").at("prod"))
    shop = Locked(tmp_path / "image", f"{OURS}click==0.1\n")
    for each in (".git", ".gitignore"):  # as in an image
        (shop.folder / each).rename(tmp_path / each)
    with pytest.raises(RefusedError, match=r"of the folder .*image says"):
        serve(shop.at("prod"))
    monkeypatch.setenv("PATH", str(tmp_path))  # and without git
    with pytest.raises(RefusedError, match=r"of the folder .*image says"):
        serve(shop.at("prod"))


def test_who_asks_for_less_needs_an_admin(tmp_path):
    shop = Locked(tmp_path / "shop", f"{OURS}click==0.1\n")
    with shop.open("prod") as workspace:
        workspace.keep_floor("ana")
    (shop.folder / "headrace.toml").write_text(TOML.replace('runtime = "locked"\n', ""))
    commit(shop)
    git(shop, "tag", "v2.0.0")
    before = environment_policy(shop.at("prod"))
    assert (before.effective.runtime, before.floor.runtime) == ("locked", "locked")
    assert before.looser == ("runtime: 'locked' holds, not the committed 'any'",)
    assert "v2.0.0" in refused(shop).what
    after = environment_policy(shop.at("prod"), take_over=True, reason="a machine without wheels")
    assert (after.effective.runtime, after.looser) == ("any", ())
    assert refresh(shop.at("prod")).env == "prod"


def test_uncommitted_edits_do_not_loosen_it(tmp_path):
    shop = Locked(tmp_path / "shop", f"{OURS}click==0.1\n")
    (shop.folder / "headrace.toml").write_text(TOML.replace('runtime = "locked"\n', ""))
    assert refused(shop).findings


def test_no_variable_sets_it_and_other_words_are_refused(tmp_path, monkeypatch):
    shop = Locked(tmp_path / "shop", f"{OURS}click==0.1\n")
    monkeypatch.setenv("HEADRACE_ENV__prod__runtime", "any")
    with pytest.raises(ConfigError, match="runtime"):
        refresh(shop.at("prod"))
    monkeypatch.delenv("HEADRACE_ENV__prod__runtime")
    (shop.folder / "headrace.toml").write_text(TOML.replace('"locked"', '"lock"'))
    with pytest.raises(ConfigError, match="'lock' is not known"):
        refresh(shop.at("prod"))


def test_a_run_with_other_versions_than_the_lock_file_fails_parity(tmp_path):
    shop = Locked(tmp_path / "shop")
    (shop.folder / "requirements.lock").write_text(f"{OURS}click==0.1\n")
    refresh(shop.at("dev"))
    refresh(shop.at("prod"))
    found = {each.aspect: each for each in compare_environments("dev", "prod", at=shop.at("dev")).aspects}
    aspect = found["installed.as_locked"]
    assert (aspect.one, aspect.other) == ("1 of requirements.lock differ", "yes")
    assert aspect.parity == "undeclared"
    assert found["policy.runtime"].parity == "declared"
