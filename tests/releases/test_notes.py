"""Attestations in git notes: they travel by a remote, and two machines that write at once both keep theirs."""

import os
import subprocess
import sys

import pytest

from headrace.core.errors import UnavailableError
from headrace.releases import attestation_notes


def git(folder, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def clones(tmp_path):
    """Two clones of a bare repository with one commit."""
    origin, first, second = tmp_path / "origin.git", tmp_path / "first", tmp_path / "second"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(origin))
    git(tmp_path, "clone", "-q", str(origin), str(first))
    git(first, "commit", "-q", "--allow-empty", "-m", "x")
    git(first, "push", "-q", "origin", "HEAD:main")
    git(tmp_path, "clone", "-q", str(origin), str(second))
    return first, second, git(second, "rev-parse", "HEAD")


def test_none_before_one_is_added(clones):
    first, _, commit = clones
    assert attestation_notes.envelopes(first, commit) == []
    attestation_notes.add(first, commit, '{"one": 1}')
    attestation_notes.add(first, commit, '{"one": 1}')
    attestation_notes.add(first, commit, '{"two": 2}')
    assert attestation_notes.envelopes(first, commit) == ['{"one": 1}', '{"two": 2}']
    git(first, "commit", "-q", "--allow-empty", "-m", "y")
    assert attestation_notes.envelopes(first, git(first, "rev-parse", "HEAD")) == []


def test_two_machines_keep_both(clones):
    first, second, commit = clones
    attestation_notes.add(first, commit, '{"one": 1}')
    attestation_notes.push(first, "origin")
    attestation_notes.add(second, commit, '{"two": 2}')
    attestation_notes.push(second, "origin")  # which the other one's push was before
    assert set(attestation_notes.envelopes(second, commit)) == {'{"one": 1}', '{"two": 2}'}
    attestation_notes.push(second, "origin")  # again is the same
    attestation_notes.fetch(first, "origin")
    assert set(attestation_notes.envelopes(first, commit)) == {'{"one": 1}', '{"two": 2}'}


def test_a_remote_without_notes_and_one_that_is_not_there(clones, tmp_path):
    first, _, commit = clones
    attestation_notes.fetch(first, "origin")
    attestation_notes.push(first, "origin")  # there is nothing to push, which is no failure
    assert attestation_notes.envelopes(first, commit) == []
    with pytest.raises(UnavailableError, match="git ls-remote of attestations failed"):
        attestation_notes.fetch(first, str(tmp_path / "nowhere"))


def test_an_address_with_a_password_is_not_repeated(clones):
    with pytest.raises(UnavailableError) as error:
        attestation_notes.fetch(clones[0], "http://ana:geheim@127.0.0.1:9/shop.git")
    assert "geheim" not in str(error.value) + " ".join(error.value.findings)


def test_what_somebody_deletes_at_the_remote_stays_here(clones):
    first, second, commit = clones
    attestation_notes.add(first, commit, '{"one": 1}')
    attestation_notes.push(first, "origin")
    attestation_notes.fetch(second, "origin")
    git(first, "notes", f"--ref={attestation_notes.REF}", "remove", commit)
    git(first, "push", "-q", "origin", attestation_notes.REF)
    attestation_notes.fetch(second, "origin")
    assert attestation_notes.envelopes(second, commit) == ['{"one": 1}']


def test_many_processes_that_add_at_once_lose_none(clones):
    first, _, _ = clones
    commits = []
    for number in range(8):
        git(first, "commit", "-q", "--allow-empty", "-m", str(number))
        commits.append(git(first, "rev-parse", "HEAD"))
    program = (
        "import sys; from pathlib import Path; from headrace.releases import attestation_notes as notes\n"
        "[notes.add(Path(sys.argv[1]), commit, '{\"by\": %s}' % sys.argv[2]) for commit in sys.argv[3:]]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(first), str(number), *commits[::direction]])
        for number, direction in enumerate((1, -1, 1))
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    for commit in commits:
        assert sorted(attestation_notes.envelopes(first, commit)) == [f'{{"by": {number}}}' for number in range(3)]
