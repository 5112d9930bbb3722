"""A tuning with real functions and a known answer: tickets to be classed, by an assistant that knows the classes it is told.

As a program, `python tickets.py FOLDER PAID`: tunes in FOLDER, appends each paid call to the file PAID, prints the result.
"""

import json
import re
import sys
import time
from pathlib import Path

from headrace.llm.tuning.records import ScoredExample
from headrace.llm.tuning.tune import tune

WORDS = {
    "billing": ("refund", "charged", "invoice"),
    "account": ("log in", "password"),
    "shipping": ("parcel", "order"),
}
TRAIN = [
    {"input": text, "label": label}
    for text, label in (
        ("refund please", "billing"),
        ("cannot log in", "account"),
        ("late parcel", "shipping"),
        ("charged twice", "billing"),
        ("reset password", "account"),
        ("where is my order", "shipping"),
    )
]
HELD_OUT = [
    {"input": text, "label": label}
    for text, label in (("wrong invoice", "billing"), ("forgot password", "account"), ("parcel is broken", "shipping"),
                        ("no refund yet", "billing"))
]  # fmt: skip
SEED = {"system": "Classify the ticket."}


def score(candidate, example):
    """1 where the class of the ticket is named in the instruction."""
    answer = next(
        (
            label
            for label, words in WORDS.items()
            if label in candidate["system"] and any(w in example["input"] for w in words)
        ),
        "unknown",
    )
    right = answer == example["label"]
    return ScoredExample(float(right), "right" if right else f"should be {example['label']}", answer)


def propose(prompt):
    """A model that adds one class which the feedback names."""
    now = prompt.split("```")[1]
    known = {label for label in WORDS if label in now}
    wanted = set(re.findall(r"should be (\w+)", prompt)) - known
    return f"Here it is:\n```\nClassify the ticket: {', '.join(sorted(known | set(sorted(wanted)[:1])))}\n```\n"


def run(folder, *, score=score, propose=propose, **changed):
    settings = {"budget_calls": 60, "seed": 3, **changed}
    return tune(
        settings.pop("seed_candidate", SEED), score, settings.pop("train", TRAIN), settings.pop("held_out", HELD_OUT),
        propose=propose, state_folder=Path(folder), **settings,
    )  # fmt: skip


if __name__ == "__main__":
    paid = Path(sys.argv[2])

    def note(kind, value):
        with paid.open("a") as file:
            file.write(json.dumps([kind, value]) + "\n")

    def paid_score(candidate, example):
        note("score", [candidate, example])
        time.sleep(0.01)  # so that a signal from outside finds it under way
        return score(candidate, example)

    def paid_propose(prompt):
        note("propose", prompt)
        return propose(prompt)

    print(json.dumps(run(sys.argv[1], score=paid_score, propose=paid_propose).to_json(), sort_keys=True))
