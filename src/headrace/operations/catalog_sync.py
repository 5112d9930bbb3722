"""An environment's document in the catalog: written when what it says has changed, and taken away with the environment.

The operation is done by then. So whatever goes wrong here is a warning, and the next operation writes the document whole.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.core import credentials
from headrace.core.errors import DataError, HeadraceError, RefusedError

if TYPE_CHECKING:
    from headrace.catalog.document import Document
    from headrace.catalog.store import CatalogStore
    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace

LOG = logging.getLogger(__name__)


def write_catalog(workspace: Workspace, *, quiet: bool = False) -> None:
    """Updates the catalog at the end of an operation. Failures are logged, and so is an interruption: the operation has ended.

    Args:
        workspace: the environment.
        quiet: failures are no warnings, because the operation itself has failed and said why.
    """
    try:
        update_catalog(workspace, quiet=quiet)
    except KeyboardInterrupt:
        done = (
            "the next operation writes it"
            if quiet
            else "the operation is complete, and the next one writes the catalog"
        )
        LOG.warning("interrupted while the catalog was written; %s.", done)


def update_catalog(workspace: Workspace, *, quiet: bool = False) -> None:
    """Writes the document of an environment, unless the catalog has the same already. Failures are logged.

    Args:
        workspace: the environment.
        quiet: failures are no warnings.

    Raises:
        KeyboardInterrupt: as it came; the document so far stays.
    """
    configured = workspace.configured
    if configured.catalog is None or not configured.publishes_catalog:  # most have none: nothing is imported
        return
    try:
        _write(workspace, open_catalog(configured))
    except Exception as error:  # noqa: BLE001  # whatever the catalog's far side does, the operation was done
        level = logging.DEBUG if quiet else logging.WARNING
        LOG.log(level, "the catalog does not say yet what is new here: %s", _line(error))


def remove_from_catalog(configured: Environment, project: str, states: set[str]) -> None:
    """Takes the document of an environment away, if it is of one of these state databases. Failures are logged."""
    if configured.catalog is None:
        return
    try:
        catalog = open_catalog(configured)
        found = catalog.read(project, configured.name)
        if found is not None and found.state in states:
            catalog.remove(project, configured.name)
    except Exception as error:  # noqa: BLE001  # as above
        LOG.warning("the catalog still tells of %s: %s", configured.name, _line(error))


def open_catalog(configured: Environment) -> CatalogStore:
    """The catalog of an environment, which has to have one.

    Raises:
        ConfigError: a folder whose name cannot be handled, or a secret that is not set.
    """
    from headrace.catalog.store import CatalogStore

    assert configured.catalog is not None
    return CatalogStore(configured.catalog, configured.storage_options)


def _write(workspace: Workspace, catalog: CatalogStore) -> None:
    from headrace.operations import catalog_digest
    from headrace.operations.catalog_document import build

    project, environment = workspace.config.name, workspace.configured.name
    before = _before(catalog, project, environment)
    if before is not None and before.state != workspace.owner.state:
        raise RefusedError(
            f"{catalog.path(project, environment)} is of another state database than this one"
            f"{f', of {before.remote}' if before.remote else ''}, written at {before.written:%Y-%m-%d %H:%M} UTC. It stays.",
            hint="Another project of this name needs another name in headrace.toml. Another copy of this project needs "
            f"`catalog = false` under [env.{environment}]. If that state database is gone for good, remove the file.",
        )
    found, known = None if before is None else before.fingerprint(), catalog_digest.read(workspace.state)
    document = build(workspace, before if found == known else None)
    fingerprint = document.fingerprint()
    if fingerprint != found:
        catalog.write(document)
    if fingerprint != known:
        catalog_digest.keep(workspace.state, fingerprint)


def _before(catalog: CatalogStore, project: str, environment: str) -> Document | None:
    """The document so far; None where there is none, or it is malformed and is written anew.

    Raises:
        LaterFormatError: a later release wrote it: it stays.
        UnavailableError: the catalog cannot be reached.
    """
    from headrace.catalog.document import LaterFormatError
    from headrace.core.errors import UnavailableError

    try:
        return catalog.read(project, environment)
    except (LaterFormatError, UnavailableError) as error:
        raise type(error)(f"{catalog.path(project, environment)}: {error.what}") from error
    except DataError as error:
        LOG.warning("%s was malformed and is written anew: %s", catalog.path(project, environment), error.what)
        return None


def _line(error: Exception) -> str:
    if isinstance(error, HeadraceError):
        return credentials.hidden(f"{error.what} {error.hint}".strip())
    return credentials.hidden(f"{type(error).__name__}: {error}".splitlines()[0])
