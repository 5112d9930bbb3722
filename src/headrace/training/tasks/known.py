"""The built-in tasks, by the name that packages store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError, DeclarationError
from headrace.training.metrics.known import metrics_of
from headrace.training.tasks.base import Task
from headrace.training.tasks.binary import Binary
from headrace.training.tasks.generation import Generation
from headrace.training.tasks.multiclass import Multiclass
from headrace.training.tasks.regression import Regression

if TYPE_CHECKING:
    from collections.abc import Mapping

TASKS: Mapping[str, type[Task]] = {task.name: task for task in (Binary, Multiclass, Regression, Generation)}


def is_built_in(task: Task) -> bool:
    """Whether a task is one of Headrace, whose code need not travel."""
    return type(task) in TASKS.values()


def resolve(task: Task | str) -> Task:
    """A task as it is, or the one of a name, to predict with.

    Raises:
        DataError: nothing is known by that name.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise DataError(
            f"the task {task!r} is not known; this Headrace knows {', '.join(TASKS)}.",
            hint="It is of a later Headrace, or of a project whose code did not travel: install that one, or train again.",
        )
    return TASKS[task].restore({})


def check_task(where: str, task: object) -> None:
    """Refuses what is no task, or one that could not be told from another.

    Raises:
        DeclarationError: it is none, its name is taken, it has no default metric, or something that cannot travel.
        NotFoundError: it names a metric that is not built in.
    """
    possible = f"One of {', '.join(f'hr.{name}(label)' for name in TASKS if name != 'Generation')}, hr.Generation(), or an instance of a subclass of hr.Task."
    if not isinstance(task, Task):
        raise DeclarationError(f"{where}: task={task!r} is no task.", hint=possible)
    if is_built_in(task):
        return
    if task.name in (*TASKS, "Task", ""):
        raise DeclarationError(
            f"{where}: the task {type(task).__name__} has the name {task.name!r}, which is taken.",
            hint='Give the class another name, or write name = "…" in it.',
        )
    if "<locals>" in type(task).__qualname__:
        raise DeclarationError(
            f"{where}: the task {type(task).__qualname__} is inside a function, where no version could find it again.",
            hint="Put the class at the top level of a module.",
        )
    if not isinstance(task.metrics, list | tuple) or not task.metrics:
        raise DeclarationError(
            f"{where}: the task {task.name} has no default metric.",
            hint='Write metrics = ("mae",) in the class; the first is the main one.',
        )
    _ = task.settings, metrics_of(task.name, task.metrics)
