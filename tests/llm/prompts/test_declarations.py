from pathlib import Path

import pytest
from tests.environments.conftest import TOML, Repository

import headrace as hr
from headrace.core.errors import DeclarationError
from headrace.environments import config
from headrace.environments.code import resolve
from headrace.environments.project import Project
from headrace.llm.prompts.declarations import Prompt

TEXT = "# system\nBe brief.\n# user\n{{ question }}\n"


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "shop")
    made.write("headrace.toml", TOML)
    made.write("shop/__init__.py", "")
    made.git("init", "-q", "-b", "main")
    return made


def project_of(repository, env):
    found = config.load(repository.folder)
    return Project(found, resolve(found, found.environment(env)))


@pytest.fixture
def declare(tmp_path):
    """Declares a prompt as a module in a folder of its own does."""

    def declared(arguments='inputs=["question"]', text=TEXT, name="answer"):
        (tmp_path / "answer.md").write_bytes(text if isinstance(text, bytes) else text.encode())
        module = tmp_path / "project.py"
        module.write_text(f"import headrace as hr\n\nprompt = hr.Prompt({name!r}, file='answer.md', {arguments})\n")
        names = {}
        exec(compile(module.read_text(), str(module), "exec"), names)
        return names["prompt"]

    return declared


def test_the_file_is_read_beside_the_module_when_it_is_declared(declare, tmp_path):
    prompt = declare()
    (tmp_path / "answer.md").write_text("changed")
    assert isinstance(prompt, hr.Prompt)
    assert prompt.text == TEXT
    assert prompt.digest == prompt.version.digest
    assert [message.content for message in prompt.render(question="Why?")] == ["Be brief.", "Why?"]


def test_the_same_text_with_other_line_ends_is_the_same_prompt(declare):
    assert declare(text=b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()).digest == declare().digest


@pytest.mark.parametrize(
    ("changed", "place", "what"),
    [
        ({"text": "# user\nx\n{{ question }"}, "answer.md:3: ", "unexpected '}'"),
        ({"text": TEXT + "\n{{ other }}"}, "answer.md:6: ", "uses 'other', which is not one of its inputs"),
        ({"text": "# system\n{{ question }}\n# user\nx"}, "answer.md:2: ", "would become an instruction"),
        ({"text": b"\x89PNG\xff"}, "project.py:3: ", "cannot be read"),
        ({"text": ""}, "project.py:3: ", "no section '# user'"),
        ({"arguments": 'inputs=["question", "more"]'}, "project.py:3: ", "does not use its input 'more'"),
        ({"arguments": 'inputs="question"'}, "project.py:3: ", "Write ['question']"),
        ({"arguments": 'inputs=["question", "question"]'}, "project.py:3: ", "'question' twice"),
        ({"arguments": 'inputs=["class"]'}, "project.py:3: ", "inputs=['class']"),
        ({"arguments": 'inputs=["_x"]'}, "project.py:3: ", "inputs=['_x']"),
        ({"arguments": 'inputs=["question"], instructions=["tone"]'}, "project.py:3: ", "'tone', which is not one"),
        ({"arguments": 'inputs=["question"], limit=0'}, "project.py:3: ", "limit=0"),
        ({"name": "An answer"}, "project.py:3: ", "'An answer' is not the name of a prompt"),
    ],
)
def test_a_mistake_is_said_with_its_place(declare, changed, place, what):
    with pytest.raises(DeclarationError) as raised:
        declare(**changed)
    assert place in raised.value.what
    assert what in str(raised.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DeclarationError) as raised:
        Prompt("answer", file="nowhere.md")
    assert str(Path(__file__).parent / "nowhere.md") in str(raised.value)


def test_a_prompt_is_code_and_comes_from_the_commit(repository):
    repository.write("shop/answer.md", "# user\nOne {{ q }}")
    repository.write(
        "shop/project.py", 'import headrace as hr\np = hr.Prompt("answer", file="answer.md", inputs=["q"])\n'
    )
    repository.commit()
    repository.write("shop/answer.md", "# user\nTwo {{ q }}")
    assert project_of(repository, "staging").find(hr.Prompt, "answer").render(q=1)[0].content == "One 1"
    assert project_of(repository, "dev").find(hr.Prompt, "answer").render(q=1)[0].content == "Two 1"


def test_a_file_outside_of_the_program_is_refused(repository):
    (repository.folder.parent / "answer.md").write_text("# user\nx")
    repository.write("shop/project.py", 'import headrace as hr\np = hr.Prompt("answer", file="../../answer.md")\n')
    repository.commit()
    with pytest.raises(DeclarationError, match="outside of the program's folder"):
        project_of(repository, "dev").find(hr.Prompt, "answer")
