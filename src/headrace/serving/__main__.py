"""`python -m headrace.serving --home DIR` runs a server, without unneeded imports."""

import argparse
import logging
import os
import sys
from pathlib import Path

from headrace.core import logs, vault
from headrace.core.errors import HeadraceError
from headrace.core.shutdown import on_stop
from headrace.core.system import PRIVATE
from headrace.serving.options import HOST, PORT, Options
from headrace.serving.process import serve


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(prog="headrace.serving")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--home", type=Path, help="the folder with serving.json")
    what.add_argument(
        "--mlflow", metavar="URI", help="a model that MLflow keeps: a folder with MLmodel, models:/…, runs:/…"
    )
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--processes", type=int, default=1, help="that share the port")
    parser.add_argument("--api-keys", type=Path, help="the file with the API keys of callers")
    parser.add_argument(
        "--open-without-keys", action="store_true", help="while there is no such file nobody needs a key"
    )
    parser.add_argument("--open-metrics", action="store_true", help="/metrics needs no API key")
    parser.add_argument("--anonymous", action="store_true", help="everybody who reaches the address may ask")
    parser.add_argument("--must-load", action="store_true", help="end where nothing can be loaded, instead of waiting")
    parser.add_argument("--access-log", action="store_true", help="a line of JSON on stdout for each request")
    parser.add_argument("--traces", action="store_true", help="spans to OpenTelemetry's collector, by OTEL_* variables")
    parser.add_argument("--log-format", choices=logs.FORMATS, default="text", dest="log_format")
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info", dest="log_level")
    parser.add_argument("--tls-certificate", type=Path, dest="certificate")
    parser.add_argument("--tls-key", type=Path, dest="key")
    parser.add_argument("--connections", type=int, default=Options.connections, help="at the same time")
    parser.add_argument(
        "--patience",
        type=float,
        default=Options.patience,
        help="seconds in which a request, and its first byte, must come",
    )
    parser.add_argument(
        "--drain", type=float, default=Options.drain, help="seconds that requests may take to their end"
    )
    parser.add_argument("--parent", type=int, help="the process that started this one; ends when that has died")
    parser.add_argument("--siblings", type=Path, help="where processes that share the port leave their counters")
    parser.add_argument("word", nargs="?", choices=["serve"], help="what SageMaker gives to a container")
    given = vars(parser.parse_args())
    os.umask(PRIVATE)
    del given["word"]
    logs.configure(given["log_format"], given["log_level"])
    try:
        serve(Options(**given))
    except HeadraceError as error:
        logging.getLogger("headrace.serving").error("%s", error)  # noqa: TRY400  # a user's mistake has no traceback
        sys.exit(error.exit_code)


if __name__ == "__main__":
    vault.close()
    vault.hold_credentials()
    vault.starting("OTEL_")  # headers for a collector are secrets
    # Until it listens there is nothing to drain, and as process 1 nothing else would end it. SystemExit would be lost where
    # the signal meets a finalizer or a weak reference's callback, as imports have them: the server would go on for ever.
    with on_stop(lambda: os._exit(0)):
        main()
