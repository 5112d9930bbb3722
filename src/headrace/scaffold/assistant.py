"""The kind `assistant`: documents, and a function that answers questions from them with a language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.scaffold.documents import FOLDER, Documents, DocumentSet, read_documents
from headrace.scaffold.gold_questions import as_lines, made_questions
from headrace.scaffold.guess import Guess
from headrace.scaffold.identifiers import aliased, sql_column
from headrace.scaffold.kind import Kind, Material
from headrace.scaffold.project_files import rendered, shared_templates, shared_values
from headrace.scaffold.templates import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.scaffold.answers import Answers

EXTRAS = ("llm", "serve")
FILES = {  # path → template
    "README.md": "assistant/README.md",
    "tests/integration/test_pipelines.py": "assistant/test_pipelines.py",
    "tests/unit/test_answering.py": "assistant/test_answering.py",
    "tests/unit/test_project.py": "assistant/test_project.py",
}
PACKAGE = {
    "__init__.py": "assistant/package.py",
    "answer.md": "assistant/answer.md",
    "answering.py": "assistant/answering.py",
    "documents.sql": "assistant/documents.sql",
    "offline.py": "assistant/offline.py",
    "project.py": "assistant/project.py",
}
OF_FOLDER = {"documents.py": "assistant/documents.py"}
SAMPLE, QUESTIONS = "documents.csv", "questions.jsonl"
EXAMPLE = "What does express delivery cost?"
OUTPUTS = ("refresh", "train", "deploy", "serve", "answer")
PORT = 8124  # of what answers offline
AT_LEAST = 'hr.at_least("answer_f1", 0.6)'
AT_LEAST_MADE = (
    'hr.at_least("recall@3", 0.5)'  # questions that were made of titles ask for a document more than for its words
)


def begin(source: Path | None, options: Mapping[str, str | None]) -> Material[Documents]:
    """The documents of a CSV file or a folder with gold questions made of them, or the sample.

    Args:
        source: the file or folder; None: the sample.
        options: `key` and `text`: a column; None: it is guessed.

    Raises:
        ConfigError: see `read_documents`.
        NotFoundError: there is no such column.
    """
    if source is None:
        return _sample()
    found = read_documents(source, **options)
    questions = made_questions(found.documents)
    return Material(
        described=_described(found, questions=len(questions), example=str(questions[0]["question"])),
        files=_data(found, as_lines(questions)),
        guesses=(*found.guesses, _about(questions)),
    )


def _about(questions: Sequence[dict[str, object]]) -> Guess:
    return Guess(
        about="questions",
        value=f"{len(questions)}, such as {questions[0]['question']!r}",
        reason="made of the documents, to begin with",
        change=f"data/{QUESTIONS}",
    )


def _sample() -> Material[Documents]:
    import tempfile

    asked = render("assistant/sample/questions.jsonl", {}).encode()
    with tempfile.TemporaryDirectory() as folder:  # read as a file of the user is
        path = Path(folder) / SAMPLE
        path.write_text(render("assistant/sample/documents.csv", {}), encoding="utf-8")
        found = read_documents(path)
    described = _described(found, questions=len(asked.splitlines()), example=EXAMPLE)
    return Material(described=described, files=_data(found, asked))


def _described(found: DocumentSet, *, questions: int, example: str) -> Documents:
    return Documents(
        file=found.file,
        key=found.key,
        text=found.text,
        title=found.title,
        count=len(found.documents),
        questions=questions,
        example=example,
    )


def _data(found: DocumentSet, questions: bytes) -> dict[str, bytes]:
    return {**{f"data/{path}": content for path, content in found.files.items()}, f"data/{QUESTIONS}": questions}


def files(answers: Answers[Documents]) -> dict[str, str]:
    """Path → text, of every file but the data and the lock."""
    package = {**PACKAGE, **({} if answers.data.file else OF_FOLDER)}
    templates = {
        **shared_templates(answers),
        **FILES,
        **{f"{answers.name}/{name}": each for name, each in package.items()},
    }
    request = {"model": answers.name, "messages": [{"role": "user", "content": answers.data.example}]}
    return {
        **rendered(templates, _values(answers)),
        "request.json": json.dumps(request, indent=2, ensure_ascii=False) + "\n",
    }


def _values(answers: Answers[Documents]) -> dict[str, str]:
    """Name in a template → its text."""
    name, documents = answers.name, answers.data
    text, title = sql_column(documents.text), sql_column(documents.title) if documents.title else ""
    body = f"trim(regexp_replace({text}, '\\s*\\n\\s*', E'\\n', 'g'))"
    suffix = documents.file.rpartition(".")[2]
    values = {
        **shared_values(answers, EXTRAS),
        "port": str(PORT),
        "key": sql_column(documents.key),
        "text": text,
        "title": aliased(documents.title, "title") if title else f"{sql_column(documents.key)}::varchar as title",
        "body": f"coalesce({title} || E'\\n', '') || {body}" if title else body,
        "source": f'files="data/*.{suffix}"' if documents.file else "read=read_documents",
        "import_documents": "" if documents.file else f"from {name}.documents import read_documents",
        "test_documents": f'PROJECT / "data" / {json.dumps(documents.file, ensure_ascii=False)}'
        if documents.file
        else "read_documents()",
        "import_for_test": "" if documents.file else f"\nfrom {name}.documents import read_documents",
        "documents_file": ""
        if documents.file
        else f"| `{name}/documents.py` | how the files of `data/{FOLDER}` become rows |",
        "place": f"data/{documents.file}" if documents.file else f"data/{FOLDER}",
        "unit": "row" if documents.file else "file",
        "added": "a new file adds to them" if documents.file else "each file is a document",
        "at_least": AT_LEAST if answers.is_sample else AT_LEAST_MADE,
        "compared": str(min(documents.questions, 20)),
        "count": str(documents.count),
        "questions": str(documents.questions),
        "about_questions": (
            "The questions are about the sample."
            if answers.is_sample
            else "They were made of the documents, so that the\nevaluation runs from the first day, and say whether a document is found. "
            "Put questions that people ask in their place, and ask for\n`answer_f1` in `hr.at_least` then."
        ),
        "passed": (
            "The version has passed its gates and is in Production."
            if answers.is_sample
            else "If the version has passed its gates, it is in Production; else the last command says why."
        ),
        "approvals": 'approvals = ["governance"]     # somebody with this role approves each version',
        "offline": f"(unset HEADRACE_SIGNING_KEY; exec python3 -m {name}.offline >/dev/null) &  # answers where no provider does\n"
        '    trap "kill $! 2>/dev/null || true" EXIT\n'
        "    trap 'exit 130' HUP INT PIPE TERM  # a shell that a signal ends would leave it running",
    }
    values["routes"] = render("assistant/routes.toml", values).rstrip("\n")
    for each in OUTPUTS:
        values[f"{each}_output"] = render(f"assistant/sample/{each}", values).rstrip("\n") if answers.is_sample else ""
    return values


ASSISTANT = Kind(
    name="assistant",
    extras=EXTRAS,
    source="CSV file or folder with the documents (Enter: sample documents)",
    describes=Documents,
    questions={"text": "Text, the column to answer from", "key": "Key, the column that tells documents apart"},
    begin=begin,
    files=files,
    next=("python -m {name}.offline &", "headrace run refresh"),
)
