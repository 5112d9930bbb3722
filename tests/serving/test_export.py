"""Versions written for containers, Kubernetes and SageMaker: the container file is done as it says, and asked; the
manifests are held against Kubernetes' schemas and against the server."""

import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from tests.serving.conftest import Server, samples
from tests.serving.test_server import ROW

from headrace.deployment.targets import kubernetes, tree
from headrace.serving.options import DRAIN
from headrace.serving.routes import KNOWN

TARGETS = ("container", "kubernetes", "sagemaker")
ROOT = Path(__file__).parents[2]


def export(headrace, folder, target, into, *more):
    return headrace.run(folder, "model", "export", "late", "--to", target, "--into", into, *more)


@pytest.fixture(scope="module")
def written(headrace, bikes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    for target in TARGETS:
        done = export(headrace, bikes, target, folder / target)
        assert done.code == 0, done.stderr
    return folder


def contents(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


class Image:
    """What a builder makes of a container file, without what it downloads: the same copies and folders, elsewhere."""

    def __init__(self, source, root):
        self.root, self.home = root, None
        lines = [line for line in (source / "Containerfile").read_text().splitlines() if not line.startswith("#")]
        self.lines = [line.split(" ", 1) for line in lines if line]
        for word, said in self.lines:
            if word == "COPY":
                here, there = said.split()
                where = self.at(there)
                where.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (source / here).is_dir() else shutil.copy)(source / here, where)
            elif word == "RUN" and said.startswith("mkdir "):
                self.at(shlex.split(said)[1]).mkdir(parents=True)
        self.started = json.loads(self.said("ENTRYPOINT"))
        self.given = json.loads(self.said("CMD"))

    def at(self, path):
        return self.root / path.removeprefix("/")

    def said(self, word):
        (found,) = [said for each, said in self.lines if each == word]
        return found

    def run(self, *given, **options):
        """A process of it: as the image says, with a free port, and other words after them if some are given."""
        assert self.started[0] == "python"
        words = [*self.started[1:], *(given or self.given)]
        words = [str(self.at(each)) if each.startswith("/") else each for each in words]
        at = words.index("--port")
        self.port = words[at + 1]
        words[words.index("--host") + 1] = "127.0.0.1"  # this machine only, for a test
        del words[at : at + 2]
        return Built(words, self.at("/srv/headrace"), **options)


class Built(Server):
    """The server of an image."""

    def __init__(self, words, folder, **options):
        end = words.index("-m") + 2  # of `-P -m headrace.serving`
        head, rest = words[:end], words[end:]
        del rest[rest.index("--home") : rest.index("--home") + 2]
        super().__init__(folder / "model", program=head, arguments=rest, cwd=folder, **options)


def tokens(image, project, headrace, *scopes):
    """A file of tokens where the image looks for one; gives a token of it."""
    folder = image.root / "tokens"
    folder.mkdir()
    for name in ("headrace.toml", "bikes.py"):
        shutil.copy(project / name, folder)
    done = headrace.run(folder, "api-key", "create", "caller", *[word for each in scopes for word in ("--scope", each)])
    assert done.code == 0, done.stderr
    where = image.at(image.given[image.given.index("--api-keys") + 1])
    where.parent.mkdir(parents=True)
    shutil.copy(folder / ".headrace" / "dev" / "api-keys.json", where)
    return {"authorization": f"Bearer {done.stdout.strip()}"}


def ready(server, headers):
    return server.until(lambda: answers(server, headers))


def answers(server, headers):
    return told(server, headers) == 200


def told(server, headers=None):
    """The status of /ready; None before it listens."""
    assert server.process.poll() is None, server.process.stderr.read()
    try:
        return server.ask("/ready", headers=headers)[0]
    except OSError:
        return None


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_serves_what_the_version_answers(target, written, bikes, home, tmp_path, headrace):
    image = Image(written / target, tmp_path)
    assert image.said("USER").split(":")[0].isdigit()
    assert image.said("USER").split(":")[0] != "0"
    headers = {} if target == "sagemaker" else tokens(image, bikes, headrace, "predict", "metrics")
    before = contents(image.at("/srv/headrace/model"))
    server = image.run()
    try:
        ready(server, headers)
        assert image.said("EXPOSE") == image.port == "8080"
        columns, rows, outputs = samples(home)
        body = {"dataframe_split": {"columns": columns, "data": rows}}
        status, answer, _ = server.ask("/invocations", body, headers=headers)
        assert status == 200, answer
        assert [list(each.values()) for each in answer["predictions"]] == outputs
        keyed = {"rows": [{"ride": 1, "station": "s1", "kind": "city", "battery": 3.0}]}
        status, answer, _ = server.ask("/predict", keyed, headers=headers)
        assert status == 200, answer
        for path in ("/health", "/ready", "/ping", "/version", "/metrics"):
            assert server.ask(path, headers=headers)[0] == 200, path
        strangers = server.ask("/invocations", {"instances": [list(ROW.values())]})[0]
        assert strangers == (200 if target == "sagemaker" else 401)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
    finally:
        server.end(signal.SIGKILL)
    assert contents(image.at("/srv/headrace/model")) == before  # a read-only container writes nowhere but the spool
    assert list(image.at("/srv/headrace/spool").glob("*.sealed"))


def test_an_image_whose_version_cannot_be_loaded_ends_with_the_reason(written, tmp_path):
    """Its files never change: waiting for others, as a server of an environment does, would be for ever."""
    image = Image(written / "sagemaker", tmp_path)
    (spec,) = image.at("/srv/headrace/model").rglob("spec.json")
    spec.write_text("{}")
    server = image.run()
    try:
        stderr = server.process.communicate(timeout=120)[1]
    finally:
        server.end(signal.SIGKILL)
    assert server.process.returncode == 2, stderr
    assert "nothing can be served: the version could not be loaded" in stderr
    assert "not followed: " in stderr


def test_the_same_version_gives_the_same_bytes_and_an_export_replaces_one(written, bikes, headrace, tmp_path):
    into = tmp_path / "again"
    for _ in range(2):
        done = export(headrace, bikes, "kubernetes", into, "--version", 1, "--json")
        assert done.code == 0, done.stderr
        assert contents(into) == contents(written / "kubernetes")
        (into / "left over").write_text("x")
        (into / "left over").unlink()
    told = json.loads(done.stdout)
    assert set(told["files"]) == set(contents(into))
    assert any("kubectl apply" in step for step in told["steps"])
    assert not [each for each in tmp_path.iterdir() if each != into]


def test_mistakes_are_told_and_nothing_of_others_is_removed(bikes, headrace, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for into, more, said in (
        (mine, [], "holds other files"),
        (mine / "thesis.txt", [], "no folder"),
        (tmp_path / "x", ["--version", 7], "7"),
    ):
        done = export(headrace, bikes, "container", into, *more)
        assert done.code != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    done = headrace.run(bikes, "model", "export", "lat", "--to", "container", "--into", tmp_path / "x")
    assert done.code != 0
    assert "late" in done.stderr
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "x").exists()


def test_two_exports_at_once_leave_one_whole(written, bikes, headrace, tmp_path):
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "model",
        "export",
        "late",
        "--to",
        "container",
        "--into",
        tmp_path / "x",
    ]
    both = [
        subprocess.Popen(command, cwd=bikes, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    said = [each.communicate()[1] for each in both]
    assert 0 in [each.returncode for each in both], said
    assert not any("Traceback" in each for each in said), said
    assert contents(tmp_path / "x") == contents(written / "container")


# ---------------------------------------------------------------------------------------------- manifests

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def documents(folder):
    return [
        each
        for file in sorted(folder.glob("*.yaml"))
        if file.name != "kustomization.yaml"
        for each in yaml.safe_load_all(file.read_text())
    ]


def of_kind(found, kind):
    (one,) = [each for each in found if each["kind"] == kind]
    return one


def check(folder):
    """That Kubernetes takes them, and that they agree with each other and the server; gives them."""
    found = documents(folder)
    for each in found:
        kubernetes_validate.validate(each, "1.37", strict=True)
        assert NAME.fullmatch(each["metadata"]["name"])
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(each.name for each in folder.glob("*.yaml") if each.name != "kustomization.yaml")
    deployment = of_kind(found, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        of_kind(found, "Service")["spec"]["selector"],
        of_kind(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        of_kind(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert of_kind(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    claims = {each["metadata"]["name"] for each in found if each["kind"] == "PersistentVolumeClaim"}
    pod = deployment["spec"]["template"]["spec"]
    named = {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    assert named == claims
    (server,) = pod["containers"]
    assert {each["name"] for each in server["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = server[probe]["httpGet"]
        assert KNOWN.find(asked["path"]).route.open
        assert asked["port"] in {each["name"] for each in server["ports"]}
    waited = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waited + DRAIN
    assert pod["securityContext"]["runAsNonRoot"]
    assert server["securityContext"]["readOnlyRootFilesystem"]
    return found


def test_manifests_are_kubernetes_and_agree_with_the_container(written, tmp_path):
    folder = written / "kubernetes"
    image = Image(folder, tmp_path)
    pod = of_kind(check(folder / "kubernetes"), "Deployment")["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    assert server["args"] == image.given
    assert server["ports"][0]["containerPort"] == int(image.said("EXPOSE"))
    mounted = {each["mountPath"] for each in server["volumeMounts"]}
    assert image.said("VOLUME") in mounted
    assert str(Path(image.given[image.given.index("--api-keys") + 1]).parent) in mounted
    assert str(pod["securityContext"]["runAsUser"]) == image.said("USER").split(":")[0]


def test_the_schemas_refuse_what_is_none():
    wrong = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "volume.yaml").read_text())
    wrong["spec"]["accesModes"] = wrong["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


@pytest.mark.parametrize("model", ["late", "Delay_2", "ünïcode", "__", "a" * 200, "x-" * 60])
def test_any_model_has_names_that_kubernetes_takes(model):
    assert NAME.fullmatch(tree.name(model) + "-tokens")
    assert kubernetes.name is tree.name


def test_an_environment_in_kubernetes(headrace, tmp_path):
    """`deploy/`: its manifests are valid, and what they start exists."""
    found = check(ROOT / "deploy" / "kubernetes")
    work = of_kind(found, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    done = headrace.run(tmp_path, *work["containers"][0]["args"], "--help")
    assert done.code == 0, done.stderr
    (server,) = of_kind(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    python, *program = server["command"]
    assert python == "python"
    said = dict(each.removeprefix("--").split("=", 1) for each in server["args"] if "=" in each)
    flags = [each for each in server["args"] if "=" not in each]
    assert said.pop("host") == "0.0.0.0"
    assert int(said.pop("port")) == server["ports"][0]["containerPort"]
    home = tmp_path / said.pop("home").removeprefix("/")
    given = [f"--{name}={tmp_path / value.removeprefix('/')}" for name, value in said.items()]
    waiting = Server(home, program=program, arguments=[*given, *flags])
    try:
        waiting.until(lambda: told(waiting) in (401, 503))  # nothing was promoted yet: alive, and not ready
        assert waiting.ask(server["startupProbe"]["httpGet"]["path"])[0] == 200  # it is not started again meanwhile
        assert waiting.ask(server["readinessProbe"]["httpGet"]["path"])[0] == 503
        assert waiting.ask("/metrics")[0] == 503  # not 401: what scrapes has no token
        assert waiting.ask("/version")[0] == 401
    finally:
        waiting.end()
    lines = (ROOT / "deploy" / "Containerfile").read_text().splitlines()
    (extras,) = [line.split("=", 1)[1].split(",") for line in lines if line.startswith("ARG EXTRAS=")]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    (user,) = [line.split(" ")[1] for line in lines if line.startswith("USER ")]
    assert user == "10001:10001"


def test_a_version_that_declares_traces_brings_what_sends_them(tmp_path):
    for traces, extras in ((False, "serve"), (True, "otel,serve")):
        (tmp_path / "serve.json").write_text(json.dumps({"traces": traces}))
        assert tree._requirements(tmp_path, "/online.db").startswith(f"headrace[{extras}]==")
    assert tree._requirements(tmp_path, "redis://there").startswith("headrace[otel,redis,serve]==")
