"""A release in a folder of its own: what is written, what installs from it, and what somebody who changes it gets."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv

import pytest
from tests.operations.release.test_releases import KEY, Shop, git
from tests.support.wheels import make_wheel, sha256

from headrace.core.errors import ConfigError, RefusedError, UnavailableError
from headrace.operations.release.bundle import bundle_release, verify_bundle
from headrace.operations.release.cut import cut_release
from headrace.operations.signing import new_key
from headrace.releases import bundle, image_file

OTHER = new_key("other")


class Bundled(Shop):
    """A project that is locked to two small distributions, and its release v1.0.0."""

    def __init__(self, folder):
        super().__init__(folder)
        self.wheels = folder.parent / "wheels-here"
        self.wheels.mkdir()
        self.alpha = make_wheel(self.wheels, "tiny-alpha", "1.0", requires=["tiny_beta"])
        self.beta = make_wheel(self.wheels, "tiny_beta", "2.1")
        make_wheel(self.wheels, "tiny_beta", "3.0")
        self.release("1.0.0", "tiny-alpha==1.0\ntiny-beta==2.1\n")

    def release(self, version, lock):
        (self.folder / "requirements.lock").write_text(lock)
        commit = self.commit()
        self.attest(commit)
        cut_release(self.at("prod"), version)

    def bundle(self, output, version="1.0.0", **how):
        return bundle_release(self.at("prod"), version, output=output, wheels=[self.wheels], no_index=True, **how)

    def problems(self, folder, **how):
        return " | ".join(verify_bundle(self.at("prod"), folder, **how).problems)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A release and its bundle, to be copied."""
    folder = tmp_path_factory.mktemp("bundled")
    shop = Bundled(folder / "shop")
    shop.bundle(folder / "out")
    return shop, folder / "out"


@pytest.fixture
def bundled(original, tmp_path):
    """The release, and a copy of its bundle to be changed."""
    return original[0], shutil.copytree(original[1], tmp_path / "out")


def test_a_bundle_is_whole_and_twice_the_same(original, tmp_path):
    shop, out = original
    assert sorted(path.name for path in out.iterdir()) == [
        ".dockerignore",
        "Dockerfile",
        "attestation.json",
        "bundle.json",
        "project",
        "requirements.lock",
        "wheels",
        "wheels.lock",
    ]
    assert sorted(path.name for path in (out / "wheels").iterdir()) == [shop.alpha.name, shop.beta.name]
    done = shop.bundle(tmp_path / "again")
    assert (done.release, done.wheels, done.signed_by, done.wheels_checked_by) == ("v1.0.0", 2, None, "manifest")
    assert (tmp_path / "again/bundle.json").read_bytes() == (out / "bundle.json").read_bytes()
    assert (out / "wheels.lock").read_text() == (
        f"tiny-alpha==1.0 --hash=sha256:{sha256(shop.alpha)}\ntiny-beta==2.1 --hash=sha256:{sha256(shop.beta)}\n"
    )
    checked = verify_bundle(shop.at("prod"), out)
    assert (checked.problems, checked.commit) == ((), git(shop.folder, "rev-parse", "v1.0.0^{commit}"))


def test_the_install_line_of_the_image_file_installs_the_locked_versions_alone(original, tmp_path):
    _, out = original
    (line,) = [each for each in (out / "Dockerfile").read_text().splitlines() if "pip install" in each]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    words = [each.replace("/build", str(out)) for each in line.removeprefix("RUN /opt/venv/bin/python ").split()]
    subprocess.run([python, *words], check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    code = "import tiny_alpha, tiny_beta; print(tiny_alpha.VERSION, tiny_beta.VERSION)"
    said = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["1.0", "2.1"]
    shutil.copytree(out, tmp_path / "changed")
    with (tmp_path / "changed/wheels" / "tiny_beta-2.1-py3-none-any.whl").open("ab") as file:
        file.write(b"more")
    words = [each.replace(str(out), str(tmp_path / "changed")) for each in words]
    done = subprocess.run([python, *words, "--force-reinstall"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def _plant_wheel(out):
    make_wheel(out / "wheels", "tiny_gamma", "1.0")


def _plant_and_declare(out):
    wheel = make_wheel(out / "wheels", "tiny_gamma", "1.0")
    _redeclare(out, f"wheels/{wheel.name}")


def _replace_wheel(out):
    make_wheel(out / "wheels", "tiny_beta", "2.1", text="import os\n")


def _link(out):
    wheel = out / "wheels/tiny_beta-2.1-py3-none-any.whl"
    elsewhere = out.parent / "elsewhere.whl"
    wheel.rename(elsewhere)
    wheel.symlink_to(elsewhere)


def _hard_link(out):
    os.link(out / "wheels/tiny_beta-2.1-py3-none-any.whl", out.parent / "mine.whl")


def _link_folder(out):
    (out / "more").symlink_to("/etc")


def _pipe(out):
    os.mkfifo(out / "wait")


def _root_image(out):
    text = (out / "Dockerfile").read_text().replace("USER 10001:10001", "USER root")
    (out / "Dockerfile").write_text(text)
    _redeclare(out, "Dockerfile")


def _another_image(out):
    with (out / "Dockerfile").open("a") as file:
        file.write("LABEL more=1\n")
    _redeclare(out, "Dockerfile")


def _other_code(out):
    (out / "project/shop.py").write_text("print('mine')\n")
    _redeclare(out, "project/shop.py")


def _other_lock(out):
    for name in ("requirements.lock", "project/requirements.lock"):
        (out / name).write_text("tiny-alpha==1.0\n")
        _redeclare(out, name)


def _outside(out):
    _change(out, lambda said: said["files"].update({"../elsewhere": "0" * 64}))


def _absolute(out):
    _change(out, lambda said: said["files"].update({"/etc/hostname": "0" * 64}))


def _twice(out):
    text = (out / "bundle.json").read_text()
    (out / "bundle.json").write_text(text.replace('"release"', '"release": "v0.1.0",\n "release"', 1))


def _another_commit(out):
    _change(out, lambda said: said.update(commit="1" * 40))


def _another_project(out):
    _change(out, lambda said: said.update(project="other"))


def _another_python(out):
    _change(out, lambda said: said.update(python="3.4"))


def _forget_attestation(out):
    (out / "attestation.json").unlink()
    _change(out, lambda said: said["files"].pop("attestation.json"))


def _foreign_base(out):
    """With the image file that the manifest then gives."""
    base = "evil.example.org/python:3.11"
    text = (out / "Dockerfile").read_text()
    usual = json.loads((out / "bundle.json").read_text())["base"]
    (out / "Dockerfile").write_text(text.replace(usual, base))
    _change(out, lambda said: said.update(base=base))
    _redeclare(out, "Dockerfile")


def _other_environment(out):
    (out / "Dockerfile").write_text((out / "Dockerfile").read_text().replace('"prod"', '"dev"'))
    _change(out, lambda said: said.update(environment="dev"))
    _redeclare(out, "Dockerfile")


def _another_builder(out):
    """Which podman takes before a Dockerfile."""
    (out / "Containerfile").write_text("FROM scratch\n")
    _redeclare(out, "Containerfile")


def _change(out, how):
    said = json.loads((out / "bundle.json").read_text())
    how(said)
    (out / "bundle.json").write_text(json.dumps(said))


def _redeclare(out, path):
    """As somebody would who changes the manifest along with a file."""
    _change(out, lambda said: said["files"].update({path: sha256(out / path)}))


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (_plant_wheel, "wheels/tiny_gamma-1.0-py3-none-any.whl is not in the manifest"),
        (_plant_and_declare, "tiny_gamma-1.0-py3-none-any.whl is not locked"),
        (_replace_wheel, "wheels/tiny_beta-2.1-py3-none-any.whl was changed"),
        (lambda out: (out / "wheels/tiny_beta-2.1-py3-none-any.whl").unlink(), "is missing"),
        (_link, "tiny_beta-2.1-py3-none-any.whl is a link"),
        (_hard_link, "is also a file elsewhere"),
        (_link_folder, "more is a link"),
        (_pipe, "wait is no plain file"),
        (_root_image, "Dockerfile is not the one of this release.*the user is root"),
        (_another_image, "Dockerfile is not the one of this release"),
        (_foreign_base, "its image is built on evil.example.org/python:3.11, which nobody signed"),
        (_other_environment, "its image serves 'dev', which is not the highest environment|is not the one of this"),
        (_another_builder, "Containerfile is nothing of a bundle"),
        (_other_code, "project/ is not the code of v1.0.0"),
        (_other_lock, "requirements.lock is not that of the release"),
        (_outside, "'../elsewhere', which is no path inside"),
        (_absolute, "'/etc/hostname', which is no path inside"),
        (_twice, "a key is there twice"),
        (_another_commit, "attestation.json is of another release"),
        (_another_project, "is of another release"),
        (_another_python, "its wheels are for Python 3.4"),
        (_forget_attestation, "attestation.json is missing"),
        (lambda out: (out / "bundle.json").unlink(), "bundle.json is missing"),
        (lambda out: (out / "bundle.json").write_text("[" * 100_000), "is no manifest"),
        (lambda out: (out / "bundle.json").write_text("[]"), "is no manifest"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_<>") or None,
)
def test_a_bundle_that_was_changed_is_refused_with_the_reason(bundled, attack, reason):
    shop, out = bundled
    attack(out)
    assert re.search(reason, shop.problems(out))


def test_a_bundle_of_another_release_is_not_the_one_that_was_asked_for(original):
    shop, out = original
    assert shop.problems(out, tag="v2.0.0") == "it is of v1.0.0, not of v2.0.0"


def test_a_bundle_that_is_signed_binds_its_wheels(original, tmp_path, monkeypatch):
    shop, _ = original
    monkeypatch.setenv(KEY.variable, KEY.private)
    assert shop.bundle(tmp_path / "out").signed_by == "ci"
    checked = verify_bundle(shop.at("prod"), tmp_path / "out")
    assert (checked.problems, checked.signed_by, checked.wheels_checked_by) == ((), "ci", "signature")
    _replace_wheel(tmp_path / "out")
    _redeclare(tmp_path / "out", "wheels/tiny_beta-2.1-py3-none-any.whl")
    assert "bundle.sig.json is of another manifest" in shop.problems(tmp_path / "out")
    bundle.sign(tmp_path / "out", "ci", OTHER.private)  # by its name, and not by its key
    assert "bundle.sig.json is not signed by ci" in shop.problems(tmp_path / "out")
    attested = (tmp_path / "out/attestation.json").read_text()
    (tmp_path / "out/bundle.sig.json").write_text(attested)  # signed by the right key, and says something else
    assert "bundle.sig.json is of another manifest" in shop.problems(tmp_path / "out")


def test_hashes_of_the_lock_file_decide_which_wheel_is_taken(tmp_path):
    shop = Bundled(tmp_path / "shop")
    lock = f"tiny-alpha==1.0 --hash=sha256:{sha256(shop.alpha)}\ntiny-beta==2.1 --hash=sha256:{sha256(shop.beta)}\n"
    shop.release("1.1.0", lock)
    assert shop.bundle(tmp_path / "out", "v1.1.0").wheels_checked_by == "lock"
    make_wheel(shop.wheels, "tiny_beta", "2.1", text="import os\n")
    with pytest.raises(RefusedError, match="1 of 2 locked versions have no wheel") as error:
        shop.bundle(tmp_path / "other", "1.1.0")
    assert error.value.findings == ("tiny-beta==2.1",)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("lock", "reason"),
    [("", "is empty"), ("tiny-beta\n", "pins no version of tiny-beta"), ("not a line!\n", "cannot be read")],
    ids=["empty", "loose", "malformed"],
)
def test_a_release_without_a_usable_lock_file_is_not_bundled(tmp_path, lock, reason):
    shop = Bundled(tmp_path / "shop")
    shop.release("1.1.0", lock)
    with pytest.raises(RefusedError, match=reason):
        shop.bundle(tmp_path / "out", "1.1.0")


def test_what_is_not_bundled(original, tmp_path):
    shop, out = original
    with pytest.raises(ConfigError, match="no empty folder"):
        shop.bundle(out)
    with pytest.raises(ConfigError, match="there is no folder"):
        bundle_release(shop.at("prod"), "1.0.0", output=tmp_path / "out", wheels=[tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="neither a tag other than latest"):
        shop.bundle(tmp_path / "out", base="python:latest")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="no empty folder"):
        shop.bundle(tmp_path / "link")


def test_a_release_that_may_not_run_or_has_a_link_is_not_bundled(tmp_path):
    shop = Bundled(tmp_path / "shop")
    shop.commit()
    git(shop.folder, "tag", "v2.0.0")
    with pytest.raises(RefusedError, match="may not run: it has no attestation"):
        shop.bundle(tmp_path / "out", "2.0.0")
    (shop.folder / "link.py").symlink_to("shop.py")
    shop.release("3.0.0", "tiny-beta==2.1\n")
    with pytest.raises(RefusedError, match=r"has the link 'link\.py'"):
        shop.bundle(tmp_path / "out", "3.0.0")


def test_what_no_folder_has_is_downloaded_by_pip_with_its_settings(tmp_path, monkeypatch):
    shop = Bundled(tmp_path / "shop")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop.wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = bundle_release(shop.at("prod"), "1.0.0", output=tmp_path / "out")
    assert done.wheels == 2
    shop.release("1.1.0", "tiny-beta==9.9\n")
    with pytest.raises(UnavailableError, match="pip could not download") as error:
        bundle_release(shop.at("prod"), "1.1.0", output=tmp_path / "other")
    assert "9.9" in " ".join(error.value.findings)


RULES = {
    "add": ("COPY wheels/", "ADD https://example.org/x.whl", "ADD fetches"),
    "base": ("ARG BASE=docker.io/library/python:3.11-slim", "ARG BASE=python", "has neither a tag"),
    "latest": ("ARG BASE=docker.io/library/python:3.11-slim", "ARG BASE=python:latest", "has neither a tag"),
    "root": ("USER 10001:10001", "USER 0", "the user is root"),
    "no-user": ("USER 10001:10001", "", "the user is root"),
    "index": ("--no-index", "", "pip install without --no-index"),
    "hashes": ("--require-hashes", "", "pip install without --require-hashes"),
    "source": ("COPY wheels/", "COPY ../wheels/", "is not here"),
    "missing": ("COPY wheels/", "COPY wheelhouse/", "wheelhouse/ is not here"),
    "stage": ("--from=build", "--from=example.org/other", "is no stage"),
    "entry": ('ENTRYPOINT ["headrace", "serve"]', 'ENTRYPOINT ["sh"]', "the entry point is not"),
    "health": ("HEALTHCHECK CMD", "HEALTHCHECK NONE #", "HEALTHCHECK"),
    "secret": ("ENV PATH", "ENV API_TOKEN=abc PATH", "a secret would stay"),
    "curl": ("RUN useradd", "RUN curl https://example.org | sh && useradd", "RUN fetches"),
    "unknown": ("STOPSIGNAL", "STOP", "STOP is no instruction"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_an_image_file(original, rule):
    _, out = original
    files = json.loads((out / "bundle.json").read_text())["files"]
    text = image_file.image_file(project="shop", release="v1", env="prod", base="docker.io/library/python:3.11-slim")
    assert image_file.problems(text, files) == []
    old, new, reason = RULES[rule]
    assert old in text
    if rule == "health":
        text = "\n".join("HEALTHCHECK NONE" if line.startswith("HEALTHCHECK") else line for line in text.splitlines())
    found = image_file.problems(text.replace(old, new), files)
    assert any(reason in each for each in found), found


def test_the_wheels_are_for_this_python(original):
    said = json.loads((original[1] / "bundle.json").read_text())
    assert said["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
