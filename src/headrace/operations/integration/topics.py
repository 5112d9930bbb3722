"""The topics of an integration test on the environment's Kafka clusters: noted before they are created, deleted at the end.

What a test that was killed leaves is deleted by the process that started it, or by the next test: the note says what there may be.
It has only names as they are declared, and every one stands for the test's own, so that no note deletes anything else.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import ConfigError, HeadraceError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from headrace.environments.config import Config, Environment

NOTE = "kafka.json"  # in the root of a temporary environment
LOG = logging.getLogger(__name__)


@contextmanager
def own_topics(
    environment: Environment, topics: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]
) -> Generator[None]:
    """Topics of the test that stand for declared ones, for as long as they are used.

    Args:
        environment: the temporary one.
        topics: cluster → topics, as declared.
        groups: cluster → consumer groups that may come to be, as declared.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: a broker refuses to create or to delete them.
        NotFoundError: there is no such cluster.
    """
    from headrace.inference.streaming import clients
    from headrace.inference.streaming import own_topics as own

    for name in topics:  # where nobody answers, nothing has to be deleted
        clients.check_cluster(environment.cluster(name))
    note = environment.root / NOTE
    note.write_text(json.dumps({"environment": environment.name, "topics": topics, "groups": groups}), encoding="utf-8")
    try:
        for name, declared in topics.items():
            own.create(environment.cluster(name), declared)
        yield
    except BaseException:
        with suppress(HeadraceError):  # it stays noted; what happened first is what is told
            _delete(environment, topics, groups)
            note.unlink()
        raise
    _delete(environment, topics, groups)
    note.unlink()


def delete_left(project: Config, folder: Path) -> bool:
    """Deletes the topics of a test that ended before it did so itself; returns whether nothing of them is left.

    Args:
        project: the project.
        folder: of the test, with its stores.
    """
    try:
        noted: Any = json.loads((folder / "stores" / NOTE).read_text(encoding="utf-8"))
        of, topics, groups = noted["environment"], _names(noted["topics"]), _names(noted["groups"])
        environment = replace(project.environment(of), test=folder.name)
        _delete(environment, topics, groups)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True  # there is no note, or one that no test wrote
    except (NotFoundError, ConfigError):
        return True  # the environment or the cluster is declared no longer
    except HeadraceError as error:
        LOG.warning("topics of an integration test, headrace-test-%s-…, are left: %s", folder.name, error)
        return False
    return True


def _delete(environment: Environment, topics: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> None:
    from headrace.inference.streaming import own_topics as own

    for name in {**topics, **groups}:
        own.delete(environment.cluster(name), topics.get(name, ()), groups.get(name, ()))


def _names(noted: object) -> dict[str, list[str]]:
    """Cluster → names, out of a note.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(noted, dict):
        raise TypeError
    for name, values in cast("dict[str, object]", noted).items():
        if not isinstance(values, list) or not all(isinstance(each, str) for each in cast("list[object]", values)):
            raise TypeError(name)
    return cast("dict[str, list[str]]", noted)
