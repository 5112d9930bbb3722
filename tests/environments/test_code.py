import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.core.errors import NotFoundError, RefusedError
from headrace.environments import config
from headrace.environments.code import resolve, version
from headrace.environments.importing import load_tree

TOML = '[project]\nname = "shop"\nmodule = "shop.project"\n'


PROJECT_AGAIN = "import headrace as hr\n\norders = hr.Source('bronze.orders', files='data/*.CSV')\n"


def code_of(repository, env, **more):
    found = config.load(repository.folder)
    return resolve(found, found.environment(env), **more)


def runs(code):
    """What the program says when it is run from there."""
    return (code.folder / "shop" / "project.py").read_text()


# dev: the working tree


def test_outside_git_dev_runs_the_folder(folder):
    code = code_of(folder, "dev")

    assert (code.kind, code.commit, code.release, code.folder) == ("worktree", None, None, folder.folder)


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_outside_git_nothing_else_runs(folder, env):
    with pytest.raises(RefusedError, match=r"is not in a git repository[\s\S]*git init"):
        code_of(folder, env)


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_before_the_first_commit_only_dev_runs(repository, env):
    assert code_of(repository, "dev").commit is None
    with pytest.raises(RefusedError, match=r"has no commit yet[\s\S]*git commit"):
        code_of(repository, env)


def test_without_git_installed_dev_runs_and_prod_says_why(committed, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert code_of(committed, "dev").commit is None
    with pytest.raises(RefusedError, match="git is not installed"):
        code_of(committed, "prod")


def test_dev_runs_the_edit_and_says_so(committed):
    before = code_of(committed, "dev")
    committed.write("shop/project.py", "edited = 1\n")
    after = code_of(committed, "dev")

    assert (before.dirty, after.dirty) == (False, True)
    assert before.commit == after.commit == committed.git("rev-parse", "HEAD")
    assert before.tree != after.tree
    assert runs(after) == "edited = 1\n"


@pytest.mark.parametrize("in_git", [True, False])
def test_the_working_tree_is_told_by_its_code_and_not_by_its_data(folder, in_git):
    if in_git:
        folder.git("init", "-q")
        folder.commit()
    trees = [code_of(folder, "dev").tree]
    folder.write("data/orders.csv", "a,b\n")
    folder.write(".headrace/dev/mlflow/model/code.py", "x = 1\n")
    folder.write("shop/__pycache__/project.pyc", "")
    trees.append(code_of(folder, "dev").tree)
    folder.write("shop/orders.sql", "select 1")
    trees.append(code_of(folder, "dev").tree)
    (folder.folder / "shop" / "orders.sql").rename(folder.folder / "shop" / "other.sql")
    trees.append(code_of(folder, "dev").tree)

    assert trees[0] == trees[1]
    assert len(set(trees)) == 3


def test_a_tracked_file_of_any_kind_is_code(committed):
    committed.write("shop/words.txt", "one")
    committed.commit()
    before = code_of(committed, "dev").tree
    committed.write("shop/words.txt", "two")

    assert code_of(committed, "dev").tree != before


def test_code_that_an_environment_keeps_is_not_the_projects(committed):
    committed.write("headrace.toml", TOML + '[env.dev]\nroot = "stores/dev"\n[env.prod]\n')
    committed.commit()
    before = code_of(committed, "dev")
    committed.write("stores/dev/artifacts/model/code.py", "x = 1\n")

    assert code_of(committed, "dev") == before


# staging: what is committed


def test_staging_runs_what_is_committed(committed):
    was = (committed.folder / "shop" / "project.py").read_text()
    committed.write("shop/project.py", "edited = 1\n")
    committed.write("shop/new.py", "")

    code = code_of(committed, "staging")

    assert (code.kind, code.release, code.dirty) == ("commit", None, True)
    assert code.tree == committed.git("rev-parse", "HEAD^{tree}")
    assert runs(code) == was
    assert not (code.folder / "shop" / "new.py").exists()


def test_a_clean_folder_is_not_dirty_and_stays_clean(committed):
    assert not code_of(committed, "staging").dirty
    assert committed.git("status", "--porcelain") == ""
    assert not code_of(committed, "staging").dirty


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_an_edit_hidden_from_git_does_not_run_and_is_seen(committed, mark):
    was = (committed.folder / "shop" / "project.py").read_text()
    committed.git("update-index", mark, "shop/project.py")
    assert not code_of(committed, "staging").dirty
    committed.write("shop/project.py", "hidden = 1\n")

    code = code_of(committed, "staging")

    assert committed.git("status", "--porcelain") == ""
    assert runs(code) == was
    assert code.dirty


def test_what_is_staged_does_not_run(committed):
    was = (committed.folder / "shop" / "project.py").read_text()
    committed.write("shop/project.py", "staged = 1\n")
    committed.git("add", "-A")

    code = code_of(committed, "staging")

    assert (runs(code), code.dirty) == (was, True)


def test_data_that_is_not_committed_makes_nothing_dirty(committed):
    committed.write("data/orders.csv", "a\n")

    assert not code_of(committed, "staging").dirty


def test_attributes_do_not_change_what_was_committed(repository):
    """`git archive` would leave out one file and rewrite the other."""
    repository.write(".gitattributes", "shop/rules.py export-ignore\nshop/stamp.py export-subst\n*.sql text eol=crlf\n")
    repository.write("shop/rules.py", "x = 1\n")
    repository.write("shop/stamp.py", "stamp = '$Format:%H$'\n")
    repository.write("shop/a.sql", "select 1\n")
    repository.commit()
    repository.write(".git/info/attributes", "shop/project.py export-ignore\n")

    folder = code_of(repository, "staging").folder

    assert (folder / "shop" / "rules.py").is_file()
    assert (folder / "shop" / "project.py").is_file()
    assert (folder / "shop" / "stamp.py").read_text() == "stamp = '$Format:%H$'\n"
    assert (folder / "shop" / "a.sql").read_bytes() == b"select 1\n"


def test_a_replaced_object_does_not_run(committed):
    was = (committed.folder / "shop" / "project.py").read_text()
    blob = committed.git("rev-parse", "HEAD:shop/project.py")
    committed.git("replace", blob, committed.git("hash-object", "-w", "--stdin", given="replaced = 1\n"))

    assert runs(code_of(committed, "staging")) == was


def test_the_configuration_of_a_repository_starts_nothing(committed, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    script.chmod(0o755)
    committed.git("config", "core.fsmonitor", str(script))
    committed.git("config", "core.hooksPath", str(tmp_path))
    committed.git("config", "core.pager", str(script))

    code_of(committed, "staging")

    assert not (tmp_path / "started").exists()


@pytest.fixture
def filters(tmp_path):
    """A command that leaves a file where it was started, and gives back what it is given."""
    script = tmp_path / "filter"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\ncat\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("mark", ["--no-assume-unchanged", "--assume-unchanged"])
@pytest.mark.parametrize("driver", ["evil", "a=b.c", "lfs"])
@pytest.mark.parametrize("key", ["clean", "process"])
def test_a_filter_of_the_configuration_is_not_started(committed, tmp_path, filters, mark, driver, key):
    committed.git("update-index", mark, "shop/project.py")
    committed.git("config", f"filter.{driver}.{key}", str(filters))
    committed.write(".git/info/attributes", f"*.py filter={driver}\n")
    committed.write("shop/project.py", PROJECT_AGAIN)  # so that git has to read it

    assert code_of(committed, "staging").dirty
    assert code_of(committed, "dev")
    assert not (tmp_path / "started").exists()


def test_a_filter_of_a_submodule_is_not_started(repository, tmp_path, filters):
    subprocess.run(["git", "init", "-q", tmp_path / "other"], check=True)
    (tmp_path / "other" / "x.py").write_text("x = 1\n")
    repository.git("-C", str(tmp_path / "other"), "add", "x.py")
    repository.git("-C", str(tmp_path / "other"), "commit", "-q", "-m", "x")
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "other"), "vendored")
    repository.commit()
    repository.git("-C", "vendored", "config", "filter.evil.clean", str(filters))
    repository.write(".git/modules/vendored/info/attributes", "*.py filter=evil\n")
    repository.write("vendored/x.py", "x = 2\n")

    code_of(repository, "staging")
    code_of(repository, "dev")

    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("extended", [False, True])
def test_only_the_filter_of_git_lfs_is_started_and_none_of_its_extensions(committed, tmp_path, monkeypatch, extended):
    tool = tmp_path / "bin" / "git-lfs"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n[ $1 = clean ] && cat\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    committed.git("config", "filter.lfs.clean", "git-lfs clean -- %f")
    if extended:
        committed.git("config", "lfs.extension.evil.clean", "anything")
    committed.write(".git/info/attributes", "*.py filter=lfs\n")
    committed.write("shop/project.py", PROJECT_AGAIN)

    assert code_of(committed, "staging").dirty
    assert (tmp_path / "started").exists() is not extended


def test_variables_of_a_hook_lead_nowhere_else(committed, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    assert code_of(committed, "staging").commit == committed.git("rev-parse", "HEAD")


def test_a_project_may_be_a_folder_of_a_larger_repository(repository, tmp_path):
    shutil.rmtree(repository.folder / ".git")
    inner = tmp_path / "large" / "späte projects" / "shop"
    inner.parent.mkdir(parents=True)
    shutil.move(repository.folder, inner)
    repository.folder = inner
    (tmp_path / "large" / "secret.py").write_text("")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "large", check=True)
    repository.git("-C", str(tmp_path / "large"), "add", "-A")
    repository.commit()
    clean = code_of(repository, "staging")
    (tmp_path / "large" / "secret.py").write_text("changed, but not ours")
    still = code_of(repository, "staging")
    repository.write("shop/project.py", "edited = 1\n")

    assert sorted(path.name for path in clean.folder.iterdir()) == ["headrace.toml", "shop"]
    assert clean.tree == repository.git("rev-parse", "HEAD:./")
    assert (clean.dirty, still.dirty, code_of(repository, "staging").dirty) == (False, False, True)


def test_a_folder_that_the_commit_does_not_have_is_refused(committed):
    inner = committed.folder / "inner"
    shutil.copytree(committed.folder / "shop", inner / "shop")
    (inner / "headrace.toml").write_text(TOML)
    found = config.load(inner)

    with pytest.raises(RefusedError, match=r"is not in commit[\s\S]*git add"):
        resolve(found, found.environment("staging"))


# prod: releases


def test_prod_without_a_release_says_how_to_make_one(committed):
    committed.git("tag", "nightly")

    with pytest.raises(RefusedError, match=r"no commit is tagged 'v\*' \(there is nightly\)[\s\S]*git tag v0\.1\.0"):
        code_of(committed, "prod")


def test_prod_runs_the_highest_release_and_not_later_commits(committed):
    first = committed.git("rev-parse", "HEAD")
    committed.git("tag", "v0.9.0")
    committed.write("shop/project.py", "release = 1\n")
    second = committed.commit()
    committed.git("tag", "-a", "-m", "annotated", "v0.10.0")
    committed.write("shop/project.py", "later = 1\n")
    committed.commit()

    highest, older = code_of(committed, "prod"), code_of(committed, "prod", release="v0.9.0")

    assert (highest.kind, highest.release, highest.commit, highest.dirty) == ("release", "v0.10.0", second, False)
    assert runs(highest) == "release = 1\n"
    assert (older.release, older.commit) == ("v0.9.0", first)
    assert str(highest) == f"v0.10.0 ({second[:8]})"


def test_a_release_can_be_tried_in_any_environment(committed):
    committed.git("tag", "v1")

    assert code_of(committed, "dev", release="v1").tree == code_of(committed, "prod").tree


def test_an_unknown_release_gets_a_suggestion(committed):
    committed.git("tag", "v1.0.0")

    with pytest.raises(NotFoundError, match=r"did you mean 'v1\.0\.0'"):
        code_of(committed, "prod", release="v1.0.1")
    committed.git("tag", "nightly")
    with pytest.raises(RefusedError, match=r"no release: releases of prod are tagged 'v\*'"):
        code_of(committed, "prod", release="nightly")


@pytest.mark.parametrize("wanted", ["HEAD", "main", "refs/tags/v1", "v1~0", "v1^{tree}", "--exec=touch x", ""])
def test_only_the_name_of_a_tag_is_a_release(committed, wanted):
    committed.git("tag", "v1")

    with pytest.raises(NotFoundError):
        code_of(committed, "prod", release=wanted)


@pytest.mark.parametrize("name", ["--help", "--exec=touch x", "v1;touch x", "$(touch x)"])
def test_a_tag_that_looks_like_an_option_is_only_a_name(committed, name):
    head = committed.git("rev-parse", "HEAD")
    name = name.replace(" ", "_")
    committed.git("update-ref", f"refs/tags/{name}", head)
    committed.write("headrace.toml", TOML + '[env.dev]\n[env.prod]\nreleases = "*"\n')

    assert code_of(committed, "prod").release == name
    assert code_of(committed, "prod", release=name).commit == head


def test_a_tag_named_like_something_of_gits_is_the_tag(committed):
    tagged = committed.git("rev-parse", "HEAD")
    committed.git("update-ref", "refs/tags/HEAD", tagged)
    committed.write("headrace.toml", TOML + '[env.dev]\n[env.prod]\nreleases = "HEAD"\n')
    committed.commit()

    assert code_of(committed, "prod").commit == tagged


def test_a_branch_of_the_same_name_is_not_the_release(committed):
    tagged = committed.git("rev-parse", "HEAD")
    committed.git("tag", "v1")
    committed.git("checkout", "-q", "-b", "v1")
    committed.write("shop/project.py", "branch = 1\n")
    committed.commit()

    assert code_of(committed, "prod").commit == tagged


def test_a_tag_of_something_else_than_a_commit_is_no_release(committed):
    committed.git("tag", "v9", "HEAD^{tree}")

    with pytest.raises(RefusedError, match="no commit is tagged"):
        code_of(committed, "prod")


def test_a_release_that_was_moved_is_refused(committed):
    committed.git("tag", "v1")
    was = code_of(committed, "prod")
    committed.git("commit", "-q", "--allow-empty", "-m", "same code")
    committed.git("tag", "-f", "v1")
    assert code_of(committed, "prod").tree == was.tree
    committed.write("shop/project.py", "moved = 1\n")
    committed.commit()
    committed.git("tag", "-f", "v1")

    with pytest.raises(RefusedError, match=r"'v1' has been moved[\s\S]*Tag a new release"):
        code_of(committed, "prod")


@pytest.mark.parametrize(
    "ascending",
    [
        ["v0.9", "v0.9.1", "v0.10", "v1.0.0", "v1.0.0.post1", "v1.0.1", "v2", "v10"],
        ["v3.0.0-rc1", "v1.0.0"],  # not yet released
        ["v1.0.0-alpha", "v1.0.0-beta.2", "v1.0.0-beta.11", "v1.0.0-rc1", "v1.0.0"],
        ["v1.0a1", "v1.0b1", "v1.0rc1", "v1.0", "v1.0+build.5"],
        ["version", "v0"],
    ],
)
def test_versions_are_ordered_as_versions(ascending):
    assert sorted(random.Random(1).sample(ascending, len(ascending)), key=version) == ascending


# the cache of committed code


def test_what_was_written_is_used_again_and_cannot_be_edited_by_mistake(committed):
    folder = code_of(committed, "staging").folder
    written = (folder / "shop" / "project.py").stat()

    assert code_of(committed, "staging").folder == folder
    assert (folder / "shop" / "project.py").stat().st_ino == written.st_ino
    assert not written.st_mode & 0o222


@pytest.mark.parametrize("change", ["edit", "remove", "add", "link", "not a folder", "folder link"])
def test_a_cache_that_was_tampered_with_is_written_anew(committed, tmp_path, change):
    folder = code_of(committed, "staging").folder
    project = folder / "shop" / "project.py"
    was = project.read_text()
    match change:
        case "edit":
            project.chmod(0o644)
            project.write_text(was.replace("orders", "ordexs"))
        case "remove":
            project.unlink()
        case "add":
            (folder / "pandas.py").write_text("")
        case "link":
            shutil.copy(project, tmp_path / "copy.py")
            project.unlink()
            project.symlink_to(tmp_path / "copy.py")
        case "not a folder":
            shutil.rmtree(folder)
            folder.write_text("")
        case _:
            folder.rename(tmp_path / "moved")
            folder.symlink_to(tmp_path / "moved")

    again = code_of(committed, "staging").folder

    assert again == folder
    assert sorted(path.name for path in folder.rglob("*")) == ["__init__.py", "headrace.toml", "project.py", "shop"]
    assert project.read_text() == was
    assert not project.is_symlink()
    assert not folder.is_symlink()


def test_processes_that_unpack_at_once_get_one_whole_folder(repository):
    for i in range(200):
        repository.write(f"shop/part_{i}.py", f"x = {i}\n" * 50)
    repository.commit()
    script = """
import sys
from pathlib import Path
from headrace.environments import config
from headrace.environments.code import resolve
found = config.load(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
code = resolve(found, found.environment("staging"))
print(code.folder, code.folder.stat().st_ino, sum(len(path.read_text()) for path in sorted(code.folder.rglob("*.py"))))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(repository.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(3) as pool:
        answers = set(pool.map(lambda process: process.communicate("go\n")[0], started))

    assert len(answers) == 1
    assert answers.pop().split()[0] == str(code_of(repository, "staging").folder)
    assert not list((repository.folder / ".headrace" / "code").glob(".new-*"))


def test_what_a_killed_process_left_is_removed_in_time(committed):
    left = committed.folder / ".headrace" / "code" / ".new-left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))

    code_of(committed, "staging")

    assert not left.exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../secret", "deep/up/../../secret"])
def test_a_link_out_of_the_project_is_refused(repository, target):
    (repository.folder / "deep").mkdir()
    (repository.folder / "deep" / "up").symlink_to("..")
    (repository.folder / "link").symlink_to(target)
    repository.commit()

    with pytest.raises(RefusedError, match=r"'link' to .*outside the project"):
        code_of(repository, "staging")
    assert not [path for path in (repository.folder / ".headrace" / "code").iterdir() if path.is_dir()]


def test_a_link_inside_the_project_works(repository):
    (repository.folder / "shop" / "same.py").symlink_to("./project.py")
    repository.commit()

    folder = code_of(repository, "staging").folder

    assert code_of(repository, "staging").folder == folder
    assert (folder / "shop" / "same.py").read_text() == (folder / "shop" / "project.py").read_text()


def test_a_tree_with_a_path_that_climbs_out_is_refused(committed):
    """No git command makes such a tree, but an object can be written by hand."""
    blob = bytes.fromhex(committed.git("hash-object", "-w", "--stdin", given="out = 1\n"))
    toml = bytes.fromhex(committed.git("rev-parse", "HEAD:headrace.toml"))
    content = b"40000 ..\0" + tree_object(committed, b"100644 evil.py\0" + blob) + b"100644 headrace.toml\0" + toml
    tree = tree_object(committed, content).hex()
    commit = committed.git("commit-tree", tree, "-m", "evil")
    committed.git("update-ref", "refs/tags/v1", commit)

    with pytest.raises(RefusedError, match="leads out of its folder"):
        code_of(committed, "prod")
    assert not list(committed.folder.parent.rglob("evil.py"))


def tree_object(repository, content: bytes) -> bytes:
    done = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        cwd=repository.folder,
        input=content,
        capture_output=True,
        check=True,
    )
    return bytes.fromhex(done.stdout.decode().strip())


def test_a_submodule_is_an_empty_folder(repository, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "other"], check=True)
    repository.git("-C", str(tmp_path / "other"), "commit", "-q", "--allow-empty", "-m", "x")
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "other"), "vendored")
    repository.commit()

    first = code_of(repository, "staging")

    assert list((first.folder / "vendored").iterdir()) == []
    assert code_of(repository, "staging").folder == first.folder
    assert not code_of(repository, "dev").dirty


def test_a_damaged_object_is_said(committed):
    blob = committed.git("rev-parse", "HEAD:shop/project.py")
    (Path(committed.folder) / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(RefusedError, match=r"no content for 'shop/project\.py'"):
        code_of(committed, "staging")


def test_another_hash_function_works(folder):
    folder.git("init", "-q", "--object-format=sha256")
    folder.commit()

    code = code_of(folder, "staging")

    assert len(code.tree) == 64
    assert code_of(folder, "staging").folder == code.folder


def test_importing_leaves_the_cache_as_it_is(committed):
    code = code_of(committed, "staging")
    inode = code.folder.stat().st_ino

    load_tree(code.folder, "shop.project", version=code.tree)

    assert code_of(committed, "staging").folder.stat().st_ino == inode
