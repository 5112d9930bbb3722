"""Fixtures for pytest, loaded where a project asks for them: `pytest_plugins = ["headrace.testing.fixtures"]`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from headrace.core import clock
from headrace.session.moment import instant
from headrace.testing.temporary_environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from headrace.session.moment import Moment
    from headrace.testing.temporary_environment import Environment


class EnvironmentFactory(Protocol):
    """What the fixture `headrace_environment` is."""

    def __call__(
        self, project: ModuleType | Path | str, *, at: Moment | None = None, settings: str = "", quiet: bool = True
    ) -> Environment:
        """Opens a temporary environment; see `headrace.testing.environment`."""
        ...


@pytest.fixture
def headrace_environment() -> Iterator[EnvironmentFactory]:
    """Opens temporary environments, as `headrace.testing.environment` does, and closes them after the test."""
    with ExitStack() as opened:

        def make(
            project: ModuleType | Path | str, *, at: Moment | None = None, settings: str = "", quiet: bool = True
        ) -> Environment:
            return opened.enter_context(environment(project, at=at, settings=settings, quiet=quiet))

        yield make


@pytest.fixture
def frozen_clock() -> Iterator[Callable[[Moment], None]]:
    """Sets Headrace's clock to a moment until the end of the test: `frozen_clock("2025-05-01")`."""
    with ExitStack() as opened:

        def freeze(at: Moment) -> None:
            moment = instant(at)
            assert moment is not None, "a moment is given"
            opened.enter_context(clock.frozen(moment))

        yield freeze
