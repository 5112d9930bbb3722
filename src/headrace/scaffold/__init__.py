"""The folder of a new project: what `headrace init` writes, from a name and, where there is one, a CSV file.

No environment is opened and nothing is stored here: a project begins to exist with its `headrace.toml`. Not for the shipped
examples, which `demo` lays out. Below it: the reader of CSV files in `lakehouse`, so that the types that are found here are
those that the first refresh finds.

    names: which names a project can have.
    kinds: the kinds of projects.
    kind: what one of them is: what it begins with, what it asks, and its files.
    answers: everything that the files depend on, as a record and as `.headrace-template.toml`.
    project_files: the files that every kind of project has.
    templates: text files with `<<names>>`, in `templates/`.
    guess: something that the data does not say, and what changes it.
    delimited_file: a CSV file of the user, as columns.
    candidates: which columns may be the key, the time and the label.
    identifiers: columns as SQL and Python take them.
    tabular: the kind for rows with a label.
    rows: what a CSV file says of a model: key, time, label, task, features.
    sample: rows for a project without a file, the same each time.
    assistant: the kind for questions about documents.
    documents: what a CSV file or a folder says of an assistant: key, text, title.
    gold_questions: questions that are made of documents.
    lock: `requirements.lock` of the installed environment.
    folder: the files on disk, whole or not at all.
    repository: git, and the first commit.
    base: what the templates made, kept in the project for the next update.
    merge: an update, file by file, as three-way merges.
    update: its files on disk, all of them, also when it is interrupted.
"""

from headrace.scaffold.answers import Answers
from headrace.scaffold.documents import Documents
from headrace.scaffold.folder import check_free, write
from headrace.scaffold.guess import Guess
from headrace.scaffold.kinds import KINDS, files_of, kind_named, read_answers, rendered
from headrace.scaffold.names import check_name
from headrace.scaffold.repository import commit_first, is_inside
from headrace.scaffold.rows import Rows, describe
from headrace.scaffold.sample import FILE, sample_rows

__all__ = [
    "FILE",
    "KINDS",
    "Answers",
    "Documents",
    "Guess",
    "Rows",
    "check_free",
    "check_name",
    "commit_first",
    "describe",
    "files_of",
    "is_inside",
    "kind_named",
    "read_answers",
    "rendered",
    "sample_rows",
    "write",
]
