"""Releases that need evidence of a test: which may run, who cuts one, who goes without, and what a forger gets."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConfigError, NotFoundError, RefusedError, UnavailableError
from headrace.environments import git as git_of_headrace
from headrace.environments.code import tree_of
from headrace.operations.environment_policy import environment_policy
from headrace.operations.refresh import refresh
from headrace.operations.release.cut import cut_release
from headrace.operations.release.evidence import (
    allow_release,
    list_releases,
    releasing,
    verify_release,
    withdraw_allowance,
)
from headrace.operations.release.fetch import fetch_releases
from headrace.operations.signing import new_key
from headrace.releases import attestation_notes
from headrace.releases.attestation import Attestation, sign
from headrace.releases.evidence import lock_digest

KEY = new_key("ci")


def git(folder, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class Shop(BareProject):
    """A project whose prod asks for attestations."""

    def __init__(self, folder, keys=(KEY,), attested_by=None):
        super().__init__(folder)
        (folder / ".gitignore").write_text(".headrace/\n")
        git(folder, "init", "-q", "-b", "main")
        self.trust(keys, attested_by)

    def trust(self, keys, attested_by=None):
        names = [key.name for key in keys] if attested_by is None else attested_by
        listed = f"attested_by = {names!r}\n" if names else ""
        tables = "\n".join(key.table for key in keys)
        text = f'[project]\nname = "shop"\nmodule = "shop"\n\n[env.dev]\n[env.prod]\n{listed}\n{tables}\n'
        (self.folder / "headrace.toml").write_text(text.replace("'", '"'))
        return self.commit()

    def commit(self, text=""):
        with (self.folder / "shop.py").open("a") as file:
            file.write(f"# {text}\n")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", "x")
        return git(self.folder, "rev-parse", "HEAD")

    def attested(self, commit):
        return Attestation(
            project="shop",
            environment="dev",
            commit=commit,
            tree=tree_of(self.folder, commit),
            lock=lock_digest(self.folder, commit),
            headrace="0.1.0",
            passed=("refresh",),
            failed=(),
            skipped=(),
            at=datetime(2026, 1, 2, tzinfo=UTC),
        )

    def attest(self, on, key=KEY, of=None, **changes):
        """Signs an attestation and puts it on a commit."""
        made = replace(self.attested(of or on), **changes)
        attestation_notes.add(self.folder, on, sign(made, key.name, key.private))

    def runs(self, release=None):
        done = refresh(replace(self.at("prod"), release=release))
        with self.open("prod") as workspace:
            return next(run.code for run in workspace.ledger.runs() if run.id == done.run).partition(" ")[0]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "shop")


def test_only_a_tested_commit_becomes_a_release_and_runs(shop):
    commit = shop.commit()
    with pytest.raises(
        RefusedError, match=r"has no attestation of a test, nor has any commit here \(headrace release fetch"
    ) as error:
        cut_release(shop.at("prod"), "1.0.0")
    assert "headrace test integration" in error.value.hint
    assert git(shop.folder, "tag") == ""
    shop.attest(commit)
    done = cut_release(shop.at("prod"), "1.0.0")
    assert (done.tag, done.commit, done.attested_by, done.new) == ("v1.0.0", commit, "ci", True)
    assert shop.runs() == "v1.0.0"
    (listed,) = list_releases(shop.at("prod"))
    assert (listed.tag, listed.may_run, listed.runs, listed.attested_by) == ("v1.0.0", True, True, "ci")
    assert listed.first_run_at is not None
    assert listed.tested == ("refresh",)
    assert ("release.cut", "v1.0.0") in [entry[:2] for entry in shop.audit("prod")]


def test_cutting_again_is_the_same_and_a_tag_never_moves(shop):
    first = shop.commit()
    shop.attest(first)
    assert cut_release(shop.at("prod"), "1.0.0").new
    assert not cut_release(shop.at("prod"), "v1.0.0").new
    second = shop.commit()
    shop.attest(second)
    with pytest.raises(RefusedError, match="already a release"):
        cut_release(shop.at("prod"), "1.0.0")
    with pytest.raises(RefusedError, match=r"is not after v1\.0\.0"):
        cut_release(shop.at("prod"), "0.9")
    assert cut_release(shop.at("prod"), "1.0.1", commit=first).commit == first  # an older commit, tested, is fine
    with pytest.raises(ConfigError, match="is no commit here"):
        cut_release(shop.at("prod"), "2.0", commit="nothing")
    with pytest.raises(ConfigError, match="is no commit"):
        cut_release(shop.at("prod"), "2.0", commit="--all")


def test_a_cut_that_was_killed_after_its_tag_is_recorded_by_the_next_one(shop):
    shop.attest(shop.commit())
    git(shop.folder, "tag", "v1.0.0")  # as the killed one left it: the tag, and no entry
    assert not cut_release(shop.at("prod"), "1.0.0").new
    assert not cut_release(shop.at("prod"), "1.0.0").new
    assert [entry[:2] for entry in shop.audit("prod")].count(("release.cut", "v1.0.0")) == 1


@pytest.mark.parametrize("version", ["", "x", "1.0 0", "-f", "1.0.0\n", "../1", "v", "1..0~"])
def test_what_is_no_version(shop, version):
    shop.attest(shop.commit())
    with pytest.raises(ConfigError, match="is no version"):
        cut_release(shop.at("prod"), version)
    assert git(shop.folder, "tag") == ""


def test_a_tag_made_by_hand_does_not_stop_what_runs(shop):
    commit = shop.commit()
    shop.attest(commit)
    cut_release(shop.at("prod"), "1.0.0")
    shop.commit()
    git(shop.folder, "tag", "v2.0.0")
    assert shop.runs() == "v1.0.0"
    with pytest.raises(RefusedError, match=r"v2\.0\.0 may not run in prod: it has no attestation"):
        shop.runs("v2.0.0")
    newest, _ = list_releases(shop.at("prod"))
    assert (newest.tag, newest.may_run, newest.runs) == ("v2.0.0", False, False)
    assert not verify_release(shop.at("prod"), "v2.0.0").may_run


def test_without_any_tested_release_nothing_runs(shop):
    shop.commit()
    git(shop.folder, "tag", "v1.0.0")
    with pytest.raises(RefusedError, match="may not run in prod"):
        shop.runs()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"commit": "a" * 40}, "is of another commit, aaaaaaaa"),
        ({"tree": "b" * 40}, "is of other code, the tree bbbbbbbb"),
        ({"project": "other"}, "is of another project, 'other'"),
        ({"lock": "c" * 64}, "was made with another requirements.lock"),
        ({"failed": ("train",)}, "says that train failed"),
        ({"passed": ()}, "says that nothing was tested"),
    ],
)
def test_an_attestation_of_something_else_does_not_count(shop, changes, reason):
    commit = shop.commit()
    shop.attest(commit, **changes)
    with pytest.raises(RefusedError, match=reason):
        cut_release(shop.at("prod"), "1.0.0")


def test_an_attestation_that_was_copied_from_another_commit_does_not_count(shop):
    tested, other = shop.commit(), shop.commit()
    shop.attest(other, of=tested)
    with pytest.raises(RefusedError, match=f"is of another commit, {tested[:8]}"):
        cut_release(shop.at("prod"), "1.0.0")


def test_a_key_that_is_not_trusted_does_not_count(shop):
    commit = shop.commit()
    shop.attest(commit, key=new_key("ci"))
    with pytest.raises(RefusedError, match="is not signed by ci"):
        cut_release(shop.at("prod"), "1.0.0")


def test_the_lock_file_of_the_commit_counts(shop):
    (shop.folder / "requirements.lock").write_text("headrace==0.1.0\n")
    commit = shop.commit()
    assert lock_digest(shop.folder, commit) is not None
    shop.attest(commit)
    assert cut_release(shop.at("prod"), "1.0.0").new


def test_who_adds_a_key_to_the_file_has_not_made_it_trusted(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    shop.runs()  # the floor is written
    mine = new_key("mine")
    shop.attest(shop.trust((KEY, mine)), key=mine)
    with pytest.raises(RefusedError, match="is not signed by ci"):
        cut_release(shop.at("prod"), "1.1.0")
    assert "attested_by: mine is committed, and does not count yet" in environment_policy(shop.at("prod")).looser
    environment_policy(shop.at("prod"), take_over=True, reason="a second build machine")
    assert cut_release(shop.at("prod"), "1.1.0").attested_by == "mine"


def test_a_key_that_is_taken_out_counts_no_more(shop):
    other = new_key("other")
    commit = shop.trust((KEY, other))
    shop.attest(commit)
    cut_release(shop.at("prod"), "1.0.0")
    assert shop.runs() == "v1.0.0"
    shop.trust((KEY, other), attested_by=["other"])  # the key `ci` was stolen
    with pytest.raises(RefusedError, match="is not signed by other"):
        shop.runs()
    shop.attest(commit, key=other)
    assert shop.runs() == "v1.0.0"


def test_taking_all_keys_out_trusts_nobody_new(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    shop.runs()
    shop.trust((), attested_by=[])
    git(shop.folder, "tag", "v2.0.0")
    assert shop.runs() == "v1.0.0"
    assert any("ci still has to sign" in line for line in environment_policy(shop.at("prod")).looser)


def test_a_forged_key_of_the_same_name_counts_no_more_than_another(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    shop.runs()
    forged = new_key("ci")
    shop.attest(shop.trust((forged,)), key=forged)
    git(shop.folder, "tag", "v2.0.0")
    assert shop.runs() == "v1.0.0"


def test_an_admin_lets_one_run_without_a_test_and_it_is_recorded(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    commit = shop.commit()
    git(shop.folder, "tag", "v1.1.0")
    with pytest.raises(ConfigError, match="there is no reason"):
        allow_release(shop.at("prod"), "v1.1.0", reason=" ")
    with pytest.raises(NotFoundError, match="v9"):
        allow_release(shop.at("prod"), "v9", reason="x")
    done = allow_release(shop.at("prod"), "v1.1.0", reason="the test machine is down")
    assert (done.may_run, done.attested_by, done.reason) == (True, None, "the test machine is down")
    assert shop.runs() == "v1.1.0"
    entries = [entry for entry in shop.audit("prod") if entry[0] == "release.allowed"]
    assert entries == [("release.allowed", "v1.1.0", {"commit": commit, "reason": "the test machine is down"})]
    allow_release(shop.at("prod"), "v1.1.0", reason="again")
    assert verify_release(shop.at("prod"), "v1.1.0").reason == "the test machine is down"


def test_what_an_admin_allowed_is_taken_back(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    commit = shop.commit()
    git(shop.folder, "tag", "v1.1.0")
    for reason, told in ((" ", "there is no reason"), ("x", "v1.1.0 was not allowed")):
        with pytest.raises(ConfigError, match=told):
            withdraw_allowance(shop.at("prod"), "v1.1.0", reason=reason)
    allow_release(shop.at("prod"), "v1.1.0", reason="the test machine is down")
    done = withdraw_allowance(shop.at("prod"), "v1.1.0", reason="it is up again")
    assert (done.may_run, done.allowed_by) == (False, None)
    assert shop.runs() == "v1.0.0"
    entries = [entry for entry in shop.audit("prod") if entry[0] == "release.allowance_withdrawn"]
    assert entries == [("release.allowance_withdrawn", "v1.1.0", {"commit": commit, "reason": "it is up again"})]
    allow_release(shop.at("prod"), "v1.1.0", reason="down again")
    assert shop.runs() == "v1.1.0"


def test_an_engineer_cuts_and_does_not_allow(shop):
    tokens = shop.enrol("prod", eng="ml_engineer", ana="data_scientist")
    shop.attest(shop.commit())
    with vault.bearing(tokens["ana"]), pytest.raises(RefusedError, match="ana may not `headrace release cut`"):
        cut_release(shop.at("prod"), "1.0.0")
    with vault.bearing(tokens["eng"]):
        assert cut_release(shop.at("prod"), "1.0.0").new
        with pytest.raises(RefusedError, match="eng may not `headrace release allow`"):
            allow_release(shop.at("prod"), "v1.0.0", reason="x")
        assert list_releases(shop.at("prod"))[0].attested_by == "ci"


def test_an_environment_that_asks_for_none_runs_any_release(tmp_path):
    shop = Shop(tmp_path / "shop", attested_by=[])
    shop.commit()
    assert cut_release(shop.at("prod"), "1.0.0").attested_by is None
    assert shop.runs() == "v1.0.0"
    with pytest.raises(ConfigError, match="asks for no attestation"):
        allow_release(shop.at("prod"), "v1.0.0", reason="x")


def test_a_release_and_its_attestation_travel_by_the_remote(shop, tmp_path):
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "-q", "--bare", str(origin))
    git(shop.folder, "remote", "add", "origin", str(origin))
    shop.attest(shop.commit())
    git(shop.folder, "push", "-q", "origin", "main")
    with pytest.raises(UnavailableError):
        cut_release(shop.at("prod"), "1.0.0", remote=str(tmp_path / "nowhere"))
    assert cut_release(shop.at("prod"), "1.0.0", remote="origin").pushed_to == "origin"
    assert cut_release(shop.at("prod"), "1.0.0", remote="origin").new is False
    git(tmp_path, "clone", "-q", str(origin), "-b", "main", str(tmp_path / "elsewhere"))
    there = replace(shop.at("prod"), folder=tmp_path / "elsewhere")
    assert [(each.tag, each.may_run) for each in list_releases(there)] == [("v1.0.0", False)]
    assert fetch_releases(there).attested == 1
    assert [(each.tag, each.may_run) for each in list_releases(there)] == [("v1.0.0", True)]
    shop.attest(shop.commit())
    git(shop.folder, "push", "-q", "origin", "main")
    cut_release(shop.at("prod"), "1.1.0", remote="origin")
    done = fetch_releases(there)
    assert [(each.tag, each.may_run, each.runs) for each in done.new] == [("v1.1.0", True, True)]
    assert fetch_releases(there).new == ()


def test_what_cannot_be_fetched_is_said_and_no_tag_is_moved(shop, tmp_path):
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "-q", "--bare", str(origin))
    git(shop.folder, "remote", "add", "origin", str(origin))
    for remote in ("nowhere", "--upload-pack=touch planted"):
        with pytest.raises(UnavailableError, match=f"git fetch from {remote} failed"):
            fetch_releases(shop.at("prod"), remote=remote)
    first, second = shop.commit(), shop.commit()
    git(shop.folder, "tag", "v1.0.0", first)
    git(shop.folder, "push", "-q", "origin", "main", "--tags")
    git(shop.folder, "tag", "-f", "v1.0.0", second)
    git(origin, "tag", "v1.0.1", first)
    done = fetch_releases(shop.at("prod"))
    assert (done.moved, [each.tag for each in done.new]) == (("v1.0.0",), ["v1.0.1"])
    assert git(shop.folder, "rev-parse", "v1.0.0") == second
    assert not (shop.folder / "planted").exists()


def test_releases_are_asked_for_where_only_they_run(shop):
    assert releasing(replace(shop.at(), env=None)).env == "prod"
    assert releasing(shop.at("dev")).env == "dev"


def test_a_tag_that_no_number_can_be_read_from_stops_nothing(shop):
    shop.attest(shop.commit())
    for tag in ("v1.0\u00b2", "v\u0663.0", "v99.0.0"):  # superscripts, Arabic digits; and one that nobody tested
        git(shop.folder, "tag", tag, "HEAD~1")
    assert cut_release(shop.at("prod"), "1.1.0").new
    assert shop.runs() == "v1.1.0"


def test_evidence_that_is_gone_does_not_bring_older_code_back(shop):
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    assert shop.runs() == "v1.0.0"
    second = shop.commit()
    shop.attest(second)
    cut_release(shop.at("prod"), "2.0.0")
    assert shop.runs() == "v2.0.0"
    git(shop.folder, "notes", f"--ref={attestation_notes.REF}", "remove", second)
    with pytest.raises(RefusedError, match=r"v2\.0\.0 ran here, and may not run now: it has no attestation"):
        shop.runs()
    assert shop.runs("v1.0.0") == "v1.0.0"  # somebody says so


def test_only_releases_are_attested(tmp_path):
    shop = Shop(tmp_path / "shop")
    text = (shop.folder / "headrace.toml").read_text()
    (shop.folder / "headrace.toml").write_text(text.replace("[env.prod]\n", '[env.prod]\ncode = "commit"\n'))
    with pytest.raises(ConfigError, match="releases are attested, and 'prod' runs 'commit'"):
        list_releases(shop.at("prod"))


def test_many_releases_take_no_longer_than_few(shop):
    """One question of git for all tags, and one for all notes: counted, because a clock would be guessing."""
    shop.attest(shop.commit())
    cut_release(shop.at("prod"), "1.0.0")
    other = shop.commit()
    for number in range(60):
        git(shop.folder, "update-ref", f"refs/tags/v2.{number}.0", other)
    asked = []
    ask = git_of_headrace.ask

    def count(*arguments, **how):
        asked.append(arguments)
        return ask(*arguments, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(git_of_headrace, "ask", count)
        assert shop.runs() == "v1.0.0"
    assert len(asked) < 60


def test_a_huge_note_is_none(shop):
    commit = shop.commit()
    shop.attest(commit)
    (shop.folder / "note").write_text("{" * (2**20 + 1))
    git(shop.folder, "notes", f"--ref={attestation_notes.REF}", "add", "--force", "--file=note", commit)
    assert attestation_notes.envelopes(shop.folder, commit) == []


def test_outside_of_git_there_are_no_releases(tmp_path):
    bare = BareProject(tmp_path / "bare")
    with pytest.raises(RefusedError, match="is in no git repository, so it has no releases"):
        list_releases(bare.at("prod"))
