"""`headrace ci report` as a job calls it."""

import json

from tests.support.merge_requests import PASSED, TOKEN, document

CLEAN = dict.fromkeys(
    ("GITHUB_ACTIONS", "GITHUB_EVENT_PATH", "GITHUB_REF", "GITLAB_CI", "CI_MERGE_REQUEST_IID", "GITLAB_TOKEN"), ""
)


def test_it_posts_and_then_updates(headrace, host, variables, written, tmp_path):
    first = headrace.run(tmp_path, "ci", "report", written(), env={**CLEAN, **variables})
    second = headrace.run(tmp_path, "ci", "report", written(**PASSED), env={**CLEAN, **variables})

    assert (first.code, first.stdout, second.code) == (0, "", 0), first.stderr + second.stderr
    assert "created the comment on" in first.stderr
    assert "updated the comment on" in second.stderr
    assert "Passed" in host.notes[0]["body"]
    assert TOKEN not in first.stderr + second.stderr


def test_a_dry_run_asks_nobody(headrace, host, variables, written, tmp_path):
    done = headrace.run(tmp_path, "ci", "report", written(), "--dry-run", env={**CLEAN, **variables})

    assert (done.code, host.requests) == (0, [])
    assert done.stdout.startswith("<!-- headrace:integration:shop:staging -->\n")


def test_without_a_merge_request_it_prints(headrace, host, variables, written, tmp_path):
    (tmp_path / "push.json").write_text(json.dumps({"ref": "refs/heads/main"}))
    push = {
        "CI_MERGE_REQUEST_IID": "",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_EVENT_PATH": str(tmp_path / "push.json"),
    }
    done = headrace.run(tmp_path, "ci", "report", written(), env={**CLEAN, **variables, **push})

    assert (done.code, host.requests) == (0, [])
    assert "Failed at step train" in done.stdout
    assert "nothing to comment on" in done.stderr


def test_on_no_known_host_it_prints(headrace, written, tmp_path):
    done = headrace.run(tmp_path, "ci", "report", written(), env=CLEAN)

    assert done.code == 0
    assert "Failed at step train" in done.stdout
    assert "no job of GitHub Actions or GitLab CI" in done.stderr


def test_without_a_token_it_says_which(headrace, host, variables, written, tmp_path):
    less = {**CLEAN, **variables, "GITHUB_TOKEN": "", "HEADRACE_GITLAB_TOKEN": ""}
    done = headrace.run(tmp_path, "ci", "report", written(), env=less)

    assert (done.code, host.requests) == (2, [])
    assert "there is no token for" in done.stderr


def test_the_second_name_of_the_token_of_gitlab_works(headrace, host, variables, written, tmp_path):
    named = {**CLEAN, **variables, "HEADRACE_GITLAB_TOKEN": "", "GITLAB_TOKEN": TOKEN}
    done = headrace.run(tmp_path, "ci", "report", written(), env=named)

    assert (done.code, len(host.notes)) == (0, 1), done.stderr


def test_on_github_the_reference_says_the_number_where_the_event_does_not(headrace, host, variables, written, tmp_path):
    done = headrace.run(tmp_path, "ci", "report", written(), env={**CLEAN, **variables, "GITHUB_EVENT_PATH": ""})

    assert (done.code, len(host.notes)) == (0, 1), done.stderr


def test_a_wrong_token_is_refused_and_not_shown(headrace, host, variables, written, tmp_path):
    wrong = {**CLEAN, **variables, "GITHUB_TOKEN": "not-this-one", "HEADRACE_GITLAB_TOKEN": "not-this-one"}
    done = headrace.run(tmp_path, "ci", "report", written(), env=wrong)

    assert done.code == 3
    assert "does not know the token" in done.stderr
    assert "not-this-one" not in done.stderr


def test_a_report_with_a_missing_key_is_refused(headrace, tmp_path):
    report = document()
    del report["tree"]
    (tmp_path / "r.json").write_text(json.dumps(report))
    done = headrace.run(tmp_path, "ci", "report", "r.json", "--dry-run")

    assert done.code == 1
    assert "the key tree is missing" in done.stderr
