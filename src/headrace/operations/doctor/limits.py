"""Checks that end: each runs in a thread of its own, which is left alone after its time."""

from __future__ import annotations

import sys
import time
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import HeadraceError
from headrace.core.shutdown import ABANDONED
from headrace.operations.doctor.finding import CheckFinding, failed, of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SECONDS = 20.0  # for one check


@dataclass(frozen=True)
class Check:
    """A check that was not begun.

    Attributes:
        name: what a finding is called that is not one of its own: an error, or that it took too long.
        look: gives what is found.
        way: what to do where it does not end, or an error does not say it.
    """

    name: str
    look: Callable[[], Iterable[CheckFinding]]
    way: str = ""


@dataclass
class _Running:
    check: Check
    findings: list[CheckFinding] = field(default_factory=list[CheckFinding])
    error: BaseException | None = None
    thread: Thread | None = None

    def look(self) -> None:
        try:
            self.findings = list(self.check.look())
        except (HeadraceError, SQLAlchemyError, OSError) as error:
            finding = of_error(self.check.name, error)
            self.findings = [finding if finding.way else replace(finding, way=self.check.way)]
        except BaseException as error:  # noqa: BLE001  # raised again where the check is waited for
            self.error = error


def run(checks: Sequence[Check], *, seconds: float = SECONDS) -> list[CheckFinding]:
    """What checks find that may run at the same time, in their order.

    Args:
        checks: what to run.
        seconds: for all of them together. One that is not at its end then is a finding that says so.
    """
    stdout, running = sys.stdout, [_Running(check) for check in checks]
    for each in running:
        each.thread = Thread(
            target=copy_context().run, args=(each.look,), daemon=True, name=f"doctor {each.check.name}"
        )
        each.thread.start()
    until = time.monotonic() + seconds
    found: list[CheckFinding] = []
    for each in running:
        assert each.thread is not None
        each.thread.join(max(0.0, until - time.monotonic()))
        if each.thread.is_alive():
            ABANDONED.append(each.thread)
            sys.stdout = stdout  # a module of the project that is being imported prints elsewhere
            found.append(failed(each.check.name, f"did not end within {seconds:.0f} s", each.check.way))
        elif each.error is not None:
            raise each.error
        else:
            found += each.findings
    return found
