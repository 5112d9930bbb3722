"""`python -m headrace.llm.local --model smollm2 --port 8123`."""

from __future__ import annotations

import argparse
import sys

from headrace.core.errors import HeadraceError
from headrace.llm.local.server import serve


def main() -> int:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(prog="python -m headrace.llm.local", description="An OpenAI-compatible endpoint.")
    parser.add_argument("--model", default="smollm2", help="smollm2, or a folder with the files of a model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    parser.add_argument("--threads", type=int, help="of PyTorch; defaults to the number of cores")
    parser.add_argument("--queue", type=int, default=16, help="requests that may wait; the next gets 429")
    parser.add_argument("--while-stdin-is-open", action="store_true", help="end with whoever started it")
    options = parser.parse_args()
    try:
        serve(
            options.model,
            options.host,
            options.port,
            threads=options.threads,
            queue=options.queue,
            while_stdin_is_open=options.while_stdin_is_open,
        )
    except HeadraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
