"""Lists of a host, page by page, and fields of what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from headrace.core.errors import MalformedAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.ci_hosts.client import Client

Value = TypeVar("Value", int, str)

ON_A_PAGE = 100  # the most that GitHub and GitLab give
MOST = 100  # pages that are read


def pages(client: Client, path: str, query: str = "") -> Iterator[Mapping[str, object]]:
    """Every object of a list, in the order of the host; at most 10,000.

    Args:
        client: asks.
        path: of the list.
        query: parameters, each with `&` at its end.

    Raises:
        MalformedAnswerError: a page is no list of objects.
    """
    for page in range(1, MOST + 1):
        answer = client.ask("GET", f"{path}?{query}per_page={ON_A_PAGE}&page={page}")
        if not isinstance(answer.body, list):
            raise MalformedAnswerError(f"{client.name} answered with something else than a list of comments.")
        for each in answer.body:
            if not isinstance(each, dict):
                raise MalformedAnswerError(f"{client.name} answered with a comment that is no object.")
            yield cast("Mapping[str, object]", each)
        link = answer.headers.get("link")
        if not answer.body or ('rel="next"' not in link if link else len(answer.body) < ON_A_PAGE):
            return


def field_of(answer: object, key: str, kind: type[Value], name: str) -> Value:
    """A field of an object that a host answered with.

    Args:
        answer: the object.
        key: the name of the field.
        kind: what it has to be.
        name: of the host.

    Raises:
        MalformedAnswerError: it is not there, or of another kind.
    """
    value = cast("Mapping[str, object]", answer).get(key) if isinstance(answer, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedAnswerError(f"{name} answered without {key!r}.", hint="Is its address right?")
    return value
