"""A protocol of a project, from `run deploy` to a server that has the model's copy and nothing of the project."""

import json
import shutil
from pathlib import Path

import pytest
from tests.serving.conftest import PROGRAM, samples, serving

ALONE = ("-P", "-m", "headrace.serving")  # as `headrace serve` starts it
ROWS = Path(__file__).with_name("rowwise.py").read_text()
WORDS = 'PROBLEM = "trouble"\n'
OWN = ROWS.replace('"problem": message', "PROBLEM: message").replace('("problem",)', "(PROBLEM,)")
OWN = OWN.replace("import headrace as hr\n", "import headrace as hr\nfrom city.words import PROBLEM\n")

COLLIDES = ROWS + "\n\nclass Twin(Rows):\n    name = 'twin'\n\n\nTWIN = Twin()\n"
WRONG = {
    "no module": ("city.nowhere:ROWS", {}, "there is no module 'city.nowhere'", "install its package"),
    "no name": ("city.rows:LINES", {"rows": OWN}, "has no 'LINES'", "LINES = YourProtocol()"),
    "a class": ("city.rows:Rows", {"rows": OWN}, "no ServingProtocol", "Name an object, not its class"),
    "path of another": ("city.rows:THIEF", {"rows": OWN}, "'/v2/models/late/infer'", "another path"),
    "path of another of its own": (
        ("city.rows:ROWS", "city.rows:TWIN"),
        {"rows": COLLIDES},
        "the path '/rows/{model}' of the serving protocol 'twin' collides",
        "another path",
    ),
    "import error": ("city.rows:ROWS", {"rows": "import nothing_like_it\n" + ROWS}, "nothing_like_it", "pip install"),
    "raises": ("city.rows:ROWS", {"rows": ROWS + "\n\nROWS.name = [][1]\n"}, "IndexError", ""),
    "does not parse": ("city.rows:ROWS", {"rows": "def (:\n"}, "SyntaxError", ""),
    "no routes": ("city.rows:ROWS", {"rows": ROWS + "\nROWS.routes = ['/rows']\n"}, "routes", "Route(pattern="),
    "called as a secret": ("city.api_token:ROWS", {"api_token": ROWS}, "does not travel", "another name"),
    "ends the process": ("city.rows:ROWS", {"rows": "import os\n\nos._exit(3)\n\nROWS = 1\n"}, "ended", ""),
}


def declare(folder, names, modules):
    """The project declares protocols, and has these modules in its package `city`."""
    names = [names] if isinstance(names, str) else list(names)
    (folder / "bikes.py").write_text(PROGRAM.replace('log="required"', f'log="required", protocols={names!r}'))
    shutil.rmtree(folder / "city", ignore_errors=True)
    (folder / "city").mkdir()
    (folder / "city" / "__init__.py").write_text("")
    for name, text in {"words": WORDS, **modules}.items():
        (folder / "city" / f"{name}.py").write_text(text)
    return names


def deploy(headrace, folder):
    return headrace.run(folder, "run", "deploy", "--as-of", "2024-02-15")


@pytest.fixture(scope="module")
def project(bikes, tmp_path_factory):
    return shutil.copytree(bikes, tmp_path_factory.mktemp("declared") / "bikes", symlinks=True)


@pytest.fixture
def own(bikes, tmp_path):
    """The project, with a version in Production that is served by a protocol of its own."""
    return shutil.copytree(bikes, tmp_path / "own" / "bikes", symlinks=True)


def elsewhere(folder, tmp_path):
    """The home of the model alone, in another folder; the project's own folder is gone."""
    root = tmp_path / "elsewhere" / "dev"
    shutil.copytree(folder / ".headrace" / "dev" / "serving", root / "serving")
    for file in (folder / ".headrace" / "dev").glob("online.db*"):
        shutil.copy(file, root)
    shutil.rmtree(folder)
    return root / "serving" / "late"


@pytest.mark.parametrize("case", sorted(WRONG))
def test_one_that_cannot_be_loaded_is_refused_before_a_copy_is_made(headrace, project, case):
    names, modules, reason, step = WRONG[case]
    names = declare(project, names, modules)
    home = project / ".headrace" / "dev" / "serving" / "late"
    shutil.rmtree(home / "versions", ignore_errors=True)
    done = deploy(headrace, project)
    assert done.code != 0, done.stdout
    assert "model 'late'" in done.stderr
    assert f"'{names[-1]}'" in done.stderr
    assert reason in done.stderr
    assert step in done.stderr
    assert "/tmp/headrace-" not in done.stderr  # the lines are those of the project
    assert not (home / "versions").exists() or not [*(home / "versions").iterdir()]


def test_a_server_that_has_the_copy_alone_answers_by_it(headrace, own, tmp_path):
    declare(own, "city.rows:ROWS", {"rows": OWN, "other": "raise RuntimeError('nobody needs this')\n"})
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    home = elsewhere(own, tmp_path)
    (copy,) = (home / "versions").iterdir()
    there = {str(file.relative_to(copy)) for file in (copy / "protocols").rglob("*.py")}
    assert there == {f"protocols/code/city/{name}.py" for name in ("__init__", "rows", "words")}
    _, rows, outputs = samples(home)
    with serving(home, program=ALONE, cwd=tmp_path) as server:
        status, text, headers = server.ask("/rows/late", rows[:3])
        events = [json.loads(each.removeprefix("data: ")) for each in text.strip().split("\n\n")]
        assert (status, headers["x-headrace-version"]) == (200, "1")
        assert events == outputs[:3]
        assert server.ask("/rows/late", {})[1] == {"trouble": "the body is a list of rows"}


def test_of_the_module_with_the_declarations_only_the_protocol_travels(headrace, own, tmp_path):
    declare(own, "bikes:ROWS", {})
    (own / "bikes.py").write_text(ROWS + "\n\n" + (own / "bikes.py").read_text())
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    home = elsewhere(own, tmp_path)
    (text,) = [file.read_text() for file in home.glob("versions/*/protocols/code/*.py")]
    assert "hr.Table" not in text
    _, rows, outputs = samples(home)
    with serving(home, program=ALONE, cwd=tmp_path) as server:
        events = server.ask("/rows/late", rows[:2])[1].strip().split("\n\n")
        assert [json.loads(each.removeprefix("data: ")) for each in events] == outputs[:2]


def test_what_travels_is_under_the_seal(headrace, own, tmp_path):
    declare(own, "city.rows:ROWS", {"rows": OWN})
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    home = elsewhere(own, tmp_path)
    (file,) = home.glob("versions/*/protocols/code/city/words.py")
    file.write_text('PROBLEM = "other"\n')
    with serving(home, wait=False, program=ALONE, cwd=tmp_path) as server:
        told = server.wait(lambda _, told: told["stale"])
        assert "changed after it was copied" in told["stale"]


def test_changed_code_is_what_the_next_deployment_brings_and_none_takes_it_away(headrace, own, tmp_path):
    declare(own, "city.rows:ROWS", {"rows": OWN})
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    home = own / ".headrace" / "dev" / "serving" / "late"
    with serving(home, program=ALONE, cwd=tmp_path) as server:
        assert server.ask("/rows/late", {})[1].keys() == {"trouble"}
        (own / "city" / "words.py").write_text('PROBLEM = "newer"\n')
        assert (done := deploy(headrace, own)).code == 0, done.stderr
        server.until(lambda: server.ask("/rows/late", {})[1].keys() == {"newer"})
    (copy,) = (home / "versions").iterdir()
    assert "newer" in (copy / "protocols" / "code" / "city" / "words.py").read_text()
    (own / "bikes.py").write_text(PROGRAM)
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    assert not (copy / "protocols").exists()
    home = elsewhere(own, tmp_path)
    with serving(home, program=ALONE, cwd=tmp_path) as server:
        assert server.ask("/rows/late", [])[0] == 404


def test_a_container_installs_what_the_protocol_imports(headrace, own, tmp_path):
    declare(own, "city.rows:ROWS", {"rows": "import jsonschema\n" + OWN})
    assert (done := deploy(headrace, own)).code == 0, done.stderr
    done = headrace.run(own, "model", "export", "late", "--to", "container", "--into", tmp_path / "image")
    assert done.code == 0, done.stderr
    lines = (tmp_path / "image" / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in lines].count("jsonschema") == 1
    assert "orjson" in {line.partition("==")[0] for line in lines}
