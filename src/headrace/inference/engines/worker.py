"""A worker process: `python -m headrace.inference.engines.worker <socket> <package> <model> <version> <threads>`; see `workers`."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import socket
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.scoring.predictor import PackagePredictor


def main() -> None:
    """Predicts what comes until nothing comes any more."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the keyboard interrupts the process that is asked; that one ends this
    Thread(target=_end_with_parent, name="headrace parent", daemon=True).start()
    descriptor, folder, model, number, threads = sys.argv[1:]
    from headrace.core.failpoints import reach
    from headrace.inference.engines.shared import receive, send
    from headrace.inference.records import predict
    from headrace.scoring.version import LoadedVersion

    version: LoadedVersion | None = None
    with socket.socket(fileno=int(descriptor)) as connection:
        while (message := receive(connection)) is not None:
            told, rows = message
            assert rows is not None
            try:
                version = version or LoadedVersion(model, int(number), _predictor(Path(folder), int(threads)))
                records = predict(version, rows)
            except Exception as error:  # noqa: BLE001  # raised where it was asked for
                send(connection, {"chunk": told["chunk"], "error": pickle.dumps(_travelling(error)).hex()})
                continue
            reach("worker.predicted")
            send(connection, {"chunk": told["chunk"]}, records)


def _predictor(folder: Path, threads: int) -> PackagePredictor:
    from headrace.scoring.predictor import PackagePredictor

    if json.loads((folder / "spec.json").read_text(encoding="utf-8"))["estimator"] == "lightgbm":
        _import_lightgbm()
    predictor = PackagePredictor(folder)
    predictor.expect_many(threads)
    return predictor


def _import_lightgbm() -> None:
    """A booster needs no scikit-learn, which LightGBM imports where it is, and which takes six times as long as itself."""
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("lightgbm")
    except ImportError:
        return  # whoever needs it says so
    finally:
        del sys.modules["sklearn"]


def _end_with_parent() -> None:
    """Standard input ends when the process that holds its other end is gone, however it went."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _travelling(error: Exception) -> Exception:
    """The error itself; what cannot be pickled, in words."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001  # whatever a stranger's class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
