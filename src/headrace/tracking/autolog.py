"""Automatic logging of a library's training loop on the active run, without code in the user's program.

For LightGBM and XGBoost MLflow's autologging is switched on while the user's function runs: parameters, metrics a
round, importances. It is hooked to the import of the library, so a library that is not used costs nothing, and removed
afterwards. MLflow's autologging of scikit-learn patches 170 classes (1.2 s) and predicts on all fitting rows again;
`fitted_params` reads the fitted estimator instead, which works for everything with `get_params`.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.tracking import store

if TYPE_CHECKING:
    from collections.abc import Generator

LIBRARIES = ("lightgbm", "xgboost")
LONGEST = 500  # characters of a parameter's value; MLflow refuses more than 6000


@contextmanager
def autologging() -> Generator[None]:
    """Switches autologging on for the libraries that are loaded or get loaded inside."""
    from mlflow.utils.import_hooks import register_post_import_hook

    switched: list[Any] = []
    inside = True

    def switch(module: Any) -> None:
        if inside:
            flavor = store.load(f"mlflow.{module.__name__}")
            flavor.autolog(log_models=False, log_datasets=False, silent=True)
            switched.append(flavor)

    for name in LIBRARIES:
        if name in sys.modules:
            switch(sys.modules[name])
        else:
            register_post_import_hook(switch, name, overwrite=True)
    try:
        yield
    finally:
        inside = False
        for flavor in switched:
            flavor.autolog(disable=True, silent=True)


def fitted_params(estimator: object) -> dict[str, str]:
    """The parameters of a fitted estimator in the manner of scikit-learn, nested ones too; empty where it has none."""
    ask = getattr(estimator, "get_params", None)
    if not callable(ask):
        return {}
    given = ask()
    return {str(name): str(value)[:LONGEST] for name, value in given.items()} if isinstance(given, dict) else {}
