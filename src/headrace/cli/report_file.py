"""A report as a file: where it is written, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from headrace.cli.output import put
from headrace.core.errors import ConfigError

output_option = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="The file; defaults to a name of its own in the current folder. One that is there is replaced.",
)


def write_report(name: str, html: str, output: Path | None) -> None:
    """Writes a report and prints where it is. What was there before stays until the new one is whole.

    Args:
        name: of the file, where no other is asked for.
        html: what is in it.
        output: the file that is asked for.

    Raises:
        ConfigError: the folder is not there.
    """
    file = output or Path(name)
    if not file.parent.is_dir():
        raise ConfigError(f"the folder {file.parent} is not there.", hint=f"mkdir -p {file.parent}")
    making = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        making.write_text(html, encoding="utf-8")
        making.replace(file)
    finally:
        making.unlink(missing_ok=True)
    put(str(file))
