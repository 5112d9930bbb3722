"""The `headrace` command: its sub-commands, which are loaded at their first use, and the display of errors."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from importlib import import_module

import click

from headrace.cli.commands import Commands
from headrace.cli.output import complain, misused, wrong
from headrace.core import logs, vault
from headrace.core.errors import HeadraceError
from headrace.core.system import PRIVATE
from headrace.operations.later import after_the_answer

COMMANDS = {
    "init": "make a new project: a folder with a program that runs, its tests and its CI",
    "demo": "a shipped example through the loop: a year of flights; llm: an assistant",
    "run": "run a pipeline: refresh, publish, train, tune, deploy, score, stream, ingest-log, monitor, retrain, parity-check, backtest",
    "up": "scheduler and serving on this machine",
    "console": "pages for people, in a browser on this machine",
    "serve": "answer questions over HTTP",
    "gateway": "OpenAI's protocol in front of routes to language models",
    "status": "what is there and what needs a person",
    "table": "tables: list, show, profile, drift, history, load a file, drop",
    "feature": "feature tables: list, show, search",
    "model": "models and their versions: list, show, card, predict, search, history, compare, comparisons, import, promote, rollback, export",
    "traffic": "who answers: show, set, shadow, rollout, waive, stop, history, reconcile",
    "request": "requests to move a version: list, show, approve, reject, reopen",
    "feedback": "what people say of answers: list, summary, to-dataset",
    "trace": "answers of models that answer, and how each came about: list, show",
    "llm": "calls to language models: cost, budgets, estimate, routes",
    "monitor": "quality, drift and business figures by window: show, kpis, report",
    "alert": "alerts: list, show, ack, mute, resolve",
    "env": "environments: what may run in one, policy; its stores; compare, expire; reset, for dev",
    "sql": "ask the lakehouse",
    "dashboard": "dashboards: list, show, pull, push, delete, refresh, export",
    "query": "saved queries: list, show, save, delete, alert",
    "schedule": "what is due when: list",
    "runs": "runs of pipelines: list, show, logs, acknowledge",
    "audit": "what was done by whom",
    "access": "who may do what: me, list, bootstrap, grant, revoke, token",
    "api-key": "keys of programs that call a server: create, list, revoke",
    "test": "tests of a project in stores of their own: integration",
    "release": "releases: keygen, fetch, list, verify, bundle, cut, allow, rollback",
    "plan": "what the code would change in an environment",
    "apply": "bring an environment to what the code declares",
    "ci": "continuous integration: report of an integration test, on the merge request",
    "doctor": "check this installation and this project",
}
DEFECT = 70  # sysexits.h: an internal software error


class Lazy(Commands):
    """A group whose commands live in the module of their name and are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"headrace.cli.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headrace")
def cli() -> None:
    """Declare tables, features, a model and its policy; Headrace runs the whole loop."""


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and leaves the process with its exit code.

    A user's mistake never shows a traceback; a defect of Headrace does, and says that it is one.
    """
    os.umask(PRIVATE)
    vault.close()
    logs.shown_by(Warnings())
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait for a busy core by spinning keep it busy
    try:
        with after_the_answer():
            code = cli.main(arguments, prog_name="headrace", standalone_mode=False)
    except HeadraceError as error:
        _complain(str(error))
        code = error.exit_code
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        misused(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted. What was finished is kept; the same command continues.")
        code = 130
    except BrokenPipeError:  # the reader of our output, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a full disk, a folder that may not be written
        if error.filename is None or error.errno is None:
            code = _defect()
        else:
            wrong(f"{error.filename}: {error.strerror}.")
            code = 1
    except Exception:  # noqa: BLE001  # the last line of defence
        code = _defect()
    from headrace.core.shutdown import leave

    leave(code if isinstance(code, int) else 0)


def _complain(text: str) -> None:
    """What ends the command: a record where the process logs, else a line."""
    if logs.are_configured():
        logging.getLogger("headrace.cli").error("%s", text)
    else:
        wrong(text)


class Warnings(logging.Handler):
    """What the log of an operation warns of, as a line on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        wrong(record.getMessage())


def _defect() -> int:
    complain(traceback.format_exc().rstrip())
    wrong(
        "This is a defect of Headrace, not of your project. What was finished is kept. Please report the lines above."
    )
    return DEFECT
