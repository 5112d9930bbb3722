"""One open environment of one project: each box is created at its first use."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING

from headrace.chains import gateways
from headrace.core import ownership
from headrace.core.errors import BusyError, HeadraceError, RefusedError
from headrace.environments import code, config, policy

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from headrace.access.audit import Audit
    from headrace.access.identity import Access
    from headrace.core.events import Outbox
    from headrace.core.ownership import Marked, Owner
    from headrace.core.state import State
    from headrace.environments.code import Code
    from headrace.environments.config import Config, Environment
    from headrace.environments.policy import Ruling
    from headrace.environments.project import Project
    from headrace.environments.signing_keys import PublicKey
    from headrace.features.online.base import OnlineStore
    from headrace.jobs.ledger import Ledger
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.gateway.gateway import Gateway
    from headrace.monitoring.alerts import Alerts
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking
    from headrace.workspace.attested_releases import AttestedReleases
    from headrace.workspace.locked_runtime import LockComparison
    from headrace.workspace.stores import Kind

HOME = ".headrace"  # holds the folders of environments, unless headrace.toml gives them others
IGNORE = ".gitignore"


def open_workspace(
    env: str | None = None, *, folder: Path | None = None, release: str | None = None, anew: bool = False
) -> Workspace:
    """Opens an environment of the project in `folder`, or in the nearest folder above the current one.

    Args:
        env: its name; default: the lowest one.
        folder: a folder of the project.
        release: the release whose code runs, where only releases may run; default: the highest one.
        anew: what is there will be taken away: its state database need not be readable, nor that of its stores.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
        NotFoundError: no such environment.
    """
    found = config.load(folder)
    environment = found.environment(env) if env else found.environments[0]
    _settle(found, environment)
    return Workspace(found, environment, release=release, anew=anew)


class Workspace:
    """The boxes of one environment. Use as a context manager, or call `close`.

    Attributes:
        configured: the environment as the folder and variables say: where its stores are. What may happen in it is said by
            `environment` alone.
    """

    def __init__(
        self, found: Config, configured: Environment, *, release: str | None = None, anew: bool = False
    ) -> None:
        self.config = found
        self.configured = configured
        self.release = release
        self._anew = anew
        self._gateways = Lock()
        self._gateway: Gateway | None = None
        gateways.use(self._opened_gateway)

    @property
    def gateway(self) -> Gateway:
        """The gateway to language models, with the budgets and the record of usage that all workers share."""
        with self._gateways:
            if self._gateway is None:
                from headrace.llm.gateway.opening import open_gateway

                self._gateway = open_gateway(self.environment.llm, self.state)
            return self._gateway

    def _opened_gateway(self) -> Gateway | None:
        return self.gateway if self.environment.llm.routes else None

    @cached_property
    def environment(self) -> Environment:
        """The environment with what is in effect: committed configuration, and never less than its floor."""
        return self.ruling.apply(self.configured)

    @cached_property
    def ruling(self) -> Ruling:
        """What may happen here, and why: nothing is remembered of it.

        Raises:
            RefusedError: the state database is not that of this environment, or of its stores.
            ConfigError: the state database cannot be opened, or the committed configuration is malformed.
        """
        from sqlalchemy.exc import SQLAlchemyError

        from headrace.workspace import floor

        try:
            before = floor.read(self.state)
        except RefusedError:
            raise
        except (HeadraceError, SQLAlchemyError):
            if not self._anew:
                raise
            before = None
        return self._rule(before)

    def keep_floor(self, by: str) -> None:
        """Remembers what may happen here, for whoever changes something: written at the first time, and raised.

        Args:
            by: who acts; the caller has checked their right.

        Raises:
            RefusedError, ConfigError: as `ruling`.
        """
        from headrace.workspace import floor

        while True:
            before = floor.read(self.state)
            found = self._rule(before)
            if found.floor in (None, before) or floor.keep(
                self.state, self.configured.name, before, found.floor, by=by
            ):
                self.ruling = found
                return

    @property
    def is_lowest(self) -> bool:
        """Whether it is the lowest environment, by the order that is in effect."""
        return self.ruling.policy.order[:1] == (self.configured.name,)

    def _rule(self, before: policy.Floor | None) -> Ruling:
        return policy.rule(self.config.folder, self.configured, before, release=self._wanted, unproven=self._unproven)

    @cached_property
    def _wanted(self) -> str | None:
        """The release that was named or, where none was, the one that was applied; None where none was applied."""
        if self.release is not None or self._anew:
            return self.release
        from headrace.releases import applied

        found = applied.current(self.state)
        return None if found is None else found.release

    @cached_property
    def attested(self) -> AttestedReleases:
        """Which releases have evidence of a test, or may run without."""
        from headrace.workspace.attested_releases import AttestedReleases

        return AttestedReleases(self.config, self.state)

    def unproven(self, commit: str) -> str | None:
        """Why a commit may not run here as a release for want of evidence; None where it may."""
        return self._unproven(commit, self.environment.attested_by)

    def _unproven(self, commit: str, trusted: tuple[PublicKey, ...]) -> str | None:
        return self.attested.unproven(commit, trusted) if trusted else None

    @cached_property
    def code(self) -> Code:
        """The code that runs here: the working tree, a commit, or a release.

        Raises:
            RefusedError: there is none, or what may run was changed and no admin has taken it over.
        """
        self.ruling.check(self.configured.name)
        release = self._wanted if self.environment.code == "release" else self.release
        return code.resolve(self.config, self.environment, release=release, unproven=self.unproven)

    def check_runtime(self) -> None:
        """Refuses to run code with other versions than those that its lock file names, where the environment asks for these.

        Raises:
            RefusedError: they differ, or there is no lock file; as `code`.
        """
        if self.environment.runtime == "locked":
            self.runtime.check(self.configured.name, str(self.code))

    @cached_property
    def runtime(self) -> LockComparison:
        """What is installed, against the lock file of the code that runs here."""
        from headrace.workspace.locked_runtime import compare

        return compare(self.code.folder)

    @cached_property
    def project(self) -> Project:
        """What that code declares.

        Raises:
            RefusedError: this environment asks for the locked runtime, and another one is installed.
        """
        from headrace.environments.project import Project

        self.check_runtime()
        return Project(self.config, self.code)

    @cached_property
    def state(self) -> State:
        """The state database.

        Raises:
            RefusedError: it is another environment's, or the environment's folder belongs to another state.
        """
        from headrace.core.state import State

        opened = State(self.configured.state_url)
        if not self._anew:
            try:
                ownership.own(self.configured.root, self._owner(opened))
            except BaseException:
                opened.close()
                raise
        return opened

    @cached_property
    def owner(self) -> Owner:
        """The state database, as its stores name it."""
        return self._owner(self.state)

    def _owner(self, state: State) -> Owner:
        name = self.configured.name
        return ownership.Owner(state=state.identity(name), project=self.config.name, environment=name)

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
        from headrace.lakehouse.offline import put_back

        put_back(self.environment.lakehouse_root)
        readable = {name: self.config.environment(name).lakehouse_root for name in self.environment.reads}
        self._check("lakehouse", *self.store("lakehouse"))
        return Lakehouse(
            self.environment.name,
            self.environment.lakehouse_root,
            reads=readable,
            tables=self.environment.reads,
            storage_options=self.environment.storage_options,
        )

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow runs and artifacts."""
        from headrace.tracking.tracking import Tracking

        environment = self.environment
        return Tracking(
            environment.tracking_url,
            environment.artifacts_root,
            declared=environment.artifacts_declared,
            options=lambda: environment.storage_options,
            project=self.config.folder,
            owner=self.owner,
            check=partial(self._check, "tracking", f"what MLflow keeps for {environment.name!r}"),
        )

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

        address = self.configured.online_address
        opened = open_store(address, self.config.folder)
        self._check("online", f"the online store {address}", opened, self._within(opened.place))
        return opened

    def store(self, kind: Kind) -> tuple[str, Marked, str]:
        """A store as it is configured, whosever it is: what to call it, where its mark is, and its place if it may be empty."""
        environment = self.configured
        if kind == "lakehouse":
            from headrace.lakehouse.offline import where
            from headrace.lakehouse.storage import Place

            place = Place.at(where(environment.lakehouse_root), environment.storage_options)
            return f"the lakehouse {place.path}", place, ""
        if kind == "online":
            from headrace.features.online.opening import open_store

            address = environment.online_address
            opened = open_store(address, self.config.folder)
            return f"the online store {address}", opened, self._within(opened.place)
        from headrace.tracking.tracking import Tracking

        tracking = Tracking(
            environment.tracking_url,
            environment.artifacts_root,
            declared=environment.artifacts_declared,
            project=self.config.folder,
        )
        return f"what MLflow keeps for {environment.name!r}", tracking.mark(self.owner), ""

    def _check(self, kind: Kind, what: str, store: Marked, place: str = "") -> None:
        from headrace.workspace import stores

        if self.state_is_gone():  # what it would be marked with is no more
            raise BusyError(f"{self.configured.name!r} has just been reset. Nothing was done.", hint="Start again.")
        stores.check(self.state, self.owner, kind, what, store, place=place)

    def _within(self, place: str) -> str:
        """A place as seen from the environment's folder, if it lies there: that may be moved."""
        return place.removeprefix(f"{self.configured.root}{os.sep}")

    def state_is_gone(self) -> bool:
        """Whether the state database was taken away since this process opened it."""
        return "state" in self.__dict__ and self.state.is_gone()

    @property
    def index_cache(self) -> Path:
        """The folder of opened vector indexes, each of which is made again when it is gone."""
        return self.configured.root / "indexes"

    @property
    def up_lock(self) -> Path:
        """Held by the scheduler of this environment on this machine."""
        return self.configured.root / "up.lock"

    def home(self, model: str) -> Path:
        """The folder in which servers of a model look.

        Raises:
            RefusedError: what is served from there belongs to another state database.
        """
        return self._serving / model

    @cached_property
    def _serving(self) -> Path:
        folder = self.configured.root / "serving"
        ownership.own(folder, self.owner)
        return folder

    def close(self) -> None:
        """Closes what was opened."""
        gateways.forget(self._opened_gateway)
        if self._gateway is not None:
            self._gateway.close()
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
    _close(found.folder, opened.root)
    if isinstance(opened.tracking, str):
        store_relocation.settle(opened.tracking, project=found.folder)


def _close(project: Path, root: Path) -> None:
    """What an environment keeps is for whoever runs it: nobody else on this machine looks into its folder."""
    for folder in {project / HOME if root.is_relative_to(project / HOME) else root, root}:
        with suppress(OSError):  # it is not there yet, or somebody else's
            mode = stat.S_IMODE(folder.stat().st_mode)
            if mode & 0o077 and folder != project:
                folder.chmod(mode & ~0o077)


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
