"""From a branch to production by the CI files of a new project, which are read and executed as the hosts would."""

import html
import json
import random
import shutil
import subprocess
from importlib.metadata import version

import pytest
from tests.support.ci_jobs import KEY, NOTES, GitHubJobs, GitLabJobs, git
from tests.support.merge_requests import running
from tests.support.wheels import make_wheel

from headrace.operations.signing import new_key

PAIR = new_key("ci")
STAGING = "[env.staging]                  # runs the last commit\n"
PROD = "[env.prod]                     # runs what `headrace apply` brought there: a release\n"
LOCKED = 'runtime = "locked"             # with the versions of its requirements.lock, and no others\n'
GATE = "hr.documented(),\n"
LIGHT = '''\
"""A test of one's own: CI starts it without the signing key."""

import os


def test_no_secret_is_here():
    assert "HEADRACE_SIGNING_KEY" not in os.environ
'''
HOSTS = {"github": GitHubJobs, "gitlab": GitLabJobs}


def rows():
    made = random.Random(1)
    size = [made.random() for _ in range(240)]
    lines = [f"{number % 7},{each:.3f},{int(each + made.gauss(0, 0.2) > 0.5)}" for number, each in enumerate(size)]
    return "\n".join(["count,weight,late", *lines, ""])


def edit(folder, **files):
    """Replaces a text in each file, and commits."""
    for path, (before, after) in files.items():
        file = folder / path
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
    git(folder, "commit", "-qam", "a change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def made(headrace, tmp_path_factory):
    """A small project with a key whose public part is committed."""
    here = tmp_path_factory.mktemp("made")
    (here / "rows.csv").write_text(rows())
    done = headrace.run(here, "init", "shop", "--from", "rows.csv", "--no-git", "--yes")
    assert done.code == 0, done.stderr
    folder = here / "shop"
    for kind in ("unit", "integration"):  # those of the template run in tests/cli/test_init.py
        shutil.rmtree(folder / "tests" / kind)
        (folder / "tests" / kind).mkdir()
        (folder / "tests" / kind / f"test_{kind}.py").write_text(LIGHT)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a project")
    prod = f'{PROD}{LOCKED}attested_by = ["ci"]\n\n{PAIR.table}\n'
    toml = (folder / "headrace.toml").read_text()
    assert STAGING in toml
    assert PROD + LOCKED in toml
    (folder / "headrace.toml").write_text(toml.replace(STAGING, f"{STAGING}trials = 1\n").replace(PROD + LOCKED, prod))
    locked = {name: version(name) for name in ("click", "headrace")}
    (folder / "requirements.lock").write_text("".join(f"{name}=={at}\n" for name, at in locked.items()))
    for name, at in locked.items():  # as the bundle of a release has them
        make_wheel(here, name, at)
    edit(folder, **{"shop/project.py": ("    serve=hr.Serve(),\n", "")})  # the server under load has tests of its own
    return folder


@pytest.fixture(params=HOSTS)
def ci(request, made, tmp_path):
    """A host with the repository, a clone of a developer, and what runs the jobs."""
    origin = tmp_path / "origin.git"
    git(tmp_path, "clone", "-q", "--bare", str(made), str(origin))
    git(tmp_path, "clone", "-q", str(origin), "dev")
    kind = HOSTS[request.param]
    with running(kind.host) as host:
        jobs = kind(tmp_path / "ci", origin, host.url, PAIR.private)
        jobs.comments, jobs.dev = host.notes, tmp_path / "dev"
        jobs.wheels = made.parent
        yield jobs


def push(ci, name, **files):
    sha = edit(ci.dev, **files)
    git(ci.dev, "push", "-q", "origin", f"HEAD:{name}")
    return sha


def codes(ended):
    return {name: each.code for name, each in ended.items()}


def only(ended, job):
    assert list(ended) == [job], codes(ended)
    return ended[job]


def test_a_change_comes_from_a_branch_to_production(ci, headrace, tmp_path):
    main = git(ci.dev, "rev-parse", "main")
    refused = only(ci.release(main, "0.9.0"), "release")
    assert (refused.code, git(ci.origin, "tag")) == (3, ""), refused.said
    assert "is not cut as v0.9.0: it has no attestation of a test" in refused.said

    # a merge request whose gate fails: the comment says where, nothing is attested, and nothing can be released
    git(ci.dev, "switch", "-qc", "better")
    strict = f'{GATE}        hr.at_least("roc_auc", 0.9999),\n'
    bad = push(ci, "better", **{"shop/project.py": (GATE, strict)})
    failed = ci.merge_request(bad)
    assert codes(failed) == {"unit": 0, "integration": 1}, failed["integration"].said
    (comment,) = ci.comments
    told = html.unescape(comment["body"])
    assert "**Failed at step gates late**" in told
    assert "roc_auc on the test rows is" in told
    assert "at least 0.9999 is asked for" in told
    assert ci.attested(bad) == 0
    cut = headrace.run(ci.dev, "release", "cut", "0.9.0", "--commit", bad, "--push", "origin")
    assert (cut.code, git(ci.origin, "tag")) == (3, ""), cut.stderr
    assert f"✗ {bad[:8]} is not cut as v0.9.0: it has no attestation of a test" in cut.stderr

    # the next commit passes: the same comment says so, and the attestation is at the origin
    good = push(ci, "better", **{"shop/project.py": (strict, GATE)})
    passed = ci.merge_request(good)
    assert codes(passed) == {"unit": 0, "integration": 0}, passed["integration"].said
    (comment,) = ci.comments
    assert "signed by" in comment["body"]
    assert good[:8] in comment["body"]
    assert ci.attested(good) == 1
    assert PAIR.private not in "".join(each.said for each in passed.values()) + comment["body"]

    # merged: GitHub makes a commit, which main tests again; GitLab is set to fast-forward here, so the commit is the tested one
    git(ci.dev, "switch", "-q", "main")
    if isinstance(ci, GitHubJobs):
        git(ci.dev, "merge", "-q", "--no-ff", "-m", "merged", "better")
    else:
        git(ci.dev, "merge", "-q", "--ff-only", "better")
    git(ci.dev, "push", "-q", "origin", "main")
    merged = git(ci.dev, "rev-parse", "main")
    if merged != good:
        assert codes(ci.branch(merged)) == {"unit": 0, "integration": 0}
    assert (ci.attested(merged), len(ci.comments)) == (1, 1)
    released = only(ci.release(merged, "1.0.0"), "release")
    assert (released.code, git(ci.origin, "tag")) == (0, "v1.0.0"), released.said
    assert "✓ v1.0.0 in bundle: 2 wheels," in released.said
    assert git(ci.origin, "rev-parse", "v1.0.0^{commit}") == merged

    # production has a clone of its own; a tag made by hand comes there, too, and does not run
    push(ci, "main", **{"README.md": ("# shop", "# Shop")})
    git(ci.dev, "tag", "v2.0.0")
    git(ci.dev, "push", "-q", "origin", "v2.0.0")
    git(tmp_path, "clone", "-q", str(ci.origin), "prod")
    git(tmp_path / "prod", "fetch", "-q", "origin", f"{NOTES}:{NOTES}")
    (bundle,) = ci.folder.glob("*/shop/bundle")  # what the host keeps as an artefact
    checked = headrace.run(tmp_path / "prod", "release", "verify", "v1.0.0", "--bundle", bundle)
    assert checked.code == 0, checked.stdout
    ran = headrace.run(tmp_path / "prod", "apply", "--env", "prod", "--yes")
    assert ran.code == 0, ran.stderr
    listed = headrace.run(tmp_path / "prod", "release", "list", "--json").json()
    assert [(each["tag"], each["runs"], each["may_run"], bool(each["first_run_at"])) for each in listed] == [
        ("v2.0.0", False, False, False),
        ("v1.0.0", True, True, True),
    ]
    by_hand = headrace.run(tmp_path / "prod", "apply", "--env", "prod", "--release", "v2.0.0", "--yes")
    assert by_hand.code == 3
    assert "v2.0.0 may not run in prod: it has no attestation" in by_hand.stderr
    (version,) = headrace.run(tmp_path / "prod", "model", "list", "--env", "prod", "--json").json()
    assert version["stage"] == "Production"


def replaced(ci, monkeypatch):
    """Jobs that end at once, so that only what is started, where and with which variables is left."""
    monkeypatch.setattr(type(ci), "shell", lambda self, place, script, variables: _looked(place, script, variables))
    return ci


def _looked(place, script, variables):
    from tests.support.ci_jobs import Ended

    depth = len(git(place, "rev-list", "HEAD").split())
    return Ended(0, json.dumps({"script": script, "commits": depth}), variables)


def test_only_the_integration_test_has_the_key_and_never_for_a_fork(ci, monkeypatch):
    replaced(ci, monkeypatch)
    git(ci.dev, "switch", "-qc", "better")
    sha = push(ci, "better", **{"README.md": ("# shop", "# Shop")})
    main = git(ci.dev, "rev-parse", "main")
    started = [ci.merge_request(sha), ci.branch(main), ci.schedule(main), ci.release(main, "1.0.0")]

    assert [sorted(each) for each in started] == [["integration", "unit"]] * 3 + [["release"]]
    for ended in started:
        for name, job in ended.items():
            assert (job.variables.get(KEY) == PAIR.private) is (name == "integration"), name
            assert name == "unit" or json.loads(job.said)["commits"] > 1
    assert "VERSION" in started[-1]["release"].variables
    forked = ci.merge_request(sha, fork=True)
    assert [json.loads(each.said)["script"] for each in forked.values()] == ["ci/run unit", "ci/run integration"]
    assert all(not job.variables.get(KEY) for job in forked.values())


def test_a_report_that_cannot_be_posted_changes_no_exit_code_and_an_old_one_is_not_posted(made, tmp_path):
    """`ci/run` with a `headrace` that ends as the test says: the script is what is tested."""
    folder = tmp_path / "shop"
    git(tmp_path, "clone", "-q", str(made), str(folder))
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").write_text("#!/bin/sh\nexit ${PYTEST:-0}\n")
    (programs / "headrace").write_text(
        '#!/bin/sh\necho "$*" >>calls\n[ "$1" = test ] || exit 3\n[ -z "$WRITES" ] || echo {} >integration.json\nexit $CODE\n'
    )
    for each in programs.iterdir():
        each.chmod(0o755)

    def run(**variables):
        (folder / "calls").unlink(missing_ok=True)
        (folder / "integration.json").write_text("of an earlier run")
        done = subprocess.run(
            ["ci/run", "integration"], cwd=folder, env={"PATH": "/usr/bin:/bin", "CI": "true", **variables}, check=False,
            capture_output=True,
        )  # fmt: skip
        calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
        return done.returncode, [each.split()[0] for each in calls]

    assert run(CODE="0", WRITES="1") == (0, ["test", "ci"])
    assert run(CODE="1", WRITES="1") == (1, ["test", "ci"])
    assert run(CODE="3", WRITES="") == (3, ["test"])
    assert run(CODE="0", WRITES="1", PYTEST="4") == (4, [])
