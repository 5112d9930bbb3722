"""Runs of pipelines: who runs what, which steps are done, and how a killed run is continued.

A run ledger in the state database. A step is known by a digest of what it depends on; one that is done and still holds
is not executed again, and one that died half-way is executed again under the same id, so that its writes count once.
Not for what a step does: that is a function which the pipeline hands in. Not for schedules.

`ledger` opens runs and answers questions about them; `run` executes steps; `owner` tells the living from the dead.
"""
