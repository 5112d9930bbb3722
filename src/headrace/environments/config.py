"""`headrace.toml`: what the project is called, where its declarations are, which environments it has.

Relative paths of `hr.Source(files=…)` and of environment roots start at the project folder, `Config.folder`: data is not
code. SQL files are code: they are read beside the module that names them, so in `Code.folder` (see `code.py`).

What a connection is taken from, first wins: a command's flag, the variable `HEADRACE_ENV__<env>__<key>`, the file. What
may run, and who has to agree, is never taken from a variable; see `policy.py` for which version of the file says it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from headrace.core import credentials, vault
from headrace.core.channels import registry as channels
from headrace.core.channels.webhook import Webhook
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, NotFoundError
from headrace.environments.toml import Table, TomlFile, described, is_private, suggest

if TYPE_CHECKING:
    from types import ModuleType

    from headrace.core.channels import Channel
    from headrace.core.events import Event

FILE = "headrace.toml"
VARIABLE = vault.CONFIGURATION
Runs = Literal["any", "commit", "release"]  # what may run, from the loosest to the strictest
RUNS: tuple[Runs, ...] = get_args(Runs)
PROJECT_KEYS = ("name", "module", "as_of")
POLICY_KEYS = ("code", "releases", "reads", "sample", "approvals")  # never from a variable
ENV_KEYS = (
    *POLICY_KEYS,
    "root",
    "lakehouse",
    "state",
    "tracking",
    "artifacts",
    "online",
    "storage_options",
    "databases",
    "spark",
    "notify",
    "kafka",
    "audit",
)
SPLIT_KEYS = ("storage_options", "databases")  # tables: HEADRACE_ENV__prod__storage_options__AWS_REGION
CLUSTERS = "kafka"  # a table of tables: HEADRACE_ENV__prod__kafka__events__bootstrap_servers
DEFAULT_ENVIRONMENTS = ("dev", "staging", "prod")
ENV_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
ROLE = re.compile(r"[a-z][a-z_]{1,40}")
CLIENT = "sasl.oauthbearer.client"  # has a property `secret`, which is no reference to one
KEY_ITSELF = re.compile(r"\.pem$|^ssl\.key$", re.IGNORECASE)  # a property of a Kafka client; elsewhere it names a file
VARIABLE_NAME = re.compile(rf"[A-Z][A-Z0-9_]*|{VARIABLE}\w+")  # what else is said to be one may be the secret itself
BY_REFERENCE = 'Name an environment variable instead: {secret = "NAME"}.'


@dataclass(frozen=True)
class Secret:
    """A value by reference: the environment variable that holds it. Read when it is used, never shown."""

    variable: str

    def __post_init__(self) -> None:
        """Takes it out of the environment before code of the project comes (`core.vault`)."""
        vault.hold(self.variable)

    def read(self, wanted_by: str) -> str:
        """The value.

        Raises:
            ConfigError: the variable is not set.
        """
        value = vault.read(self.variable)
        if value is None:
            if VARIABLE_NAME.fullmatch(self.variable):
                what = f"{wanted_by} is the secret {self.variable!r}, and no such environment variable is set."
                raise ConfigError(what, hint=f"export {self.variable}=…")
            raise ConfigError(
                f"{wanted_by} is a secret, and the environment variable that it names is not set.",
                hint='A reference holds the name of a variable, not the secret: {secret = "NAME"}, and export NAME=….',
            )
        return value


Value = str | Secret


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """One channel that people are told by: `[env.<name>.notify.<channel>]`.

    Attributes:
        kind: of `core.channels.registry`, or `package.module:Class`.
        settings: of its kind, secrets by reference.
    """

    kind: str
    settings: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Where heads of the audit record are kept outside of the state database.

    Attributes:
        git_note: in `refs/notes/headrace-audit` of the project's repository.
        file: a file that a line is appended to, or the URL of a folder that gets an object for each head.
        webhook: that each head is posted to; nothing can be read back.
    """

    git_note: bool = False
    file: str | None = None
    webhook: Value | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.git_note or self.file is not None or self.webhook is not None


@dataclass(frozen=True, kw_only=True)
class EnvironmentPolicy:
    """What may happen in an environment; see `Environment`.

    Attributes:
        order: the environments from the lowest to the highest: what is usual depends on it.
    """

    code: Runs
    releases: str
    reads: tuple[str, ...]
    sample: float
    approvals: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One place where code runs, with stores of its own.

    Attributes:
        code: what may run: `any` (the working tree), `commit` (committed code), `release` (a tagged commit).
        releases: the pattern that the tag of a release matches.
        reads: other environments whose tables are readable from here, in order; never written.
        sample: the share of the decisions that models are trained on and score here, chosen by key: for a smoke run.
        approvals: roles whose approval Production takes here, whatever a program declares.
        order: all environments, from the lowest to the highest.
        root: the folder of the embedded stores.
        lakehouse_root: a folder, or the URL of an object store.
        artifacts_root: a folder or a URL.
        artifacts_declared: whether it is written down, and not the usual one.
        databases: name → SQLAlchemy URL, for predictions.
        spark: the URL of a Spark Connect server, for scoring.
    """

    name: str
    code: Runs
    releases: str
    reads: tuple[str, ...]
    sample: float
    approvals: tuple[str, ...] = ()
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
    audit: Anchors = field(default_factory=Anchors)

    @property
    def policy(self) -> EnvironmentPolicy:
        """What may happen here."""
        return EnvironmentPolicy(
            code=self.code,
            releases=self.releases,
            reads=self.reads,
            sample=self.sample,
            approvals=self.approvals,
            order=self.order,
        )

    @property
    def state_url(self) -> str:
        """The SQLAlchemy URL of the state database."""
        return self._read(self.state, "state")

    @property
    def tracking_url(self) -> str:
        """The MLflow tracking URI. Whoever asks for it reaches the store, and the artifacts, by the secrets named here."""
        vault.lend(*(each.variable for each in (self.tracking, *self.options.values()) if isinstance(each, Secret)))
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
        """Where heads of the audit record are posted; for the client only, never for a log."""
        return None if self.audit.webhook is None else self._read(self.audit.webhook, "audit.webhook")

    @property
    def online_address(self) -> str:
        """Of the online store: a file's path, a URL, or `env:NAME` for one that is a secret. Fit to be written down."""
        return f"env:{self.online.variable}" if isinstance(self.online, Secret) else self.online

    @property
    def storage_options(self) -> dict[str, str]:
        """Options of the object store, secrets in clear: for the client only, never for a log.

        Raises:
            ConfigError: a secret's environment variable is not set.
        """
        return {name: self._read(value, f"storage_options.{name}") for name, value in self.options.items()}

    def cluster(self, name: str | None) -> tuple[str, dict[str, str]]:
        """The name of a Kafka cluster, the only one unless said, and the properties of its clients.

        Secrets are in clear: for the client only, never for a log.

        Raises:
            NotFoundError: there is no such cluster here, or none is named and there is not exactly one.
            ConfigError: a secret's environment variable is not set.
        """
        chosen = next(iter(self.kafka)) if name is None and len(self.kafka) == 1 else name
        if chosen is None or chosen not in self.kafka:
            hint = f'[env.{self.name}.kafka.{chosen or "main"}] in {FILE}, with bootstrap.servers = "host:9092"'
            raise NotFoundError(f"Kafka cluster of {self.name!r},", chosen or "any", self.kafka, hint=hint)
        where = f"kafka.{chosen}"
        return chosen, {key: self._read(value, f"{where}.{key}") for key, value in self.kafka[chosen].items()}

    def channels(self, importing: Callable[[str], ModuleType] = import_module) -> dict[str, Callable[[Event], None]]:
        """What `[env.<name>.notify]` asks for, by name, for `Outbox.deliver`.

        Secrets are read, and a class from outside is imported, when an event is delivered: what is missing is the trouble of
        that channel alone.

        Args:
            importing: gives a module of a kind from outside by its name.
        """
        return {name: partial(self._tell, name, importing) for name in self.notify}

    def _tell(self, name: str, importing: Callable[[str], ModuleType], event: Event) -> None:
        where, described = f"[env.{self.name}] notify.{name}", self.notify[name]
        values, secrets = dict(described.settings), set[str]()
        for key, value in described.settings.items():
            if isinstance(value, Secret):
                values[key] = value.read(f"{where}.{key}")
                secrets.add(cast("str", values[key]))
        try:
            made = channels.make(channels.find(described.kind, importing), values, where=where)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the constructor of a channel from outside, too
            raise channels.hidden(error, where=where, secrets=secrets) from None
        channels.send(made, event, where=where, secrets=secrets)

    def _read(self, value: Value, key: str) -> str:
        return value.read(f"[env.{self.name}] {key}") if isinstance(value, Secret) else value


@dataclass(frozen=True)
class ProjectTable:
    """The `[project]` table: a name, the module with the declarations, and the moment that a replay calls now (UTC)."""

    name: str
    _: KW_ONLY
    module: str
    as_of: datetime | None


@dataclass(frozen=True, kw_only=True)
class Config:
    """A project: its folder, what `[project]` says, and its environments from the lowest to the highest."""

    folder: Path
    name: str
    module: str
    as_of: datetime | None
    environments: tuple[Environment, ...]

    def environment(self, name: str) -> Environment:
        """The environment of that name.

        Raises:
            NotFoundError: there is none; the nearest one is suggested.
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
    """Reads the project that `folder` (the current one, unless given) belongs to.

    Raises:
        ConfigError: no `headrace.toml` in it or above it, or one that is malformed.
    """
    home = find(folder or Path.cwd())
    source = TomlFile.read(home / FILE)
    project = _project(source)
    return Config(
        folder=home,
        name=project.name,
        module=project.module,
        as_of=project.as_of,
        environments=_environments(source, home),
    )


def read_policy(source: TomlFile, name: str) -> EnvironmentPolicy | None:
    """What a version of `headrace.toml` says may happen in an environment; None where it does not know it.

    Other keys are not looked at: an old version of the file may have had others.

    Raises:
        ConfigError: it is malformed.
    """
    written, names = _written(source)
    if name not in names:
        return None
    section = f"env.{name}"
    table = source.section(section, written[name])
    return _Reader(source, source.path.parent, section, table, frozenset()).policy(name, names)


def load_project(folder: Path) -> ProjectTable:
    """Reads only `[project]`, and only in this folder: what a commit says of itself.

    Raises:
        ConfigError: there is no `headrace.toml`, or it is malformed.
    """
    return _project(TomlFile.read(folder / FILE))


def find(start: Path) -> Path:
    """The nearest folder, from `start` upwards, that holds a `headrace.toml`.

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


def _project(source: TomlFile) -> ProjectTable:
    source.only(source.table, ("project", "env"), "")
    if "project" not in source.table:
        raise source.error(
            "there is no [project] table.", section="project", hint='[project]\nname = "shop"\nmodule = "shop.project"'
        )
    table = source.section("project", source.table["project"])
    source.only(table, PROJECT_KEYS, "project")
    return ProjectTable(
        _text(source, table, "name", shape=re.compile(r"[^\W\d][\w-]*"), said="letters, digits, - and _"),
        module=_text(source, table, "module", shape=MODULE, said='a dotted name such as "shop.project"'),
        as_of=_instant(source, table.get("as_of")),
    )


def _text(source: TomlFile, table: Table, key: str, *, shape: re.Pattern[str], said: str) -> str:
    if key not in table:
        raise source.error(f"[project] has no {key!r}.", section="project", hint=f"{key} is {said}.")
    value = table[key]
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise source.error(
            f"{key} = {described(value)} is not possible.", section="project", key=key, hint=f"{key} is {said}."
        )
    return value


def _instant(source: TomlFile, value: object) -> datetime | None:
    """A moment in UTC, from a text or from TOML's own dates and times."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    try:
        if isinstance(value, str):
            return instant(value)
    except ConfigError as error:
        raise source.error(f"as_of: {error.what}", section="project", key="as_of", hint=error.hint) from None
    raise source.error(
        f"as_of = {described(value)} is not a moment.", section="project", key="as_of", hint='as_of = "2014-01-01"'
    )


def _written(source: TomlFile) -> tuple[Table, list[str]]:
    """The tables of environments, and their names from the lowest to the highest."""
    written = source.section("env", source.table.get("env", {})) or {name: {} for name in DEFAULT_ENVIRONMENTS}
    names = list(written)
    for name in names:
        if not ENV_NAME.fullmatch(name):
            raise source.error(
                f"{name!r} is not the name of an environment.",
                section="env",
                key=name,
                hint="Small letters and digits, with single - or _ between them.",
            )
    return written, names


def _environments(source: TomlFile, folder: Path) -> tuple[Environment, ...]:
    written, names = _written(source)
    given = _variables(names)
    made: list[Environment] = []
    for name in names:
        section = f"env.{name}"
        table = source.section(section, written[name])
        source.only(table, ENV_KEYS, section)
        _no_credentials(source, section, table)
        reader = _Reader(source, folder, section, {**table, **given[name]}, frozenset(given[name]))
        made.append(reader.environment(name, names))
    _apart(source, made)
    return tuple(made)


def _variables(names: list[str]) -> dict[str, dict[str, str]]:
    """`HEADRACE_ENV__<env>__<key>` by environment; keys that are tables as `storage_options__<name>`.

    Raises:
        ConfigError: a variable of that form names no environment or no key.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for variable, value in sorted(vault.starting(VARIABLE).items()):
        name, _, key = variable.removeprefix(VARIABLE).partition("__")
        if name not in found:
            raise ConfigError(f"{variable} is set, but there is no environment {name!r}.", hint=suggest(name, names))
        if key in POLICY_KEYS:
            raise ConfigError(
                f"{variable} is set, but {key!r} says what may happen in {name!r}, and no variable says that.",
                hint=f"Write it under [env.{name}] in {FILE}, and commit it. Variables set connections and secrets.",
            )
        if key not in ENV_KEYS and not key.startswith(tuple(f"{split}__" for split in (*SPLIT_KEYS, CLUSTERS))):
            raise ConfigError(f"{variable} is set, but there is no key {key!r}.", hint=suggest(key, ENV_KEYS))
        found[name][key] = value
    return found


def _no_credentials(source: TomlFile, section: str, table: Table, inside: str = "") -> None:
    """Refuses a credential anywhere in an environment's table: it would be committed with it. It is not repeated."""
    for key, value in table.items():
        name = f"{inside}{key}"
        if isinstance(value, Mapping):
            inner = cast("Table", value)
            by_reference = list(inner) == ["secret"] and not name.endswith(CLIENT)
            if not by_reference or credentials.is_in(str(inner["secret"])):
                _no_credentials(source, section, inner, f"{name}.")
            continue
        texts = [each for each in _texts(value) if credentials.is_in(each)]
        if texts or (isinstance(value, str) and value and _is_credential(name)):
            what = "a password" if texts else "a secret"
            raise source.error(
                f"{name}: {what} does not belong in a file.",
                section=section,
                key=name.partition(".")[0],
                hint=BY_REFERENCE,
                excerpt=False,
            )


def _is_credential(name: str) -> bool:
    """Whether an option is one by its name; what databases, clusters and the keys themselves are called says nothing."""
    what, _, option = name.partition(".")
    if what == "notify":
        option = option.rpartition(".")[2]
    if what == CLUSTERS:
        option = option.partition(".")[2]
    return (
        what in ("storage_options", "notify", CLUSTERS)
        and bool(option)
        and (credentials.is_name(option) or (what == CLUSTERS and bool(KEY_ITSELF.search(option))))
    )


def _channel_table(value: object) -> dict[str, object] | None:
    """The settings of a channel; None for a text, or a reference to one, that stands for its main setting."""
    if not isinstance(value, Mapping) or list(cast("Table", value)) == ["secret"]:
        return None
    return dict(cast("Table", value))


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [text for each in cast("list[object]", value) for text in _texts(each)]
    return [value] if isinstance(value, str) else []


@dataclass(frozen=True)
class _Reader:
    """One environment's keys, checked as they are asked for."""

    source: TomlFile
    folder: Path
    section: str
    table: Table
    given: frozenset[str]  # keys that a variable gave

    def environment(self, name: str, names: list[str]) -> Environment:
        root = self.path("root", f".headrace/{name}")
        policy = self.policy(name, names)
        return Environment(
            name=name,
            code=policy.code,
            releases=policy.releases,
            reads=policy.reads,
            sample=policy.sample,
            approvals=policy.approvals,
            order=policy.order,
            root=root,
            lakehouse_root=self.place("lakehouse", root / "lakehouse"),
            artifacts_root=self.place("artifacts", root / "artifacts"),
            artifacts_declared="artifacts" in self.table,
            state=self.url("state", _sqlite(root / "state.db")),
            tracking=self.url("tracking", _sqlite(root / "mlflow.db")),
            online=self.online(root / "online.db"),
            options=self.values("storage_options", 'For example: {AWS_REGION = "eu-west-1"}.'),
            databases=self.values("databases", 'For example: {warehouse = {secret = "WAREHOUSE_URL"}}.'),
            spark=self.url("spark", "sc://host:15002") if "spark" in self.table else None,
            notify=self.notify(),
            kafka=self.kafka(),
            audit=self.anchors(),
        )

    def policy(self, name: str, names: list[str]) -> EnvironmentPolicy:
        lowest, highest = names[0], names[-1]
        usual = "any" if name == lowest else "release" if name == highest else "commit"
        return EnvironmentPolicy(
            code=cast("Runs", self.one_of("code", RUNS, usual)),
            releases=self.text("releases", "v*"),
            reads=self.reads(name, names, () if name == highest else (highest,)),
            sample=self.share("sample"),
            approvals=self.approvals(),
            order=tuple(names),
        )

    def error(self, key: str, what: str, *, hint: str = "", excerpt: bool = True) -> ConfigError:
        if key in self.given:
            return ConfigError(f"{VARIABLE}{self.section.removeprefix('env.')}__{key}: {what}", hint=hint)
        return self.source.error(f"{key}: {what}", section=self.section, key=key, hint=hint, excerpt=excerpt)

    def wrong(self, key: str, value: object, reason: str, *, hint: str = "") -> ConfigError:
        """An error about a value. A variable's is not repeated: it is where secrets are. Nor is who is told."""
        unsaid = key in self.given or is_private(self.section, key)
        said = "its value" if unsaid else described(value)
        return self.error(key, f"{said} {reason}", hint=hint, excerpt=said == repr(value))

    def text(self, key: str, usual: str) -> str:
        value = self.table.get(key, usual)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "is not a text.")
        return value

    def share(self, key: str) -> float:
        """A number over 0 and up to 1; 1 unless said."""
        value = self.table.get(key, 1.0)
        try:
            share = float(cast("float", value))
        except (TypeError, ValueError):
            share = -1.0
        if isinstance(value, bool) or not 0 < share <= 1:
            raise self.wrong(key, value, "is not a share.", hint="A number over 0, up to 1: 0.02 is two in a hundred.")
        return share

    def one_of(self, key: str, known: tuple[str, ...], usual: str) -> str:
        value = self.text(key, usual)
        if value not in known:
            raise self.wrong(key, value, "is not known.", hint=suggest(value, known))
        return value

    def path(self, key: str, usual: str) -> Path:
        """A folder on this machine; a relative one starts at the project's folder."""
        value = self.text(key, usual)
        if "://" in value:
            raise self.wrong(
                key,
                value,
                "is a URL; this is a folder.",
                hint="An object store goes into lakehouse = and artifacts =.",
            )
        return Path(os.path.normpath(self.folder / Path(value).expanduser()))

    def place(self, key: str, usual: Path) -> str:
        """A folder, or the URL of an object store."""
        value = self.text(key, str(usual))
        if credentials.is_in(value):  # the file was looked at: it is a variable's
            hint = "It is shown where the place is. What gives access goes into storage_options."
            raise self.error(key, "an address with a password in it.", hint=hint)
        return value if "://" in value else str(self.path(key, str(usual)))

    def url(self, key: str, usual: str) -> Value:
        value = self.secret_or_text(key, self.table.get(key, usual))
        if isinstance(value, str) and "://" not in value:
            raise self.wrong(key, value, "is not a URL.", hint=f"For example: {usual!r}.")
        return value

    def approvals(self) -> tuple[str, ...]:
        """Roles, each once."""
        value = self.table.get("approvals", [])
        roles = cast("list[object]", value) if isinstance(value, list) else [None]
        for role in roles:
            if not isinstance(role, str) or not ROLE.fullmatch(role):
                raise self.wrong(
                    "approvals", value, "is not a list of roles.", hint='For example: approvals = ["governance"].'
                )
        return tuple(dict.fromkeys(cast("list[str]", roles)))

    def online(self, usual: Path) -> Value:
        """A file, or a URL."""
        value = self.secret_or_text("online", self.table.get("online", str(usual)))
        if isinstance(value, Secret):
            return value
        if "://" not in value:
            return str(self.path("online", str(usual)))
        return value

    def secret_or_text(self, key: str, value: object) -> Value:
        """A text, or a secret by reference; a variable that holds a credential is named and never repeated."""
        if isinstance(value, str) and value:
            return self.carried(key, key, value) if key in self.given else value
        if isinstance(value, Mapping):
            named = cast("Table", value)
            if list(named) == ["secret"] and isinstance(named["secret"], str) and named["secret"]:
                return Secret(named["secret"])
        raise self.wrong(key, value, "is neither a text nor a secret.", hint='For example: {secret = "NAME"}.')

    def carried(self, key: str, option: str, value: str) -> Value:
        """A variable's value, or, where it is a credential, the variable."""
        if credentials.is_in(value) or _is_credential(option):
            return Secret(f"{VARIABLE}{self.section.removeprefix('env.')}__{key}")
        return value

    def values(self, split: str, example: str) -> dict[str, Value]:
        """A key that is a table of texts and secrets."""
        value = self.table.get(split, {})
        if not isinstance(value, Mapping):
            raise self.wrong(split, value, "is not a table.", hint=example)
        written = {name: self.secret_or_text(split, each) for name, each in cast("Table", value).items()}
        given = {
            (name := key.removeprefix(f"{split}__")): self.carried(key, f"{split}.{name}", str(self.table[key]))
            for key in self.given
            if key.startswith(f"{split}__")
        }
        return {**written, **given}

    def kafka(self) -> dict[str, dict[str, Value]]:
        """`[env.<name>.kafka.<cluster>]`: librdkafka's properties, `bootstrap.servers` among them."""
        inside = f"{self.section}.{CLUSTERS}"
        if CLUSTERS in self.given:
            raise self.wrong(CLUSTERS, None, "is not a table.", hint=f"{CLUSTERS}__<cluster>__bootstrap_servers")
        clusters = self.source.section(inside, self.table.get(CLUSTERS, {}))
        found: dict[str, dict[str, Value]] = {}
        for name, written in clusters.items():
            section = f"{inside}.{name}"
            reader = _Reader(self.source, self.folder, section, self.source.section(section, written), frozenset())
            found[name] = reader.properties(reader.table)
        for key in sorted(self.given):
            what, _, rest = key.partition("__")
            name, _, prop = rest.partition("__")
            if what == CLUSTERS and prop:
                plain = prop.replace("_", ".")
                found.setdefault(name, {})[plain] = self.carried(
                    key, f"{CLUSTERS}.{name}.{plain}", str(self.table[key])
                )
        for name, properties in found.items():
            if "bootstrap.servers" not in properties:
                hint = 'bootstrap.servers = "host:9092"'
                raise self.error(CLUSTERS, f"cluster {name!r} has no 'bootstrap.servers'.", hint=hint)
        return found

    def properties(self, table: Table, before: str = "") -> dict[str, Value]:
        """A client's properties: `a.b = "c"` is a table in TOML."""
        found: dict[str, Value] = {}
        for key, value in table.items():
            name = f"{before}{key}"
            by_reference = isinstance(value, Mapping) and list(cast("Table", value)) == ["secret"] and name != CLIENT
            if isinstance(value, Mapping) and not by_reference:
                found |= self.properties(cast("Table", value), f"{name}.")
            elif isinstance(value, bool | int | float):
                found[name] = str(value).lower()
            else:
                found[name] = self.secret_or_text(name, value)
        return found

    def notify(self) -> dict[str, ChannelConfig]:
        """`[env.<name>.notify]`: name → a table with `kind`; the kind is the name by default."""
        given = self.table.get("notify", {})
        if not isinstance(given, Mapping):
            raise self.wrong("notify", given, "is not a table.", hint='notify = {webhook = "https://…"}')
        inside, table = f"{self.section}.notify", dict(cast("Table", given))
        reader = _Reader(self.source, self.folder, inside, table, frozenset())
        signed = table.pop("signed_with", None)
        if signed is not None and "webhook" not in table:
            raise reader.error("signed_with", "there is no webhook to sign for.")
        found = {name: reader.channel(name, value) for name, value in table.items()}
        if signed is not None:
            settings = {**found["webhook"].settings, "signed_with": reader.by_reference("signed_with", signed)}
            found["webhook"] = replace(found["webhook"], settings=settings)
        return found

    def channel(self, name: str, value: object) -> ChannelConfig:
        """One channel. Of a kind from outside only that no secret is in clear is known before it is imported."""
        table = _channel_table(value)
        kind = name if table is None else table.pop("kind", name)
        if not isinstance(kind, str) or not (kind in channels.KINDS or channels.is_outside(kind)):
            if table is None or "kind" not in cast("Table", value):
                self.source.only([name], channels.KINDS, self.section)
            hint = f'kind = one of {", ".join(channels.KINDS)}, or "package.module:Class".'
            raise self.error(name, f"kind {described(kind)} is no kind of channel.", hint=hint)
        cls = channels.KINDS.get(kind)
        if table is None:
            if cls is None or not cls.main:
                raise self.wrong(name, value, "is not a table.", hint=f"{name} = {{…}}")
            return ChannelConfig(kind=kind, settings=self._settings(cls, {cls.main: value}, name))
        reader = _Reader(self.source, self.folder, f"{self.section}.{name}", table, frozenset())
        return ChannelConfig(kind=kind, settings=reader._settings(cls, table) if cls else reader._outside(table))

    def _settings(self, cls: type[Channel], table: Mapping[str, object], shown: str = "") -> dict[str, object]:
        """The settings of a kind that is known; `shown` is the key of a value that stands for the main one."""
        known = {setting.name: setting for setting in cls.settings}
        self.source.only(table, known, self.section)
        for setting in cls.settings:
            if setting.required and setting.name not in table:
                above, _, name = self.section.rpartition(".")
                raise self.source.error(
                    f"{name}: there is no {setting.name!r}.", section=above, key=name, excerpt=False
                )
        found: dict[str, object] = {}
        for key, value in table.items():
            setting, said = known[key], shown or key
            if setting.secret:
                found[key] = self.by_reference(said, value)
            elif setting.by_reference and not isinstance(read := self.secret_or_text(said, value), str):
                found[key] = read
            elif not setting.possible(value):
                raise self.wrong(said, value, setting.wrong, hint=setting.hint)
            else:
                found[key] = value
        return found

    def _outside(self, table: Mapping[str, object]) -> dict[str, object]:
        """The settings of a kind that is not imported yet: plain values, and references to secrets."""
        return {
            key: self.secret_or_text(key, cast("object", value)) if isinstance(value, Mapping) else value
            for key, value in table.items()
        }

    def anchors(self) -> Anchors:
        """`audit = {git_note = true, file = "…", webhook = "https://…"}`."""
        given = self.table.get("audit", {})
        if not isinstance(given, Mapping):
            raise self.wrong("audit", given, "is not a table.", hint="audit = {git_note = true}")
        inside, table = f"{self.section}.audit", cast("Table", given)
        self.source.only(table, ("git_note", "file", "webhook"), inside)
        reader = _Reader(self.source, self.folder, inside, table, frozenset())
        if not isinstance(noted := table.get("git_note", False), bool):
            raise reader.wrong("git_note", noted, "is neither true nor false.")
        return Anchors(
            git_note=noted,
            file=reader.place("file", self.folder) if "file" in table else None,
            webhook=reader.webhook() if "webhook" in table else None,
        )

    def webhook(self) -> Value:
        """A URL."""
        value = self.secret_or_text("webhook", self.table["webhook"])
        if isinstance(value, Secret):
            return value
        try:
            Webhook(url=value)
        except ConfigError as error:
            raise self.error("webhook", error.what, hint=error.hint) from None
        return value

    def by_reference(self, key: str, given: object) -> Secret:
        """A secret by reference, never in clear."""
        value = self.secret_or_text(key, given)
        if not isinstance(value, Secret):
            raise ConfigError(
                f"{self.source.path}: [{self.section}] {key}: a secret does not belong in a file.", hint=BY_REFERENCE
            )
        return value

    def reads(self, name: str, names: list[str], usual: tuple[str, ...]) -> tuple[str, ...]:
        value = self.table.get("reads", list(usual))
        if not isinstance(value, list):
            raise self.wrong("reads", value, "is not a list.", hint='For example: reads = ["prod"], or [] for none.')
        others = [other for other in names if other != name]
        for other in cast("list[object]", value):
            if other == name:
                raise self.wrong("reads", name, "reads its own tables anyway.")
            if other not in others:
                raise self.error(
                    "reads",
                    f"there is no environment {described(other)}.",
                    hint=suggest(str(other), others),
                    excerpt=isinstance(other, str),
                )
        return tuple(dict.fromkeys(cast("list[str]", value)))


def _sqlite(file: Path) -> str:
    """The URL of a database file; a question mark in its path would begin the URL's options."""
    return f"sqlite:///{file}".replace("%", "%25").replace("?", "%3F")


def _said(value: Value) -> str:
    """What a value is now, to be compared: two references may lead to one place."""
    if isinstance(value, Secret):
        return vault.read(value.variable) or f"the secret {value.variable}"
    return value


def _apart(source: TomlFile, environments: list[Environment]) -> None:
    """Refuses two environments whose stores are the same place, or one inside the other: a write would reach both."""
    for i, one in enumerate(environments):
        for other in environments[i + 1 :]:
            for what, a, b in (
                ("lakehouse", one.lakehouse_root, other.lakehouse_root),
                ("state", _said(one.state), _said(other.state)),
                ("online store", _said(one.online), _said(other.online)),
            ):
                if a == b or (what == "lakehouse" and (f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/"))):
                    raise source.error(
                        f"environments {one.name!r} and {other.name!r} would share their {what}.",
                        section=f"env.{other.name}",
                        hint="Give each environment a root of its own.",
                    )
