"""A new embedded store of MLflow, kept in the user's cache: the next project begins with a copy.

MLflow makes a new store by every migration since its first release, which takes four seconds of CPU. The result is the same each
time, so it is made once for each version of MLflow. A file counts only if its name has the digest of its content.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

_made: dict[str, bytes] = {}  # folder → what this process has read or made


def read_empty() -> bytes | None:
    """The file of a store without a run, of the installed version; None where none was kept."""
    folder = _folder()
    if folder is None:
        return None
    if (known := _made.get(str(folder))) is not None:
        return known
    for path in sorted(folder.glob(f"{_name()}-*.db")) if folder.is_dir() else ():
        with suppress(OSError):
            content = path.read_bytes()
            if path.name == _file(content):
                return _made.setdefault(str(folder), content)
            path.unlink()  # cut short, or changed
    return None


def keep_empty(content: bytes) -> None:
    """Keeps the file of a store without a run. A cache that cannot be written is no error: the next store is made anew."""
    folder = _folder()
    if folder is None:
        return
    _made[str(folder)] = content
    part = folder / f".{_name()}-{os.getpid()}.part"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            part.write_bytes(content)
            part.replace(folder / _file(content))
        finally:
            part.unlink(missing_ok=True)


def _folder() -> Path | None:
    """`headrace` in the user's cache; None where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):  # anything else is to be ignored, as the specification of these folders says
        return Path(given) / "headrace"
    try:
        return Path.home() / ".cache" / "headrace"
    except RuntimeError:
        return None


def _name() -> str:
    return f"mlflow-store-{version('mlflow-skinny')}"


def _file(content: bytes) -> str:
    return f"{_name()}-{hashlib.sha256(content).hexdigest()}.db"
