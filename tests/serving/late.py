"""`python late.py --home DIR …`: the real server, in an interpreter that takes its time to shut down."""

import runpy
import sys
import time

if __name__ == "__main__":
    try:
        runpy.run_module("headrace.serving", run_name="__main__")
    finally:
        print("it has ended", file=sys.stderr, flush=True)
        time.sleep(1)
