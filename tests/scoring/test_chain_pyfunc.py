"""A version of a model that answers is loaded by MLflow's own client, in a process that knows nothing of the project."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from tests.support.assistant import ledger

from headrace.chains.routes import without_address

PROGRAM = """
import json, sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(pd.DataFrame({"question": ["What returns the square root?", "What suspends execution?"]}))
print(json.dumps(found.to_dict("records")))
"""


@pytest.fixture
def artifact(assistant_project, tmp_path):
    """The files of the version alone, elsewhere."""
    (described,) = (assistant_project / ".headrace").rglob("MLmodel")
    return shutil.copytree(described.parent, tmp_path / "artifact")


def run(artifact, folder, **environment):
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(artifact)],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_answers_with_its_prompts_and_index_inside(artifact, answering, tmp_path):
    routes = tmp_path / "routes.toml"
    routes.write_text(f'[routes.small]\nprotocol = "openai"\nurl = "{answering.url}"\nmodel = "small"\n')
    done = run(artifact, tmp_path / "empty", HEADRACE_LLM_ROUTES=str(routes))

    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert "math.sqrt" in first["prediction"]
    assert "time.sleep" in second["prediction"]
    assert json.loads(first["prediction_passages"])[0]["id"] == "c"
    assert list((tmp_path / "empty").iterdir()) == []


def test_without_routes_it_says_what_to_set(artifact, tmp_path):
    done = run(artifact, tmp_path / "empty")
    assert done.returncode != 0
    assert "HEADRACE_LLM_ROUTES names a TOML file with [routes.NAME]" in done.stderr


def test_a_file_of_routes_that_is_not_there(artifact, tmp_path):
    done = run(artifact, tmp_path / "empty", HEADRACE_LLM_ROUTES=str(tmp_path / "nowhere.toml"))
    assert done.returncode != 0
    assert "nowhere.toml" in done.stderr


def test_another_model_behind_the_route_is_a_warning(artifact, answering, tmp_path):
    routes = tmp_path / "routes.toml"
    routes.write_text(f'[routes.small]\nprotocol = "openai"\nurl = "{answering.url}"\nmodel = "small-2"\n')
    done = run(artifact, tmp_path / "empty", HEADRACE_LLM_ROUTES=str(routes))
    assert done.returncode == 0, done.stderr
    assert "was evaluated with other language models" in done.stderr


def test_another_address_behind_the_route_is_a_warning_that_does_not_say_the_old_one(artifact, answering, tmp_path):
    routes = tmp_path / "routes.toml"
    other = answering.url.replace("127.0.0.1", "localhost")
    routes.write_text(f'[routes.small]\nprotocol = "openai"\nurl = "{other}"\nmodel = "small"\n')
    done = run(artifact, tmp_path / "empty", HEADRACE_LLM_ROUTES=str(routes))
    assert done.returncode == 0, done.stderr
    assert "the url of route 'small' is another one now" in done.stderr


def test_its_requirements_name_all_that_answering_imports(artifact):
    wanted = (artifact / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0].lower().replace("_", "-") for line in wanted}
    assert {"headrace", "mlflow-skinny", "pandas", "numpy", "jinja2", "aiohttp"} <= names
    assert yaml.safe_load((artifact / "MLmodel").read_text())["flavors"]["python_function"]["loader_module"]


def test_the_record_of_the_version_is_that_of_the_package(assistant_project, artifact):
    ((routes,),) = ledger(assistant_project, "select routes from model_versions")
    (described,) = artifact.rglob("chain.json")
    kept = json.loads(described.read_text())["routes"]
    assert kept == {name: without_address(each) for name, each in json.loads(routes).items()}
    assert not any(each["url"] in described.read_text() for each in json.loads(routes).values())
