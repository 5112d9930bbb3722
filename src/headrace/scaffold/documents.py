"""What a CSV file or a folder of texts says of an assistant: key, text, title; and a few documents to ask about."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from headrace.core.errors import ConfigError, NotFoundError
from headrace.core.text import counted
from headrace.scaffold.delimited_file import SUFFIXES as TABLES
from headrace.scaffold.delimited_file import read_bytes, read_columns
from headrace.scaffold.guess import Guess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.scaffold.candidates import Column

FEWEST = 3  # documents
MOST = 10_000  # files of a folder: more of them were hardly meant
WORDS = 3  # a column of texts has more than so many on average
SUFFIXES = (".md", ".txt")
TEXTS = ("text", "body", "content", "answer", "document", "page", "description")  # names that say it
TITLES = ("title", "name", "heading", "subject", "question")
FOLDER = "documents"  # below data/


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What the files of a project need to know of its documents. Columns are named as in the file.

    Attributes:
        file: the name of the CSV file; empty where the documents are files of `data/documents`.
        key: the column that tells documents apart.
        text: the column with their texts.
        title: the column with their titles; empty where there is none.
        count: how many documents have a text.
        questions: how many gold questions the project begins with.
        example: a question, as a request asks it.
    """

    section: ClassVar[str] = "documents"

    file: str
    key: str = "id"
    text: str = "text"
    title: str = ""
    count: int
    questions: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document with a text.

    Attributes:
        key: of the document.
        title: empty where there is none.
        text: without the title.
    """

    key: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DocumentSet:
    """Documents of the user.

    Attributes:
        file: the name of the CSV file; empty for a folder.
        key: the column that tells them apart.
        text: the column with their texts.
        title: the column with their titles; empty where there is none.
        documents: those with a text, in their order.
        files: path below `data/` → content.
        guesses: what was guessed.
    """

    file: str
    key: str
    text: str
    title: str
    documents: tuple[Document, ...]
    files: Mapping[str, bytes]
    guesses: tuple[Guess, ...]


def read_documents(source: Path, *, key: str | None = None, text: str | None = None) -> DocumentSet:
    """The documents of a CSV file, or of a folder with `.md` and `.txt` files.

    Args:
        source: the file or the folder.
        key: the column that tells documents apart; None: it is guessed.
        text: the column with their texts; None: it is guessed.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, has fewer than three documents with a text, or a column cannot be what it
            is named for.
        NotFoundError: there is no such column.
    """
    if source.is_dir():
        if given := [name for name, value in (("key", key), ("text", text)) if value is not None]:
            raise ConfigError(
                f"--{given[0]} names a column of a CSV file, and {source} is a folder.",
                hint=f"Leave --{given[0]} out: the key of a file is its path, and its text is all that it has.",
            )
        found = _of_folder(source)
    else:
        data = read_bytes(source, example="docs.csv", also=" and no folder")
        found = _of_table(data, source, key=key, text=text)
    if len(found.documents) < FEWEST:
        raise ConfigError(
            f"{source} has {counted(len(found.documents), 'document')} with a text; at least {FEWEST} are needed to search and to test.",
            hint="A row, or a .md or .txt file of a folder, is a document.",
        )
    return found


def _of_table(data: bytes, path: Path, *, key: str | None, text: str | None) -> DocumentSet:
    columns, noted = read_columns(data, path)
    for given in filter(None, (key, text)):
        if given not in columns:
            raise NotFoundError("column", given, columns, hint=f"{path} has no such column.")
    guesses: list[Guess] = []
    if text is None:
        found, reason = _text(path, columns, key)
        text = found.name
        guesses.append(Guess(about="text", value=text, reason=reason, change="--text COLUMN"))
    elif not text or columns[text].kind != "text":
        raise ConfigError(
            f"column {text!r} of {path} cannot be the text: it has no texts." if text else "an assistant needs a text.",
            hint="Choose another one by --text COLUMN.",
        )
    if key is None:
        key = _key(path, columns, text)
        guesses.append(Guess(about="key", value=key, reason="no value is there twice", change="--key COLUMN"))
    elif reason := _why_no_key(columns, key, text):
        raise ConfigError(
            f"column {key!r} of {path} cannot be the key: {reason}.", hint="Choose another one by --key COLUMN."
        )
    title = _title(columns, (key, text))
    shown = title or "none"
    reason = "its name says so" if title else f"no column is called {', '.join(TITLES[:-1])} or {TITLES[-1]}"
    guesses.append(Guess(about="title", value=shown, reason=reason, change="documents.sql"))
    return DocumentSet(
        file=path.name,
        key=key,
        text=text,
        title=title,
        documents=tuple(_documents(columns, key, text, title)),
        files={path.name: data},
        guesses=(*guesses, *noted),
    )


def _text(path: Path, columns: Mapping[str, Column], key: str | None) -> tuple[Column, str]:
    """The column that is called like a text, else the one with the longest texts; and why."""
    words = {each.name: _words(each) for each in columns.values() if each.kind == "text" and each.name != key}
    named = next((name for wanted in TEXTS for name in words if name.lower() == wanted), None)
    if named is not None:
        return columns[named], "its name says so"
    longest = max(words, key=lambda name: words[name], default=None)
    if longest is None or words[longest] <= WORDS:
        raise ConfigError(
            f"no column of {path} has texts to answer from.",
            findings=[
                f"{name}: {words[name]:.1f} words on average" if name in words else f"{name}: no texts"
                for name in columns
            ],
            hint="The column of the texts has several words in each row; name it by --text COLUMN.",
        )
    return columns[longest], f"the longest texts, {words[longest]:.0f} words on average"


def _words(column: Column) -> float:
    texts = column.values.drop_null().to_pylist()
    return sum(len(str(each).split()) for each in texts) / len(texts) if texts else 0.0


def _key(path: Path, columns: Mapping[str, Column], text: str) -> str:
    from headrace.scaffold import candidates

    others = [each for each in columns.values() if each.name != text]
    called = candidates.key_of(others)
    possible = [each.name for each in others if not candidates.why_no_key(each)]
    if called is None and not possible:
        raise ConfigError(
            f"no column of {path} tells the documents apart.",
            findings=[f"{each.name}: {candidates.why_no_key(each)}" for each in others],
            hint="A key is a text or a number that each row has and no other row has, too; name it by --key COLUMN.",
        )
    return called.name if called else possible[0]


def _why_no_key(columns: Mapping[str, Column], key: str, text: str) -> str:
    from headrace.scaffold import candidates

    if not key:
        return "a document needs one, so that an answer can name it"
    return "it is the text" if key == text else candidates.why_no_key(columns[key])


def _title(columns: Mapping[str, Column], taken: tuple[str, str]) -> str:
    possible = [each.name for each in columns.values() if each.kind == "text" and each.name not in taken]
    return next((name for wanted in TITLES for name in possible if name.lower() == wanted), "")


def _documents(columns: Mapping[str, Column], key: str, text: str, title: str) -> Iterator[Document]:
    texts = columns[text].values.to_pylist()
    titles = columns[title].values.to_pylist() if title else [None] * len(texts)
    for one, named, written in zip(columns[key].values.to_pylist(), titles, texts, strict=True):
        if written and str(written).strip():
            yield Document(key=str(one), title=str(named or "").strip(), text=str(written).strip())


def _of_folder(folder: Path) -> DocumentSet:
    paths: list[Path] = []
    seen = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen += len(names)
        if seen > MOST:
            raise ConfigError(
                f"{folder} has more than {MOST:,} files.", hint="Put the documents into a folder of their own."
            )
        for name in names:
            path = Path(here, name)
            if path.suffix.lower() in SUFFIXES and path.is_file() and not name.startswith("."):
                paths.append(path)
    if not paths:
        raise ConfigError(
            f"{folder} has no .md and no .txt file.",
            hint=f"A table of documents is a file that ends in {' or '.join(TABLES)}.",
        )
    contents = {path.relative_to(folder).as_posix(): _content(path) for path in sorted(paths)}
    documents = [_document(path, text.decode("utf-8-sig").strip()) for path, text in contents.items()]
    return DocumentSet(
        file="",
        key="id",
        text="text",
        title="title",
        documents=tuple(each for each in documents if each.text),
        files={f"{FOLDER}/{path}": content for path, content in contents.items()},
        guesses=(
            Guess(about="key", value="the path", reason="a file is a document", change="documents.py"),
            Guess(about="title", value="the first heading", reason="else the name of the file", change="documents.py"),
        ),
    )


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="headrace init NAME --from FOLDER"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}.",
            hint=f"Convert the file: iconv -f latin1 -t utf8 {path.name}",
        ) from None
    return content


def _document(path: str, text: str) -> Document:
    """A file as the project's `documents.py` reads it."""
    first, _, rest = text.partition("\n")
    if first.startswith("#"):
        return Document(key=path, title=first.lstrip("# ").strip(), text=rest.strip())
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return Document(key=path, title=stem.replace("_", " ").replace("-", " "), text=text)
