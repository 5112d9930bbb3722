import re
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from headrace.core.errors import ConfigError
from headrace.scaffold import lock
from headrace.scaffold.lock import locked


def test_the_lock_has_what_is_installed_sorted_and_nothing_else():
    lines = locked(["train", "serve"]).splitlines()
    pinned = dict(line.split("==") for line in lines)

    assert list(pinned) == sorted(pinned)
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", line) for line in lines)
    assert {name: version(name) for name in pinned} == pinned
    assert {"headrace", "scikit-learn", "uvloop", "numpy", "cffi", "pandas", "six"} <= pinned.keys()


def test_the_lock_holds_what_its_extras_ask_for_and_not_what_others_do():
    without, with_serving = set(locked([]).split()), set(locked(["serve"]).split())

    assert with_serving - without == {f"{name}=={version(name)}" for name in ("httptools", "orjson", "uvloop")}
    assert not any(line.startswith(("pytest==", "ruff==", "lightgbm==")) for line in with_serving)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [("no-such-package-of-headrace>=1", "which is not installed"), ("numpy<1", "installed is ")],
)
def test_what_is_missing_or_too_old_cannot_be_locked(requirement, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        lock.installed(Requirement(requirement), ["train", "serve"])
    assert refused.value.hint == "pip install 'headrace[train,serve]'"
