"""One environment of one project, opened: every box, made when it is first asked for."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING

from headrace.environments import code, config

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from headrace.access.audit import Audit
    from headrace.access.identity import Access
    from headrace.core.events import Outbox
    from headrace.core.state import State
    from headrace.environments.code import Code
    from headrace.environments.config import Config, Environment
    from headrace.environments.project import Project
    from headrace.features.online.base import OnlineStore
    from headrace.jobs.ledger import Ledger
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.alerts import Alerts
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking

HOME = ".headrace"  # holds the folders of environments, unless headrace.toml gives them others
IGNORE = ".gitignore"


def open_workspace(env: str | None = None, *, folder: Path | None = None, release: str | None = None) -> Workspace:
    """Opens an environment of the project in `folder`, or in the nearest folder above the current one.

    Args:
        env: its name; the lowest one unless said.
        folder: a folder of the project.
        release: the release whose code runs, where only releases may run; the highest one unless said.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
        NotFoundError: no such environment.
    """
    found = config.load(folder)
    environment = found.environment(env) if env else found.environments[0]
    _settle(found, environment)
    opened = Workspace(found, environment, release=release)
    other = _shared.get()
    if other is not None and other.config.folder == found.folder and other.environment == environment:
        opened.__dict__ |= {name: other.__dict__[name] for name in ("state", "access") if name in other.__dict__}
    return opened


_shared: ContextVar[Workspace | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(workspace: Workspace) -> Generator[None]:
    """The same environment, opened again meanwhile, uses the state database that this one has open."""
    before = _shared.set(workspace)
    try:
        yield
    finally:
        _shared.reset(before)


class Workspace:
    """The boxes of one environment. Use as a context manager, or call `close`."""

    def __init__(self, found: Config, environment: Environment, *, release: str | None = None) -> None:
        self.config = found
        self.environment = environment
        self.release = release

    @cached_property
    def code(self) -> Code:
        """The code that runs here: the working tree, a commit, or a release."""
        return code.resolve(self.config, self.environment, release=self.release)

    @cached_property
    def project(self) -> Project:
        """What that code declares."""
        from headrace.environments.project import Project

        return Project(self.config, self.code)

    @cached_property
    def state(self) -> State:
        """The state database."""
        from headrace.core.state import State

        return State(self.environment.state_url)

    @cached_property
    def access(self) -> Access:
        """Who acts here, and what they may do."""
        from headrace.access.identity import Access

        return Access(self.state)

    @cached_property
    def audit(self) -> Audit:
        """What was done by whom."""
        from headrace.access.audit import Audit

        return Audit(self.state)

    @cached_property
    def ledger(self) -> Ledger:
        """The run ledger."""
        from headrace.jobs.ledger import Ledger

        return Ledger(self.state)

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The tables, with those of other environments that may be read from here."""
        from headrace.lakehouse.lakehouse import Lakehouse
        from headrace.workspace.aside import put_back

        put_back(self.environment.lakehouse_root)
        readable = {name: self.config.environment(name).lakehouse_root for name in self.environment.reads}
        return Lakehouse(
            self.environment.name,
            self.environment.lakehouse_root,
            reads=readable,
            storage_options=self.environment.storage_options,
        )

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow runs and artifacts."""
        from headrace.tracking.tracking import Tracking

        return Tracking(self.environment.tracking_url, self.environment.artifacts_root, project=self.config.folder)

    @cached_property
    def registry(self) -> Registry:
        """Model versions and their stages."""
        from headrace.registry.registry import Registry

        return Registry(self.state, self.tracking)

    @cached_property
    def outbox(self) -> Outbox:
        """Events, and how far each channel has come."""
        from headrace.core.events import Outbox

        return Outbox(self.state)

    @cached_property
    def alerts(self) -> Alerts:
        """Alerts."""
        from headrace.monitoring.alerts import Alerts

        return Alerts(self.state)

    @cached_property
    def online(self) -> OnlineStore:
        """The online store."""
        from headrace.features.online.opening import open_store

        return open_store(self.environment.online_address, self.config.folder)

    def state_is_gone(self) -> bool:
        """Whether the state database was taken away since this process opened it."""
        return "state" in self.__dict__ and self.state.is_gone()

    @property
    def up_lock(self) -> Path:
        """Held by the scheduler of this environment on this machine."""
        return self.environment.root / "up.lock"

    def home(self, model: str) -> Path:
        """The folder in which servers of a model look."""
        return self.environment.root / "serving" / model

    def close(self) -> None:
        """Closes what was opened."""
        if "state" in self.__dict__:
            self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _settle(found: Config, opened: Environment) -> None:
    """A project that was moved or copied works where it is now, and what Headrace keeps in it is no business of git."""
    from headrace.tracking import store_relocation

    _ignore(found.folder, opened.root)
    if isinstance(opened.tracking, str):
        store_relocation.settle(opened.tracking, project=found.folder)


def _ignore(project: Path, root: Path) -> None:
    """The folder of an environment's stores has a `.gitignore`: `git add .` would stage databases.

    One that is there stays as it is: whoever wants to commit the folder empties it.
    """
    home = project / HOME if root.is_relative_to(project / HOME) else root
    if home == project or not home.is_relative_to(project) or (home / IGNORE).exists():
        return
    with suppress(OSError):  # who writes next to it says it better
        home.mkdir(parents=True, exist_ok=True)
        (home / IGNORE).write_text("*\n", encoding="utf-8")
