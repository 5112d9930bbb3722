"""What answers of a package depend on: its content, without what only says where it came from."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from headrace.core.folders import folder_digest
from headrace.core.ids import digest
from headrace.training.package import read_spec

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "headrace.toml"


def answering_digest(folder: Path) -> str:
    """A digest of the code, prompts and indexes of a chain's package, and of the models that its routes lead to.

    The project's settings do not count, nor the commit: whoever loads a package has settings of its own, which name the routes.

    Args:
        folder: of the package.

    Raises:
        DataError: the folder holds no package, or a link.
    """
    spec = json.dumps(asdict(replace(read_spec(folder), code=None)), sort_keys=True)
    parts = {"code": folder_digest(folder / "code", without={SETTINGS}), "chain": folder_digest(folder / "estimator")}
    return digest({**parts, "spec": spec})
