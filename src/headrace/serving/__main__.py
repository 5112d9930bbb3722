"""`python -m headrace.serving --home DIR`: one server process, with nothing imported that it does not need."""

import argparse
import sys
from pathlib import Path

from headrace.core.errors import HeadraceError
from headrace.serving.process import HOST, PORT, serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="headrace.serving")
    parser.add_argument("--home", type=Path, required=True, help="the folder with serving.json")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--parent", type=int, help="the process that started this one; ends when that has died")
    given = parser.parse_args()
    try:
        serve(given.home, host=given.host, port=given.port, parent=given.parent)
    except HeadraceError as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(error.exit_code)
