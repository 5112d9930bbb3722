"""Logging of long-running processes: servers, stream workers, schedulers. Standard `logging`, one line a record, on stderr."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import IO, Literal, get_args

from headrace.core.text import visible

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: tuple[Format, ...] = get_args(Format)
LEVELS: tuple[Level, ...] = get_args(Level)
ROOT = "headrace"
_configured = False


def configure(format: Format = "text", level: Level = "info", stream: IO[str] | None = None) -> None:  # noqa: A002
    """Sends the records of Headrace's loggers to stderr, and of those that Python and libraries warn with.

    Called again it replaces what it set before.

    Args:
        format: `"text"`: time, level, message; `"json"`: an object a line, with `time`, `level`, `logger`, `message`,
            `process`, and `error` where an exception was logged.
        level: records below it are dropped.
        stream: where to; defaults to stderr.
    """
    global _configured  # noqa: PLW0603  # of the process, as logging is
    _configured = True
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.set_name(ROOT)
    logging.captureWarnings(capture=True)
    for name, least in ((ROOT, level.upper()), ("py.warnings", "WARNING")):
        logger = logging.getLogger(name)
        for other in list(logger.handlers):
            logger.removeHandler(other)
        logger.addHandler(handler)
        logger.setLevel(least)
        logger.propagate = False


def shown_by(handler: logging.Handler) -> None:
    """This process is a command: what Headrace warns of goes to one handler, and nothing was configured before."""
    global _configured  # noqa: PLW0603  # of the process, as logging is
    _configured = False
    logger = logging.getLogger(ROOT)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING)
    logger.propagate = True


def are_configured() -> bool:
    """Whether this process stays and logs: then its errors are records too."""
    return _configured


class TextFormatter(logging.Formatter):
    """`2026-11-28T16:40:12.345Z INFO serving on http://…`.

    What strangers wrote into a message steers no terminal, and cannot look like a record: further lines are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record: the message, then its exception."""
        text = f"{_time(record)} {record.levelname} {record.getMessage()}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        first, *others = text.splitlines() or [""]
        return "\n".join([visible(first), *(f"    {visible(line)}" for line in others)])


class JsonFormatter(logging.Formatter):
    """A JSON object a line; every character that is not printable ASCII is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        shown: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": os.getpid(),
        }
        if record.exc_info:
            shown["error"] = self.formatException(record.exc_info)
        return json.dumps(shown)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
