"""What a project's files were when the templates made them: the base of the three-way merge of a later update.

It is a file of the project, `.headrace-template.gz`: it comes with each clone, also a shallow one, and survives squashed and
rewritten history, which a git ref or the first commit would not.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, cast

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = ".headrace-template.gz"


def pack(files: Mapping[str, str]) -> bytes:
    """The content of `.headrace-template.gz`: path → text, the same bytes for the same files."""
    return gzip.compress(json.dumps(dict(sorted(files.items())), ensure_ascii=False).encode(), mtime=0)


def read_base(folder: Path) -> dict[str, str]:
    """Path → text of the files that the templates made, as the project has stored them.

    Raises:
        ConfigError: `.headrace-template.gz` is not there, or cannot be read.
    """
    path = folder / FILE
    restore = f"Restore it from git: git log -- {FILE}"
    try:
        made = json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {FILE} in {str(folder)!r}, so what you changed cannot be told from what was made.",
            hint=restore,
        ) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint=restore) from None
    if not isinstance(made, dict) or not all(
        isinstance(text, str) for text in cast("dict[str, object]", made).values()
    ):
        raise ConfigError(f"{path} cannot be read: it is no table of files.", hint=restore)
    return cast("dict[str, str]", made)
