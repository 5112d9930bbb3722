"""`python slowly.py --home DIR …`: the real server, with a model that takes as many seconds as its `battery` says for the kind "slow"."""

import runpy
import time

from headrace.serving import predictors, version

version.INLINE = 0  # no call is quick enough for the loop


def slowed(call):
    def slow(self, rows):
        time.sleep(max((row[1] for row in rows if row[0] == "slow"), default=0))
        return call(self, rows)

    return slow


predictors.Native.many = slowed(predictors.Native.many)
predictors.Native.one = lambda self, row: self.many([row])[0]

if __name__ == "__main__":
    runpy.run_module("headrace.serving", run_name="__main__")
