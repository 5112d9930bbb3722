"""The jobs of a workflow of GitHub Actions and of a `.gitlab-ci.yml`, started one after the other as the host would.

Each job has a fresh clone of the repository, and of this machine only programs and an empty home: its variables are those that
the host sets, those that the file declares, and the secrets that the host would give to it. `uses:` steps are replaced by what they
do: a checkout of the depth that the file says, and a Python in which the locked packages are.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import count

import yaml
from tests.support.merge_requests import TOKEN, GitHubHost, GitLabHost

KEY = "HEADRACE_SIGNING_KEY"
NOTES = "refs/notes/headrace-attestations"


@dataclass(frozen=True)
class Ended:
    """A job that ran: its exit code, what it said, and the variables of its last step."""

    code: int
    said: str
    variables: dict


class Jobs:
    """What both hosts have."""

    def __init__(self, folder, origin, url, private):
        self.folder, self.origin, self.url, self.private = folder, origin, url, private
        self.numbers = count()
        self.wheels = None
        (folder / "home").mkdir(parents=True)

    def machine(self):
        index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}  # in place of the host's package index
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "CI": "true", **index}

    def clone(self, sha, depth):
        """A fresh clone, in which `.venv` has what the lock names."""
        place = self.folder / f"job-{next(self.numbers)}" / "shop"
        shallow = ["--depth", str(depth)] if depth else []
        git(self.folder, "clone", "-q", "--no-checkout", *shallow, self.origin.as_uri(), str(place))
        if depth:
            git(place, "fetch", "-q", *shallow, "origin", sha)
        git(place, "checkout", "-q", "--detach", sha)
        programs = place / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, command in {"python3": "", "headrace": " -m headrace.cli"}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{command} "$@"\n')
            (programs / name).chmod(0o755)
        return place

    def shell(self, place, script, variables):
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=place, env={**self.machine(), **variables}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout + done.stderr, variables)

    def attested(self, sha):
        """How many attestations of a commit the origin has."""
        if not git(self.origin, "for-each-ref", NOTES):
            return 0
        done = subprocess.run(
            ["git", "notes", f"--ref={NOTES}", "show", sha],
            cwd=self.origin,
            capture_output=True,
            text=True,
            check=False,
        )
        return sum(line.startswith("{") for line in done.stdout.splitlines())


class GitHubJobs(Jobs):
    """Runs `.github/workflows/headrace.yml`."""

    file, host = ".github/workflows/headrace.yml", GitHubHost

    def merge_request(self, sha, *, fork=False):
        head = {"sha": sha, "repo": {"full_name": "eve/shop" if fork else "shop/shop"}}
        event = {"number": 7, "pull_request": {"number": 7, "head": head}}
        return self.run("pull_request", sha, event, "refs/pull/7/merge")

    def branch(self, sha):
        return self.run("push", sha, {}, "refs/heads/main")

    def schedule(self, sha):
        return self.run("schedule", sha, {}, "refs/heads/main")

    def release(self, sha, version):
        return self.run("workflow_dispatch", sha, {"inputs": {"version": version}}, "refs/heads/main")

    def run(self, name, sha, event, ref):
        """Job → how it ended, of each that the event starts."""
        event = {"repository": {"full_name": "shop/shop"}, **event}
        known = {
            "github": {"event_name": name, "event": event, "sha": sha, "ref": ref, "repository": "shop/shop", "token": TOKEN},
            "secrets": {KEY: self.private},  # as of a private repository that is set to send them to forks
            "inputs": event.get("inputs", {}),
        }  # fmt: skip
        workflow = self.read(sha)
        if name not in workflow[True]:  # YAML 1.1 reads `on` so
            return {}
        path = self.folder / "event.json"
        path.write_text(json.dumps(event))
        variables = {**self.host.variables_of(self.url, str(path)), "GITHUB_REF": ref, "GITHUB_EVENT_NAME": name}
        del variables["GITHUB_TOKEN"]  # a step has it only where the file says so
        ended = {}
        for job, told in workflow["jobs"].items():
            needed = [told["needs"]] if "needs" in told else []
            if not value(told.get("if", "true"), known) or any(
                each not in ended or ended[each].code for each in needed
            ):
                continue
            ended[job] = self.job(told, known, {**variables, **texts(workflow.get("env", {}), known)})
        return ended

    def job(self, told, known, variables):
        place, ended = None, Ended(0, "", {})
        for step in told["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                given = texts(step.get("with", {}), known)
                place = self.clone(given.get("ref", known["github"]["sha"]), int(given.get("fetch-depth", 1)))
            elif "run" in step:
                own = {**variables, **texts(told.get("env", {}), known), **texts(step.get("env", {}), known)}
                done = self.shell(place, step["run"], own)
                ended = Ended(done.code, ended.said + done.said, own)
                if done.code:
                    break
        return ended

    def read(self, sha):
        return yaml.safe_load(git(self.origin, "show", f"{sha}:{self.file}"))


class GitLabJobs(Jobs):
    """Runs `.gitlab-ci.yml`. Only jobs of the environment `attestation` have the key: that is the variable's scope."""

    file, host, scope = ".gitlab-ci.yml", GitLabHost, "attestation"

    def merge_request(self, sha, *, fork=False):
        """Of a fork: as a member starts it in the project itself; else it runs in the fork, which has no variable."""
        variables = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "666" if fork else "42",
        }
        return self.run(sha, {**self.host.variables_of(self.url, ""), **variables})

    def branch(self, sha, source="push", **more):
        variables = {name: each for name, each in self.host.variables_of(self.url, "").items() if "MERGE" not in name}
        return self.run(sha, {**variables, "CI_PIPELINE_SOURCE": source, "CI_COMMIT_BRANCH": "main"}, **more)

    def schedule(self, sha):
        return self.branch(sha, source="schedule")

    def release(self, sha, version):
        """The job that is started by hand, in the pipeline of a commit whose other jobs have passed."""
        return self.branch(sha, by_hand={"release": {"VERSION": version}})

    def run(self, sha, variables, by_hand=None):
        pipeline = yaml.safe_load(git(self.origin, "show", f"{sha}:{self.file}"))
        top, stages = pipeline.pop("variables"), pipeline["stages"]
        jobs = {name: told for name, told in pipeline.items() if isinstance(told, dict) and "script" in told}
        variables = {**top, **variables, "CI_DEFAULT_BRANCH": "main"}
        ended = {}
        for stage in stages:
            if any(each.code for each in ended.values()):
                break
            for name, told in jobs.items():
                rule = next((each for each in told["rules"] if value(each["if"], variables)), None)
                manual = bool(rule) and rule.get("when") == "manual"
                if told["stage"] != stage or rule is None or (name not in by_hand if by_hand else manual):
                    continue
                own = {**variables, **told.get("variables", {}), **(by_hand or {}).get(name, {})}
                if told.get("environment", {}).get("name") == self.scope:
                    own[KEY] = self.private
                ended[name] = self.shell(self.clone(sha, int(own["GIT_DEPTH"])), "\n".join(told["script"]), own)
        return ended


def texts(table, known):
    """The values of a table with each `${{ expression }}` replaced, as texts."""

    def text(found):
        result = value(found[1], known)
        return "" if result is None else str(result)

    return {name: re.sub(r"\$\{\{(.*?)\}\}", text, str(each)) for name, each in table.items()}


TOKENS = re.compile(r"""\s*(\|\||&&|==|!=|[()]|'[^']*'|"[^"]*"|\$?[\w.-]+)""")


def value(expression, known):
    """What an expression of either host is: `||`, `&&`, `==`, `!=`, brackets, texts, and names that may be absent."""
    tokens = TOKENS.findall(expression)
    assert "".join(tokens) == re.sub(r"\s", "", expression) or "'" in expression or '"' in expression, expression

    def primary():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            assert tokens.pop(0) == ")"
            return result
        if token[0] in "'\"":
            return token[1:-1]
        if token in ("true", "false"):
            return token == "true"
        return look_up(token, known)

    def compared():
        left = primary()
        while tokens and tokens[0] in ("==", "!="):
            same = tokens.pop(0) == "=="
            left = (left == primary()) is same
        return left

    def both():
        left = compared()
        while tokens and tokens[0] == "&&":
            tokens.pop(0)
            right = compared()
            left = left and right
        return left

    def either():
        left = both()
        while tokens and tokens[0] == "||":
            tokens.pop(0)
            right = both()
            left = left or right
        return left

    result = either()
    assert not tokens, expression
    return result


def look_up(name, known):
    found = known
    for part in [name[1:]] if name.startswith("$") else name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def git(folder, *words):
    command = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
