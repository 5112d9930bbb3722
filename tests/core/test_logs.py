"""Logs of processes that stay: levels, times, and one JSON object a line, whatever strangers write into a message."""

import io
import json
import logging
import re
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import logs


@pytest.fixture(autouse=True)
def as_before():
    """Other tests' loggers are what they were."""
    names = (logs.ROOT, "py.warnings")
    before = {
        name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level, logging.getLogger(name).propagate)
        for name in names
    }
    yield
    logs._configured = False
    logging.captureWarnings(capture=False)
    for name, (handlers, level, propagate) in before.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def written(log, **options):
    stream = io.StringIO()
    logs.configure(stream=stream, **options)
    log(logging.getLogger("headrace.somewhere"))
    return stream.getvalue()


def test_a_line_has_its_time_its_level_and_what_happened():
    line = written(lambda logger: logger.warning("version %s cannot be loaded", 3))

    moment, level, message = line.rstrip("\n").split(" ", 2)
    assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=1)
    assert (level, message) == ("WARNING", "version 3 cannot be loaded")


def test_in_json_a_line_is_an_object_with_the_exception():
    def log(logger):
        try:
            raise ValueError("odd\nvalue")  # noqa: TRY301
        except ValueError:
            logger.exception("a request failed")

    (line,) = written(log, format="json").splitlines()
    shown = json.loads(line)

    assert (shown["level"], shown["logger"], shown["message"]) == ("error", "headrace.somewhere", "a request failed")
    assert "ValueError: odd\nvalue" in shown["error"]
    assert isinstance(shown["process"], int)


@pytest.mark.parametrize("level", logs.LEVELS)
def test_below_the_level_nothing_is_written(level):
    def log(logger):
        for each in logs.LEVELS:
            getattr(logger, each)(each)

    lines = written(log, level=level).splitlines()

    assert [line.split(" ")[2] for line in lines] == list(logs.LEVELS[logs.LEVELS.index(level) :])


@given(st.text())
def test_whatever_a_stranger_writes_steers_no_terminal_and_makes_no_second_object(text):
    shown = written(lambda logger: logger.info("%s", text), format="json")
    plain = written(lambda logger: logger.info("%s", text))

    assert json.loads(shown)["message"] == text
    assert shown.count("\n") == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain)


def test_a_warning_of_python_is_a_line_too():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = written(lambda _: warnings.warn("old", DeprecationWarning, stacklevel=1), format="json")

    assert "DeprecationWarning: old" in json.loads(shown)["message"]


def test_a_message_cannot_look_like_a_second_record():
    shown = written(lambda logger: logger.error("odd: %s", "x\n2026-01-01T00:00:00.000Z INFO drained; nothing is lost"))

    first, second = shown.splitlines()
    assert first.endswith(" ERROR odd: x")
    assert second.startswith("    2026-01-01")
