"""A temporary environment of a project, for one test: a session over sample rows, whose clock stands at a moment."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headrace.core import clock
from headrace.core.errors import ConfigError, DeclarationError, NotFoundError, RefusedError
from headrace.core.ids import new_id
from headrace.environments import code, config
from headrace.environments.keys import FILE
from headrace.environments.project import Project
from headrace.environments.user_code import PREFIX as PROGRAMS
from headrace.lakehouse.declarations import Source, Table
from headrace.operations.operation import At
from headrace.operations.relation import in_memory
from headrace.pipelines import sample_rows
from headrace.session.moment import instant
from headrace.session.session import Session
from headrace.session.tables import Tables
from headrace.testing.isolation import variables_aside
from headrace.testing.program_copy import find_program
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime
    from types import ModuleType, TracebackType
    from typing import Self

    import pyarrow as pa

    from headrace.operations.relation import Frame
    from headrace.session.moment import Moment
    from headrace.session.tables import Table as SessionTable
    from headrace.testing.program_copy import Program
    from headrace.workspace.workspace import Workspace

NAME = "test"
PREFIX = "headrace-test-"  # of temporary folders


def environment(
    project: ModuleType | Path | str, *, at: Moment | None = None, settings: str = "", quiet: bool = True
) -> Environment:
    r"""Opens a temporary environment of a project, which goes at its end with everything in it.

    The program is copied into a temporary folder and imported from there, and the stores lie beside it. Nothing of the
    project, and none of its environments, is touched; variables that set connections, and `HEADRACE_TOKEN`, are put aside
    meanwhile. Nothing is opened before it is used.

    Args:
        project: the module with the declarations, or a folder with a `headrace.toml`, or one below it.
        at: the present of the environment: runs are for this moment, and what they record is stamped with it, a microsecond
            further each time. The clock is that of this process; `datetime.now()` in code of the project is the real one.
            Defaults to `as_of` of the project, whose records have the real time, or to the present.
        settings: more of `headrace.toml`, for the environment `test`: `[env.test.llm.routes.small]` and so on; defaults to
            nothing. Nothing is taken over from the environments of the project.
        quiet: whether pipelines do not tell each step on stderr when it ends; defaults to yes.

    Returns:
        The environment: a session as `hr.open` returns it, and a context manager. `close()` ends it, too.

    Raises:
        ConfigError: there is no such folder or project, the module is in no file, or `at` is no moment.
        DeclarationError: the module declares nothing, or two things of one name.
        UserCodeError: importing the program raised.

    Example:
        >>> from pathlib import Path
        >>> from headrace import testing
        >>> _ = Path("shop.py").write_text('''
        ... import headrace as hr
        ... raw = hr.Source("bronze.orders", files="orders/*.csv")
        ... orders = hr.Table("silver.orders", key="order_id", sql="select order_id, amount from bronze.orders where amount > 0")
        ... ''')
        >>> _ = Path("headrace.toml").write_text('[project]\nname = "shop"\nmodule = "shop"')
        >>> with testing.environment(".", at="2025-05-01") as env:
        ...     env.load("bronze.orders", [{"order_id": 1, "amount": 9.5}, {"order_id": 2, "amount": -1.0}])
        ...     _ = env.refresh()
        ...     env.sql("select * from silver.orders").rows()
        [{'order_id': 1, 'amount': 9.5}]
    """
    present = instant(at)
    with ExitStack() as opened:
        opened.enter_context(variables_aside())
        program = find_program(project)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        _write(program, folder, present or program.as_of, settings)
        if present is not None:
            opened.enter_context(clock.frozen(present))
        sample_rows.keep(folder)
        opened.callback(sample_rows.forget, folder)
        place = _TemporaryPlace(env=NAME, folder=folder)
        made = Environment(place, at=present or program.as_of, settings=settings, quiet=quiet)
        opened.callback(_forget_modules, folder)
        _ = made.project  # is imported
        made.ends(opened.pop_all())
        return made


class Environment(Session):
    """A temporary environment; see `environment`. It has all that a session has, and sample rows.

    Attributes:
        folder: of the copy of the project; its stores are below.
        at: its present; None for the real one.
        settings: what was added to `headrace.toml`.
    """

    def __init__(
        self,
        place: _TemporaryPlace,
        *,
        at: datetime | None,
        settings: str,
        quiet: bool,
    ) -> None:
        super().__init__(place, quiet=quiet)
        self.tables = _SampleTables(place)
        self.folder, self.at, self.settings = cast("Path", place.folder), at, settings
        self._place = place
        self._rows: dict[str, _Given] = {}
        self._opened = ExitStack()

    def load(
        self,
        table: str | Source | Table,
        rows: Frame | Path | str,
        *,
        known: str | Mapping[str, str] | None = None,
    ) -> None:
        """Gives a source sample rows in place of its files or function; or a table, in place of what its SELECT returns.

        The next refresh reads them. Of a table its schema, key and expectations count as ever. Rows that are given again
        replace the earlier ones. A source without rows is not loaded, and tables that need it are not built.

        Args:
            table: its name, or its declaration; a table of another project, which this one names by
                `hr.external_feature_table`, is given as `hr.FeatureTable(…)`.
            rows: a data frame of pandas or polars, an Arrow table, or a list of dictionaries; of a source with `files=` also
                the path of a file.
            known: when what is in a row became known, for `assert_no_leak`: the column with the moment of the whole row; or
                column → the column with its moment, for values that are filled in later. Defaults to nothing: not checked.

        Raises:
            NotFoundError: the project declares no such table or source.
            DeclarationError: a declared column is missing, or the rows are none.
            ConfigError: there is no such file, or a file is given for what is not loaded from files.
        """
        _ = self._at.folder  # refuses where it is closed
        declared = _declared(self.project, table)
        samples = sample_rows.keep(self.folder)
        if isinstance(rows, str | Path):
            samples.rows.pop(declared.name, None)
            samples.files[declared.name] = self._file(declared, Path(rows))
            if known is not None:
                raise DeclarationError("known= is for rows in memory.", hint="Read the file: pandas.read_csv(…).")
            self._rows[declared.name] = _Given(table=table, rows=rows, known=None)
            return
        given = in_memory(rows)
        _check_columns(declared, given, known)
        self._rows[declared.name] = _Given(table=table, rows=given, known=known)
        if isinstance(declared, Source) and declared.files:
            samples.files[declared.name] = self._written(declared.name, given)
            return
        samples.rows[declared.name] = given
        if not isinstance(table, str) and isinstance(declared, Table) and declared is table:
            samples.elsewhere[declared.name] = declared

    @property
    def given(self) -> Mapping[str, _Given]:
        """Table → the rows that `load` was given for it."""
        return dict(self._rows)

    def again(self, at: datetime) -> Environment:
        """Another temporary environment of the same program and settings, without rows, at another moment."""
        return environment(self.folder, at=at, settings=self.settings)

    @contextmanager
    def workspace(self) -> Generator[Workspace]:
        """The open environment with its boxes, for what a session does not have."""
        with open_workspace(self._at.env, folder=self._at.folder) as opened:
            yield opened

    @cached_property
    def project(self) -> Project:
        """What the copy of the program declares. No store is opened for it.

        Raises:
            DeclarationError: it declares nothing.
        """
        found = config.load(self.folder)
        project = Project(found, code.resolve(found, found.environments[0]))
        if not any(hasattr(each, "namespace") for each in project.declarations):
            raise DeclarationError(
                f"the module {project.settings.module!r} declares nothing.",
                hint="Give the module whose attributes are hr.Source(…), hr.Table(…), hr.Model(…) and so on.",
            )
        return project

    def ends(self, opened: ExitStack) -> None:
        """Hands over what is ended when the environment is closed."""
        self._opened = opened

    def close(self) -> None:
        """Removes the environment. Again does nothing; every other call is refused from now on."""
        self._place.close()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the environment."""
        self.close()

    def _written(self, name: str, rows: pa.Table) -> Path:
        import pyarrow.parquet as pq

        file = self._samples / f"{name}.parquet"
        pq.write_table(rows, file)
        return file

    def _file(self, declared: Source | Table, path: Path) -> Path:
        if not path.is_file():
            raise ConfigError(f"there is no file {str(path)!r}.", hint="Give rows, or the path of a file with them.")
        if not isinstance(declared, Source) or not declared.files:
            raise ConfigError(
                f"{declared.name!r} is not loaded from files, so the file {str(path)!r} is nothing to it.",
                hint="Read it, and give its rows: pandas.read_csv(…).",
            )
        link = self._samples / f"{declared.name}{''.join(path.suffixes)}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        return link

    @property
    def _samples(self) -> Path:
        folder = self.folder / ".headrace" / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Rows that a table was given."""

    table: str | Source | Table
    rows: pa.Table | Path | str
    known: str | Mapping[str, str] | None


class _TemporaryPlace(At):
    """Where the environment is, until it is closed: what still holds this place is refused then."""

    def close(self) -> None:
        object.__setattr__(self, "closed", True)

    def __getattribute__(self, name: str) -> Any:
        if name == "folder" and "closed" in object.__getattribute__(self, "__dict__"):
            raise RefusedError(
                "this temporary environment is closed, and what was in it is gone.",
                hint="Ask inside of `with testing.environment(…) as env:`.",
            )
        return object.__getattribute__(self, name)


class _SampleTables(Tables):
    """The tables; one that was not built says which rows it lacks."""

    def __getitem__(self, name: str) -> SessionTable:
        try:
            return super().__getitem__(name)
        except NotFoundError as error:
            samples = sample_rows.of(cast("Path", self._at.folder))
            if samples is None:
                raise
            if lacking := samples.lacking.get(name, ()) or tuple(each for each in samples.without if each == name):
                hint = " ".join(f"env.load({each!r}, rows)." for each in lacking)
                raise NotFoundError(
                    "table", name, list(self), hint=f"It has no rows: {hint} Then env.refresh()."
                ) from error
            raise


def _write(program: Program, folder: Path, at: datetime | None, settings: str) -> None:
    """The copy of a project: its program, and a `headrace.toml` of its own."""
    program.copy(folder)
    # no repository that this folder may lie in is asked what belongs to it
    (folder / ".git").write_text("gitdir: a temporary environment is in no repository\n", encoding="utf-8")
    as_of = "" if at is None else f"as_of = {json.dumps(at.isoformat())}\n"
    # the id makes it a version of its own: what it imports is no other environment's
    text = (
        f"# {new_id()}\n[project]\nname = {json.dumps(program.name)}\nmodule = {json.dumps(program.module)}\n"
        f"{as_of}\n[env.{NAME}]\n{settings}\n"
    )
    (folder / FILE).write_text(text, encoding="utf-8")


def _forget_modules(folder: Path) -> None:
    """Takes the modules of the program out of this process: they are of no other environment."""
    tops = [
        name
        for name, module in list(sys.modules.items())
        if name.startswith(PROGRAMS) and "." not in name and str(folder) in map(str, getattr(module, "__path__", ()))
    ]
    for name in list(sys.modules):
        if any(name == top or name.startswith(f"{top}.") for top in tops):
            del sys.modules[name]


def _declared(project: Project, table: str | Source | Table) -> Source | Table:
    """The declaration that rows are given for."""
    known = {each.name: each for each in (*project.all(Source), *project.all(Table))}
    name = table if isinstance(table, str) else getattr(table, "name", None)
    if name in known:
        return known[cast("str", name)]
    if isinstance(table, Table) and not isinstance(table, str):
        return table
    raise NotFoundError(
        "source or table", str(name or table), known, hint="Rows are given for what the project declares."
    )


def _check_columns(declared: Source | Table, rows: pa.Table, known: str | Mapping[str, str] | None) -> None:
    """Refuses rows without a column that the declaration, or `known`, names."""
    wanted: dict[str, str] = {}
    if declared.schema is not None:
        wanted |= dict.fromkeys(declared.schema.columns, "schema=")
    if isinstance(declared, Table):
        wanted |= dict.fromkeys(declared.identity, "its key and time")
    named: Sequence[str] = (known,) if isinstance(known, str) else [*(known or {}), *(known or {}).values()]
    wanted |= {name: "known=" for name in named if name not in wanted}
    missing = [name for name in wanted if name not in rows.column_names]
    if missing:
        lacked = ", ".join(f"{name!r} ({wanted[name]})" for name in missing)
        raise DeclarationError(
            f"the rows of {declared.name!r} lack {'a column' if len(missing) == 1 else 'columns'} that "
            f"{'is' if len(missing) == 1 else 'are'} declared at {declared.where}: {lacked}.",
            hint=f"They have {', '.join(rows.column_names)}.",
        )
