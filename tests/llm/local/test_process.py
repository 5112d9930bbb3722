import subprocess
import sys

import pytest

from headrace.core.errors import MissingExtraError, NotFoundError
from headrace.core.processes import module
from headrace.llm.local import weights
from headrace.llm.local.weights import ModelFiles, find_model


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(NotFoundError, match="did you mean 'smollm2'"):
        find_model("smollm")


def test_a_folder_needs_the_files_of_one_model(tmp_path):
    with pytest.raises(NotFoundError, match=r"\.gguf file, or a config\.json"):
        find_model(str(tmp_path))
    (tmp_path / "a.gguf").touch()
    assert find_model(str(tmp_path)).gguf == "a.gguf"
    (tmp_path / "b.gguf").touch()
    with pytest.raises(NotFoundError, match=r"Leave one of a\.gguf, b\.gguf"):
        find_model(str(tmp_path))


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path):
    command = module("headrace.llm.local", "--model", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("no model in the folder")
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "GGUF_LIBRARIES", {"llm-local": ("no_such_library",)})
    files = ModelFiles(name="m", folder=tmp_path, gguf="m.gguf")

    with pytest.raises(MissingExtraError, match=r"pip install 'headrace\[llm-local\]'"):
        weights.need_libraries(files)


def test_pytorch_is_imported_where_a_model_is_loaded_and_nowhere_else():
    program = "import sys, headrace.llm.local.server, headrace.llm.local.generation; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
