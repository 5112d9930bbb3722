"""The files of a project: a function of the answers, which load, format and say nothing of what is to be done."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.scaffold.tables import csv, visits

import headrace as hr
from headrace.core.ids import new_id
from headrace.environments import config
from headrace.environments.importing import load_tree
from headrace.environments.scan import scan
from headrace.scaffold import FILE, Answers, Documents, describe, files_of, read_answers, sample_rows
from headrace.scaffold.templates import FOLDER

FILE_OF_ANSWERS = ".headrace-template.toml"
ODD = csv('"a ""b"" (cm)",c/d,é,label', [(number % 7, number / 3, number % 3, number % 2) for number in range(60)])
NAMED = csv("select,x,label", [(number % 7, f"t{number % 3}", number / 7) for number in range(60)])
WORDS = csv(
    "id,when,select,end,label",
    [(f"r{number}", f"2025-03-{number % 28 + 1:02}", number % 7, number % 3, number % 2) for number in range(60)],
)
WIDE = csv(
    ",".join([*(f"measured_value_{number}" for number in range(40)), "label"]),
    [[(row * column) % 13 for column in range(40)] + [row % 2] for row in range(60)],
)
PROJECTS = {
    "sample": (FILE, sample_rows().encode()),
    "visits": ("Visits of 2025.csv", visits()),
    "odd": ("odd.csv", ODD),
    "named": ("2.csv", NAMED),
    "words": ("group.csv", WORDS),
    "wide": ("wide.csv", WIDE),
    "classes": ("classes.csv", csv("size,kind", [(n % 7, ("it's", "b c", "d")[n % 3]) for n in range(60)])),
}


ASSISTANTS = {
    "documents": Documents(file="documents.csv", title="title", count=20, questions=22, example="What does it cost?"),
    "faq": Documents(file="it's.tsv", key="select", text="The answer", count=3, questions=3, example='Is "it" é?'),
    "pages": Documents(file="", title="title", count=700, questions=50, example="Where is it?"),
}


def answers(name, ci=("github", "gitlab"), **more):
    kind = "assistant" if name in ASSISTANTS else "tabular"
    if name in ASSISTANTS:
        data = ASSISTANTS[name]
    else:
        file, content = PROJECTS[name]
        data, _ = describe(content, Path(file))
    sample = name in ("sample", "documents")
    return Answers(headrace="0.1.0", python="3.12", kind=kind, name="shop", ci=ci, is_sample=sample, data=data, **more)


def write(name, folder, **more):
    """A project, with its answers."""
    asked = answers(name, **more)
    for path, text in files_of(asked).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return asked, folder


@pytest.fixture(params=[*PROJECTS, *ASSISTANTS])
def made(request, tmp_path):
    """A project of each kind."""
    return write(request.param, tmp_path)


@pytest.fixture(params=PROJECTS)
def tabular(request, tmp_path):
    return write(request.param, tmp_path)


@pytest.fixture(params=ASSISTANTS)
def assistant(request, tmp_path):
    return write(request.param, tmp_path)


def test_the_answers_in_the_project_make_the_same_files_again(made):
    asked, folder = made
    again = read_answers(folder)

    assert again == asked
    assert all((folder / path).read_text(encoding="utf-8") == text for path, text in files_of(again).items())


def test_headrace_accepts_the_program(tabular):
    asked, folder = tabular
    declared = scan(load_tree(folder, "shop.project", version=new_id()))
    (model,) = [each for each in declared if isinstance(each, hr.Model)]
    (deployment,) = [each for each in declared if isinstance(each, hr.Deployment)]

    assert [each.name for each in config.load(folder).environments] == ["dev", "staging", "prod"]
    assert type(model.task).__name__.lower() == asked.data.task
    assert deployment.model is model
    assert [each.name for each in deployment.gates] == ["signature", "documented", "not_worse"]
    assert [rule.metric for rule in deployment.monitor.alerts] == ["psi"]
    assert deployment.retrain.on == "alert"


@pytest.mark.parametrize("name", ["sample", "classes", "documents"])
@pytest.mark.parametrize("pattern", ["code", "models", "hybrid"])
def test_how_versions_come_up_is_one_line_of_the_program(name, pattern, tmp_path):
    _, folder = write(name, tmp_path, deploy=pattern)
    declared = scan(load_tree(folder, "shop.project", version=new_id()))
    (deployment,) = [each for each in declared if isinstance(each, hr.Deployment)]
    usual = files_of(answers(name))
    other = {path for path, text in usual.items() if (folder / path).read_text(encoding="utf-8") != text}

    assert deployment.pattern == pattern
    assert other == (set() if pattern == "code" else {"shop/project.py", "README.md", FILE_OF_ANSWERS})
    assert ("comes up" in (folder / "README.md").read_text()) or pattern != "hybrid"
    assert read_answers(folder).deploy == pattern


def test_headrace_accepts_an_assistant(assistant):
    asked, folder = assistant
    declared = scan(load_tree(folder, "shop.project", version=new_id()))
    (deployment,) = [each for each in declared if isinstance(each, hr.Deployment)]
    (source,) = [each for each in declared if isinstance(each, hr.Source) and each.name == "bronze.documents"]
    limit = "answer_f1" if asked.is_sample else "recall@3"
    gates = [getattr(gate, "metric", gate.name) for gate in deployment.gates]

    assert gates == ["documented", limit, "is_fit", "answer_f1", "injections"]
    assert isinstance(deployment.model.task, hr.Generation)
    assert bool(source.files) is bool(asked.data.file)
    assert deployment.feedback.takes == ("thumbs", "correction")
    assert [rule.metric for rule in deployment.monitor.alerts] == ["feedback.thumbs", "empty_retrieval"]


def test_an_assistant_has_a_provider_in_prod_alone_with_its_key_by_reference(assistant):
    _, folder = assistant
    *tried, prod = config.load(folder).environments
    addresses = {each.llm.routes["answers"].url for each in tried}
    route = prod.llm.routes["answers"]
    (port,) = re.findall(r"^PORT = (\d+)", (folder / "shop" / "offline.py").read_text(), re.MULTILINE)

    assert addresses == {f"http://127.0.0.1:{port}/v1"}
    assert (route.url[:8], route.key.variable) == ("https://", "OPENAI_API_KEY")
    assert prod.approvals == ("governance",)
    assert all(not each.approvals for each in tried)
    assert "shop.offline" in (folder / "ci" / "run").read_text()


def test_the_select_of_an_assistant_takes_names_that_need_quotes(assistant):
    import duckdb
    import pyarrow as pa

    asked, folder = assistant
    documents = asked.data
    texts = [" A\n\n  b. ", "", None]
    rows = {
        documents.key: [1, 2, 3],
        documents.text: texts,
        **({documents.title: ["T", "U", "V"]} if documents.title else {}),
    }
    with duckdb.connect() as connection:
        connection.execute("create schema bronze")
        connection.register("given", pa.table(rows))
        connection.execute("create table bronze.documents as select * from given")
        found = connection.execute((folder / "shop" / "documents.sql").read_text()).fetchall()

    assert found == [("1", "T", "T\nA\nb.") if documents.title else ("1", "1", "A\nb.")]


def test_programs_are_short_and_have_nothing_to_fill_in(made):
    _, folder = made
    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}

    assert 15 <= len(texts) <= 25
    assert len(texts[folder / "shop" / "project.py"].splitlines()) <= 60
    for path, text in texts.items():
        assert not re.search(r"TODO|FIXME|<<|>>(?!\")", text.replace(">&2", "")), path
        assert text.endswith("\n"), path
        assert not re.search(r"[ \t]$", text, re.MULTILINE), path


def test_programs_are_formatted_as_ours_are(made):
    _, folder = made
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,W,B,UP", "--line-length", "120", "--config", "lint.isort.known-first-party=['shop']", "--config", "lint.isort.known-third-party=['headrace']", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", "--line-length", "120", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert formatted.returncode == 0, formatted.stdout


def test_ci_calls_one_script_and_nothing_else(made):
    import yaml

    _, folder = made
    github = yaml.safe_load((folder / ".github/workflows/headrace.yml").read_text())
    steps = [step["run"] for job in github["jobs"].values() for step in job["steps"] if "run" in step]
    gitlab = yaml.safe_load((folder / ".gitlab-ci.yml").read_text())
    scripts = [line for job in gitlab.values() if isinstance(job, dict) for line in job.get("script", ())]
    names = ["ci/run unit", "ci/run integration", 'ci/run release "$VERSION"']

    assert steps == names
    assert scripts == [*names[:2], "ci/run integration", names[2]]  # that of a fork, without the key
    assert subprocess.run(["sh", "-n", str(folder / "ci/run")], check=False).returncode == 0


@pytest.mark.parametrize("ci", [(), ("github",), ("gitlab",)])
def test_a_project_has_the_files_of_the_ci_that_was_chosen(ci):
    there = files_of(answers("sample", ci)).keys() & {".github/workflows/headrace.yml", ".gitlab-ci.yml"}

    assert len(there) == len(ci)
    assert all(any(system in path for path in there) for system in ci)


def test_every_template_is_used_and_is_a_file_of_the_package():
    templates = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    source = "".join(path.read_text() for path in FOLDER.parent.glob("*.py"))
    composed = {
        f"tabular/features/{test}{kind}.py.txt" for kind in ("weekday", "log", "length") for test in ("", "test_")
    }
    composed |= {f"tabular/test_training_{task}.py.txt" for task in ("binary", "multiclass", "regression")}
    outputs = ("refresh", "train", "deploy", "serve", "answer")
    composed |= {f"{kind}/sample/{output}.txt" for kind in ("tabular", "assistant") for output in outputs}

    assert {each for each in templates - composed if f'"{each.removesuffix(".txt")}"' not in source} == set()
    assert composed <= templates
    assert all(files("headrace.scaffold").joinpath("templates", *each.split("/")).is_file() for each in templates)
    assert all(each.endswith(".txt") for each in templates)


def test_the_wheel_has_every_template(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=FOLDER.parents[3], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    package = FOLDER.parents[2]
    names = {path.relative_to(package).as_posix() for path in FOLDER.rglob("*") if path.is_file()}

    assert names
    assert names - set(ZipFile(wheel).namelist()) == set()


def test_the_sample_is_the_same_on_every_machine():
    from hashlib import sha256

    assert sha256(sample_rows().encode()).hexdigest() == (
        "8fc2df3efceaf916c5e91ec2827e894c7ca9ad7e051513595a57ed5956ff92e9"
    )


def test_words_of_python_and_sql_are_no_columns_of_the_program():
    texts = files_of(answers("visits"))

    assert '"order"' in texts["shop/decisions.sql"]
    assert '"Seen By" as seen_by' in texts["shop/decisions.sql"]
    assert "\"Visited At\"::timestamp at time zone 'UTC' as visited_at" in texts["shop/labels.sql"].replace(
        "known_at", "visited_at"
    )
    compiled = ast.parse(texts["shop/features.py"])
    assert any(isinstance(node, ast.FunctionDef) and node.name == "visited_at_weekday" for node in compiled.body)


def test_names_of_tables_need_no_quotes():
    texts = files_of(answers("words"))

    assert 'hr.expect("when_ is not null")' in texts["shop/project.py"]
    assert '"select" as select_' in texts["shop/decisions.sql"]


def test_the_answers_are_toml_with_the_versions():
    table = tomllib.loads(files_of(answers("sample"))[".headrace-template.toml"])

    assert (table["headrace"], table["kind"], table["template"]) == ("0.1.0", "tabular", 1)
    assert table["answers"]["rows"]["label"] == "late"
    assistant = tomllib.loads(files_of(answers("documents"))[".headrace-template.toml"])
    assert (assistant["kind"], assistant["answers"]["documents"]["title"]) == ("assistant", "title")
