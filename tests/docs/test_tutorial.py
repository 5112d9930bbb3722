"""The tutorial works from its first line to its last, for somebody who types what it says into an empty folder.

Files of the page are written, its commands are executed in order, and what they print is compared with what the page
shows. `…` stands for anything, and a line of it alone for any lines. A moment, a number with a fraction and an id may
differ; everything else must not.
"""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import metadata

import pytest
from tests.docs.blocks import ROOT, blocks, typed

PAGE = ROOT / "docs" / "tutorial.md"
PORT = "8080"  # of the page; the test takes a free one
VARYING = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC|\+00:00)?", "<moment>"),
    (r"\b[0-9a-f]{8,}\b", "<id>"),
    (r"\d+\.\d+", "<fraction>"),
    (r"\s+", " "),
)


def stable(line):
    for pattern, name in VARYING:
        line = re.sub(pattern, name, line)
    return line.strip()


def shown(text):
    """A pattern for the output that a page shows."""
    parts = []
    for line in filter(None, map(stable, text.splitlines())):
        parts.append(r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n")
    return "".join(parts)


def printed(text):
    return "".join(f"{line}\n" for line in map(stable, text.splitlines()) if line)


def same(expected, output):
    return re.fullmatch(shown(expected), printed(output)) is not None


@pytest.mark.parametrize(
    ("expected", "output", "equal"),
    [
        ("3 rows 0.2 s", "3  rows   1.75 s", True),
        ("3 rows", "4 rows", False),
        ("run … done", "run 01a2245c done", True),
        ("first\n…\nlast", "first\nand\nmore\nlast", True),
        ("first\n…\nlast", "first\nlast", True),
        ("first\nlast", "first\nand\nlast", False),
        ("first", "first\nlast", False),
        ("", "unexpected", False),
        ("at 2026-01-01 12:00:00Z", "at 2025-05-05 01:02:03Z", True),
    ],
)
def test_what_counts_as_the_shown_output(expected, output, equal):
    assert same(expected, output) is equal


class Newcomer:
    """Types what the page says, in one folder."""

    def __init__(self, headrace, folder):
        self.headrace = headrace
        self.folder = folder
        self.server = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def does(self, command):
        """Types one command and compares what it prints with what the page shows."""
        line, expected = (text.replace(PORT, self.port) for text in (command.line, command.output))
        program, *arguments = shlex.split(line, comments=True)
        if program == "pip":
            self.installs(arguments)
            return
        if program == "headrace" and arguments[0] == "serve":
            output, code = self.serves(arguments), 0
        elif program == "headrace":
            self.leaves()
            done = self.headrace.run(self.folder, *arguments)
            output, code = done.stderr + done.stdout, done.code
        else:
            program = sys.executable if program == "python" else program
            done = subprocess.run([program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
            output, code = done.stdout + done.stderr, done.returncode
        assert same(expected, output), f"{command.where} {line}\nshown:\n{expected}\nprinted:\n{output}"
        assert code == (1 if re.search(r"^✗|\d things? needs? a person", output, re.MULTILINE) else 0), output

    def installs(self, arguments):
        """Nothing: the tests run where everything is installed. The extras that the page names exist."""
        verb, package = arguments
        extras = re.fullmatch(r"headrace\[([a-z,]+)\]", package)[1].split(",")
        assert verb == "install"
        assert set(extras) <= set(metadata("headrace").get_all("Provides-Extra"))

    def serves(self, arguments):
        """Starts the server, and waits until it listens or has ended."""
        log = self.folder / "server.log"
        with log.open("w") as out:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "headrace.cli", *arguments], cwd=self.folder, stdout=out, stderr=out
            )
        while self.server.poll() is None and "serving on" not in log.read_text():
            time.sleep(0.05)
        return log.read_text()

    def leaves(self):
        """Ctrl-C in the terminal of the server."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            assert self.server.wait() == 0
            self.server = None

    def goes(self):
        if self.server is not None:
            self.server.kill()
            self.server.wait()


@pytest.fixture
def newcomer(headrace, tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    person = Newcomer(headrace, tmp_path)
    yield person
    person.goes()


def test_the_tutorial_works_from_top_to_bottom(newcomer):
    for block in blocks(PAGE):
        if block.language in ("python", "toml"):
            (newcomer.folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command in typed(block):
                newcomer.does(command)
