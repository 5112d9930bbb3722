"""`python -m headrace.llm.gateway_server --project DIR --env ENV` runs the gateway's server."""

import argparse
import logging
import os
import sys
from pathlib import Path

from headrace.core import logs, vault
from headrace.core.errors import HeadraceError
from headrace.core.shutdown import on_stop
from headrace.core.system import PRIVATE
from headrace.llm.gateway_server.options import DRAIN, HOST, PORT, Options


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(prog="headrace.llm.gateway_server")
    parser.add_argument("--project", type=Path, required=True, help="the folder with headrace.toml")
    parser.add_argument("--env", required=True, help="the environment")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port")
    parser.add_argument("--api-keys", type=Path, help="the file with the API keys of callers")
    parser.add_argument(
        "--open-without-keys", action="store_true", help="while there is no such file nobody needs a key"
    )
    parser.add_argument("--anonymous", action="store_true", help="everybody who reaches the address may call")
    parser.add_argument("--tls-certificate", type=Path, dest="certificate")
    parser.add_argument("--tls-key", type=Path, dest="key")
    parser.add_argument("--drain", type=float, default=DRAIN, help="seconds that calls may take to their end")
    parser.add_argument("--parent", type=int, help="the process that started this one; ends when that has died")
    parser.add_argument("--siblings", type=Path, help="where workers that share the port leave their counters")
    parser.add_argument("--log-format", choices=logs.FORMATS, default="text", dest="log_format")
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info", dest="log_level")
    options = Options(**vars(parser.parse_args()))
    os.umask(PRIVATE)
    logs.configure(options.log_format, options.log_level)
    try:
        from headrace.llm.gateway_server.process import serve

        serve(options)
    except HeadraceError as error:
        logging.getLogger("headrace.llm.gateway_server").error("%s", error)  # noqa: TRY400  # a user's mistake has no traceback
        sys.exit(error.exit_code)


if __name__ == "__main__":
    vault.close()
    with on_stop(lambda: os._exit(0)):  # until it listens there is nothing to drain
        main()
