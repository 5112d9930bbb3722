"""The package of a model: a folder with everything that prediction needs, independent of the machine that wrote it.

    package/spec.json       the feature plan, the categories, the task, the calibration, where the code came from
    package/estimator/      the fitted estimator (`estimator.py`)
    package/expected.json   some fitting rows, and the original estimator's predictions for them
    package/code/           the part of the project's code at that commit that its on-demand functions need (`code_slice.py`)

It is written here and read by `scoring`, the package above, so its format is defined in one place. `features.matrix`
turns rows into the matrix, and `output.py` the estimator's numbers into the output: training, batch scoring and the
packaged model all use both.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import DataError, UserCodeError
from headrace.core.folders import folder_digest
from headrace.features.plan import FeaturePlan
from headrace.training import code, code_slice
from headrace.training.calibration import Calibration
from headrace.training.estimator import LOADERS, Settings
from headrace.training.tasks.known import is_built_in, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from headrace.core.ids import Json
    from headrace.features.matrix import Categories, Value
    from headrace.training.estimator import Estimator, Format
    from headrace.training.tasks.base import Class, Task

FOLDER = "package"
EXPECTED = "expected.json"
FORMAT = 2
CORE = ("mlflow", "numpy", "pandas")


@dataclass(frozen=True, kw_only=True)
class CodeSpec:
    """Where the code of a package came from.

    Attributes:
        module: of the project, `shop.project`.
        commit: in git; None outside of it.
        tree: identity of the code that ran.
        content: digest of the copy in the package, the name under which it is imported; empty where predicting needs none.
        functions: on-demand function → `module:name` in that copy; None where the whole project is there, and its
            declarations say which they are.
    """

    module: str
    commit: str | None
    tree: str
    content: str
    functions: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class TaskCode:
    """Where the class of a task is that is not built in.

    Attributes:
        place: `module:name`, as the project imports it.
        in_project: whether that is in the copy of the project's code, and not in an installed distribution.
        settings: what the task has beside its label.
    """

    place: str
    in_project: bool
    settings: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class PackageSpec:
    """What `spec.json` holds.

    Attributes:
        format: of the package; a reader refuses one that it does not know.
        headrace: the version that wrote it.
        model: its name in the project.
        task: the name of what it predicts.
        task_code: where a task that is not built in is found; None for a built-in one.
        classes: of the labels, sorted; empty for a task without classes.
        plan: the features.
        categories: text feature → its values on the fitting rows.
        calibration: None when the task has none.
        params: the fit function was given.
        estimator: the format in which the estimator is kept.
        settings: what its file does not say.
        by_value: the estimator holds functions or classes of the project.
        code: None for a model that is not from a project's folder.
    """

    format: int = FORMAT
    headrace: str = ""
    model: str
    task: str
    task_code: TaskCode | None = None
    classes: tuple[Class, ...]
    plan: FeaturePlan
    categories: Categories
    calibration: Calibration | None
    params: Mapping[str, bool | int | float | str]
    estimator: Format = "pickle"
    settings: Settings = field(default_factory=Settings)
    by_value: bool = False
    code: CodeSpec | None = None

    @property
    def needs_code(self) -> bool:
        """Whether predicting imports the project."""
        return bool(self.plan.calls) or self.estimator == "chain"

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PackageSpec:
        """What `asdict` gave, after a round through text.

        Raises:
            DataError: it was written by another Headrace.
        """
        if stored["format"] != FORMAT:
            raise DataError(
                f"the package of model {stored['model']!r} has format {stored['format']}; this Headrace reads {FORMAT}.",
                hint=f"It was written by headrace {stored['headrace']}: install that one, or train again.",
            )
        calibration, origin, task_code = stored["calibration"], stored["code"], stored.get("task_code")
        read: dict[str, Any] = {
            **stored,
            "task_code": None if task_code is None else TaskCode(**task_code),
            "classes": tuple(stored["classes"]),
            "plan": FeaturePlan.from_json(stored["plan"]),
            "calibration": None
            if calibration is None
            else Calibration(points=tuple(calibration["points"]), rates=tuple(calibration["rates"])),
            "settings": Settings.from_json(stored["settings"]),
            "code": None if origin is None else CodeSpec(**origin),
        }
        return cls(**read)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The project that a model comes from.

    Attributes:
        folder: with the code that ran.
        module: of the project.
        commit: in git; None outside of it.
        tree: identity of that code.
        leave_out: folders inside with what environments keep.
        names: the files that count, relative; None where no git says so.
    """

    folder: Path
    module: str
    commit: str | None
    tree: str
    leave_out: tuple[Path, ...] = ()
    names: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Full rows, and what the fitted estimator itself predicted for them: the side that no reader of the package computes.

    Attributes:
        rows: as `features.matrix.to_json` gives them.
        columns: of the output.
        outputs: a row each.
    """

    rows: Sequence[Sequence[Value]]
    columns: Sequence[str]
    outputs: Sequence[Sequence[Value]]

    @property
    def frame(self) -> pd.DataFrame:
        """The outputs."""
        import pandas as pd

        return pd.DataFrame(list(self.outputs), columns=list(self.columns))


@dataclass(frozen=True, kw_only=True)
class WrittenPackage:
    """A package that lies in a folder.

    Attributes:
        folder: named `package`.
        spec: as written.
        hash: of all its files.
        distributions: what predicting needs beyond the standard library and Headrace, by what can be told from the files.
        left_out: files among the project's code that did not come along, relative.
    """

    folder: Path
    spec: PackageSpec
    hash: str
    distributions: frozenset[str]
    left_out: tuple[str, ...] = ()


def write(
    parent: Path,
    *,
    model: str,
    task: Task | str,
    classes: tuple[Class, ...],
    plan: FeaturePlan,
    categories: Categories,
    estimator: Estimator,
    calibration: Calibration | None,
    params: Mapping[str, bool | int | float | str],
    origin: Origin | None,
    by_value: Iterable[str] = (),
    functions: Mapping[str, Callable[..., object]] | None = None,
    expected: Expected | None = None,
) -> WrittenPackage:
    """Writes the folder `package` inside `parent`, which must not have it yet.

    Args:
        parent: an existing folder.
        by_value: modules of the project as they are imported now, whose functions and classes a pickled estimator takes along.
        functions: the on-demand functions, of which only the code that they need is taken along; None for the whole project.
        expected: what the estimator itself predicted; None where nobody asked it.
        origin: the project; None where there is none (a model with on-demand features needs one).
        task: what is predicted, or the name of a built-in task.
        model: and the rest: see PackageSpec.

    Raises:
        UserCodeError: the estimator cannot be pickled, or no module holds the class of the task.
        DataError: the code is too large.
    """
    folder = parent / FOLDER
    (folder / "estimator").mkdir(parents=True)
    modules = estimator.save(folder / "estimator", by_value=tuple(by_value))
    copied, imported, left_out = None, set[str](), tuple[str, ...]()
    declared = resolve(task)
    task_code = None if is_built_in(declared) else _task_code(declared, tuple(by_value))
    if origin is not None:
        copied, imported, left_out = _copy_code(
            origin, folder / "code", plan, functions, task_code, tuple(by_value), whole=estimator.format == "chain"
        )
    if task_code is not None and not task_code.in_project:
        imported.add(task_code.place.partition(":")[0].partition(".")[0])
    spec = PackageSpec(
        headrace=metadata.version("headrace"),
        model=model,
        task=declared.name,
        task_code=task_code,
        classes=classes,
        plan=plan,
        categories=categories,
        calibration=calibration,
        params=dict(params),
        estimator=estimator.format,
        settings=estimator.settings,
        by_value=bool(tuple(by_value)) and estimator.format == "pickle",
        code=copied,
    )
    (folder / "spec.json").write_text(json.dumps(asdict(spec), indent=1, sort_keys=True), encoding="utf-8")
    if expected is not None:
        (folder / EXPECTED).write_text(json.dumps(asdict(expected)), encoding="utf-8")
    return WrittenPackage(
        folder=folder,
        spec=spec,
        hash=folder_digest(folder),
        distributions=frozenset(code.distributions({*modules, *imported, *CORE})),
        left_out=left_out,
    )


def _task_code(task: Task, modules: Sequence[str]) -> TaskCode:
    """Where a task's class is found again: in the project, or in an installed module.

    Raises:
        UserCodeError: a module of the project defines it and does not hold it under a name.
    """
    kind = type(task)
    settings = task.settings
    held = code.places({task.name: kind}, modules)
    if held is not None:
        module, name = held[task.name]
        return TaskCode(place=f"{module}:{name}", in_project=True, settings=settings)
    if kind.__module__ in modules or getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        raise UserCodeError(
            f"the task {kind.__qualname__} of {code.plain(kind.__module__)} is not found in its module by that name.",
            hint="Put the class at the top level of a module: a version finds it there again.",
        )
    return TaskCode(place=f"{kind.__module__}:{kind.__qualname__}", in_project=False, settings=settings)


def _place(task: TaskCode) -> tuple[str, str]:
    module, _, name = task.place.partition(":")
    return module, name


def _copy_code(
    origin: Origin,
    to: Path,
    plan: FeaturePlan,
    functions: Mapping[str, Callable[..., object]] | None,
    task: TaskCode | None,
    modules: Sequence[str],
    *,
    whole: bool = False,
) -> tuple[CodeSpec, set[str], tuple[str, ...]]:
    """Writes what predicting needs of the project; gives what it is, the top-level modules that it imports, and the files
    that did not come along.
    """
    own_task = [_place(task)] if task is not None and task.in_project else []
    if not plan.calls and not own_task and not whole:
        return CodeSpec(module=origin.module, commit=origin.commit, tree=origin.tree, content=""), set(), ()
    places = None if functions is None else code.places(functions, modules)
    part = None if places is None else code_slice.needed(origin.folder, [*places.values(), *own_task])
    left_out = code.copy(
        origin.folder, to, module=origin.module, leave_out=origin.leave_out, needed=part, names=origin.names
    )
    copied = CodeSpec(
        module=origin.module,
        commit=origin.commit,
        tree=origin.tree,
        content=folder_digest(to),
        functions=None
        if part is None or places is None
        else {name: f"{module}:{attribute}" for name, (module, attribute) in places.items()},
    )
    imported = code.imports(to, origin.module) if part is None else set(part.imports) - set(sys.stdlib_module_names)
    return copied, imported, left_out


def read_spec(folder: Path) -> PackageSpec:
    """Reads `spec.json` of a package.

    Raises:
        DataError: the folder holds no package, or one of a later format.
    """
    file = folder / "spec.json"
    if not file.is_file():
        raise DataError(f"{str(folder)!r} holds no model package: there is no spec.json.")
    return PackageSpec.from_json(cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8"))))


def read_expected(folder: Path) -> Expected | None:
    """What a package's estimator itself predicted; None where that was not kept."""
    file = folder / EXPECTED
    return Expected(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def read_estimator(folder: Path, spec: PackageSpec) -> Estimator:
    """Reads the estimator of a package.

    Raises:
        MissingExtraError: its library is not installed.
    """
    return LOADERS[spec.estimator](folder / "estimator", spec.settings)
