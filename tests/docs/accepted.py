"""Whether a line of a terminal is one that Headrace, make or Python accept; nothing is executed."""

import re
import shlex
from pathlib import Path

import click
from tests.docs.blocks import ROOT

from headrace.cli.main import cli
from headrace.scaffold.templates import FOLDER as TEMPLATES

ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "2>"}
ELSEWHERE = {"cd", "cp", "curl", "export", "git", "head", "kubectl", "mkdir", "pip", "podman", "rm"}


def programs(line):
    """The programs of a line, each with its arguments."""
    reader = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    reader.whitespace_split = True
    found, words = [], []
    for word in [*reader, ";"]:
        if word in ENDS:
            found.append(words)
            words = []
        elif words or not re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", word):
            words.append(word)
    return [each for each in found if each]


def check(line):
    """Raises what is wrong with the line. Files of the reader, such as `rows.csv`, are created in the current folder."""
    for name, *arguments in programs(line):
        if name == "headrace":
            check_headrace(arguments)
        elif name == "make":
            targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert set(arguments) <= targets, f"make has {sorted(targets)}"
        elif name == "python":
            check_python(arguments)
        elif name == "ci/run":  # of a project of `headrace init`
            assert f"\n{arguments[0]})\n" in (TEMPLATES / "project/ci_run.txt").read_text(), (
                f"ci/run has no {arguments[0]!r}"
            )
        else:
            assert name in ELSEWHERE, f"{name!r} is no program that a page uses"


def check_python(arguments):
    """A benchmark is one that exists."""
    script = arguments[0] if arguments else ""
    assert not script.startswith("benchmarks/") or (ROOT / script).is_file(), f"there is no {script}"


def check_headrace(arguments):
    """Parses the arguments as the command line does, down to the command; its body does not run."""
    for file in arguments:
        if re.fullmatch(r"[\w-]+\.[a-z]+", file):
            Path(file).touch()
    command, name, ctx = cli, "headrace", None
    while True:
        try:
            ctx = command.make_context(name, list(arguments), parent=ctx)
        except click.exceptions.Exit:  # --help and --version end here
            return
        if not isinstance(command, click.Group) or not (left := [*ctx._protected_args, *ctx.args]):
            return
        name, command, arguments = command.resolve_command(ctx, left)


def check_mention(text):
    """Raises which command or option does not exist, where prose mentions one: `run train|deploy MODEL --env prod`."""
    command, ctx = cli, click.Context(cli, info_name="headrace")
    for word in text.split()[1:]:
        if word.startswith("--"):
            option = re.match(r"--[a-z0-9-]*", word)[0]
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            assert option in known | {"--help", "--version"}, f"{ctx.command_path} has no {option}"
        elif isinstance(command, click.Group):
            if not re.fullmatch(r"[a-z|-]+", word):  # it stands for any command: `run <pipeline>`
                return
            group = command
            for name in word.split("|"):
                command = group.get_command(ctx, name)
                assert command is not None, f"{ctx.command_path} has no {name!r}"
            ctx = click.Context(command, info_name=word, parent=ctx)
