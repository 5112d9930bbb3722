"""A step's output that is any JSON object: for tests of the ledger, which looks into none."""

from headrace.jobs.step_output import StepOutput


class Values(dict, StepOutput):
    def summary(self):
        return ", ".join(f"{name} {value}" for name, value in self.items())

    def to_json(self):
        return dict(self)

    @classmethod
    def from_json(cls, stored):
        return cls(stored)


def take(run, name, key, do, **how):
    """A step whose function gives a dictionary."""
    return run.step(name, key, lambda context: Values(do(context)), output=Values, **how)
