"""A worker process: `python -m headrace.inference.engines.worker <descriptor of a socket>`; see `workers`."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from threading import Thread


def main() -> None:
    """Predicts what comes until nothing comes any more."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the keyboard interrupts the process that is asked; that one ends this
    Thread(target=_end_with_parent, name="headrace parent", daemon=True).start()
    from pathlib import Path

    from headrace.core.failpoints import reach
    from headrace.inference.engines.shared import receive, send
    from headrace.inference.records import predict
    from headrace.scoring.predictor import Predictor
    from headrace.scoring.version import LoadedVersion

    loaded: dict[str, LoadedVersion] = {}
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        while (message := receive(connection)) is not None:
            told, rows = message
            folder = told["folder"]
            try:
                if folder not in loaded:
                    loaded.clear()
                    loaded[folder] = LoadedVersion(
                        told["model"], told["number"], Predictor(Path(folder)), folder=Path(folder)
                    )
                assert rows is not None
                records = predict(loaded[folder], rows)
            except Exception as error:  # noqa: BLE001  # raised where it was asked for
                send(connection, {"chunk": told["chunk"], "error": pickle.dumps(_travelling(error)).hex()})
                continue
            reach("worker.predicted")
            send(connection, {"chunk": told["chunk"]}, records)


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
