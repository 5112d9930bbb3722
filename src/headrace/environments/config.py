"""`headrace.toml` as a whole: the project and its environments, each with its stores and channels.

Relative paths of `hr.Source(files=…)` and of environment roots start at the project folder, `Config.folder`: data is
not code. SQL files are code: they are read beside the module that names them, so in `Code.folder` (see `code.py`).

A connection is read from the first of: a command's flag, the variable `HEADRACE_ENV__<env>__<key>`, the file. The
policy (which code may run, which roles have to approve) is never read from a variable; `policy.py` says from which
version of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError, NotFoundError
from headrace.environments.anchors import Anchors, read_anchors
from headrace.environments.environment_policy import EnvironmentPolicy, policy_of
from headrace.environments.kafka import Cluster, read_clusters
from headrace.environments.keys import COMMIT, ENV_KEYS, FILE, TEMPORARY
from headrace.environments.llm import LlmConfig, read_llm
from headrace.environments.notify import ChannelConfig, read_notify, senders
from headrace.environments.parity import read_parity
from headrace.environments.project_table import read_project
from headrace.environments.secret import Secret, Value, clear_text, refuse_credentials
from headrace.environments.section import Section, environment_tables
from headrace.environments.signing_keys import read_signing_keys
from headrace.environments.stores import check_apart, read_stores
from headrace.environments.temporary import id_of_test, temporary_table
from headrace.environments.toml import TomlFile
from headrace.environments.variables import read_variables

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from types import ModuleType

    from headrace.core.events import Event
    from headrace.environments.environment_policy import Runs, RuntimeRule
    from headrace.environments.signing_keys import PublicKey, SigningKey
    from headrace.environments.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One place where code runs, with stores of its own.

    Attributes:
        name: its name: `dev`.
        code: what may run: `any` (the working tree), `commit` (committed code), `release` (a tagged commit).
        releases: the pattern that the tag of a release matches.
        reads: other environments whose tables can be read here, in order, each with patterns of the tables; they are never
            written.
        sample: the share of the decisions that models are trained on and score here, chosen by key: for a smoke run.
        ttl: how long a table that is not refreshed stays here; None: for ever.
        trials: the most sets of parameters that tuning tries here; None: as many as a program declares.
        approvals: roles whose approval Production takes here, whatever a program declares.
        attested_by: the keys of which one has to have signed the attestation of a release.
        runtime: what code may run with: `any`, or `locked`, what its lock file names.
        test: the id of the test whose stores these are, which are deleted at its end; None outside of tests.
        commit: the commit that a test is of, whatever is checked out meanwhile; None outside of tests.
        order: all environments, from the lowest to the highest.
        root: the folder of the embedded stores.
        lakehouse_root: a folder, or the URL of an object store.
        artifacts_root: a folder or a URL.
        state: the SQLAlchemy URL of the state database; read it by `state_url`.
        tracking: the MLflow tracking URI; read it by `tracking_url`.
        online: a file or a URL; read it by `online_address`.
        options: options of the object store; read them by `storage_options`.
        artifacts_declared: whether the place of artifacts is written down, and not the default.
        databases: SQLAlchemy URLs by name, for predictions; read them by `database_url`.
        spark: the URL of a Spark Connect server, for scoring; read it by `spark_url`.
        notify: the channels that events are delivered to, by their names.
        kafka: properties of clients by the name of their cluster; read them by `cluster`.
        llm: routes to language models, and budgets.
        audit: where heads of the audit record are kept.
        catalog: the folder or URL of the catalog that projects share; None where there is none.
        publishes_catalog: whether this environment writes its document into it.
    """

    name: str
    code: Runs
    releases: str
    reads: Mapping[str, tuple[str, ...]]
    sample: float
    ttl: timedelta | None = None
    trials: int | None = None
    approvals: tuple[str, ...] = ()
    attested_by: tuple[PublicKey, ...] = ()
    runtime: RuntimeRule = "any"
    test: str | None = None
    commit: str | None = None
    order: tuple[str, ...] = field(default=(), repr=False)
    root: Path
    lakehouse_root: str
    artifacts_root: str
    state: Value = field(repr=False)
    tracking: Value = field(repr=False)
    online: Value = field(repr=False)
    options: Mapping[str, Value] = field(repr=False)
    artifacts_declared: bool = False
    databases: Mapping[str, Value] = field(default_factory=dict[str, Value], repr=False)
    spark: Value | None = field(default=None, repr=False)
    notify: Mapping[str, ChannelConfig] = field(default_factory=dict[str, ChannelConfig])
    kafka: Mapping[str, Mapping[str, Value]] = field(default_factory=dict[str, Mapping[str, Value]], repr=False)
    llm: LlmConfig = field(default_factory=LlmConfig)
    audit: Anchors = field(default_factory=Anchors)
    catalog: str | None = None
    publishes_catalog: bool = True

    @property
    def temporary(self) -> bool:
        """Whether its stores are those of a test."""
        return self.test is not None

    @property
    def policy(self) -> EnvironmentPolicy:
        """What may happen here."""
        return EnvironmentPolicy(
            code=self.code,
            releases=self.releases,
            reads=self.reads,
            sample=self.sample,
            ttl=self.ttl,
            trials=self.trials,
            approvals=self.approvals,
            attested_by=self.attested_by,
            runtime=self.runtime,
            order=self.order,
        )

    @property
    def state_url(self) -> str:
        """The SQLAlchemy URL of the state database: for the client only, never for a log.

        Raises:
            ConfigError: its secret's environment variable is not set.
        """
        return self._read(self.state, "state")

    @property
    def tracking_url(self) -> str:
        """The MLflow tracking URI: for the client only, never for a log.

        Reading it also lends the secrets of the tracking store and of the object store to libraries (`core.vault`).

        Raises:
            ConfigError: its secret's environment variable is not set.
        """
        secrets = (value.variable for value in (self.tracking, *self.options.values()) if isinstance(value, Secret))
        vault.lend(*secrets)
        return self._read(self.tracking, "tracking")

    def database_url(self, name: str) -> str:
        """The URL of a database: for the client only, never for a log.

        Raises:
            ConfigError: its secret's environment variable is not set.
        """
        return self._read(self.databases[name], f"databases.{name}")

    @property
    def spark_url(self) -> str:
        """The URL of the Spark Connect server: for the client only, never for a log.

        Raises:
            ConfigError: there is none, or its secret's environment variable is not set.
        """
        if self.spark is None:
            raise ConfigError(
                f"environment {self.name!r} has no Spark.", hint=f'[env.{self.name}]\nspark = "sc://host:15002"'
            )
        return self._read(self.spark, "spark")

    @property
    def audit_webhook(self) -> str | None:
        """The URL that heads of the audit record are posted to; None where there is none. For the client only.

        Raises:
            ConfigError: its secret's environment variable is not set.
        """
        return None if self.audit.webhook is None else self._read(self.audit.webhook, "audit.webhook")

    @property
    def online_address(self) -> str:
        """The address of the online store, without a secret in it: a file, a URL, or `env:NAME` for a secret."""
        return f"env:{self.online.variable}" if isinstance(self.online, Secret) else self.online

    @property
    def storage_options(self) -> dict[str, str]:
        """The options of the object store with secrets in clear: for the client only, never for a log.

        Raises:
            ConfigError: a secret's environment variable is not set.
        """
        return {name: self._read(value, f"storage_options.{name}") for name, value in self.options.items()}

    def cluster(self, name: str | None) -> Cluster:
        """Looks up a Kafka cluster.

        Args:
            name: the name of the cluster. None stands for the only one.

        Returns:
            The cluster, with secrets in clear. In the temporary environment of a test all names there are the test's own.

        Raises:
            NotFoundError: there is no such cluster here, or `name` is None and there is not exactly one.
            ConfigError: a secret's environment variable is not set.
        """
        chosen = next(iter(self.kafka)) if name is None and len(self.kafka) == 1 else name
        if chosen is None or chosen not in self.kafka:
            hint = f'[env.{self.name}.kafka.{chosen or "main"}] in {FILE}, with bootstrap.servers = "host:9092"'
            raise NotFoundError(f"Kafka cluster of {self.name!r},", chosen or "any", self.kafka, hint=hint)
        properties = {key: self._read(value, f"kafka.{chosen}.{key}") for key, value in self.kafka[chosen].items()}
        return Cluster(name=chosen, properties=properties, test=self.test)

    def channels(self, importing: Callable[[str], ModuleType] = import_module) -> dict[str, Callable[[Event], None]]:
        """Makes the functions that deliver events, for `Outbox.deliver`; see `notify.senders`.

        Args:
            importing: returns the module of a kind from outside by its name. Defaults to an import of an installed module.

        Returns:
            A function for each channel by its name.
        """
        return senders(self.notify, self.name, importing)

    def _read(self, value: Value, key: str) -> str:
        return clear_text(value, self.name, key)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A project.

    Attributes:
        folder: the folder of its `headrace.toml`.
        name: its name.
        module: the dotted name of the module with its declarations.
        as_of: the moment, in UTC, that a replay of the past calls the present; None for the present itself.
        environments: its environments, from the lowest to the highest.
        keys: the keys that attestations of tests are signed with, by name.
        parity: patterns of what may differ between environments.
    """

    folder: Path
    name: str
    module: str
    as_of: datetime | None
    environments: tuple[Environment, ...]
    keys: Mapping[str, SigningKey] = field(default_factory=dict[str, "SigningKey"], repr=False)
    parity: tuple[str, ...] = ()

    def environment(self, name: str) -> Environment:
        """Looks up an environment by its name.

        Raises:
            NotFoundError: there is none of that name; the message suggests the nearest one.
        """
        for environment in self.environments:
            if environment.name == name:
                return environment
        raise NotFoundError(
            "environment",
            name,
            [env.name for env in self.environments],
            hint=f"Environments are in {self.folder / FILE}.",
        )


def load(folder: Path | None = None) -> Config:
    """Reads the project that a folder belongs to.

    Args:
        folder: the folder, or any folder inside the project. Defaults to the current one.

    Raises:
        ConfigError: there is no `headrace.toml` in the folder or above it, or it is malformed.
    """
    home = find(folder or Path.cwd())
    source = TomlFile.read(home / FILE)
    project = read_project(source)
    return Config(
        folder=home,
        name=project.name,
        module=project.module,
        as_of=project.as_of,
        environments=_read_environments(source, home),
        keys=read_signing_keys(source),
        parity=read_parity(source),
    )


def find(start: Path) -> Path:
    """Returns the nearest folder, from `start` upwards, that holds a `headrace.toml`.

    Raises:
        ConfigError: there is none.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise ConfigError(
        f"There is no {FILE} in {str(start)!r} or in any folder above it.",
        hint="Go to a project's folder, or type `headrace demo` to get one to start from.",
    )


def _read_environments(source: TomlFile, folder: Path) -> tuple[Environment, ...]:
    tables = environment_tables(source)
    names = list(tables)
    variables = read_variables(names)
    catalog, keys = _read_catalog(source, folder), read_signing_keys(source)
    environments: list[Environment] = []
    all_stores: list[Stores] = []
    for name in names:
        table = source.section(f"env.{name}", tables[name])
        source.only(table, ENV_KEYS, f"env.{name}")
        refuse_credentials(source, f"env.{name}", table)
        table, overriding = temporary_table(folder, name, table, variables[name])
        section = Section(
            source=source,
            folder=folder,
            name=f"env.{name}",
            table={**table, **overriding},
            overridden=frozenset(overriding),
        )
        stores = read_stores(section, name)
        all_stores.append(stores)
        environments.append(_read_environment(section, stores, policy_of(section, name, names, keys), catalog))
    check_apart(source, all_stores)
    return tuple(environments)


def _read_catalog(source: TomlFile, folder: Path) -> str | None:
    """The catalog of `[project]`."""
    table = source.section("project", source.table["project"])
    if "catalog" not in table:
        return None
    return Section(source=source, folder=folder, name="project", table=table).place("catalog", folder)


def _read_environment(section: Section, stores: Stores, policy: EnvironmentPolicy, catalog: str | None) -> Environment:
    own = section.table.get("catalog")
    if "catalog" in section.overridden and own == "false":  # a variable has only texts
        own = False
    return Environment(
        name=stores.environment,
        code=policy.code,
        releases=policy.releases,
        reads=policy.reads,
        sample=policy.sample,
        ttl=policy.ttl,
        trials=policy.trials,
        approvals=policy.approvals,
        attested_by=policy.attested_by,
        runtime=policy.runtime,
        test=id_of_test(section.folder, stores.root) if TEMPORARY in section.overridden else None,
        commit=str(section.table[COMMIT]) if COMMIT in section.overridden else None,
        order=policy.order,
        root=stores.root,
        lakehouse_root=stores.lakehouse_root,
        artifacts_root=stores.artifacts_root,
        artifacts_declared=stores.artifacts_declared,
        state=stores.state,
        tracking=stores.tracking,
        online=stores.online,
        options=stores.options,
        databases=section.values("databases", example='For example: {warehouse = {secret = "WAREHOUSE_URL"}}.'),
        spark=section.url("spark", "sc://host:15002") if "spark" in section.table else None,
        notify=read_notify(section),
        kafka=read_clusters(section),
        llm=read_llm(section),
        audit=read_anchors(section),
        catalog=catalog if own is None or own is False else section.place("catalog", section.folder),
        publishes_catalog=own is not False,
    )
