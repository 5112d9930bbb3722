"""A search in the documents of a catalog: which entries a text matches, and how well; who uses a feature table.

The order of results is deterministic: a match in a name comes before one in a description, which comes before one in an owner,
a column or a project; equal matches are in the order of their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.catalog.document import Document, ModelEntry, TableEntry

WHOLE_NAME, NAME, DESCRIPTION, ELSEWHERE = range(4)  # where a word was found, the best first


@dataclass(frozen=True, kw_only=True)
class FoundTable:
    """A feature table, the document of the highest environment that has it, and the models that use it, by project."""

    document: Document
    entry: TableEntry
    consumers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A model, and the document of the highest environment with a version of it, in the stage that was searched for if any."""

    document: Document
    entry: ModelEntry


def find_tables(
    documents: Sequence[Document], text: str = "", *, owner: str = "", project: str = "", column: str = ""
) -> list[FoundTable]:
    """Feature tables, the best match first. Letter case does not matter.

    Args:
        documents: of all projects.
        text: words, each of which must occur in the name, the description, the owner, a column or the project.
        owner: a part of the owner.
        project: the name of the project.
        column: a part of the name of a column.
    """
    places: dict[tuple[str, str], set[str]] = {}
    highest: dict[tuple[str, str], tuple[Document, TableEntry]] = {}
    for document in sorted(documents, key=lambda each: each.rank):
        for entry in document.feature_tables:
            name = (document.project, entry.name)
            if entry.location is not None:
                places.setdefault(name, set()).add(entry.location)
            if name not in highest or entry.location is not None or highest[name][1].location is None:
                highest[name] = document, entry
    users = _users(documents)
    found: list[tuple[int, FoundTable]] = []
    for name, (document, entry) in highest.items():
        columns = [*entry.key, entry.time, *(each.column for each in entry.columns)]
        score = _score(text, entry.name, entry.description, (entry.owner, document.project, *columns))
        if (
            score is None
            or not _contains(owner, [entry.owner])
            or not _contains(column, columns)
            or (project and project.casefold() != document.project.casefold())
        ):
            continue
        consumers = {user for place in (name, *places.get(name, ())) for user in users.get(place, ())}
        found.append((score, FoundTable(document=document, entry=entry, consumers=tuple(sorted(consumers)))))
    found.sort(key=lambda each: (each[0], each[1].entry.name, each[1].document.project))
    return [each for _, each in found]


def find_models(
    documents: Sequence[Document], text: str = "", *, owner: str = "", project: str = "", stage: str = ""
) -> list[FoundModel]:
    """Models, the best match first. Letter case does not matter.

    Args:
        documents: of all projects.
        text: words, each of which must occur in the name, the description, the owner, a feature, the label or the project.
        owner: a part of the owner.
        project: the name of the project.
        stage: of a version. The highest environment with a version in that stage is found.
    """
    highest: dict[tuple[str, str], FoundModel] = {}
    for document in sorted(documents, key=lambda each: each.rank):
        for entry in document.models:
            name = (document.project, entry.name)
            if stage and not any(each.stage.casefold() == stage.casefold() for each in entry.versions):
                continue
            if name not in highest or entry.versions or not highest[name].entry.versions:
                highest[name] = FoundModel(document=document, entry=entry)
    found: list[tuple[int, FoundModel]] = []
    for each in highest.values():
        entry, of = each.entry, each.document.project
        features = [text for use in entry.features for text in (use.table, *use.columns)]
        score = _score(text, entry.name, entry.description, (entry.owner, of, entry.label, *features, *entry.functions))
        if (
            score is not None
            and _contains(owner, [entry.owner])
            and (not project or project.casefold() == of.casefold())
        ):
            found.append((score, each))
    found.sort(key=lambda each: (each[0], each[1].entry.name, each[1].document.project))
    return [each for _, each in found]


def _users(documents: Iterable[Document]) -> dict[str | tuple[str, str], set[tuple[str, str]]]:
    """Location of a table, and project and name of one, → project and name of each model that selects from it."""
    users: dict[str | tuple[str, str], set[tuple[str, str]]] = {}
    for document in documents:
        for model in document.models:
            for use in model.features:
                place = (document.project, use.table) if use.location is None else use.location
                users.setdefault(place, set()).add((document.project, model.name))
    return users


def _contains(part: str, texts: Iterable[str]) -> bool:
    return not part or any(part.casefold() in text.casefold() for text in texts)


def _score(text: str, name: str, description: str, rest: Iterable[str]) -> int | None:
    """How well an entry matches, the lower the better; None where a word occurs nowhere."""
    names = (name.casefold(), *name.casefold().split("."))
    where = (names[0], description.casefold(), "\n".join(rest).casefold())
    total = 0
    for word in text.casefold().split():
        if word in names:
            total += WHOLE_NAME
        elif word in where[0]:
            total += NAME
        elif word in where[1]:
            total += DESCRIPTION
        elif word in where[2]:
            total += ELSEWHERE
        else:
            return None
    return total
